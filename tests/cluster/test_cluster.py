"""PostgreSQL, Redis and two server processes."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from tests.cluster.conftest import FAST, wait_until


def test_a_notification_reaches_tabs_on_both_servers(cluster, new_visitor):
    here, there = (server.url for server in cluster.servers)
    alice = new_visitor(here, "alice")
    tabs = [alice.open_tab(here), alice.open_tab(there)]
    for tab in tabs:
        tab.receive("heartbeat")

    alice.submit(f"{here}/", f"{here}/orders/1/pay/")

    for tab in tabs:
        assert tab.receive("order_paid")["unread"] == 1


def test_a_management_command_reaches_tabs_on_both_servers(
    start_site, cluster_env, new_visitor, redis
):
    # Checks are an hour apart, so only the live update can arrive.
    env = {**cluster_env(redis), **FAST, "NOTIFICATIONS_HEARTBEAT_INTERVAL": "3600"}
    site = start_site(env, servers=2)
    here, there = (server.url for server in site.servers)
    alice = new_visitor(here, "alice")
    tabs = [alice.open_tab(here), alice.open_tab(there)]
    for tab in tabs:
        tab.receive("heartbeat")

    site.shell('notify_accounts(User.objects.get(username="alice"), "hello", "from a command")')

    for tab in tabs:
        assert tab.receive("hello")["content"]["body"] == "from a command"


def test_a_broadcast_is_one_row_and_reaches_everyone(cluster, new_visitor):
    here, there = (server.url for server in cluster.servers)
    tabs = [
        new_visitor(here, "alice").open_tab(here),
        new_visitor(there, "bob").open_tab(there),
    ]
    for tab in tabs:
        tab.receive("heartbeat")

    cluster.shell('broadcast("maintenance", "Back in five minutes", level="warning")')

    for tab in tabs:
        assert tab.receive("maintenance")["content"]["body"] == "Back in five minutes"
    assert cluster.count("Broadcast") == 1
    assert cluster.count("BroadcastReceipt") == 0
    page = new_visitor(here, "carol").get_json(f"{here}/notifications/items/")
    assert [item["type"] for item in page["items"]] == ["maintenance"]


def test_every_server_knows_which_accounts_are_online(cluster, new_visitor):
    here, there = (server.url for server in cluster.servers)
    new_visitor(here, "alice").open_tab(here).receive("heartbeat")
    new_visitor(there, "bob").open_tab(there).receive("heartbeat")

    wait_until(lambda: cluster.count("Connection") == 2)

    names = 'print(*User.objects.filter(pk__in=online(User.objects.all())).order_by("pk"))'
    assert cluster.shell(names) == "alice bob"


def test_a_new_epoch_reloads_open_tabs_without_redis(start_site, cluster_env, new_visitor, redis):
    site = start_site({**cluster_env(redis), **FAST}, servers=2)
    tabs = [new_visitor(server.url, "alice").open_tab(server.url) for server in site.servers]
    for tab in tabs:
        tab.receive("heartbeat")
    redis.stop()

    output = site.manage("notification_maintenance", "--new-epoch")

    for tab in tabs:
        assert f"Epoch {tab.receive('resync')['epoch']} has begun" in output


def test_requests_leave_no_database_connections_open(start_site, cluster_env, new_visitor, redis):
    # Without the demo's pool, which keeps some.
    env = {**cluster_env(redis), **FAST, "NOTIFICATIONS_MAINTENANCE": "server"}
    (server,) = start_site(env, servers=1).servers
    alice = new_visitor(server.url, "alice")

    for _ in range(30):
        alice.get_json(f"{server.url}/notifications/items/")

    # With autocommit, because within one transaction the result would not change.
    with psycopg.connect(env["DATABASE_URL"], autocommit=True) as connection:
        others = "FROM pg_stat_activity WHERE datname = current_database()"
        query = f"SELECT count(*) {others} AND pid <> pg_backend_pid()"
        # The hub and the periodic task keep one each; the others close with their requests.
        wait_until(lambda: connection.execute(query).fetchone() <= (2,))


@pytest.fixture
def short_leases(start_site, cluster_env, shared_redis):
    """Two servers whose leases, and silent connections, expire within a test."""
    env = {**cluster_env(shared_redis), **FAST, "NOTIFICATIONS_HEARTBEAT_TIMEOUT": "6"}
    return start_site(env, servers=2)


def test_a_killed_servers_rows_are_deleted_once_its_lease_is_over(short_leases, new_visitor):
    here, there = short_leases.servers
    alice, bob = new_visitor(here.url, "alice"), new_visitor(there.url, "bob")

    with kept_alive(bob.open_tab(there.url)):
        alice.open_tab(here.url).receive("heartbeat")
        wait_until(lambda: short_leases.count("Connection") == 2)

        here.kill()

        wait_until(lambda: "connections reaped: 1" in run_maintenance(short_leases))
    left = short_leases.shell(
        "from notifications.models import Connection, Worker\n"
        "names = User.objects.filter(pk__in=online(User.objects.all()))\n"
        "print(Worker.objects.count(), Connection.objects.count(), *names)"
    )
    assert left == "1 1 bob"


def test_a_worker_reaped_while_frozen_registers_again(short_leases, new_visitor):
    here = short_leases.servers[0]
    new_visitor(here.url, "alice").open_tab(here.url).receive("heartbeat")
    wait_until(lambda: short_leases.count("Connection") == 1)
    here.freeze()
    wait_until(lambda: "workers reaped: 1" in run_maintenance(short_leases))
    assert short_leases.count("Connection") == 0

    here.thaw()

    wait_until(lambda: short_leases.count("Worker") == 2)


@contextmanager
def kept_alive(tab):
    """Send heartbeats, because a command may take longer than the timeout."""
    ended = threading.Event()

    def beat():
        while not ended.wait(0.5):
            tab.send('{"type": "heartbeat"}')
            tab.receive("heartbeat")

    with ThreadPoolExecutor(1) as thread:
        heartbeats = thread.submit(beat)
        try:
            yield
        finally:
            ended.set()
        heartbeats.result()


def run_maintenance(site):
    return site.manage("notification_maintenance", "--once")


@pytest.mark.verify(30)
class TestDefaultNumbers:
    """An interval of 9 seconds and a timeout of 20, the defaults."""

    @pytest.mark.realtime
    def test_a_silent_client_is_closed_within_29_seconds(self, start_site, new_visitor):
        site = start_site({})
        url = site.servers[0].url
        tab = new_visitor(url, "alice").open_tab(url)
        started = time.monotonic()
        assert tab.receive("register")["heartbeat"] == {"interval": 9, "timeout": 20}

        tab.receive("ping", timeout=15)
        assert time.monotonic() - started > 8

        assert tab.receive("bye", timeout=20)["code"] == 4408
        assert 19 < time.monotonic() - started < 29
        assert tab.closed_with() == 4408
        wait_until(lambda: site.count("Connection") == 0)

    def test_a_client_that_answers_pings_stays(self, start_site, new_visitor):
        site = start_site({})
        url = site.servers[0].url
        tab = new_visitor(url, "alice").open_tab(url)

        for _ in range(3):
            tab.receive("ping", timeout=15)
            tab.send('{"type": "heartbeat"}')
            tab.receive("heartbeat")

        assert site.count("Connection") == 1

    def test_a_killed_servers_rows_are_deleted_within_two_leases(
        self, start_site, cluster_env, new_visitor, shared_redis
    ):
        site = start_site(cluster_env(shared_redis), servers=2)
        doomed = site.servers[0]
        new_visitor(doomed.url, "alice").open_tab(doomed.url).receive("heartbeat")
        wait_until(lambda: site.count("Connection") == 1)

        doomed.kill()

        wait_until(lambda: site.count("Connection") == 0, timeout=40)

    @pytest.mark.realtime
    def test_a_shell_notification_arrives_within_three_seconds(self, start_site, new_visitor):
        site = start_site({})
        url = site.servers[0].url
        tab = new_visitor(url, "alice").open_tab(url)
        tab.receive("heartbeat")

        site.shell('notify_accounts(User.objects.get(username="alice"), "hello", "from a shell")')

        # With the in-memory layer, the hub checks every second.
        assert tab.receive("hello", timeout=1 + 2)["seq"] == 1

    @pytest.mark.realtime
    def test_without_redis_the_check_delivers_within_an_interval_and_two_seconds(
        self, start_site, cluster_env, new_visitor, redis
    ):
        site = start_site(cluster_env(redis))
        url = site.servers[0].url
        tab = new_visitor(url, "alice").open_tab(url)
        tab.receive("heartbeat")
        redis.stop()

        site.shell('notify_accounts(User.objects.get(username="alice"), "hello", "not published")')

        assert tab.receive("hello", timeout=9 + 2)["seq"] == 1
