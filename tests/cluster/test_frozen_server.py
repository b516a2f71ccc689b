"""A server stands still for longer than the heartbeat timeout, and goes on."""

from __future__ import annotations

import time

import pytest

from tests.cluster.conftest import FAST

pytestmark = pytest.mark.verify(30)

INTERVAL_SECONDS, TIMEOUT_SECONDS = 1, 5
ENV = {
    **FAST,
    "NOTIFICATIONS_HEARTBEAT_INTERVAL": str(INTERVAL_SECONDS),
    "NOTIFICATIONS_HEARTBEAT_TIMEOUT": str(TIMEOUT_SECONDS),
}


@pytest.mark.parametrize("name", ["daphne", "uvicorn"])
def test_a_thawed_server_asks_its_clients_before_it_closes_their_connections(
    start_site, new_visitor, name
):
    site = start_site(ENV, server=name)
    server = site.servers[0]
    alice = new_visitor(server.url, "alice")
    live, dead = [alice.open_tab(server.url) for _ in range(20)], alice.open_tab(server.url)
    for tab in [*live, dead]:
        tab.receive("heartbeat")

    server.freeze()
    for tab in live:
        tab.send('{"type": "heartbeat"}')  # lies in a buffer
    time.sleep(2 * TIMEOUT_SECONDS)
    server.thaw()
    thawed_at = time.monotonic()

    for tab in live:
        tab.receive("ping")
        tab.send('{"type": "heartbeat"}')
    alice.get_json(f"{server.url}/notify/1/")
    for tab in live:
        assert tab.receive("hello")["seq"] == 1
        tab.send('{"type": "heartbeat"}')
    # A peer that does not answer is noticed as ever.
    assert dead.receive("bye")["code"] == dead.closed_with() == 4408
    assert time.monotonic() - thawed_at > TIMEOUT_SECONDS - 1
    for tab in live:
        tab.send('{"type": "heartbeat"}')
        tab.receive("heartbeat")
