"""Problems with rows and numbers in the obvious designs."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction

from harness.services import postgres_server
from notifications import notify_accounts

Connect = Callable[[], psycopg.Connection]


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server() as server:
        yield server.url


@pytest.fixture
def connect(postgres: str) -> Iterator[Connect]:
    """Open connections to a small schema with accounts, inboxes and notes."""
    connections: list[psycopg.Connection] = []

    def connect() -> psycopg.Connection:
        connections.append(psycopg.connect(postgres))
        return connections[-1]

    with psycopg.connect(postgres, autocommit=True) as first:
        first.execute("DROP SCHEMA public CASCADE")
        first.execute("CREATE SCHEMA public")
        first.execute("CREATE TABLE account (id int PRIMARY KEY)")
        first.execute("CREATE TABLE inbox (account int PRIMARY KEY, seq int NOT NULL)")
        first.execute("CREATE TABLE note (id serial PRIMARY KEY, key text UNIQUE, seq int)")
        first.execute("INSERT INTO account VALUES (1), (2)")
        first.execute("INSERT INTO inbox VALUES (1, 0)")
    yield connect
    for each in connections:
        each.close()


def test_reading_newer_ids_misses_late_commits(connect: Connect) -> None:
    """So our position is a number assigned after the commit, not a primary key."""
    slow, fast, reader = connect(), connect(), connect()
    reader.autocommit = True
    slow.execute("INSERT INTO note (key) VALUES ('slow')")
    fast.execute("INSERT INTO note (key) VALUES ('fast')")
    fast.commit()
    seen: list[str] = []
    position = 0

    def read() -> None:
        nonlocal position
        for pk, key in reader.execute("SELECT id, key FROM note WHERE id > %s", [position]):
            seen.append(key)
            position = pk

    read()
    slow.commit()
    read()

    assert seen == ["fast"]


def test_locking_and_reading_in_one_statement_reads_the_state_before_the_lock(
    connect: Connect,
) -> None:
    """So we lock the inbox in one statement, and read the rows to number in a second."""
    first, second = connect(), connect()
    first.execute("INSERT INTO note (key) VALUES ('a')")
    first.commit()
    first.execute("SELECT seq FROM inbox WHERE account = 1 FOR UPDATE")
    unnumbered: list[Any] = []

    def lock_and_read() -> None:
        unnumbered.extend(
            second.execute(
                "WITH locked AS (SELECT seq FROM inbox WHERE account = 1 FOR UPDATE) "
                "SELECT note.key FROM locked, note WHERE note.seq IS NULL"
            ).fetchall()
        )

    waiting = threading.Thread(target=lock_and_read)
    waiting.start()
    with psycopg.connect(first.info.dsn, autocommit=True) as watching:
        while not watching.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
            pass
    first.execute("UPDATE note SET seq = 1")
    first.execute("UPDATE inbox SET seq = 1")
    first.commit()
    waiting.join(10)

    assert unnumbered == [("a",)]  # which already has a number
    assert second.execute("SELECT key FROM note WHERE seq IS NULL").fetchall() == []


def test_a_foreign_key_fails_the_callers_commit(connect: Connect) -> None:
    """So our rows have no foreign key constraint to accounts."""
    caller, other = connect(), connect()
    caller.execute(
        "ALTER TABLE note ADD account int REFERENCES account DEFERRABLE INITIALLY DEFERRED"
    )
    caller.commit()
    caller.execute("INSERT INTO note (account) VALUES (1)")
    other.execute("DELETE FROM account WHERE id = 1")
    other.commit()

    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        caller.commit()


def test_a_foreign_key_waits_for_a_lock_on_the_account(connect: Connect) -> None:
    caller, other = connect(), connect()
    caller.execute("ALTER TABLE note ADD account int REFERENCES account")
    caller.commit()
    other.execute("SELECT * FROM account WHERE id = 1 FOR UPDATE")

    caller.execute("SET lock_timeout = 100")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        caller.execute("INSERT INTO note (account) VALUES (1)")


def test_numbering_under_repeatable_read_fails(connect: Connect) -> None:
    """So we number in a transaction of its own, and retry."""
    first, second = connect(), connect()
    second.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    second.execute("SELECT * FROM inbox")
    first.execute("UPDATE inbox SET seq = seq + 1")
    first.commit()

    with pytest.raises(psycopg.errors.SerializationFailure):
        second.execute("UPDATE inbox SET seq = seq + 1")


def test_reading_before_replacing_misses_concurrent_rows(connect: Connect) -> None:
    """So we replace while numbering, under the inbox's lock."""
    callers = [connect(), connect()]
    for caller in callers:
        assert caller.execute("SELECT id FROM note").fetchall() == []
    for caller in callers:
        caller.execute("INSERT INTO note (seq) VALUES (1)")
        caller.commit()

    assert callers[0].execute("SELECT count(*) FROM note").fetchone() == (2,)


def test_unique_keys_inserted_in_different_orders_deadlock(connect: Connect) -> None:
    """So we insert in the order of accounts."""
    callers = [connect(), connect()]
    keys = [("a", "b"), ("b", "a")]
    barrier = threading.Barrier(2)
    failed: list[Exception] = []

    def insert(caller: psycopg.Connection, first: str, second: str) -> None:
        try:
            caller.execute("INSERT INTO note (key) VALUES (%s)", [first])
            barrier.wait(10)
            caller.execute("INSERT INTO note (key) VALUES (%s) ON CONFLICT DO NOTHING", [second])
            caller.commit()
        except psycopg.Error as error:
            caller.rollback()
            failed.append(error)

    threads = [
        threading.Thread(target=insert, args=(caller, *order))
        for caller, order in zip(callers, keys, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert [type(error) for error in failed] == [psycopg.errors.DeadlockDetected]


def test_sqlite_fails_at_once_when_a_transaction_reads_before_it_writes(tmp_path: Path) -> None:
    """Whatever the timeout; so a system check asks for IMMEDIATE transactions."""

    def open_database() -> sqlite3.Connection:
        database = sqlite3.connect(tmp_path / "db", timeout=20, isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        return database

    first, second = open_database(), open_database()
    first.execute("CREATE TABLE note (id INTEGER PRIMARY KEY)")
    first.execute("BEGIN")
    first.execute("SELECT * FROM note").fetchall()
    second.execute("INSERT INTO note VALUES (1)")

    with pytest.raises(sqlite3.OperationalError, match="database is locked"):
        first.execute("INSERT INTO note VALUES (2)")

    first.execute("ROLLBACK")
    first.execute("BEGIN IMMEDIATE")
    first.execute("INSERT INTO note VALUES (2)")
    first.execute("COMMIT")
    assert first.execute("SELECT count(*) FROM note").fetchone() == (2,)
    first.close()
    second.close()


def test_a_failing_hook_skips_the_later_ones(transactional_db: None, alice: User) -> None:
    """So ours is robust; and if another hook's failure skips it, the hub's check catches up."""
    done = []

    def fail() -> None:
        raise RuntimeError("the mail server is down")

    with pytest.raises(RuntimeError), transaction.atomic():
        transaction.on_commit(fail)
        transaction.on_commit(lambda: done.append("later"))
    assert done == []

    with transaction.atomic():
        transaction.on_commit(fail, robust=True)
        transaction.on_commit(lambda: done.append("later"))
        assert notify_accounts(alice, "hello", "Hello").created == 1
    assert done == ["later"]


def test_a_row_of_a_deleted_account_is_committed(transactional_db: None, alice: User) -> None:
    with transaction.atomic():
        notify_accounts(alice, "hello", "Hello")
        User.objects.filter(pk=alice.pk).delete()
    try:
        connection.check_constraints()
    except IntegrityError as error:
        pytest.fail(str(error))
