"""Short transactions are retried after a conflict with another one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, OperationalError, connection, connections, transaction

from notifications import notify_accounts
from notifications.db import transactions
from notifications.db.transactions import MAX_ATTEMPTS, in_short_transaction
from notifications.models import Inbox, Notification


def conflict(state: str = "40001") -> OperationalError:
    error = OperationalError("could not serialize access due to concurrent update")
    error.__cause__ = type("DriverError", (Exception,), {"sqlstate": state})()
    return error


class Work:
    """Writes an inbox, then raises the given errors, one per call."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        Inbox.objects.create(pk=self.calls)
        if self.errors:
            raise self.errors.pop(0)
        return self.calls


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []
    monkeypatch.setattr(transactions.time, "sleep", pauses.append)
    return pauses


@pytest.mark.django_db(transaction=True)
def test_a_successful_function_runs_once_and_is_committed(pauses: list[float]) -> None:
    assert in_short_transaction(work := Work(), "default") == 1

    assert (work.calls, pauses) == (1, [])
    assert not connection.in_atomic_block
    assert Inbox.objects.count() == 1


@pytest.mark.parametrize(
    "error",
    [conflict("40001"), conflict("40P01"), OperationalError("database is locked")],
    ids=["serialisation failure", "deadlock", "locked"],
)
@pytest.mark.django_db(transaction=True)
def test_a_conflict_is_retried_from_the_start(pauses: list[float], error: OperationalError) -> None:
    assert in_short_transaction(Work(error, error), "default") == 3

    # The two failed attempts left nothing.
    assert list(Inbox.objects.values_list("pk", flat=True)) == [3]
    assert len(pauses) == 2
    assert all(0 <= pause < 1 for pause in pauses)


@pytest.mark.django_db(transaction=True)
def test_retries_are_limited(pauses: list[float]) -> None:
    work = Work(*[conflict()] * 10)

    with pytest.raises(OperationalError):
        in_short_transaction(work, "default")

    assert work.calls == MAX_ATTEMPTS
    assert sum(pauses) < 2
    assert not Inbox.objects.exists()


@pytest.mark.parametrize(
    "error",
    [OperationalError("server closed the connection"), IntegrityError("no"), ValueError("no")],
    ids=repr,
)
@pytest.mark.django_db(transaction=True)
def test_other_errors_are_raised_at_once(error: Exception) -> None:
    work = Work(error)

    with pytest.raises(type(error)):
        in_short_transaction(work, "default")

    assert work.calls == 1
    assert not Inbox.objects.exists()


@pytest.mark.django_db
def test_nothing_is_retried_within_the_callers_transaction() -> None:
    work = Work(conflict())

    with transaction.atomic(), pytest.raises(OperationalError):
        in_short_transaction(work, "default")

    assert work.calls == 1
    assert not Inbox.objects.exists()  # and the caller's transaction is still usable


@pytest.mark.django_db(transaction=True)
def test_a_real_deadlock_is_retried(alice: User, bob: User) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite locks the whole database at the start, so there are no deadlocks")
    Inbox.objects.create(pk=alice.pk)
    Inbox.objects.create(pk=bob.pk)
    both_have_one = threading.Barrier(2)
    attempts: list[Any] = []

    def lock(first: Any, second: Any) -> None:
        def work() -> None:
            Inbox.objects.select_for_update().get(pk=first)
            if attempts.count(first) == 0:
                attempts.append(first)
                both_have_one.wait(30)
            inbox = Inbox.objects.select_for_update().get(pk=second)
            inbox.seq += 1
            inbox.save()

        try:
            in_short_transaction(work, "default")
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lock, [alice.pk, bob.pk], [bob.pk, alice.pk]))

    assert list(Inbox.objects.values_list("seq", flat=True)) == [1, 1]


# Only this database, because other tests wait in others; a row's waiter has locked its table.
WAITING_HERE = """
    SELECT count(*) FROM pg_locks waiting JOIN pg_locks held USING (pid)
    WHERE NOT waiting.granted AND held.database =
        (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.mark.parametrize("level", ["REPEATABLE_READ", "SERIALIZABLE"])
@pytest.mark.django_db(transaction=True)
def test_numbering_retries_a_real_serialisation_failure(
    alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, level: str
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one isolation level, and one writer at a time")
    from psycopg import IsolationLevel

    options = connection.settings_dict["OPTIONS"] | {"isolation_level": IsolationLevel[level]}
    monkeypatch.setitem(connections.settings["default"], "OPTIONS", options)
    Inbox.objects.create(pk=alice.pk)
    failures: list[OperationalError] = []
    is_conflict = transactions._is_conflict
    monkeypatch.setattr(
        transactions,
        "_is_conflict",
        lambda error: failures.append(error) or is_conflict(error),  # type: ignore[func-returns-value]
    )

    def notify() -> None:
        try:
            notify_accounts(alice.pk, "hello", "Hello")
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic(), connection.cursor() as cursor:
            inbox = Inbox.objects.select_for_update().get()
            inbox.seq += 1
            inbox.save()
            notifying = pool.submit(notify)
            waiting = 0
            while not waiting and not notifying.done():
                cursor.execute(WAITING_HERE)
                waiting = cursor.fetchone()[0]
        notifying.result(30)

    assert [error.__cause__.sqlstate for error in failures] == ["40001"]  # type: ignore[union-attr]
    assert list(Notification.objects.values_list("seq", flat=True)) == [2]
    assert not caplog.records


@pytest.mark.django_db(transaction=True)
def test_a_locked_sqlite_database_is_retried(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor == "postgresql":
        pytest.skip("PostgreSQL itself waits for locked rows")
    locked, tried = threading.Event(), threading.Event()
    monkeypatch.setattr(transactions.time, "sleep", lambda seconds: tried.set())

    def hold() -> None:
        try:
            with transaction.atomic():
                Inbox.objects.create(pk=1)
                locked.set()
                assert tried.wait(30)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold)
        assert locked.wait(30)
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 200")  # ms, instead of 20 s
        try:
            in_short_transaction(lambda: Inbox.objects.create(pk=2), "default")
        finally:
            connection.close()
        held.result(30)

    assert Inbox.objects.count() == 2
