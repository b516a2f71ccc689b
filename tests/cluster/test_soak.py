"""A short soak: the second crowd leaves no more behind than the first."""

from __future__ import annotations

import pytest

from harness.demo_data import make_demo_data
from harness.raw_client import RawClient
from harness.services import free_port, site_server
from harness.soak.run import Size, run
from tests.cluster.conftest import FAST, Site, wait_until


@pytest.mark.verify(180)
def test_a_second_crowd_leaves_no_more_than_the_first(tmp_path):
    size = Size(minutes=1, rounds=2, actions_per_second=15, samples=2)

    report = run(seed=3, size=size, directory=tmp_path)

    assert (report["leaks"], report["problems"]) == ([], [])
    counts = report["counts"]
    for action in ("closed", "cut off", "fell asleep", "logged out", "marked all read", "notified"):
        assert counts[action] > 10
    assert counts["connections"] > 2 * size.connections
    for sample in report["samples"]:
        assert (
            sample["daphne 0"]["connections"] + sample["uvicorn 1"]["connections"]
            > size.connections / 2
        )


@pytest.fixture
def site(tmp_path):
    """A server that reports what it holds."""
    env = {**FAST, "DATABASE_URL": f"sqlite:///{tmp_path}/site.sqlite3"}
    make_demo_data(env)
    with site_server(free_port(), env, application="harness.soak.site") as server:
        yield Site(env, [server])


def test_closed_connections_are_freed_without_the_garbage_collector(site, new_visitor):
    (server,) = site.servers
    visitors = [new_visitor(server.url, name) for name in ("alice", "bob", "carol")]
    before = server.get_json("/soak?objects")["objects"]
    clients = [RawClient(server.port).open_tab(visitor) for visitor in visitors * 40]
    for client in clients:
        client.receive_frames("heartbeat")
    server.get_json("/soak?objects")  # its collection moves them to the oldest generation

    for number, client in enumerate(clients):
        client.close() if number % 2 else client.reset()

    # Each report request leaves a few behind.
    few = 30 * len(clients)
    wait_until(lambda: server.get_json("/soak?uncollected")["objects"] < before + few)
