"""PostgreSQL is slow, has no connections left, or restarts: heartbeats are still answered."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from tests.cluster.conftest import FAST, wait_until

INTERVAL_SECONDS = 1  # between the hub's checks
MAX_ANSWER_SECONDS = 0.2
TABS = 10  # on each server

pytestmark = pytest.mark.realtime

ENV = {
    **FAST,
    "NOTIFICATIONS_HEARTBEAT_INTERVAL": str(INTERVAL_SECONDS),
    "NOTIFICATIONS_MAINTENANCE": "server",
}


@contextmanager
def tables_locked(postgres, database):
    """Lock all tables, so that every query waits."""
    with psycopg.connect(database) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        names = ", ".join(name for (name,) in tables.fetchall())
        wait_until(lambda: is_locked(connection, names))
        yield 5
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        (count,) = connection.execute(waiting).fetchone()
        assert count >= 2  # the hubs of both servers


def is_locked(connection, names):
    """Lock all tables or none; locking them one by one could deadlock with the hubs."""
    try:
        connection.execute(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE NOWAIT".encode())
    except psycopg.errors.LockNotAvailable:
        connection.rollback()
        return False
    return True


@contextmanager
def no_connections_left(postgres, database):
    """Take all of PostgreSQL's connections, after ending those of the site."""
    others = (
        "FROM pg_stat_activity WHERE datname = current_database() AND application_name <> 'other'"
    )
    with ExitStack() as stack:

        def take_all():
            while True:
                try:
                    taken = psycopg.connect(database, autocommit=True, application_name="other")
                except psycopg.OperationalError as refused:
                    assert "too many clients" in str(refused)
                    return
                stack.enter_context(taken)

        first = stack.enter_context(
            psycopg.connect(database, autocommit=True, application_name="other")
        )
        take_all()
        while first.execute(f"SELECT count(*) {others}").fetchone() != (0,):
            first.execute(f"SELECT pg_terminate_backend(pid) {others}")
            take_all()
        yield 4 * INTERVAL_SECONDS
    wait_until(lambda: accepts_connections(database))  # they become free a moment later


def accepts_connections(database):
    try:
        psycopg.connect(database).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def restart(postgres, database):
    with ThreadPoolExecutor(1) as thread:
        restarted = thread.submit(postgres.restart)
        yield 4 * INTERVAL_SECONDS
        restarted.result(timeout=30)


def slowest_answer(tabs, seconds):
    slowest = 0.0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for tab in tabs:
            sent_at = time.monotonic()
            tab.send('{"type": "heartbeat"}')
            tab.receive("heartbeat")
            slowest = max(slowest, time.monotonic() - sent_at)
        time.sleep(0.2)
    return slowest


@pytest.mark.parametrize("trouble", [tables_locked, no_connections_left, restart])
def test_heartbeats_are_answered_while_the_database_is_blocked(
    start_site, new_visitor, own_postgres, shared_redis, trouble
):
    database = own_postgres.create_database("site")
    env = {"DATABASE_URL": database, "REDIS_URL": shared_redis.url, **ENV}
    site = start_site(env, servers=2)
    here, there = (server.url for server in site.servers)
    alice = new_visitor(here, "alice")
    tabs = [alice.open_tab(url) for url in (here, there) for _ in range(TABS)]
    for tab in tabs:
        tab.receive("heartbeat")

    with trouble(own_postgres, database) as seconds:
        slowest = slowest_answer(tabs, seconds)

    assert slowest < MAX_ANSWER_SECONDS, slowest
    # The same connections continue as before.
    alice.get_json(f"{here}/notify/1/")
    for tab in tabs:
        assert tab.receive("hello", timeout=INTERVAL_SECONDS + 4)["seq"] == 1
    for server in site.servers:
        assert "Traceback" not in server.output()
