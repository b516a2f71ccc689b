"""A process is stopped while it numbers, with inboxes locked: it holds up nobody else for long."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import psycopg
import pytest

from harness.services import ROOT, site_environment
from notifications.models import BroadcastSequence, Inbox, Notification, Worker
from tests.cluster.conftest import FAST, wait_until

pytestmark = pytest.mark.verify(40)

INTERVAL_SECONDS = 2
MAX_DELAY_SECONDS = 10  # as promised by D8
ENV = {
    **FAST,
    "NOTIFICATIONS_HEARTBEAT_INTERVAL": str(INTERVAL_SECONDS),
    "NOTIFICATIONS_MAINTENANCE": "server",
}
PRODUCER = """
import os, signal
import django
django.setup()
from django.contrib.auth.models import User
from django.db import connection
from notifications import broadcast, notify_accounts

def stop_after_the_lock(execute, sql, *arguments):
    result = execute(sql, *arguments)
    if "FOR UPDATE" in sql and {table!r} in sql:
        os.kill(os.getpid(), signal.SIGSTOP)
    return result

alice = User.objects.get(username="alice")
with connection.execute_wrapper(stop_after_the_lock):
    {call}
"""
# What the process does, and the table with the row that it locks.
NOTIFY = 'notify_accounts(alice, "hello", "from the frozen process")', Inbox._meta.db_table
BROADCAST = 'broadcast("hello", "from the frozen process")', BroadcastSequence._meta.db_table


@pytest.fixture
def cluster(start_site, cluster_env, shared_redis):
    return start_site({**cluster_env(shared_redis), **ENV}, servers=2)


@contextmanager
def frozen_producer(site, call, table):
    """Run a process that stops itself while it numbers, after it has locked a row of `table`."""
    code = PRODUCER.format(call=call, table=table)
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=site_environment(site.env)
    )
    try:
        wait_until(lambda: state_of(process) == "T")
        yield process
    finally:
        process.kill()
        process.wait()


def state_of(process):
    with open(f"/proc/{process.pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def renewed_leases(site):
    """Return how many servers have renewed their lease of a minute lately."""
    late = f"interval '{60 - 3 * INTERVAL_SECONDS} seconds'"
    query = f"SELECT count(*) FROM {Worker._meta.db_table} WHERE lease_until > now() + {late}"
    with psycopg.connect(site.env["DATABASE_URL"]) as connection:
        return connection.execute(query).fetchone()[0]


def leave_unnumbered(site, username, body):
    """Insert a notification, as a process that crashed after its commit leaves it."""
    insert = (
        f"INSERT INTO {Notification._meta.db_table} "
        "(account_id, type, body, meta_data, url, level, created_at, replace_key) "
        "SELECT id, 'hello', %s, '\"\"', '', 'info', now(), '' FROM auth_user WHERE username = %s"
    )
    with psycopg.connect(site.env["DATABASE_URL"]) as connection:
        connection.execute(insert, [body, username])


def bodies(visitor, url):
    items = visitor.get_json(f"{url}/notifications/items/")["items"]
    return [item["content"]["body"] for item in items]


def test_a_lock_that_is_never_released_holds_up_nobody_else(cluster, new_visitor):
    here, there = (server.url for server in cluster.servers)
    alice, bob = new_visitor(here, "alice"), new_visitor(there, "bob")
    alice.get_json(f"{here}/notify/1/")
    cluster.shell('broadcast("news", "News")')
    alices, bobs = ([who.open_tab(url) for url in (here, there)] for who in (alice, bob))
    for tab in [*alices, *bobs]:
        tab.receive("heartbeat")

    with psycopg.connect(cluster.env["DATABASE_URL"]) as stuck:
        for model in (Inbox, BroadcastSequence):
            stuck.execute(f"SELECT * FROM {model._meta.db_table} FOR UPDATE")
        for name in ("alice", "bob"):
            leave_unnumbered(cluster, name, "left over")
        # Bob had no inbox, so nobody can have locked it.
        for tab in bobs:
            assert tab.receive("hello")["content"]["body"] == "left over"
        # Logging in, connecting and catching up.
        for url in (here, there):
            new_visitor(url, "carol").open_tab(url).receive("heartbeat")
        # Requests that notify the same account, or all.
        for url in (here, there):
            assert alice.get_json(f"{url}/notify/1/")["seconds"] < MAX_DELAY_SECONDS
        bob.get_json(f"{there}/notify/1/")
        for tab in bobs:
            assert tab.receive("hello")["content"]["body"] == "0"
        assert renewed_leases(cluster) == 2
        for server in cluster.servers:
            assert server.get_json("/readyz") == {"status": "ok"}

    for tab in alices:
        assert [tab.receive("hello")["seq"] for _ in range(3)] == [2, 3, 4]
    for server in cluster.servers:
        assert "Traceback" not in server.output()


@pytest.mark.parametrize(("call", "table"), [NOTIFY, BROADCAST], ids=["notify", "broadcast"])
def test_a_process_that_is_frozen_while_it_numbers_holds_up_nobody_for_long(
    cluster, new_visitor, call, table
):
    here, there = (server.url for server in cluster.servers)
    alice = new_visitor(here, "alice")
    alice.get_json(f"{here}/notify/1/")  # or she would have no inbox that can be locked
    tabs = [alice.open_tab(here), alice.open_tab(there)]
    for tab in tabs:
        tab.receive("heartbeat")

    with frozen_producer(cluster, call, table) as producer:
        frozen_at = time.monotonic()
        assert alice.get_json(f"{here}/notify/1/")["seconds"] < MAX_DELAY_SECONDS
        for tab in tabs:
            received = {tab.receive("hello")["content"]["body"] for _ in range(2)}
            assert received == {"from the frozen process", "0"}
        assert time.monotonic() - frozen_at < MAX_DELAY_SECONDS + INTERVAL_SECONDS
        producer.send_signal(signal.SIGCONT)
        assert producer.wait(30) == 0  # its own rows are committed, and it does not fail

    assert sorted(bodies(alice, here)) == ["0", "0", "from the frozen process"]
    alice.get_json(f"{here}/notify/1/")
    for tab in tabs:
        assert tab.receive("hello")["content"]["body"] == "0"  # and nothing in between
    for server in cluster.servers:
        assert "Traceback" not in server.output()
