"""Networks that fail, come and go, or answer instead of the server."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, Route, WebSocket, expect

from harness.services import free_port

from .client import CLIENT, LATER_REQUEST, expect_status, status, wait_until
from .conftest import Problems, log_in_as
from .elements import badge, expect_back_online, expect_online, items, open_bell, panel, toasts
from .network import Condition, Network, network
from .site import Site

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
    site: Site, net: Network, new_context: Callable[..., BrowserContext], problems: Problems
) -> BrowserContext:
    problems.expect("WebSocket connection|ERR_|CORS|403")
    context = new_context(base_url=net.url)
    log_in_as(context, "alice", site)
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
def still_page(alices: BrowserContext) -> Page:
    """A page whose clock stands still: timers run only when the test lets them."""
    page = alices.new_page()
    now = time.time()
    page.clock.install(time=now)
    page.clock.pause_at(now + 60)  # it runs until then
    page.goto("/")
    expect_status(page, "online")
    return page


def test_where_an_account_is_impersonated_the_page_polls(
    site: Site, log_in: Callable[..., BrowserContext]
) -> None:
    context = log_in("operator", site)
    cookie = {"name": "impersonated", "value": "alice", "url": site.url}
    context.add_cookies([cookie])  # type: ignore[list-item]
    page = context.new_page()
    sockets = watch_sockets(page)
    now = time.time()
    page.clock.install(time=now)
    page.clock.pause_at(now + 60)  # it runs until then
    page.goto("/")
    expect_status(page, "polling")
    asked = len(sockets)
    polls: list[str] = []
    page.on("request", lambda it: "/changes/" in it.url and polls.append(it.url))

    site.shell(
        'notify_accounts(alice, "news", "For alice")\n'
        "operator = get_user_model().objects.get(username='operator')\n"
        'notify_accounts(operator, "news", "For operator")'
    )
    page.clock.run_for(31_000)
    wait_until(page, lambda: page.evaluate(f"() => {CLIENT}.unread.total") == 1)
    assert len(sockets) - asked <= 2  # one in 15 seconds at most
    expect_status(page, "polling")
    for _ in range(4):
        tried = len(sockets)
        page.clock.run_for(31_000)
        wait_until(page, lambda tried=tried: len(sockets) > tried)
        page.evaluate(LATER_REQUEST)
    assert len(polls) <= len(sockets) - asked
    expect_status(page, "polling")
    page.clock.resume()
    expect(items(open_bell(page)).locator("[data-slot=body]")).to_have_text(["For alice"])


@pytest.fixture
def sockets(page: Page) -> list[WebSocket]:
    return watch_sockets(page)


def watch_sockets(page: Page) -> list[WebSocket]:
    """The WebSockets that the page opens from now on, whether they get through or not."""
    sockets: list[WebSocket] = []
    page.on("websocket", lambda socket: sockets.append(socket))
    return sockets


def notify(site: Site, *bodies: str) -> None:
    site.shell(f'[notify_accounts(alice, "news", body) for body in {bodies}]')


def test_without_a_network_the_list_stays_and_catches_up_later(
    site: Site, net: Network, page: Page
) -> None:
    # With a link, its toast stays.
    site.shell('notify_accounts(alice, "news", "Before", url="/orders/1/")')
    listed = items(open_bell(page))
    expect(listed).to_contain_text(["Before"])

    net.become("dark")
    expect_status(page, "offline")
    notify(site, "Meanwhile")

    expect(panel(page).get_by_text("You're offline.")).to_be_visible()
    expect(listed).to_contain_text(["Before"])
    net.become("good")
    expect_back_online(page)
    expect(listed).to_contain_text(["Meanwhile", "Before"])
    expect(toasts(page)).to_contain_text(["Before", "Meanwhile"])


def test_a_busy_site_is_asked_again_later(site: Site, page: Page, problems: Problems) -> None:
    problems.expect("503")
    refused: list[str] = []

    def refuse_first(route: Route) -> None:
        path = urlsplit(route.request.url).path
        if path in refused:
            route.continue_()
        else:
            refused.append(path)
            route.fulfill(status=503, headers={"Retry-After": "1"}, json={"error": "Busy"})

    page.route(re.compile("/notifications/(items|mark)/"), refuse_first)
    notify(site, "Hello")
    listed = items(open_bell(page))
    expect(listed).to_contain_text(["Hello"])
    with page.expect_response(lambda answer: "/mark/" in answer.url and answer.ok):
        panel(page).get_by_role("button", name="Mark all as read").click()

    expect(badge(page)).to_be_hidden()
    expect(panel(page).get_by_role("alert")).to_be_hidden()
    assert refused == ["/notifications/items/", "/notifications/mark/"]


def test_a_browser_that_is_online_again_reconnects_at_once(
    alices: BrowserContext, net: Network, still_page: Page
) -> None:
    sockets = watch_sockets(still_page)
    still_page.evaluate("() => { Math.random = () => 0.999 }")
    net.become("dark")
    alices.set_offline(True)
    for attempt, seconds in enumerate([1, 2, 4], start=1):
        expect_status(still_page, "offline")
        still_page.clock.run_for(seconds * 1000)
        wait_until(still_page, lambda attempt=attempt: len(sockets) == attempt)
    expect_status(still_page, "offline")  # for 8 seconds of a clock that stands still
    net.become("good")

    alices.set_offline(False)

    expect_status(still_page, "online")


def test_a_flaky_network_loses_and_doubles_nothing(
    site: Site, net: Network, page: Page, sockets: list[WebSocket]
) -> None:
    open_bell(page)
    sent: list[str] = []
    # Cut it again: at once, while it reconnects, when it is online, and when it is up to date.
    moments: list[Callable[[], None]] = [
        lambda: None,
        lambda: wait_until(page, lambda: len(sockets) > tried),
        lambda: expect_online(page),
        lambda: expect(badge(page)).to_have_text(str(len(sent))),
    ]
    for round, wait in enumerate(moments):
        tried = len(sockets)
        sent += [f"{round}.{number}" for number in range(5)]
        net.cut()
        notify(site, *sent[-5:])
        wait()
        net.cut()

    expect(items(panel(page)).locator("[data-slot=body]")).to_have_text(sent[::-1])
    expect(badge(page)).to_have_text(str(len(sent)))
    page.reload()
    expect(badge(page)).to_have_text(str(len(sent)))


@pytest.mark.parametrize("portal", ["portal page", "portal redirect"])
def test_a_captive_portal_counts_as_no_answer_and_removes_nothing(
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
    # From the third attempt on, it also tries HTTP.
    wait_until(page, lambda: len(sockets) >= 4)
    assert status(page) in {"offline", "connecting"}
    net.become("good")
    expect_status(page, "online")
    listed.last.scroll_into_view_if_needed()
    expect(listed).to_have_count(40)


def test_where_websockets_are_blocked_the_client_polls_over_http(
    site: Site, net: Network, alices: BrowserContext
) -> None:
    net.become("no websockets")
    page = alices.new_page()
    page.clock.install()
    page.goto("/")
    page.evaluate(ANNOUNCED)
    expect_status(page, "polling")
    open_bell(page)
    expect(panel(page).get_by_text("Live updates are blocked on this network")).to_be_visible()

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


def test_while_polling_an_item_comes_back_from_the_archive(
    site: Site, net: Network, alices: BrowserContext
) -> None:
    notify(site, "Old", "New")
    mark = "from notifications.inbox import marks\nfrom notifications.audiences import Recipient\n"
    mark += 'ids = ["n%d" % Notification.objects.earliest("number").pk]\n'
    site.shell(mark + 'marks.mark(Recipient.of(alice), "archived", ids)')
    net.become("no websockets")
    page = alices.new_page()
    page.clock.install()
    page.goto("/")
    expect_status(page, "polling")
    listed = items(open_bell(page)).locator("[data-slot=body]")
    expect(listed).to_have_text(["New"])

    site.shell(mark + 'marks.mark(Recipient.of(alice), "inbox", ids)')
    page.clock.fast_forward(31_000)

    expect(listed).to_have_text(["New", "Old"])


def test_after_sleep_a_dead_connection_is_noticed_at_once(
    site: Site, net: Network, still_page: Page
) -> None:
    sockets = watch_sockets(still_page)
    net.forget()

    still_page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    notify(site, "In its sleep")

    # It probes, and waits for 5 seconds; the heartbeat alone would take 10.
    still_page.clock.run_for(7000)
    wait_until(still_page, lambda: len(sockets) == 1)
    still_page.clock.resume()
    expect(toasts(still_page)).to_contain_text(["In its sleep"])
    expect_status(still_page, "online")


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
    expect(items(open_bell(page)).locator("time")).to_have_text("just now")


@pytest.mark.own_site
def test_after_a_restart_clients_reconnect_at_different_times(site: Site, still_page: Page) -> None:
    """As many clients as a page may have WebSockets: each chooses its own time."""
    still_page.evaluate(
        f"""async () => {{
          const {{ Connection }} = await import("/static/notifications/connection.js")
          const url = new URL({CLIENT}.config.urls.socket, location.href.replace("http", "ws"))
          window.connections = Array.from({{ length: 40 }}, () => {{
            const connection = new Connection({{
              url: () => (connection.openedAt.push(performance.now()), url),
              poll: async () => {{}}, onFrame() {{}}, onStatus() {{}}
            }})
            connection.openedAt = []
            connection.start()
            return connection
          }})
        }}"""
    )
    all_are = "(wanted) => connections.every(({ status }) => status === wanted)"
    still_page.wait_for_function(all_are, arg="online")

    site.server.kill()
    still_page.wait_for_function(all_are, arg="offline")
    still_page.clock.run_for(1000)

    opened = sorted(still_page.evaluate("() => connections.map(({ openedAt }) => openedAt[1])"))
    assert opened[-1] - opened[0] > 500
    assert max(b - a for a, b in pairwise(opened)) < 500
