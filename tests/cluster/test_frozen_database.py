"""PostgreSQL stands still: a server says so, and ends when it is asked to."""

from __future__ import annotations

import http.client
import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster.conftest import FAST, wait_until

pytestmark = pytest.mark.verify(30)

DRAIN_SECONDS = 1
ENV = {
    **FAST,
    "NOTIFICATIONS_HEARTBEAT_INTERVAL": "1",
    "NOTIFICATIONS_DRAIN_SECONDS": str(DRAIN_SECONDS),
    "NOTIFICATIONS_MAINTENANCE": "server",
}
MAX_STOP_SECONDS = DRAIN_SECONDS + 10


@pytest.fixture
def start(start_site, own_postgres, new_visitor):
    """Start a site with a tab that is up to date."""

    def start(server="daphne"):
        site = start_site(
            {"DATABASE_URL": own_postgres.create_database("site"), **ENV}, server=server
        )
        url = site.servers[0].url
        alice = new_visitor(url, "alice")
        tab = alice.open_tab(url)
        tab.receive("heartbeat")
        return site.servers[0], alice, tab

    return start


def ready(server):
    """Return the status and the body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return response.status, json.load(response)
    finally:
        connection.close()


def test_a_server_is_not_ready_until_its_hub_checks_again(start, own_postgres):
    server, _, tab = start()
    wait_until(lambda: ready(server) == (200, {"status": "ok"}))

    own_postgres.freeze()

    def names_both():
        return ready(server) == (
            503,
            {"status": "unavailable", "unavailable": ["database", "check"]},
        )

    wait_until(names_both)
    tab.send('{"type": "heartbeat"}')
    tab.receive("heartbeat")
    own_postgres.thaw()
    wait_until(lambda: ready(server) == (200, {"status": "ok"}))


@pytest.mark.parametrize("name", ["daphne", "plain daphne", "uvicorn"])
def test_a_server_ends_while_its_database_stands_still(start, own_postgres, name):
    server, _, tab = start(name)
    own_postgres.freeze()
    wait_until(lambda: ready(server)[0] == 503)  # its threads wait for the database

    server.terminate()
    asked_at = time.monotonic()
    code = server.wait(60)

    assert time.monotonic() - asked_at < MAX_STOP_SECONDS
    assert code == (0 if "daphne" in name else -signal.SIGTERM)
    assert "Traceback" not in server.output()
    if name != "plain daphne":  # it tells nobody
        assert tab.closed_with() in {4012, 1012}


def test_a_server_ends_while_requests_wait_for_its_database(start, own_postgres):
    server, alice, _ = start()
    own_postgres.freeze()
    with ThreadPoolExecutor(1) as thread:
        request = thread.submit(alice.get_json, f"{server.url}/notify/1/")
        wait_until(lambda: ready(server)[0] == 503)

        server.terminate()
        asked_at = time.monotonic()
        assert server.wait(60) == 0

    assert time.monotonic() - asked_at < MAX_STOP_SECONDS
    assert isinstance(request.exception(), OSError | http.client.HTTPException)
