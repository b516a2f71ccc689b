"""Networks that fail, come and go, or put something else in the server's place."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from playwright.sync_api import BrowserContext, Page, WebSocket, expect

from tests.services import free_port

from .client import CLIENT, expect_status, status, wait_until
from .conftest import Problems, Site, log_in_there
from .elements import badge, expect_back_online, expect_online, items, open_bell, panel, toasts
from .network import Condition, Network, network

DAY = 24 * 3600 * 1000  # ms
ANNOUNCED = f"""() => {{
  window.announced = []
  {CLIENT}.addEventListener("announce", ({{ detail }}) => {{
    for (const {{ notification }} of detail) announced.push(notification.content.body)
  }})
}}"""


@pytest.fixture
def net(site: Site) -> Iterator[Network]:
    with network(free_port(), site.server.port) as net:
        yield net


@pytest.fixture
def alices(
    net: Network, new_context: Callable[..., BrowserContext], problems: Problems
) -> BrowserContext:
    problems.expect("WebSocket connection|ERR_|CORS|403")
    context = new_context(base_url=net.url)
    log_in_there(context, "alice")
    return context


@pytest.fixture
def page(alices: BrowserContext) -> Page:
    return open_page(alices)


def open_page(alices: BrowserContext) -> Page:
    page = alices.new_page()
    page.goto("/")
    expect_online(page)
    return page


@pytest.fixture
def sockets(page: Page) -> list[WebSocket]:
    return watch_sockets(page)


def watch_sockets(page: Page) -> list[WebSocket]:
    """The sockets that the page opens from now on, whether they get through or not."""
    sockets: list[WebSocket] = []
    page.on("websocket", lambda socket: sockets.append(socket))
    return sockets


def notify(site: Site, *bodies: str) -> None:
    site.shell(f'[notify_accounts(alice, "news", body) for body in {bodies}]')


def test_without_a_network_the_list_stays_and_learns_what_was_missed(
    site: Site, net: Network, page: Page
) -> None:
    # Its toast stays, as it leads somewhere.
    site.shell('notify_accounts(alice, "news", "Before", url="/orders/1/")')
    listed = items(open_bell(page))
    expect(listed).to_contain_text(["Before"])

    net.become("dark")
    expect_status(page, "offline")
    notify(site, "Meanwhile")

    expect(panel(page).get_by_text("The connection is lost.")).to_be_visible()
    expect(listed).to_contain_text(["Before"])
    net.become("good")
    expect_back_online(page)
    expect(listed).to_contain_text(["Meanwhile", "Before"])
    expect(toasts(page)).to_contain_text(["Before", "Meanwhile"])


def test_a_browser_that_is_online_again_does_not_wait(
    alices: BrowserContext, net: Network, page: Page, sockets: list[WebSocket]
) -> None:
    page.evaluate("() => { Math.random = () => 0.999 }")
    net.become("dark")
    alices.set_offline(True)
    # After the third attempt it waits for 8 seconds.
    wait_until(page, lambda: len(sockets) == 3)
    expect_status(page, "offline")
    net.become("good")

    alices.set_offline(False)

    expect(page.locator("notifications-bell")).to_have_attribute(
        "data-status", "online", timeout=5000
    )


def test_a_flaky_network_loses_and_doubles_nothing(site: Site, net: Network, page: Page) -> None:
    open_bell(page)
    told = []
    chance = random.Random(6)
    for round in range(4):
        told += [f"{round}.{number}" for number in range(5)]
        net.cut()
        notify(site, *told[-5:])
        page.wait_for_timeout(chance.uniform(0, 500))
        net.cut()

    expect(items(panel(page)).locator("[data-slot=body]")).to_have_text(told[::-1])
    expect(badge(page)).to_have_text(str(len(told)))
    page.reload()
    expect(badge(page)).to_have_text(str(len(told)))


@pytest.mark.parametrize("portal", ["portal page", "portal redirect"])
def test_a_captive_portal_is_no_answer_and_takes_nothing_away(
    site: Site, net: Network, alices: BrowserContext, portal: Condition
) -> None:
    notify(site, *map(str, range(40)))
    page = open_page(alices)
    sockets = watch_sockets(page)
    listed = items(open_bell(page))
    expect(listed).to_have_count(30)
    page.evaluate("() => { Math.random = () => 0.1 }")  # soon

    net.become(portal)
    expect_status(page, "offline")
    failure = page.evaluate(f"() => {CLIENT}.loadOlder().catch(({{ status }}) => status)")
    assert failure == 0
    failure = page.evaluate(f"() => {CLIENT}.markAll('read').catch(({{ status }}) => status)")
    assert failure == 0

    expect(listed).to_have_count(30)
    expect(badge(page)).to_have_text("40")
    # From the third on, it is tried over HTTP as well.
    wait_until(page, lambda: len(sockets) >= 4)
    assert status(page) in {"offline", "connecting"}
    net.become("good")
    expect_status(page, "online")
    listed.last.scroll_into_view_if_needed()
    expect(listed).to_have_count(40)


def test_where_websockets_do_not_get_through_it_is_looked_over_http(
    site: Site, net: Network, alices: BrowserContext
) -> None:
    net.become("no websockets")
    page = alices.new_page()
    page.clock.install()
    page.goto("/")
    page.evaluate(ANNOUNCED)
    expect_status(page, "polling")
    open_bell(page)
    expect(panel(page).get_by_text("Live updates are blocked here")).to_be_visible()

    notify(site, "Over HTTP", "As well")
    page.clock.fast_forward(30_000)

    expect(items(panel(page))).to_contain_text(["As well", "Over HTTP"])
    expect(badge(page)).to_have_text("2")
    net.become("good")
    notify(site, "Over a socket")
    page.clock.fast_forward(30_000)
    expect_status(page, "online")
    expect(items(panel(page))).to_contain_text(["Over a socket", "As well", "Over HTTP"])
    assert page.evaluate("() => announced") == ["Over HTTP", "As well", "Over a socket"]


def test_a_computer_that_slept_notices_at_once_when_it_is_looked_at(
    site: Site, net: Network, page: Page, sockets: list[WebSocket]
) -> None:
    net.forget()

    page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    notify(site, "In its sleep")

    # It asks, and waits for 5 seconds; the heartbeat alone would take 10.
    wait_until(page, lambda: len(sockets) == 1, seconds=8)
    expect(toasts(page)).to_contain_text(["In its sleep"])
    expect_status(page, "online")


@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_that_is_a_day_off_changes_nothing(
    site: Site, alices: BrowserContext, days: int
) -> None:
    page = alices.new_page()
    page.add_init_script(f"Date.now = ((now) => () => now() + {days * DAY})(Date.now.bind(Date))")
    page.goto("/")
    expect_online(page)

    notify(site, "Just now")

    expect(toasts(page)).to_contain_text(["Just now"])
    expect(items(open_bell(page)).locator("time")).to_have_text("now")


def test_after_a_restart_not_all_come_back_at_once(site: Site, page: Page) -> None:
    """As many clients as a page may have sockets, of which each chooses its moment."""
    page.evaluate(
        f"""async () => {{
          const {{ Connection }} = await import("/static/notifications/connection.js")
          const url = new URL({CLIENT}.config.urls.socket, location.href.replace("http", "ws"))
          window.opened = []
          window.connections = Array.from({{ length: 40 }}, () => {{
            const connection = new Connection({{
              url: () => (window.opened.push(performance.now()), url),
              poll: async () => {{}}, onFrame() {{}}, onStatus() {{}}
            }})
            connection.start()
            return connection
          }})
        }}"""
    )
    all_online = "() => connections.every(({ status }) => status === 'online')"
    page.wait_for_function(all_online)
    page.evaluate("() => { opened.length = 0 }")

    site.server.kill()
    page.wait_for_function("() => opened.length >= 40")

    opened = sorted(page.evaluate("() => opened.slice(0, 40)"))
    assert opened[-1] - opened[0] > 500
    assert max(b - a for a, b in pairwise(opened)) < 500
