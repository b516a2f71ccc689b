"""A laptop's network is cut, so no FIN is sent: only its connections are removed, and soon."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from harness.demo_data import PRIVATE_PASSWORD, make_demo_data
from harness.frames import HEARTBEAT, frame
from harness.network import machine
from harness.raw_client import RawClient
from harness.services import free_port, site_server
from tests.cluster.conftest import FAST, Site, wait_until

WITHIN_SECONDS = 29  # the default timeout of 20, and a check after 9


@pytest.fixture
def site(cluster_env, shared_redis):
    """With the default interval and timeout, listening on all interfaces."""
    numbers = {"NOTIFICATIONS_HEARTBEAT_INTERVAL": "9", "NOTIFICATIONS_HEARTBEAT_TIMEOUT": "20"}
    env = {**cluster_env(shared_redis), **FAST, **numbers}
    make_demo_data(env, PRIVATE_PASSWORD)
    env["DEBUG"] = "0"  # or it would refuse other machines
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                site_server(free_port(), env, kind, application="harness.soak.site", host="0.0.0.0")
            )
            for kind in ("daphne", "uvicorn")
        ]
        yield Site(env, servers)


# CI runs as root.
@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: cutting a network needs root (ip netns)")
@pytest.mark.verify
def test_a_client_cut_off_the_network_is_removed_everywhere(site, new_visitor):
    bob = new_visitor(site.servers[0].url, "bob", password=PRIVATE_PASSWORD)
    alice = new_visitor(site.servers[0].url, "alice", password=PRIVATE_PASSWORD)
    bobs = [bob.open_tab(server.url) for server in site.servers]
    with psycopg.connect(site.env["DATABASE_URL"], autocommit=True) as database:

        def registered():
            query = "SELECT username FROM site_notifications_connection JOIN auth_user"
            return sorted(
                row[0] for row in database.execute(f"{query} ON account_id = auth_user.id")
            )

        def held():
            for tab in bobs:
                tab.send('{"type": "heartbeat"}')
                tab.receive("heartbeat")
            return [
                (
                    len(list(Path(f"/proc/{server.pid}/fd").iterdir())),
                    server.get_json("/soak")["connections"],
                )
                for server in site.servers
            ]

        wait_until(lambda: registered() == ["bob", "bob"])
        before = held()
        with machine() as laptop:
            clients = [
                laptop.run(
                    lambda server=server: RawClient(server.port, host=str(laptop.host)).open_tab(
                        alice
                    )
                )
                for server in site.servers
            ]
            for client in clients:
                client.receive_frames("heartbeat")
            wait_until(lambda: registered() == ["alice", "alice", "bob", "bob"])
            for client in clients:
                client.send(frame(HEARTBEAT))
                assert client.receive_frames("heartbeat")

            laptop.cut()
            cut_at = time.monotonic()

            wait_until(lambda: held() == before and registered() == ["bob", "bob"], WITHIN_SECONDS)
            gone_after = time.monotonic() - cut_at
            assert 15 < gone_after < WITHIN_SECONDS  # later than a FIN would
            names = "print(*[u.username for u in User.objects.all() if online([u])])"
            assert site.shell(names) == "bob"
            for client in clients:
                client.close()
    for server in site.servers:
        assert "Traceback" not in server.output()
