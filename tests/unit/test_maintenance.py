"""The periodic task: what a pass does, when it runs, and what it reports."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.db.models.functions import Now
from django.utils import timezone

from notifications import broadcast, maintenance, notify_accounts
from notifications.audiences import Recipient
from notifications.channel_layer import sender
from notifications.inbox import marks, pages
from notifications.inbox.changes import read_changes
from notifications.lifecycle import numbering
from notifications.maintenance import Maintenance, Report
from notifications.models import (
    Broadcast,
    BroadcastReceipt,
    BroadcastSequence,
    Connection,
    Inbox,
    MaintenanceLease,
    Notification,
    Worker,
)
from notifications.protocol import CloseCode
from tests.unit.conftest import shown

pytestmark = pytest.mark.django_db


@pytest.fixture
def make_worker() -> Callable[..., Worker]:
    def make(lease: float, *accounts: User) -> Worker:
        worker = Worker.objects.create(host="web1", pid=1)
        Worker.objects.filter(pk=worker.pk).update(lease_until=Now() + timedelta(seconds=lease))
        for account in accounts:
            Connection.objects.create(worker=worker, account=account)
        return worker

    return make


@pytest.fixture
def layer_messages(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    monkeypatch.setattr(
        sender,
        "publish",
        lambda sent: messages.extend(shown(content) for _, content in sent),
    )
    return messages


def run_command(**options: Any) -> str:
    output = StringIO()
    call_command("notification_maintenance", stdout=output, **options)
    return output.getvalue()


# --- One pass


def test_dead_workers_are_reaped_with_their_connections(
    alice: User, bob: User, make_worker: Callable[..., Worker]
) -> None:
    make_worker(-1, alice, alice, bob)
    make_worker(-100)
    alive = make_worker(60, bob)

    report = Maintenance().run()

    assert report == Report(workers_reaped=2, connections_reaped=3)
    assert list(Worker.objects.all()) == [alive]
    assert [row.account for row in Connection.objects.all()] == [bob]


def test_overdue_connections_are_closed_by_their_hub(
    alice: User, make_worker: Callable[..., Worker], layer_messages: list[Any]
) -> None:
    make_worker(60, alice, alice)
    overdue = Connection.objects.all()[0]
    Connection.objects.filter(pk=overdue.pk).update(last_seen=Now() - timedelta(hours=1))

    assert Maintenance().run() == Report(overdue_connections=1)

    (message,) = layer_messages
    assert message["connections"] == [str(overdue.pk)]
    assert message["code"] == CloseCode.HEARTBEAT_LOST
    assert Connection.objects.count() == 2  # the hub deletes the row when it closes the connection


def test_rows_left_by_a_crash_are_numbered_and_published(
    alice: User, bob: User, layer_messages: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "BATCH_SIZE", 1)
    notify_accounts([alice, bob], "hello", "One")
    notify_accounts(alice, "hello", "Two")
    broadcast("news", "News")

    report = Maintenance().run()

    assert report == Report(notifications_numbered=3, broadcasts_numbered=1)
    assert not Notification.objects.unnumbered().exists()
    assert Broadcast.objects.get().seq == 1
    entries = [entry for message in layer_messages for entry in message.get("entries", [])]
    assert sorted((entry["account"], entry["seq"]) for entry in entries) == sorted(
        [(str(alice.pk), 1), (str(alice.pk), 2), (str(bob.pk), 1)]
    )
    assert layer_messages[-1]["type"] == "notifications.broadcast"


def test_expired_messages_are_removed(alice: User, layer_messages: list[Any]) -> None:
    notify_accounts(alice, "hello", "Hello", expires_at=timezone.now())
    broadcast("news", "News", expires_at=timezone.now())

    assert Maintenance().run().expired == 2

    assert Notification.objects.get().state == "gone"
    assert Broadcast.objects.get().removed_at


@pytest.fixture
def leave_rows() -> Callable[[User], None]:
    def leave(account: User) -> None:
        notify_accounts(account, "hello", "Hello")
        numbering.number_and_publish([account.pk], "default")
        marks.mark(Recipient.of(account), "read", [Broadcast.objects.get().wire_id])

    return leave


def test_rows_of_deleted_accounts_are_swept(
    alice: User,
    bob: User,
    leave_rows: Callable[[User], None],
    make_worker: Callable[..., Worker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(maintenance, "BATCH_SIZE", 1)
    broadcast("news", "News")
    numbering.number_broadcasts("default")
    leave_rows(alice)
    leave_rows(bob)
    notify_accounts(bob, "hello", "Unnumbered")
    make_worker(60, alice, bob)
    bob.delete()  # none of our rows prevent it

    report = Maintenance().run(full=True)

    assert report.accounts_swept == 1
    for model in (Notification, BroadcastReceipt, Inbox, Connection):
        assert [row.account for row in model.objects.all()] == [alice]
    assert Maintenance().run(full=True) == Report()


def test_each_pass_checks_the_next_accounts_and_then_starts_over(
    make_account: Callable[..., User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "BATCH_SIZE", 2)
    accounts = [make_account(f"account{n}") for n in range(5)]
    notify_accounts(accounts, "hello", "Hello")
    numbering.number_and_publish([account.pk for account in accounts], "default")
    task = Maintenance()
    assert task.run() == Report()
    accounts[0].delete()  # already checked in this round
    accounts[4].delete()

    swept = [task.run().accounts_swept for _ in range(4)]

    assert swept == [0, 1, 0, 1]
    assert Inbox.objects.count() == 3


class ReplicaRouter:
    """Reads go to a lagging replica, which has no accounts yet."""

    def db_for_read(self, model: type, **hints: Any) -> str:
        return "replica" if model is User else "default"

    def db_for_write(self, model: type, **hints: Any) -> str:
        return "default"


def test_an_account_missing_on_a_lagging_replica_keeps_its_rows(alice: User, settings: Any) -> None:
    notify_accounts(alice, "hello", "Hello")
    # The replica doesn't exist, so reading from it would fail.
    settings.DATABASE_ROUTERS = [ReplicaRouter()]

    assert Maintenance().run(full=True).accounts_swept == 0


def test_a_pass_with_nothing_to_do_takes_few_queries(django_assert_max_num_queries: Any) -> None:
    Maintenance().run()

    with django_assert_max_num_queries(14):
        Maintenance().run()


# --- After a database error


def fail(*args: Any) -> None:
    raise OperationalError("the database is down")


@pytest.mark.parametrize("where", ["_take_turn", "_close_overdue"])
def test_after_a_database_error_nobody_is_reaped_for_one_lease(
    make_worker: Callable[..., Worker],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    where: str,
) -> None:
    """Workers could not renew their leases either."""
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = 0
    settings.NOTIFICATIONS_HEARTBEAT_TIMEOUT = 20
    now = time.monotonic()
    monkeypatch.setattr(maintenance.time, "monotonic", lambda: now)
    task = Maintenance()
    with monkeypatch.context() as outage:
        outage.setattr(maintenance, where, fail)
        with pytest.raises(OperationalError):
            task.run_in_turn()
    make_worker(-1)

    now += 19
    assert task.run_in_turn() == Report()
    now += 2
    assert task.run_in_turn() == Report(workers_reaped=1)


# --- Turns


def test_there_is_one_pass_per_interval_in_the_whole_cluster(settings: Any) -> None:
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = 100
    one, other = Maintenance(), Maintenance()

    assert one.run_in_turn() == Report()
    assert other.run_in_turn() is None
    assert one.run_in_turn() is None
    # Slightly shorter than the interval, or every second turn would be too early.
    lease = MaintenanceLease.objects.filter(
        expires_at__gt=Now() + timedelta(seconds=75), expires_at__lt=Now() + timedelta(seconds=81)
    )
    assert lease.count() == 1

    MaintenanceLease.objects.update(expires_at=Now())
    assert other.run_in_turn() == Report()
    assert one.run_in_turn() is None


def test_readiness_warns_after_five_intervals_without_a_pass(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = 10
    assert maintenance.is_late()

    with monkeypatch.context() as broken:
        broken.setattr(maintenance, "_close_overdue", fail)
        with pytest.raises(OperationalError):
            Maintenance().run_in_turn()
    assert maintenance.is_late()

    MaintenanceLease.objects.update(expires_at=Now())
    Maintenance().run_in_turn()
    assert not maintenance.is_late()

    for seconds, late in ((45, False), (55, True)):
        MaintenanceLease.objects.update(last_pass_at=Now() - timedelta(seconds=seconds))
        assert maintenance.is_late() is late


def test_a_manual_pass_counts_too(settings: Any) -> None:
    """For example by a scheduler, on a site whose servers don't run the task."""
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = 10

    run_command(once=True)

    assert not maintenance.is_late()
    assert Maintenance().run_in_turn() == Report()  # the lease was not taken


@pytest.mark.django_db(transaction=True)
async def test_a_server_logs_a_failed_pass_and_continues(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = 0.01
    outcomes = [RuntimeError("a bug"), None, Report(), Report(expired=3)]
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def run_in_turn(task: Maintenance) -> Report | None:
        if not outcomes:
            loop.call_soon_threadsafe(done.set)
            return None
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(Maintenance, "run_in_turn", run_in_turn)
    caplog.set_level(logging.INFO, "notifications")
    running = asyncio.create_task(maintenance.run_forever())
    try:
        await asyncio.wait_for(done.wait(), 30)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    assert [record.getMessage() for record in caplog.records] == [
        "A maintenance pass failed",
        "Maintenance: expired: 3",
    ]
    assert not await sync_to_async(Worker.objects.exists)()


# --- The command


def test_the_command_reports_that_there_was_nothing_to_do() -> None:
    assert run_command(once=True) == "Maintenance: nothing to do.\n"


def test_the_command_reports_what_it_did(
    alice: User, bob: User, make_worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "BATCH_SIZE", 1)
    make_worker(-1, alice, alice)
    notify_accounts([alice, bob], "hello", "Hello")
    numbering.number_and_publish([alice.pk, bob.pk], "default")
    bob.delete()

    # --once checks all inboxes, however many there are.
    assert run_command(once=True) == (
        "Maintenance: workers reaped: 1, connections reaped: 2, accounts swept: 1.\n"
    )


def test_the_command_begins_a_new_epoch_each_time(alice: User) -> None:
    position = pages.read_latest(Recipient.of(alice)).position
    before = int(time.time())

    output = run_command(new_epoch=True)

    first = BroadcastSequence.objects.get().epoch
    assert first >= before > position.epoch
    assert output.startswith(f"Epoch {first} has begun: ")
    run_command(new_epoch=True)
    assert BroadcastSequence.objects.get().epoch > first
    assert read_changes(Recipient.of(alice), position, 100).resync


def test_restoring_a_backup_twice_reuses_no_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    maintenance.begin_epoch()
    used = BroadcastSequence.objects.get().epoch
    BroadcastSequence.objects.update(epoch=1)  # as it was in the backup
    now = time.time() + 3600
    monkeypatch.setattr(maintenance.time, "time", lambda: now)

    assert maintenance.begin_epoch() > used


@pytest.mark.parametrize("interval", [0, -1, math.nan, math.inf])
def test_the_command_refuses_an_invalid_interval(interval: float) -> None:
    with pytest.raises(CommandError, match=f"--interval must be .* seconds, not {interval:g}"):
        run_command(interval=interval)
