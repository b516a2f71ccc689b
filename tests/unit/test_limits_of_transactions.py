"""On PostgreSQL, no process that stands still holds up another for long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction

from notifications import broadcast, notify_accounts
from notifications.db import transactions
from notifications.db.transactions import in_short_transaction, is_busy
from notifications.lifecycle import numbering
from notifications.maintenance import Maintenance
from notifications.models import Broadcast, BroadcastSequence, Inbox, Notification

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor == "sqlite", reason="SQLite has no limits, and no locks of rows"
    ),
]

LIMITS = (
    "idle_in_transaction_session_timeout",
    "lock_timeout",
    "statement_timeout",
    "synchronous_commit",
)


def limits() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(f'current_setting({name!r})' for name in LIMITS)}")
        return [*cursor.fetchone()]


@contextmanager
def held(lock: Callable[[], Any]) -> Iterator[None]:
    """Let another transaction hold a lock, as a process that stands still does."""
    is_held, end = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                lock()
                is_held.set()
                assert end.wait(60)
                transaction.set_rollback(True)
        finally:
            is_held.set()
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        holding: Future[None] = pool.submit(hold)
        assert is_held.wait(30)
        try:
            yield
        finally:
            end.set()
            holding.result(30)


def left_over(*accounts: User) -> None:
    """Insert notifications whose process ended before it numbered them."""
    Notification.objects.insert(
        [account.pk for account in accounts],
        type="hello",
        body="Left over",
        meta_data="",
        url="",
        level="info",
        idempotency_key=None,
        replace_key="",
        expires_at=None,
    )


def numbered() -> set[str]:
    return set(Notification.objects.exclude(seq=None).values_list("account__username", flat=True))


# --- Limits


def test_a_transaction_of_ours_has_limits_and_is_on_disk_after_its_commit() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
    before = limits()
    try:
        assert in_short_transaction(limits, "default") == ["5s", "7s", "8s", "on"]
        assert in_short_transaction(limits, "default", waits=False) == ["5s", "100ms", "8s", "on"]
        assert limits() == before == ["0", "0", "0", "off"]
    finally:
        connection.close()


def test_a_callers_transaction_gets_no_limits() -> None:
    with transaction.atomic():
        before = limits()

        assert in_short_transaction(limits, "default") == before
        assert limits() == before


def test_a_transaction_that_stands_still_is_ended_and_who_waits_for_it_goes_on(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    Inbox.objects.create(pk=alice.pk)
    monkeypatch.setattr(transactions, "IDLE_SECONDS", 0.5)
    is_locked, is_done = threading.Event(), threading.Event()

    def stand_still() -> None:
        Inbox.objects.lock([alice.pk])
        is_locked.set()
        assert is_done.wait(60)
        Inbox.objects.update(seq=100)  # too late

    def run() -> None:
        try:
            in_short_transaction(stand_still, "default")
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        standing = pool.submit(run)
        assert is_locked.wait(30)
        assert notify_accounts(alice, "hello", "Hello").created == 1
        assert numbered() == {"alice"}
        is_done.set()
        assert isinstance(standing.exception(30), Exception)

    assert Inbox.objects.get().seq == 1


# --- After the commit


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "LOCK_SECONDS", 0.2)


@pytest.mark.usefixtures("impatient")
def test_a_caller_does_not_fail_when_its_rows_cannot_be_numbered_now(
    alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    Inbox.objects.create(pk=alice.pk)
    BroadcastSequence.objects.create_missing()

    with held(lambda: (Inbox.objects.lock([alice.pk]), BroadcastSequence.objects.lock())):
        notify_accounts(alice, "hello", "Hello")
        broadcast("news", "News")
        assert not numbered()

    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "LockNotAvailable" in caplog.text
    Maintenance().run()
    assert numbered() == {"alice"}
    assert Broadcast.objects.get().seq == 1


def test_a_caller_whose_connection_was_ended_while_numbering_goes_on_with_another(
    alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def end_connection(*arguments: Any) -> None:
        other = connection.copy()
        with other.cursor() as cursor:
            pid = connection.connection.info.backend_pid
            cursor.execute("SELECT pg_terminate_backend(%s, 30000)", [pid])
        other.close()

    with monkeypatch.context() as patch:
        patch.setattr(numbering, "_write", end_connection)
        notify_accounts(alice, "hello", "Hello")

    assert Notification.objects.filter(seq=None).count() == 1  # by another connection
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.usefixtures("impatient")
def test_a_lock_that_is_not_released_is_known_by_its_error(alice: User) -> None:
    Inbox.objects.create(pk=alice.pk)
    with held(lambda: Inbox.objects.lock([alice.pk])):
        with pytest.raises(OperationalError) as caught:
            in_short_transaction(lambda: Inbox.objects.lock([alice.pk]), "default")
        assert is_busy(caught.value)


# --- Left-overs


def test_left_overs_of_a_locked_inbox_keep_no_others_from_their_numbers(
    alice: User, bob: User, carol: User
) -> None:
    Inbox.objects.create(pk=alice.pk)
    left_over(alice, bob, carol)

    with held(lambda: Inbox.objects.lock([alice.pk])):
        assert numbering.number_left_overs([alice.pk, bob.pk, carol.pk], "default") == 2
        assert numbered() == {"bob", "carol"}

    assert numbering.number_left_overs([alice.pk, bob.pk, carol.pk], "default") == 1


def test_nor_do_those_of_an_inbox_that_another_is_inserting(
    alice: User, bob: User, carol: User
) -> None:
    left_over(alice, bob, carol)

    with held(lambda: Inbox.objects.create(pk=alice.pk)):
        assert numbering.number_left_overs([alice.pk, bob.pk, carol.pk], "default") == 2
        assert numbered() == {"bob", "carol"}


def test_nor_do_those_that_a_caller_has_locked(alice: User, bob: User) -> None:
    left_over(alice, bob)
    mine = Notification.objects.filter(account=alice)

    with held(lambda: list(mine.select_for_update())):
        assert numbering.number_left_overs([alice.pk, bob.pk], "default") == 1
        assert numbered() == {"bob"}


def test_left_over_broadcasts_wait_for_nobody() -> None:
    BroadcastSequence.objects.create_missing()
    Broadcast.objects.create(audience="everyone", type="news", body="News")

    with held(BroadcastSequence.objects.lock):
        assert numbering.number_broadcasts("default", waits=False) == 0
    with held(lambda: list(Broadcast.objects.select_for_update())):
        assert numbering.number_broadcasts("default", waits=False) == 0

    assert numbering.number_broadcasts("default", waits=False) == 1
