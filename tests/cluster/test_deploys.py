"""Servers that receive SIGTERM: their clients move to other servers, and their rows are deleted."""

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

DRAIN_SECONDS = 3.0

pytestmark = pytest.mark.verify(20)


@pytest.fixture
def site(start_site):
    return start_site({**FAST, "NOTIFICATIONS_DRAIN_SECONDS": str(DRAIN_SECONDS)})


@pytest.fixture
def tabs(site, new_visitor):
    """Thirty tabs, in the order in which they were opened."""
    url = site.servers[0].url
    visitors = [new_visitor(url, name) for name in ("alice", "bob", "carol")]
    tabs = [visitor.open_tab(url) for _ in range(10) for visitor in visitors]
    for tab in tabs:
        tab.receive("heartbeat")
    return tabs


def wait_for_closes(tabs, timeout=TIMEOUT_SECONDS):
    """Return for each tab when it was closed (monotonic seconds), and its `bye`."""

    def wait_for_close(tab: OpenTab):
        bye = tab.receive("bye", timeout)
        code = tab.closed_with()
        assert (bye["code"], bye["reconnect"], code) == (4012, True, 4012)
        return time.monotonic(), bye

    with ThreadPoolExecutor(len(tabs)) as threads:
        return list(threads.map(wait_for_close, tabs))


def exited_cleanly(site):
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
def test_sigterm_closes_connections_over_the_drain_window_in_random_order(site, tabs):
    site.servers[0].terminate()
    closes = wait_for_closes(tabs)

    first = min(at for at, _ in closes)
    seconds = [at - first for at, _ in closes]
    assert all(bye["delay"] == 0 for _, bye in closes)  # the closes are already spread
    quarters = statistics.quantiles(sorted(seconds), n=4)
    assert quarters == pytest.approx(
        [DRAIN_SECONDS / 4, DRAIN_SECONDS / 2, DRAIN_SECONDS * 3 / 4], abs=DRAIN_SECONDS / 5
    )
    # Not in the order of opening, nor in reverse; the odds of a false alarm are 2 in 30!.
    assert seconds not in (sorted(seconds), sorted(seconds, reverse=True))
    assert exited_cleanly(site)


@pytest.mark.realtime
def test_a_draining_server_accepts_no_new_connections(site, tabs):
    server = site.servers[0]
    # Idle connections, as a proxy keeps them for the next request.
    kept, for_websocket = (
        http.client.HTTPConnection("127.0.0.1", server.port, timeout=5) for _ in range(2)
    )
    for connection in (kept, for_websocket):
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        assert (response.status, response.read() and response.getheader("Connection")) == (
            200,
            None,
        )

    server.terminate()
    wait_until(lambda: is_refused(server), timeout=DRAIN_SECONDS / 2)
    with connect(**connect_arguments(tabs[0]), sock=for_websocket.sock, close_timeout=1) as late:
        bye = OpenTab(late).receive("bye")
        assert OpenTab(late).closed_with() == 4012
    kept.request("GET", "/readyz")
    response = kept.getresponse()

    assert 0 < bye["delay"] <= DRAIN_SECONDS
    assert (response.status, json.load(response)["unavailable"]) == (503, ["server"])
    # So that the proxy does not reuse the connection.
    assert response.getheader("Connection") == "close"
    wait_for_closes(tabs)
    assert exited_cleanly(site)


def connect_arguments(tab):
    request = tab.connection.request
    return {
        "uri": f"ws://{request.headers['Host']}{request.path}",
        "origin": request.headers["Origin"],
        "additional_headers": {"Cookie": request.headers["Cookie"]},
        "compression": None,
    }


def test_a_running_request_is_completed(site, new_visitor):
    server = site.servers[0]
    with ThreadPoolExecutor(1) as thread:
        response = thread.submit(server.get_json, "/slow/2/")
        wait_until(lambda: "slow request started" in server.output())
        server.terminate()
        wait_until(lambda: is_refused(server))

        assert response.result(TIMEOUT_SECONDS) == {"seconds": 2}
    assert exited_cleanly(site)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_ctrl_c_or_a_second_sigterm_stops_at_once(start_site, new_visitor, first):
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

    delays = [bye["delay"] for _, bye in wait_for_closes(tabs)]
    if first == signal.SIGTERM:  # many clients have to spread out
        assert all(0 <= delay <= 600 for delay in delays)
        assert statistics.stdev(delays) > 60
    else:  # a developer's pages reconnect at once
        assert set(delays) == {0}
    assert exited_cleanly(site)


def test_a_third_signal_kills_a_hanging_server(start_site):
    site = start_site({**FAST, "NOTIFICATIONS_DRAIN_SECONDS": "600"})
    server = site.servers[0]
    with ThreadPoolExecutor(1) as thread:
        response = thread.submit(server.get_json, "/slow/600/")
        wait_until(lambda: "slow request started" in server.output())
        server.terminate()
        wait_until(lambda: is_refused(server))
        server.terminate()

        # After the drain, requests have two more seconds. This thread would run for ten minutes.
        wait_until(lambda: response.done())
        assert isinstance(response.exception(), OSError | http.client.HTTPException)
        assert server.process.poll() is None
        server.terminate()
        assert server.wait(TIMEOUT_SECONDS) == -signal.SIGTERM
        assert site.count("Worker") == 0


def test_uvicorn_deletes_its_rows_too(start_site, new_visitor):
    site = start_site({**FAST, "NOTIFICATIONS_DRAIN_SECONDS": "600"}, server="uvicorn")
    server = site.servers[0]
    wait_until(lambda: site.count("Worker") == 1)  # from the start, before any client connects
    tab = new_visitor(server.url, "alice").open_tab(server.url)
    tab.receive("heartbeat")

    server.terminate()

    assert tab.closed_with() == 1012  # uvicorn's own code
    assert server.wait(TIMEOUT_SECONDS) == -signal.SIGTERM
    assert site.count("Worker") == site.count("Connection") == 0
    assert "Traceback" not in server.output()


def test_running_out_of_file_descriptors_closes_no_connection(start_site, new_visitor):
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
    site.shell('notify_accounts(User.objects.get(username="alice"), "hello", "still connected")')
    for tab in tabs[:5]:
        assert tab.receive("hello")["content"]["body"] == "still connected"

    for tab in tabs[:3]:  # to make room for others
        tab.connection.close()
    wait_until(lambda: can_open(alice, server))
    assert "Traceback" not in server.output()


def can_open(visitor, server):
    try:
        visitor.open_tab(server.url).receive("register")
    except (OSError, WebSocketException, ValueError):
        return False
    return True
