"""The client's side of the protocol, against a fake server."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, Route, WebSocketRoute, expect

from .client import CLIENT, LATER_REQUEST, expect_status, status, wait_until
from .conftest import Problems
from .elements import badge, expect_no_unread, items, notify, open_bell, toasts
from .site import Site

MINUTE = 60_000  # ms


class FakeServer:
    """Accepts the page's WebSockets, sends it what a test wants, and records what it sends."""

    def __init__(self) -> None:
        self.sockets: list[WebSocketRoute] = []
        self.heard: list[Any] = []
        self.interval = 60  # seconds; no heartbeat is due during a test
        self.greets = True

    def accept(self, socket: WebSocketRoute) -> None:
        self.sockets.append(socket)
        socket.on_message(lambda text: self.heard.append(json.loads(text)))
        if self.greets:
            self.register()
            self.say("heartbeat", seq=10, broadcast_seq=5, unread=0, unread_broadcasts=0)

    def register(self) -> None:
        heartbeat = {"interval": self.interval, "timeout": 2 * self.interval}
        self.say("register", **self.position(), heartbeat=heartbeat)

    def say(self, type: str, body: str = "", **siblings: Any) -> None:
        frame = {"type": type, "content": {"body": body, "meta_data": ""}, **siblings}
        self.sockets[-1].send(json.dumps(frame))

    def notify(self, seq: int, body: str, **siblings: Any) -> None:
        item = {"id": f"n{seq}", "number": seq, "seq": seq, "state": "unread"}
        created_at = f"2026-01-01T00:{seq:02}:00+00:00"
        self.say("news", body, **{**item, "level": "info", "created_at": created_at, **siblings})

    def mark(self, seq: int, wire_id: str, mark: str) -> None:
        self.say("state", **{"as": mark}, ids=[wire_id], seq=seq, unread=1, unread_broadcasts=0)

    def close(self, code: int) -> None:
        self.sockets[-1].close(code=code)

    def position(self) -> dict[str, Any]:
        """The position that the page connected with."""
        query = {k: v[0] for k, v in parse_qs(urlsplit(self.sockets[-1].url).query).items()}
        return {k: v if k == "scope" else int(v) for k, v in query.items()}


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def page(site: Site, log_in: Callable[..., BrowserContext], server: FakeServer) -> Page:
    return open_page(log_in("alice", site), server)


def open_page(context: BrowserContext, server: FakeServer) -> Page:
    """Open a tab whose clock only moves by `run_for`, and whose WebSockets connect to `server`."""
    page = context.new_page()
    page.route_web_socket("**/ws/notifications/**", server.accept)
    page.add_init_script("window.jitter = 0.999; Math.random = () => window.jitter")
    now = time.time()
    page.clock.install(time=now)
    page.clock.pause_at(now + 60)  # it runs until then
    page.goto("/")
    wait_for_sockets(page, server, 1)
    expect_status(page, "online")
    return page


@pytest.fixture
def live_page(page: Page) -> Page:
    """The same page with a running clock, for rendering."""
    page.clock.resume()
    return page


def wait_for_sockets(page: Page, server: FakeServer, count: int) -> None:
    wait_until(page, lambda: len(server.sockets) >= count)
    assert len(server.sockets) == count


@pytest.mark.parametrize(
    ("code", "final"),
    [(1000, "closed"), (4400, "closed"), (4401, "logged_out"), (4403, "logged_out")],
)
def test_a_final_close_is_final(page: Page, server: FakeServer, code: int, final: str) -> None:
    server.close(code)
    expect_status(page, final)
    page.clock.run_for(10 * MINUTE)
    page.evaluate("() => dispatchEvent(new Event('online'))")

    assert status(page) == final
    assert len(server.sockets) == 1
    expect(page.locator("notifications-bell")).to_have_attribute("data-status", final)


def test_after_the_session_has_ended_there_is_a_link_to_log_in(
    page: Page, server: FakeServer
) -> None:
    panel = open_bell(page)
    server.close(4401)

    expect(panel.get_by_text("You've been logged out.")).to_be_visible()
    expect(panel.get_by_role("button", name="Reload")).to_be_hidden()
    page.context.clear_cookies()
    panel.get_by_role("link", name="Log in").click()

    expect(page).to_have_url(re.compile(r"/login/\?next=/notifications/$"))


def test_after_updates_have_stopped_there_is_a_button_to_reload(
    page: Page, server: FakeServer
) -> None:
    panel = open_bell(page)
    server.close(1000)

    expect(panel.get_by_text("Updates have stopped.")).to_be_visible()
    expect(panel.get_by_role("link", name="Log in")).to_be_hidden()
    panel.get_by_role("button", name="Reload").click()

    wait_for_sockets(page, server, 2)
    expect_status(page, "online")


@pytest.mark.parametrize("code", [1011, 4012, 4408, 4503])
def test_after_any_other_close_the_client_reconnects(
    page: Page, server: FakeServer, code: int
) -> None:
    server.close(code)
    expect_status(page, "offline")
    page.clock.run_for(1000)

    wait_for_sockets(page, server, 2)
    expect_status(page, "online")


def test_after_a_changed_session_the_client_reconnects_once(page: Page, server: FakeServer) -> None:
    server.greets = False
    server.close(4402)
    expect_status(page, "offline")
    page.clock.run_for(1)
    wait_for_sockets(page, server, 2)
    server.close(4402)

    expect_status(page, "closed")


def test_an_evicted_tab_reconnects_when_it_is_looked_at(page: Page, server: FakeServer) -> None:
    server.close(4409)
    expect_status(page, "paused")
    page.clock.run_for(10 * MINUTE)
    assert len(server.sockets) == 1

    page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")

    wait_for_sockets(page, server, 2)


@pytest.mark.parametrize("use", ["focus", "pointerdown", "keydown"])
def test_an_evicted_tab_in_view_reconnects_when_it_is_used(
    page: Page, server: FakeServer, use: str
) -> None:
    server.close(4409)
    expect_status(page, "paused")
    page.clock.run_for(10 * MINUTE)
    assert len(server.sockets) == 1

    if use == "focus":
        page.evaluate("() => dispatchEvent(new Event('focus'))")
    elif use == "pointerdown":
        page.mouse.click(5, 400)
    else:
        page.keyboard.press("Shift")
    wait_for_sockets(page, server, 2)
    expect_status(page, "online")

    page.mouse.click(5, 400)
    page.keyboard.press("Shift")
    assert server.heard == []  # while it is connected, using it sends nothing
    assert len(server.sockets) == 2


def test_a_paused_tab_does_not_say_that_it_is_reconnecting(page: Page, server: FakeServer) -> None:
    open_bell(page)
    server.close(4409)

    expect(
        page.get_by_text("Updates are paused in this tab. Click anywhere to resume.")
    ).to_be_visible()
    page.clock.run_for(10 * MINUTE)
    expect(page.get_by_text("Reconnecting…")).to_be_hidden()


def test_a_client_that_was_too_fast_always_waits_half_a_minute(
    page: Page, server: FakeServer
) -> None:
    page.evaluate("() => { window.jitter = 0 }")
    server.close(4429)
    expect_status(page, "offline")
    page.clock.run_for(29_000)
    page.evaluate("() => dispatchEvent(new Event('online'))")
    assert len(server.sockets) == 1

    page.clock.run_for(2000)

    wait_for_sockets(page, server, 2)


def test_the_delay_that_a_bye_asks_for_is_kept(page: Page, server: FakeServer) -> None:
    page.evaluate("() => { window.jitter = 0 }")
    server.say("bye", code=4012, reconnect=True, delay=20)
    server.close(4012)
    expect_status(page, "offline")
    page.clock.run_for(18_000)
    assert len(server.sockets) == 1

    page.clock.run_for(3000)

    wait_for_sockets(page, server, 2)


def test_delays_get_longer_and_have_full_jitter(page: Page, server: FakeServer) -> None:
    server.greets = False
    for attempt, seconds in enumerate([1, 2, 4, 8, 16, 30, 30], start=1):
        server.close(4503)
        expect_status(page, "offline")
        page.clock.run_for(seconds * 500)
        assert len(server.sockets) == attempt
        page.clock.run_for(seconds * 500)
        wait_for_sockets(page, server, attempt + 1)
    page.evaluate("() => { window.jitter = 0 }")
    server.close(4503)
    expect_status(page, "offline")
    page.clock.run_for(1)

    wait_for_sockets(page, server, 9)


def test_a_browser_that_goes_online_reconnects_at_once(page: Page, server: FakeServer) -> None:
    server.say("bye", code=4012, reconnect=True, delay=60)
    server.close(4012)
    expect_status(page, "offline")

    page.evaluate("() => dispatchEvent(new Event('online'))")

    wait_for_sockets(page, server, 2)


def test_the_client_sends_heartbeats_and_answers_a_ping(page: Page, server: FakeServer) -> None:
    server.say("ping")
    wait_until(page, lambda: server.heard == [{"type": "heartbeat"}])

    page.clock.run_for(60_000)

    wait_until(page, lambda: server.heard == 2 * [{"type": "heartbeat"}])


def test_the_client_reconnects_when_the_server_is_silent(page: Page, server: FakeServer) -> None:
    page.clock.run_for(125_000)
    assert len(server.sockets) == 1
    page.clock.run_for(60_000)

    wait_for_sockets(page, server, 2)


def test_a_tab_that_is_looked_at_again_checks_its_connection(
    page: Page, server: FakeServer
) -> None:
    page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    wait_until(page, lambda: server.heard == [{"type": "heartbeat"}])
    page.clock.run_for(7000)

    wait_for_sockets(page, server, 2)


def test_the_client_reconnects_when_register_does_not_come(page: Page, server: FakeServer) -> None:
    server.greets = False
    server.close(4503)
    expect_status(page, "offline")
    page.clock.run_for(1000)
    wait_for_sockets(page, server, 2)

    page.clock.run_for(19_000)
    assert len(server.sockets) == 2
    page.clock.run_for(4000)

    wait_for_sockets(page, server, 3)


def test_malformed_frames_are_ignored(live_page: Page, server: FakeServer) -> None:
    for text in ["", "no", "[]", "null", "3", '{"type": 3}', '{"type": "state"}', "{}"]:
        server.sockets[-1].send(text)
    server.say("unheard_of.type", id=7)
    server.say("news", "Stored nowhere")

    expect(toasts(live_page)).to_contain_text(["Stored nowhere"])
    expect_no_unread(live_page)


def test_the_position_in_the_url_is_the_last_pair_received(
    live_page: Page, server: FakeServer
) -> None:
    first = server.position()
    assert (first["seq"], first["broadcast_seq"]) == (0, 0)
    server.notify(11, "Eleven", unread=1)
    expect(toasts(live_page)).to_have_count(1)

    server.close(4012)
    live_page.clock.run_for(1000)

    wait_for_sockets(live_page, server, 2)
    assert server.position() == {**first, "seq": 11, "broadcast_seq": 5}


def test_a_frame_that_comes_twice_is_announced_once(live_page: Page, server: FakeServer) -> None:
    for _ in range(2):
        server.notify(11, "Eleven", unread=1)
    server.notify(12, "Twelve", unread=2)

    expect(toasts(live_page)).to_have_text(["Eleven Close", "Twelve Close"])
    expect(badge(live_page)).to_have_text("2")


def test_a_resync_loads_the_list_again(live_page: Page, server: FakeServer) -> None:
    server.notify(11, "From before", unread=1)
    expect(items(open_bell(live_page))).to_contain_text(["From before"])

    server.say("resync", **server.position())

    expect(items(live_page)).to_have_count(0)
    expect_no_unread(live_page)
    server.notify(12, "From now", unread=1)
    expect(items(live_page)).to_contain_text(["From now"])
    assert len(server.sockets) == 1


def test_a_register_that_cannot_follow_the_position_loads_the_list_again(
    live_page: Page, server: FakeServer
) -> None:
    server.notify(11, "From before", unread=1)
    expect(items(open_bell(live_page))).to_contain_text(["From before"])
    server.greets = False
    server.close(4012)
    wait_until(live_page, lambda: len(server.sockets) == 2)

    heartbeat = {"interval": 60, "timeout": 120}
    server.say("register", **server.position(), heartbeat=heartbeat, resync=True)

    expect(items(live_page)).to_have_count(0)
    expect_no_unread(live_page)


def test_a_list_that_failed_to_load_is_loaded_when_online(
    site: Site, log_in: Callable[..., BrowserContext], server: FakeServer, problems: Problems
) -> None:
    problems.expect("ERR_FAILED")
    page = open_page(log_in("alice", site), server)
    site.shell('notify_accounts(alice, "news", "From the outage")')
    page.route("**/notifications/items/**", lambda route: route.abort())
    server.close(4012)
    expect_status(page, "offline")
    panel = open_bell(page)
    expect(panel.get_by_role("alert")).to_be_visible()
    page.unroute("**/notifications/items/**")

    page.clock.run_for(1000)

    expect(items(panel)).to_contain_text(["From the outage"])
    expect(panel.get_by_role("alert")).to_be_hidden()


def test_a_page_without_a_list_asks_for_nothing_when_unknown_items_are_marked(
    page: Page, server: FakeServer
) -> None:
    page.evaluate(f"() => {CLIENT}.load('important')")
    asked = list_requests(page)

    for seq in (11, 12, 13):
        server.mark(seq, f"n{seq}", "unread")

    page.wait_for_function(f"() => {CLIENT}.unread.unread === 1")
    page.evaluate(LATER_REQUEST)
    assert asked == []


def test_a_list_that_failed_to_load_again_waits_for_a_heartbeat(
    page: Page, server: FakeServer, problems: Problems
) -> None:
    problems.expect("ERR_FAILED")
    page.evaluate(f"() => {CLIENT}.load()")
    asked = list_requests(page)
    page.route("**/notifications/items/**", lambda route: route.abort())
    with page.expect_event("requestfailed"):
        server.mark(11, "n3", "unread")

    for seq in (12, 13):
        server.mark(seq, "n4", "unread")
        page.evaluate(LATER_REQUEST)
    assert len(asked) == 1
    server.say("heartbeat", seq=13, broadcast_seq=5, unread=1, unread_broadcasts=0)

    server.mark(14, "n4", "read")
    wait_until(page, lambda: len(asked) == 2)


def list_requests(page: Page) -> list[str]:
    """The URLs that the page asks for its list from now on."""
    asked: list[str] = []
    page.on("request", lambda it: "/items/" in it.url and asked.append(it.url))
    return asked


def test_what_is_older_loads_after_a_list_that_is_loaded_again(
    site: Site, log_in: Callable[..., BrowserContext], server: FakeServer
) -> None:
    notify(site, 70)
    page = open_page(log_in("alice", site), server)
    page.evaluate(f"() => {CLIENT}.load()")
    held: list[Route] = []
    page.route("**/notifications/items/**", lambda route: held.append(route), times=1)
    server.say("resync", **server.position())
    wait_until(page, lambda: len(held) == 1)
    page.evaluate(f"() => {{ window.older = [1, 2].map(() => {CLIENT}.loadOlder()) }}")

    held[0].continue_()
    page.evaluate("() => Promise.all(window.older)")

    assert page.evaluate(f"() => {CLIENT}.items().length") == 60


def test_after_a_list_of_another_epoch_the_client_reconnects(
    page: Page, server: FakeServer
) -> None:
    start = server.position()
    server.say("resync", **{**start, "epoch": 2})

    expect_status(page, "offline")
    page.clock.run_for(1000)

    wait_for_sockets(page, server, 2)
    assert server.position() == {**start, "seq": 0, "broadcast_seq": 0}
