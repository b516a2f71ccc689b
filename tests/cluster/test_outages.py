"""Redis or PostgreSQL goes and comes back, a process dies: what is promised for each."""

from __future__ import annotations

import time
import uuid

import psycopg
import pytest

from harness.visitor import TIMEOUT_SECONDS
from tests.cluster.conftest import FAST, wait_until

pytestmark = pytest.mark.verify(20)

INTERVAL = 2  # seconds, so that what a push brings and what the check brings are told apart
WITHIN = INTERVAL + 2  # seconds in which the check brings what a push did not
ENV = {
    **FAST,
    "NOTIFICATIONS_HEARTBEAT_INTERVAL": str(INTERVAL),
}


@pytest.fixture
def cluster(start_site, cluster_env, shared_redis):
    return start_site({**cluster_env(shared_redis), **ENV}, servers=2)


def is_answered(tab):
    tab.send('{"type": "heartbeat"}')
    return tab.receive("heartbeat")


def pushes_arrive(visitor, url, tabs):
    """Whether what is not stored, and so only a push can bring, comes from `url` to all tabs."""
    body = uuid.uuid4().hex
    visitor.get_json(f"{url}/push/{body}/")
    try:
        for tab in tabs:
            while tab.receive("progress", timeout=0.5)["content"]["body"] != body:
                pass
    except TimeoutError:
        return False
    return True


# --- Redis


@pytest.mark.parametrize("kind", ["stopped", "frozen"])
def test_while_redis_is_away_nobody_waits_all_arrives_and_then_pushes_go_again(
    start_site, cluster_env, new_visitor, redis, kind
):
    site = start_site({**cluster_env(redis), **ENV}, servers=2)
    here, there = (server.url for server in site.servers)
    alice, bob = new_visitor(here, "alice"), new_visitor(there, "bob")
    tabs = [alice.open_tab(here), alice.open_tab(there)]
    for tab in tabs:
        tab.receive("heartbeat")
    wait_until(lambda: pushes_arrive(alice, here, tabs))
    usually = bob.get_json(f"{there}/notify/10/")["seconds"]
    gone, back = {"stopped": (redis.stop, redis.start), "frozen": (redis.freeze, redis.thaw)}[kind]
    gone()

    # Requests: in all, however often they notify, sync and async.
    for n, kind_of_view in enumerate(["notify", "anotify", "notify"]):
        assert alice.get_json(f"{here}/{kind_of_view}/10/")["seconds"] < usually + 5
        # All arrives on both servers, in order, by the check.
        for tab in tabs:
            seqs = [tab.receive("hello", timeout=WITHIN)["seq"] for _ in range(10)]
            assert seqs == list(range(10 * n + 1, 10 * n + 11))
            assert is_answered(tab)["unread"] == 10 * n + 10
    # Who comes now is let in, without waiting for a layer that is known to be away.
    bobs_tab = bob.open_tab(there)
    assert bobs_tab.receive("register")
    bob.get_json(f"{there}/notify/1/")
    assert bobs_tab.receive("hello", timeout=WITHIN)["seq"] == 11

    back()

    # The same sockets get pushes again, also those of who came meanwhile.
    wait_until(lambda: pushes_arrive(alice, here, tabs))
    wait_until(lambda: pushes_arrive(bob, there, [bobs_tab]))
    alice.get_json(f"{here}/notify/1/")
    assert [tab.receive("hello", timeout=WITHIN)["seq"] for tab in tabs] == [31, 31]
    for server in site.servers:
        assert "Traceback" not in server.output()


def test_a_restarted_and_flushed_redis_closes_no_socket_and_pushes_go_on(
    start_site, cluster_env, new_visitor, redis
):
    site = start_site({**cluster_env(redis), **ENV}, servers=2)
    here, there = (server.url for server in site.servers)
    alice = new_visitor(here, "alice")
    tabs = [alice.open_tab(here), alice.open_tab(there)]
    for tab in tabs:
        tab.receive("heartbeat")
    wait_until(lambda: pushes_arrive(alice, here, tabs))

    redis.stop()
    redis.start()

    wait_until(lambda: pushes_arrive(alice, here, tabs))
    redis.flush()
    wait_until(lambda: pushes_arrive(alice, here, tabs))


def test_a_server_stops_politely_while_redis_is_frozen(start_site, cluster_env, new_visitor, redis):
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


def test_while_postgresql_is_away_sockets_stay_and_then_all_is_as_before(
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

    end = time.monotonic() + 2 * INTERVAL
    while time.monotonic() < end:
        for tab in tabs:
            assert is_answered(tab)
        time.sleep(0.5)
    late = alice.open_tab(there)
    assert late.receive("bye")["code"] == 4503
    assert late.closed_with() == 4503

    own_postgres.start()

    for tab in tabs:
        assert is_answered(tab)
    assert alice.open_tab(there).receive("register", timeout=WITHIN)
    alice.get_json(f"{here}/notify/1/")
    for tab in tabs:
        assert tab.receive("hello", timeout=WITHIN)["seq"] == 1
    for server in site.servers:
        assert "Traceback" not in server.output()


def test_who_could_not_renew_its_lease_because_of_postgresql_is_not_reaped(
    start_site, new_visitor, own_postgres, redis
):
    database = own_postgres.create_database("site")
    lease = 4 * INTERVAL
    env = {"NOTIFICATIONS_MAINTENANCE": "server", "NOTIFICATIONS_HEARTBEAT_TIMEOUT": str(lease)}
    site = start_site({"DATABASE_URL": database, "REDIS_URL": redis.url, **ENV, **env}, servers=2)
    there = site.servers[1]

    def read(query):
        with psycopg.connect(database) as connection:
            return connection.execute(query).fetchone()[0]

    wait_until(lambda: read("SELECT count(*) FROM site_notifications_worker") == 2)
    there.freeze()  # as late as can be: it does not renew before the other's next pass
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


def test_what_was_missed_comes_soon_after_postgresql_is_back_even_without_redis(
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
    time.sleep(1.5 * INTERVAL)  # a check or two in vain
    own_postgres.start()

    back_at = time.monotonic()
    for tab in tabs:
        assert [tab.receive("hello", timeout=WITHIN)["seq"] for _ in range(5)] == [1, 2, 3, 4, 5]
    assert time.monotonic() - back_at < WITHIN


def test_ended_database_connections_are_opened_again(cluster, new_visitor):
    here, there = (server.url for server in cluster.servers)
    alice = new_visitor(here, "alice")
    tabs = [alice.open_tab(here), alice.open_tab(there)]
    for tab in tabs:
        tab.receive("heartbeat")

    cluster.shell(
        "from django.db import connection\n"
        "connection.cursor().execute('SELECT pg_terminate_backend(pid) FROM pg_stat_activity'"
        " ' WHERE datname = current_database() AND pid <> pg_backend_pid()')\n"
        'notify_accounts(User.objects.get(username="alice"), "hello", "after it")'
    )

    for tab in tabs:
        assert tab.receive("hello")["seq"] == 1
    assert alice.open_tab(there).receive("register")
    assert is_answered(tabs[0])["unread"] == 1


# --- A process, or its database connection, dies in the middle

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
    notify_accounts(User.objects.filter(username__in=["alice", "bob"]), "hello", "to be told")
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
def test_what_died_between_commit_and_numbering_arrives_all_the_same(cluster, new_visitor, how):
    url = cluster.servers[0].url
    tab = new_visitor(url, "alice").open_tab(url)
    tab.receive("heartbeat")

    succeeded = run_and_die(cluster, how, before="transaction.on_commit(die)")

    # Who lost only the connection has committed, and is told of no failure.
    assert succeeded == (how == "ended connection")
    assert tab.receive("hello")["seq"] == 1
    # Bob has no tab: his is left to the periodic task.
    said = cluster.manage("notification_maintenance", "--once")
    assert "notifications delivered: 1" in said
    bob = new_visitor(url, "bob")
    assert [item["number"] for item in bob.get_json(f"{url}/notifications/items/")["items"]] == [1]


@pytest.mark.parametrize("how", DIE)
def test_what_died_before_the_commit_never_was(cluster, new_visitor, how):
    url = cluster.servers[0].url
    alice = new_visitor(url, "alice")
    tab = alice.open_tab(url)
    tab.receive("heartbeat")

    assert not run_and_die(cluster, how, after="die()")

    assert cluster.count("Notification") == 0
    alice.get_json(f"{url}/notify/1/")
    frame = tab.receive("hello")
    assert (frame["seq"], frame["content"]["body"]) == (1, "0")


def test_the_clients_of_a_killed_server_go_on_at_another_and_miss_nothing(cluster, new_visitor):
    here, there = cluster.servers
    alice = new_visitor(here.url, "alice")
    tab = alice.open_tab(here.url)
    tab.receive("heartbeat")
    alice.get_json(f"{here.url}/notify/2/")
    seen = [tab.receive("hello") for _ in range(2)][-1]
    start = is_answered(tab)

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
