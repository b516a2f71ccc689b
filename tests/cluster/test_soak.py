"""A short soak: crowds come, churn and go, and the last leaves no more than the first."""

from __future__ import annotations

import pytest

from harness.demo_data import make_demo_data
from harness.raw_client import RawClient
from harness.services import free_port, site_server
from harness.soak.run import Size, run
from tests.cluster.conftest import FAST, Site, wait_until


@pytest.mark.verify(180)
def test_a_second_crowd_leaves_nothing_that_the_first_did_not(tmp_path):
    size = Size(minutes=1, rounds=2, changes_per_second=15, samples=2)

    report = run(seed=3, size=size, directory=tmp_path)

    assert (report["left"], report["problems"]) == ([], [])
    happened = report["happened"]
    for what in ("closed", "cut off", "fell asleep", "logged out", "marked all read", "notified"):
        assert happened[what] > 10
    assert happened["connections"] > 2 * size.sockets
    for sample in report["samples"]:
        assert sample["daphne 0"]["sockets"] + sample["uvicorn 1"]["sockets"] > size.sockets / 2


@pytest.fixture
def site(tmp_path):
    """A server that tells what it holds."""
    env = {**FAST, "DATABASE_URL": f"sqlite:///{tmp_path}/site.sqlite3"}
    make_demo_data(env)
    with site_server(free_port(), env, application="harness.soak.site") as server:
        yield Site(env, [server])


def test_a_socket_that_has_ended_does_not_wait_for_the_garbage_collector(site, new_visitor):
    (server,) = site.servers
    visitors = [new_visitor(server.url, name) for name in ("alice", "bob", "carol")]
    before = server.get_json("/soak?objects")["objects"]
    clients = [RawClient(server.port).open_tab(visitor) for visitor in visitors * 40]
    for client in clients:
        client.told("heartbeat")
    server.get_json("/soak?objects")  # by whose collection they are old, as sockets are

    for number, client in enumerate(clients):
        client.close() if number % 2 else client.reset()

    # A few are left of each request that asks.
    few = 30 * len(clients)
    wait_until(lambda: server.get_json("/soak?uncollected")["objects"] < before + few)
