"""Servers that are told to end: their sockets go elsewhere, and nothing is left of them."""

from __future__ import annotations

import http.client
import json
import resource
import signal
import socket
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from harness.visitor import TIMEOUT_SECONDS, OpenTab
from tests.cluster.conftest import FAST, wait_until

WINDOW = 3.0  # seconds

pytestmark = pytest.mark.verify(20)


@pytest.fixture
def site(start_site):
    return start_site({**FAST, "NOTIFICATIONS_DRAIN_SECONDS": str(WINDOW)})


@pytest.fixture
def crowd(site, new_visitor):
    """Thirty tabs, in the order of their opening."""
    url = site.servers[0].url
    visitors = [new_visitor(url, name) for name in ("alice", "bob", "carol")]
    tabs = [visitor.open_tab(url) for _ in range(10) for visitor in visitors]
    for tab in tabs:
        tab.receive("heartbeat")
    return tabs


def closings(tabs, timeout=TIMEOUT_SECONDS):
    """Return for each tab when it was closed (monotonic seconds), and its `bye`."""

    def closing(tab: OpenTab):
        bye = tab.receive("bye", timeout)
        code = tab.closed_with()
        assert (bye["code"], bye["reconnect"], code) == (4012, True, 4012)
        return time.monotonic(), bye

    with ThreadPoolExecutor(len(tabs)) as threads:
        return list(threads.map(closing, tabs))


def has_ended_well(site):
    server = site.servers[0]
    assert server.wait(TIMEOUT_SECONDS) == 0
    assert site.count("Worker") == site.count("Connection") == 0
    assert "Traceback" not in server.output()
    return True


def is_refused(server):
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.realtime
def test_sigterm_sends_the_sockets_away_over_the_window_in_random_order(site, crowd):
    site.servers[0].terminate()
    found = closings(crowd)

    first = min(at for at, _ in found)
    seconds = [at - first for at, _ in found]
    assert all(bye["delay"] == 0 for _, bye in found)  # the closings are spread already
    quarters = statistics.quantiles(sorted(seconds), n=4)
    assert quarters == pytest.approx([WINDOW / 4, WINDOW / 2, WINDOW * 3 / 4], abs=WINDOW / 5)
    # In the order of their opening, or the other way round: a chance of 2 in 30!.
    assert seconds not in (sorted(seconds), sorted(seconds, reverse=True))
    assert has_ended_well(site)


@pytest.mark.realtime
def test_while_it_drains_nobody_new_is_let_in(site, crowd):
    server = site.servers[0]
    # Connections that a proxy keeps for the next request.
    kept, for_a_socket = (
        http.client.HTTPConnection("127.0.0.1", server.port, timeout=5) for _ in range(2)
    )
    for connection in (kept, for_a_socket):
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        assert (answer.status, answer.read() and answer.getheader("Connection")) == (200, None)

    server.terminate()
    wait_until(lambda: is_refused(server), timeout=WINDOW / 2)
    with connect(**handshake_of(crowd[0]), sock=for_a_socket.sock, close_timeout=1) as late:
        bye = OpenTab(late).receive("bye")
        assert OpenTab(late).closed_with() == 4012
    kept.request("GET", "/readyz")
    answer = kept.getresponse()

    assert 0 < bye["delay"] <= WINDOW
    assert (answer.status, json.load(answer)["unavailable"]) == (503, ["server"])
    # So that the proxy does not send the next one by it.
    assert answer.getheader("Connection") == "close"
    closings(crowd)
    assert has_ended_well(site)


def handshake_of(tab):
    request = tab.connection.request
    return {
        "uri": f"ws://{request.headers['Host']}{request.path}",
        "origin": request.headers["Origin"],
        "additional_headers": {"Cookie": request.headers["Cookie"]},
        "compression": None,
    }


def test_a_request_that_is_running_is_answered(site, new_visitor):
    server = site.servers[0]
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(server.get_json, "/long/2/")
        wait_until(lambda: "taking long" in server.output())
        server.terminate()
        wait_until(lambda: is_refused(server))

        assert answer.result(TIMEOUT_SECONDS) == {"seconds": 2}
    assert has_ended_well(site)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_nobody_waits_for_ctrl_c_or_a_second_sigterm(start_site, new_visitor, first):
    site = start_site({**FAST, "NOTIFICATIONS_DRAIN_SECONDS": "600"})
    server = site.servers[0]
    alice = new_visitor(server.url, "alice")
    tabs = [alice.open_tab(server.url) for _ in range(20)]
    for tab in tabs:
        tab.receive("heartbeat")

    server.process.send_signal(first)
    if first == signal.SIGTERM:
        wait_until(lambda: is_refused(server))
        server.process.send_signal(signal.SIGTERM)

    delays = [bye["delay"] for _, bye in closings(tabs)]
    if first == signal.SIGTERM:  # a crowd is asked to spread itself
        assert all(0 <= delay <= 600 for delay in delays)
        assert statistics.stdev(delays) > 60
    else:  # a developer's pages come back at once
        assert set(delays) == {0}
    assert has_ended_well(site)


def test_a_third_signal_ends_a_server_that_hangs(start_site):
    site = start_site({**FAST, "NOTIFICATIONS_DRAIN_SECONDS": "600"})
    server = site.servers[0]
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(server.get_json, "/long/600/")
        wait_until(lambda: "taking long" in server.output())
        server.terminate()
        wait_until(lambda: is_refused(server))
        server.terminate()

        # Beyond the drain, a request has two seconds more. Its thread would go on for ten minutes.
        wait_until(lambda: answer.done())
        assert isinstance(answer.exception(), OSError | http.client.HTTPException)
        assert server.process.poll() is None
        server.terminate()
        assert server.wait(TIMEOUT_SECONDS) == -signal.SIGTERM
        assert site.count("Worker") == 0


def test_uvicorn_leaves_the_registry_as_well(start_site, new_visitor):
    site = start_site({**FAST, "NOTIFICATIONS_DRAIN_SECONDS": "600"}, server="uvicorn")
    server = site.servers[0]
    wait_until(lambda: site.count("Worker") == 1)  # from its start, before anybody came
    tab = new_visitor(server.url, "alice").open_tab(server.url)
    tab.receive("heartbeat")

    server.terminate()

    assert tab.closed_with() == 1012  # uvicorn's own way to say it
    assert server.wait(TIMEOUT_SECONDS) == -signal.SIGTERM
    assert site.count("Worker") == site.count("Connection") == 0
    assert "Traceback" not in server.output()


def test_where_no_more_files_can_be_opened_those_who_are_in_stay(start_site, new_visitor):
    site = start_site(FAST)
    server = site.servers[0]
    alice = new_visitor(server.url, "alice")
    tabs = [alice.open_tab(server.url) for _ in range(5)]
    for tab in tabs:
        tab.receive("heartbeat")
    in_use = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (in_use + 3, in_use + 3))

    with suppress(OSError, WebSocketException):
        while len(tabs) < 20:
            tabs.append(alice.open_tab(server.url))
    assert 5 <= len(tabs) < 20
    site.shell('notify_accounts(User.objects.get(username="alice"), "hello", "to those inside")')
    for tab in tabs[:5]:
        assert tab.receive("hello")["content"]["body"] == "to those inside"

    for tab in tabs[:3]:  # and others find room
        tab.connection.close()
    wait_until(lambda: can_open(alice, server))
    assert "Traceback" not in server.output()


def can_open(visitor, server):
    try:
        visitor.open_tab(server.url).receive("register")
    except (OSError, WebSocketException, ValueError):
        return False
    return True
