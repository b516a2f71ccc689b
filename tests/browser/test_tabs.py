"""The tabs of a browser share one connection."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from playwright.sync_api import BrowserContext, Error, Page, Route, expect

from .client import (
    CLIENT,
    connections,
    expect_connections,
    expect_status,
    is_leader,
    status,
    wait_until,
)
from .conftest import Problems
from .elements import badge, expect_no_unread, expect_online, items, open_bell, toasts
from .site import Site

OpenTab = Callable[..., Page]

# Gets no messages of other tabs while `isDeaf` is true.
DEAF = """
window.BroadcastChannel = class extends BroadcastChannel {
  constructor(name) {
    super(name)
    this.addEventListener("message", (event) => {
      if (window.isDeaf) event.stopImmediatePropagation()
    })
  }
}
"""


def notify(site: Site, *bodies: str, url: str = "") -> None:
    """With a url, their toasts stay."""
    site.shell(f'[notify_accounts(alice, "news", body, url="{url}") for body in {bodies}]')


def post(page: Page, **message: object) -> None:
    """Send the other tabs a message, as this page's client does."""
    page.evaluate(
        """async (message) => {
          const { held } = await navigator.locks.query()
          new BroadcastChannel(held[0].name).postMessage(message)
        }""",
        message,
    )


@pytest.fixture
def tabs(open_tab: OpenTab) -> tuple[Page, Page]:
    """Two tabs of alice: the leader, and a follower."""
    pages = [open_tab("alice") for _ in range(2)]
    for page in pages:
        expect_status(page, "online")
    leaders = [is_leader(page) for page in pages]
    assert sum(leaders) == 1
    return (pages[0], pages[1]) if leaders[0] else (pages[1], pages[0])


def test_ten_tabs_share_one_connection_and_show_the_same(site: Site, open_tab: OpenTab) -> None:
    pages = [open_tab("alice") for _ in range(10)]
    for page in pages:
        expect_status(page, "online")

    notify(site, "To all of them", url="/orders/1/")

    for page in pages:
        expect(toasts(page)).to_have_text(["To all of them Close"])
        expect(badge(page)).to_have_text("1")
    expect_connections(site, pages[0], 1)
    pages[7].evaluate(f"() => {CLIENT}.markAll('read')")
    for page in pages:
        expect_no_unread(page)
        expect(toasts(page)).to_have_count(0)
    assert len(connections(site)) == 1


def test_another_tab_takes_over_from_one_that_is_closed(
    site: Site, tabs: tuple[Page, Page], open_tab: OpenTab
) -> None:
    leader, follower = tabs
    notify(site, "Before", url="/orders/1/")
    expect(toasts(follower)).to_have_text(["Before Close"])

    leader.close()
    notify(site, "After")

    expect(toasts(follower)).to_have_text(["Before Close", "After Close"])
    assert is_leader(follower)
    third = open_tab("alice")
    expect_status(third, "online")
    assert not is_leader(third)
    expect_connections(site, follower, 1)


def test_another_tab_takes_over_from_one_that_crashed(site: Site, tabs: tuple[Page, Page]) -> None:
    leader, follower = tabs
    with leader.expect_event("crash"), suppress(Error):
        leader.goto("chrome://crash", wait_until="commit")

    notify(site, "Still heard")

    expect(toasts(follower)).to_have_text(["Still heard Close"])
    assert is_leader(follower)
    expect_connections(site, follower, 1)


@pytest.mark.own_site(HEARTBEAT_TIMEOUT="600")  # so that the server closes no connection
def test_another_tab_takes_over_from_one_that_hangs(site: Site, tabs: tuple[Page, Page]) -> None:
    leader, follower = tabs
    held: list[Route] = []
    leader.route("**/hang", lambda route: held.append(route))
    leader.evaluate(
        """() => setTimeout(() => {
          const request = new XMLHttpRequest()
          request.open("GET", "/hang", false)
          request.send()
        })"""
    )
    wait_until(follower, lambda: len(held) == 1)

    # The timeout has passed. A check every 2 seconds and a delay of up to 2 seconds are left.
    follower.evaluate(
        """() => {
          const now = performance.now.bind(performance)
          performance.now = () => now() + 3_600_000
        }"""
    )
    wait_until(follower, lambda: is_leader(follower))
    expect_status(follower, "online")
    notify(site, "Heard by both")
    expect(toasts(follower)).to_have_text(["Heard by both Close"])
    expect_connections(site, follower, 2)
    held[0].fulfill(body="")

    expect(toasts(leader)).to_have_text(["Heard by both Close"])
    assert not is_leader(leader)
    expect_connections(site, follower, 1)


# A tab that hears nothing for that long takes over.
@pytest.mark.own_site(HEARTBEAT_TIMEOUT="600")
def test_a_tab_that_missed_something_catches_up(site: Site, tabs: tuple[Page, Page]) -> None:
    _, follower = tabs
    follower.add_init_script(DEAF)
    follower.reload()
    expect_status(follower, "online")
    follower.evaluate("() => { window.isDeaf = true }")
    notify(site, "Missed", "Missed as well")
    expect(badge(tabs[0])).to_have_text("2")
    expect_no_unread(follower)

    follower.evaluate("() => { window.isDeaf = false }")

    expect(badge(follower)).to_have_text("2")
    expect(items(open_bell(follower))).to_contain_text(["Missed as well", "Missed"])
    expect(toasts(follower)).to_have_text(["Missed Close", "Missed as well Close"])


def test_logging_out_in_one_tab_ends_all(site: Site, tabs: tuple[Page, Page]) -> None:
    leader, follower = tabs

    follower.get_by_role("button", name="Log out").click()

    expect_status(leader, "logged_out")
    expect_connections(site, leader, 0)


def test_without_locks_each_tab_has_its_own_connection(
    site: Site, log_in: Callable[..., BrowserContext]
) -> None:
    context = log_in("alice", site)
    context.add_init_script("delete Navigator.prototype.locks")
    pages = [context.new_page() for _ in range(2)]
    for page in pages:
        page.goto("/")
        expect_online(page)

    notify(site, "Heard by each")

    for page in pages:
        expect(toasts(page)).to_have_text(["Heard by each Close"])
    expect_connections(site, pages[0], 2)


def test_a_tab_shows_nothing_of_an_account_that_logs_in_later(
    site: Site, tabs: tuple[Page, Page], problems: Problems
) -> None:
    problems.expect("401")
    old, page = tabs
    notify(site, "For alice")
    expect(items(open_bell(old))).to_contain_text(["For alice"])
    site.shell('notify_accounts(bob, "news", "For bob")')

    page.get_by_role("button", name="Log out").click()
    page.goto("/login/")
    page.get_by_label("Username").fill("bob")
    page.get_by_label("Password").fill("demo")
    page.get_by_role("button", name="Log in").click()
    expect(badge(page)).to_have_text("1")

    expect_status(old, "logged_out")
    failure = old.evaluate(f"() => {CLIENT}.load('unread').catch(({{ status }}) => status)")
    assert failure == 401
    old.evaluate(f"() => {CLIENT}.start()")
    expect_status(old, "logged_out")
    expect(items(old)).to_contain_text(["For alice"])
    assert items(old).count() == 1
    expect(badge(page)).to_have_text("1")


# Tabs used to send each other these, on a channel with the name of their lock.
OLD_RELEASE = """async (name) => {
  window.channel = new BroadcastChannel(name)
  window.heard = []
  channel.addEventListener("message", ({ data }) => heard.push(data))
  navigator.locks.request(name, () => new Promise(() => {}))
}"""
OLD_MESSAGES: list[dict[str, object]] = [
    {"ask": "check"},
    {"ask": "restart"},
    {"told": ["n1", '{"type":"progress"}']},
    {"from": {"seq": 99, "broadcast_seq": 99, "epoch": 9, "scope": "x"}, "status": "offline"},
    {"frame": {"type": "resync", "seq": 0}, "status": "online"},
    {"status": "closed"},
]


def test_tabs_of_the_previous_release_are_left_alone(
    site: Site, log_in: Callable[..., BrowserContext], problems: Problems
) -> None:
    """During a deploy, a browser has tabs of both kinds."""
    problems.expect("404")  # the icon of the page that stands for the old tab
    context = log_in("alice", site)
    old, new = context.new_page(), context.new_page()
    account = site.shell("print(alice.pk)").strip()
    old.goto("/healthz")
    old.evaluate(OLD_RELEASE, f"notifications:{account}:1")

    new.goto("/")
    expect_status(new, "online")
    notify(site, "To the new tab", url="/orders/1/")
    expect(toasts(new)).to_have_text(["To the new tab Close"])
    for message in OLD_MESSAGES:
        old.evaluate("(message) => channel.postMessage(message)", message)
    notify(site, "As before", url="/orders/1/")

    expect(toasts(new)).to_have_text(["To the new tab Close", "As before Close"])
    assert status(new) == "online"
    assert old.evaluate("() => heard") == []


def test_messages_of_a_later_release_are_ignored(site: Site, tabs: tuple[Page, Page]) -> None:
    leader, follower = tabs
    for page in tabs:
        post(page, type="invented", frame={"type": "news"}, status="closed")
        post(page, status="closed")
    notify(site, "As before")

    for page in (leader, follower):
        expect(toasts(page)).to_have_text(["As before Close"])
        assert status(page) == "online"


def test_starting_twice_is_starting_once(open_tab: OpenTab) -> None:
    page = open_tab("alice")
    expect_online(page)
    page.evaluate(f"() => {{ {CLIENT}.start(); {CLIENT}.stop() }}")
    expect_status(page, "closed")

    page.evaluate("() => document.dispatchEvent(new Event('resume'))")

    assert status(page) == "closed"


def test_a_tab_survives_a_frame_that_it_cannot_handle(
    site: Site, tabs: tuple[Page, Page], problems: Problems
) -> None:
    problems.expect("not iterable")
    leader, follower = tabs
    frame = {"type": "state", "as": "read", "ids": 5, "seq": 10**9}
    post(leader, type="frame", frame=frame, status="online")

    notify(site, "After it")

    expect(toasts(follower)).to_have_text(["After it Close"])
