"""PostgreSQL takes long, takes nobody, or restarts: heartbeats are answered as if nothing was."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from tests.cluster.conftest import FAST, wait_until

INTERVAL = 1  # seconds; so long the checks of the hub are apart
LONGEST = 0.2  # seconds for an answer
TABS = 10  # on each server

pytestmark = pytest.mark.realtime

ENV = {
    **FAST,
    "NOTIFICATIONS_HEARTBEAT_INTERVAL": str(INTERVAL),
    "NOTIFICATIONS_MAINTENANCE": "server",
}


@contextmanager
def a_query_of_five_seconds(postgres, database):
    """Whoever wants to read or write anything of ours waits for it."""
    with psycopg.connect(database) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        names = ", ".join(name for (name,) in tables.fetchall())
        wait_until(lambda: is_locked(connection, names))
        yield 5
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        (count,) = connection.execute(waiting).fetchone()
        assert count >= 2  # the hubs of both servers


def is_locked(connection, names):
    """Lock all tables or none: one after the other it could be a deadlock with the hubs."""
    try:
        connection.execute(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE NOWAIT".encode())
    except psycopg.errors.LockNotAvailable:
        connection.rollback()
        return False
    return True


@contextmanager
def no_connection_left(postgres, database):
    """Others have taken all that PostgreSQL has, and those of the site have ended."""
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
        yield 4 * INTERVAL
    wait_until(lambda: accepts_connections(database))  # the places are free a little later


def accepts_connections(database):
    try:
        psycopg.connect(database).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def a_restart(postgres, database):
    with ThreadPoolExecutor(1) as thread:
        restarted = thread.submit(postgres.restart)
        yield 4 * INTERVAL
        restarted.result(timeout=30)


def slowest_answer(tabs, seconds):
    slowest = 0.0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for tab in tabs:
            asked_at = time.monotonic()
            tab.send('{"type": "heartbeat"}')
            tab.receive("heartbeat")
            slowest = max(slowest, time.monotonic() - asked_at)
        time.sleep(0.2)
    return slowest


@pytest.mark.parametrize("trouble", [a_query_of_five_seconds, no_connection_left, a_restart])
def test_everybodys_heartbeats_are_answered_at_once_while_the_database_does_not(
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

    assert slowest < LONGEST, slowest
    # It goes on as if nothing had been, with the same sockets.
    alice.get_json(f"{here}/notify/1/")
    for tab in tabs:
        assert tab.receive("hello", timeout=INTERVAL + 4)["seq"] == 1
    for server in site.servers:
        assert "Traceback" not in server.output()
