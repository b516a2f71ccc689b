"""Outages of Redis and PostgreSQL, and processes that die: nothing is lost."""

from __future__ import annotations

import time
import uuid

import psycopg
import pytest

from harness.visitor import TIMEOUT_SECONDS
from tests.cluster.conftest import FAST, wait_until

pytestmark = pytest.mark.verify(20)

INTERVAL_SECONDS = 2  # long enough to distinguish live updates from the check
WITHIN_SECONDS = INTERVAL_SECONDS + 2  # in which the check delivers what live updates did not
ENV = {
    **FAST,
    "NOTIFICATIONS_HEARTBEAT_INTERVAL": str(INTERVAL_SECONDS),
}


@pytest.fixture
def cluster(start_site, cluster_env, shared_redis):
    return start_site({**cluster_env(shared_redis), **ENV}, servers=2)


def send_heartbeat(tab):
    tab.send('{"type": "heartbeat"}')
    return tab.receive("heartbeat")


def live_updates_arrive(visitor, url, tabs):
    """Whether a live update that is not stored gets from the server at `url` to all tabs."""
    body = uuid.uuid4().hex
    visitor.get_json(f"{url}/publish/{body}/")
    try:
        for tab in tabs:
            while tab.receive("progress", timeout=0.5)["content"]["body"] != body:
                pass
    except TimeoutError:
        return False
    return True


# --- Redis


@pytest.mark.parametrize("kind", ["stopped", "frozen"])
def test_a_redis_outage_delays_no_request_and_loses_nothing(
    start_site, cluster_env, new_visitor, redis, kind
):
    site = start_site({**cluster_env(redis), **ENV}, servers=2)
    here, there = (server.url for server in site.servers)
    alice, bob = new_visitor(here, "alice"), new_visitor(there, "bob")
    tabs = [alice.open_tab(here), alice.open_tab(there)]
    for tab in tabs:
        tab.receive("heartbeat")
    wait_until(lambda: live_updates_arrive(alice, here, tabs))
    normal = bob.get_json(f"{there}/notify/10/")["seconds"]
    stop, resume = {"stopped": (redis.stop, redis.start), "frozen": (redis.freeze, redis.thaw)}[
        kind
    ]
    stop()

    # Requests that notify are hardly delayed, whether sync or async.
    for n, kind_of_view in enumerate(["notify", "anotify", "notify"]):
        assert alice.get_json(f"{here}/{kind_of_view}/10/")["seconds"] < normal + 5
        # The check delivers everything to both servers, in order.
        for tab in tabs:
            seqs = [tab.receive("hello", timeout=WITHIN_SECONDS)["seq"] for _ in range(10)]
            assert seqs == list(range(10 * n + 1, 10 * n + 11))
            assert send_heartbeat(tab)["unread"] == 10 * n + 10
    # New clients connect without waiting for the layer, which is known to be down.
    bobs_tab = bob.open_tab(there)
    assert bobs_tab.receive("register")
    bob.get_json(f"{there}/notify/1/")
    assert bobs_tab.receive("hello", timeout=WITHIN_SECONDS)["seq"] == 11

    resume()

    # Live updates reach the same connections again, and those opened meanwhile.
    wait_until(lambda: live_updates_arrive(alice, here, tabs))
    wait_until(lambda: live_updates_arrive(bob, there, [bobs_tab]))
    alice.get_json(f"{here}/notify/1/")
    assert [tab.receive("hello", timeout=WITHIN_SECONDS)["seq"] for tab in tabs] == [31, 31]
    for server in site.servers:
        assert "Traceback" not in server.output()


def test_live_updates_resume_after_redis_is_restarted_or_flushed(
    start_site, cluster_env, new_visitor, redis
):
    site = start_site({**cluster_env(redis), **ENV}, servers=2)
    here, there = (server.url for server in site.servers)
    alice = new_visitor(here, "alice")
    tabs = [alice.open_tab(here), alice.open_tab(there)]
    for tab in tabs:
        tab.receive("heartbeat")
    wait_until(lambda: live_updates_arrive(alice, here, tabs))

    redis.stop()
    redis.start()

    wait_until(lambda: live_updates_arrive(alice, here, tabs))
    redis.flush()
    wait_until(lambda: live_updates_arrive(alice, here, tabs))


def test_a_server_stops_cleanly_while_redis_is_frozen(start_site, cluster_env, new_visitor, redis):
    site = start_site({**cluster_env(redis), **ENV})
    server = site.servers[0]
    tabs = [new_visitor(server.url, name).open_tab(server.url) for name in ("alice", "bob")]
    for tab in tabs:
        tab.receive("heartbeat")
    redis.freeze()

    server.terminate()

    for tab in tabs:
        assert tab.receive("bye")["code"] == 4012
    assert server.wait(TIMEOUT_SECONDS) == 0
    assert site.count("Worker") == site.count("Connection") == 0


# --- PostgreSQL


def test_connections_survive_a_postgresql_outage(
    start_site, cluster_env, new_visitor, own_postgres, redis
):
    database = own_postgres.create_database("site")
    env = {"DATABASE_URL": database, "REDIS_URL": redis.url, **ENV}
    site = start_site({**env, "NOTIFICATIONS_MAINTENANCE": "server"}, servers=2)
    here, there = (server.url for server in site.servers)
    alice = new_visitor(here, "alice")
    tabs = [alice.open_tab(here), alice.open_tab(there)]
    for tab in tabs:
        tab.receive("heartbeat")

    own_postgres.stop()

    end = time.monotonic() + 2 * INTERVAL_SECONDS
    while time.monotonic() < end:
        for tab in tabs:
            assert send_heartbeat(tab)
        time.sleep(0.5)
    late = alice.open_tab(there)
    assert late.receive("bye")["code"] == 4503
    assert late.closed_with() == 4503

    own_postgres.start()

    for tab in tabs:
        assert send_heartbeat(tab)
    assert alice.open_tab(there).receive("register", timeout=WITHIN_SECONDS)
    alice.get_json(f"{here}/notify/1/")
    for tab in tabs:
        assert tab.receive("hello", timeout=WITHIN_SECONDS)["seq"] == 1
    for server in site.servers:
        assert "Traceback" not in server.output()


def test_a_worker_that_could_not_renew_its_lease_in_an_outage_is_not_reaped(
    start_site, new_visitor, own_postgres, redis
):
    database = own_postgres.create_database("site")
    lease = 4 * INTERVAL_SECONDS
    env = {"NOTIFICATIONS_MAINTENANCE": "server", "NOTIFICATIONS_HEARTBEAT_TIMEOUT": str(lease)}
    site = start_site({"DATABASE_URL": database, "REDIS_URL": redis.url, **ENV, **env}, servers=2)
    there = site.servers[1]

    def read(query):
        with psycopg.connect(database) as connection:
            return connection.execute(query).fetchone()[0]

    wait_until(lambda: read("SELECT count(*) FROM site_notifications_worker") == 2)
    there.freeze()  # so that it does not renew its lease before the other server's next pass
    own_postgres.stop()
    time.sleep(lease + 1)

    own_postgres.start()

    back_at = read("SELECT now()")
    wait_until(
        lambda: read("SELECT last_pass_at FROM site_notifications_maintenancelease") > back_at
    )
    assert read("SELECT min(lease_until) < now() FROM site_notifications_worker")
    there.thaw()
    renewed = "SELECT count(*) FROM site_notifications_worker WHERE lease_until > now()"
    wait_until(lambda: read(renewed) == 2)


def test_missed_notifications_arrive_once_postgresql_is_back_even_without_redis(
    start_site, new_visitor, own_postgres, redis
):
    database = own_postgres.create_database("site")
    site = start_site({"DATABASE_URL": database, "REDIS_URL": redis.url, **ENV}, servers=2)
    here, there = (server.url for server in site.servers)
    alice = new_visitor(here, "alice")
    tabs = [alice.open_tab(here), alice.open_tab(there)]
    for tab in tabs:
        tab.receive("heartbeat")
    redis.freeze()
    alice.get_json(f"{here}/notify/5/")

    own_postgres.stop()
    time.sleep(1.5 * INTERVAL_SECONDS)  # one or two checks fail
    own_postgres.start()

    back_at = time.monotonic()
    for tab in tabs:
        assert [tab.receive("hello", timeout=WITHIN_SECONDS)["seq"] for _ in range(5)] == [
            1,
            2,
            3,
            4,
            5,
        ]
    assert time.monotonic() - back_at < WITHIN_SECONDS


def test_closed_database_connections_are_reopened(cluster, new_visitor):
    here, there = (server.url for server in cluster.servers)
    alice = new_visitor(here, "alice")
    tabs = [alice.open_tab(here), alice.open_tab(there)]
    for tab in tabs:
        tab.receive("heartbeat")

    cluster.shell(
        "from django.db import connection\n"
        "connection.cursor().execute('SELECT pg_terminate_backend(pid) FROM pg_stat_activity'"
        " ' WHERE datname = current_database() AND pid <> pg_backend_pid()')\n"
        'notify_accounts(User.objects.get(username="alice"), "hello", "afterwards")'
    )

    for tab in tabs:
        assert tab.receive("hello")["seq"] == 1
    assert alice.open_tab(there).receive("register")
    assert send_heartbeat(tabs[0])["unread"] == 1


# --- A process or its database connection dies halfway

DIE = {
    "killed process": "os.kill(os.getpid(), signal.SIGKILL)",
    "ended connection": (
        "other = connection.copy()\n"
        "    other.cursor().execute('SELECT pg_terminate_backend(%s)',"
        " [connection.connection.info.backend_pid])\n"
        "    other.close()"
    ),
}
PROGRAM = """
import os, signal
from django.db import connection, transaction
def die():
    {die}
with transaction.atomic():
    {before}
    notify_accounts(User.objects.filter(username__in=["alice", "bob"]), "hello", "from a crash")
    {after}
"""


def run_and_die(site, how, **where):
    program = PROGRAM.format(die=DIE[how], **{"before": "pass", "after": "pass", **where})
    try:
        site.shell(program)
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("how", DIE)
def test_a_crash_between_commit_and_numbering_loses_nothing(cluster, new_visitor, how):
    url = cluster.servers[0].url
    tab = new_visitor(url, "alice").open_tab(url)
    tab.receive("heartbeat")

    succeeded = run_and_die(cluster, how, before="transaction.on_commit(die)")

    # The process that only lost its connection has committed, and does not fail.
    assert succeeded == (how == "ended connection")
    assert tab.receive("hello")["seq"] == 1
    # Bob has no open tab, so the periodic task numbers his.
    output = cluster.manage("notification_maintenance", "--once")
    assert "notifications numbered: 1" in output
    bob = new_visitor(url, "bob")
    assert [item["number"] for item in bob.get_json(f"{url}/notifications/items/")["items"]] == [1]


@pytest.mark.parametrize("how", DIE)
def test_a_crash_between_a_retraction_and_the_removal_is_made_good(cluster, new_visitor, how):
    url = cluster.servers[0].url
    cluster.shell(
        'notify_accounts(User.objects.filter(username__in=["alice", "bob"]), "hello", "wrong")\n'
        'broadcast("news", "wrong")'
    )
    tab = new_visitor(url, "alice").open_tab(url)
    assert tab.receive("heartbeat")["unread"] == 1

    run_and_die(
        cluster,
        how,
        before="from notifications.models import Broadcast, Notification\n"
        "    transaction.on_commit(die)\n"
        '    retract([*Notification.objects.filter(body="wrong"), Broadcast.objects.get()])',
    )

    states = [tab.receive("state") for _ in range(2)]
    assert {(state["as"], state["ids"][0][0]) for state in states} == {("gone", "b"), ("gone", "n")}
    # Bob has no open tab, so the periodic task removes his.
    assert "retracted: 1" in cluster.manage("notification_maintenance", "--once")
    items = new_visitor(url, "bob").get_json(f"{url}/notifications/items/")["items"]
    assert [item["content"]["body"] for item in items] == ["from a crash"]
    assert cluster.count("Retraction") == 0


@pytest.mark.parametrize("how", DIE)
def test_a_crash_before_the_commit_notifies_nobody(cluster, new_visitor, how):
    url = cluster.servers[0].url
    alice = new_visitor(url, "alice")
    tab = alice.open_tab(url)
    tab.receive("heartbeat")

    assert not run_and_die(cluster, how, after="die()")

    assert cluster.count("Notification") == 0
    alice.get_json(f"{url}/notify/1/")
    frame = tab.receive("hello")
    assert (frame["seq"], frame["content"]["body"]) == (1, "0")


def test_clients_of_a_killed_server_resume_at_another_and_miss_nothing(cluster, new_visitor):
    here, there = cluster.servers
    alice = new_visitor(here.url, "alice")
    tab = alice.open_tab(here.url)
    tab.receive("heartbeat")
    alice.get_json(f"{here.url}/notify/2/")
    seen = [tab.receive("hello") for _ in range(2)][-1]
    start = send_heartbeat(tab)

    here.kill()
    assert tab.closed_with() is None
    alice.get_json(f"{there.url}/notify/3/")

    page = alice.get_json(f"{there.url}/notifications/items/")
    tab = alice.open_tab(
        there.url,
        seq=seen["seq"],
        broadcast_seq=start["broadcast_seq"],
        epoch=page["epoch"],
        scope=page["scope"],
    )
    assert [tab.receive("hello")["seq"] for _ in range(3)] == [3, 4, 5]
    assert tab.receive("heartbeat")["unread"] == 5
