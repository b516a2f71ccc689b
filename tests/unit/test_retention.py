"""How long messages are kept, and how clients that return later catch up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from django.utils import timezone

import notifications.inbox.changes
from notifications import (
    broadcast,
    maintenance,
    notify_accounts,
    presence,
    protocol,
    retract,
)
from notifications.audiences import Recipient
from notifications.inbox import marks, pages
from notifications.inbox.changes import read_changes
from notifications.inbox.pages import Position
from notifications.lifecycle import retention
from notifications.maintenance import Maintenance, Report
from notifications.models import (
    Broadcast,
    BroadcastReceipt,
    BroadcastSequence,
    Connection,
    Inbox,
    Notification,
    Worker,
)

from .conftest import Commit, Published

pytestmark = pytest.mark.django_db

Send = Callable[..., str]


@pytest.fixture
def notify(commit: Commit) -> Send:
    def notify(account: User, type: str = "hello", **options: Any) -> str:
        with commit():
            result = notify_accounts(account, type, "Hello", **options)
        return f"n{result.ids[0]}"

    return notify


@pytest.fixture
def send(commit: Commit) -> Send:
    def send(type: str = "news", **options: Any) -> str:
        with commit():
            return broadcast(type, "News", **options).wire_id

    return send


@pytest.fixture(autouse=True)
def old_accounts(alice: User, bob: User) -> None:
    """Accounts that are older than every broadcast."""
    long_ago = timezone.now() - timedelta(days=5000)
    User.objects.update(date_joined=long_ago)
    alice.refresh_from_db()
    bob.refresh_from_db()


def grow_older(days: float) -> None:
    """Move all stored times this many days into the past."""
    for model in (Notification, Broadcast, BroadcastReceipt):
        for row in model.objects.all():
            for name in ("created_at", "expires_at", "read_at", "archived_at", "removed_at"):
                if getattr(row, name, None):
                    setattr(row, name, getattr(row, name) - timedelta(days=days))
            row.save()


def connect(account: User) -> None:
    """Record a connection of the account, as a hub does."""
    worker = Worker(host="here", pid=1)
    presence.renew_lease(worker, [])
    presence.record([Connection(worker=worker, account_id=account.pk)], [], [])


def position_of(account: User) -> Position:
    return pages.read_latest(Recipient.of(account)).position


def ids(account: User) -> list[str]:
    return [item["id"] for item in pages.read_page(Recipient.of(account)).items]


# --- Notifications


def test_read_archived_and_removed_messages_are_deleted_after_90_days(
    alice: User, bob: User, notify: Send, commit: Commit
) -> None:
    read, archived, removed, unread = (notify(alice) for _ in range(4))
    others = notify(bob)
    marks.mark(Recipient.of(alice), "read", [read])
    marks.mark(Recipient.of(alice), "archived", [archived])
    with commit():
        retract(Notification.objects.get(pk=removed[1:]))
    grow_older(89.9)
    assert Maintenance().run() == Report()

    grow_older(0.2)
    later = notify(alice)
    marks.mark(Recipient.of(alice), "read", [later])

    assert Maintenance().run() == Report(notifications_deleted=3)
    assert [row.wire_id for row in Notification.objects.order_by("pk")] == [unread, others, later]
    assert ids(alice) == [later, unread]
    assert {row.account: (row.floor, row.unread) for row in Inbox.objects.all()} == {
        alice: (7, 1),
        bob: (0, 1),
    }


def test_an_unread_notification_is_removed_after_365_days(
    alice: User, notify: Send, published: Published
) -> None:
    old = notify(alice)
    grow_older(364)
    assert Maintenance().run() == Report()
    grow_older(2)
    young = notify(alice)
    position = position_of(alice)
    published.clear()

    assert Maintenance().run() == Report(removed_by_age=1)

    assert ids(alice) == [young]
    assert Inbox.objects.get().unread == 1
    (frame,) = published.frames
    assert (frame["as"], frame["ids"], frame["seq"], frame["unread"]) == ("gone", [old], 3, 1)
    changes = read_changes(Recipient.of(alice), position, 100)
    assert [(frame["as"], frame["ids"]) for frame in changes.frames] == [("gone", [old])]
    grow_older(91)
    published.clear()
    assert Maintenance().run() == Report(notifications_deleted=1)
    assert not published
    assert ids(alice) == [young]


def test_open_tabs_are_told_what_is_deleted_from_their_lists(
    alice: User, bob: User, notify: Send, commit: Commit, published: Published
) -> None:
    read, archived, removed, bobs = notify(alice), notify(alice), notify(alice), notify(bob)
    marks.mark(Recipient.of(alice), "read", [read])
    marks.mark(Recipient.of(alice), "archived", [archived])
    marks.mark(Recipient.of(bob), "read", [bobs])  # who has no open tab
    with commit():
        retract(Notification.objects.get(pk=removed[1:]))
    grow_older(91)
    connect(alice)
    published.clear()

    assert Maintenance().run() == Report(notifications_deleted=4)

    assert published.frames == [protocol.state("gone", [read, archived])]
    assert position_of(alice).seq == 6  # the frame has no number


def test_many_deleted_items_are_in_several_frames(
    alice: User, notify: Send, commit: Commit, published: Published
) -> None:
    with commit():
        for n in range(200):
            notify_accounts(alice, "hello", str(n))
    marks.mark_all(Recipient.of(alice), "read", 200, 0)
    grow_older(91)
    connect(alice)
    published.clear()

    Maintenance().run()

    assert [len(frame["ids"]) for frame in published.frames] == [150, 50]
    assert len({wire_id for frame in published.frames for wire_id in frame["ids"]}) == 200


def test_a_notification_that_is_read_late_is_kept_for_90_days_from_then(
    alice: User, notify: Send
) -> None:
    wire_id = notify(alice)
    grow_older(364)
    marks.mark(Recipient.of(alice), "read", [wire_id])
    grow_older(89)
    assert Maintenance().run() == Report()
    marks.mark(Recipient.of(alice), "archived", [wire_id])
    grow_older(89)
    assert Maintenance().run() == Report()


def test_a_type_can_have_its_own_retention_period(
    alice: User, notify: Send, send: Send, settings: Any
):
    settings.NOTIFICATIONS_RETENTION_DAYS_BY_TYPE = {"progress": 0.5, "invoice": None, "alert": 400}
    kept = [notify(alice, "alert"), notify(alice, "invoice"), send("invoice")]
    progress, read = notify(alice, "progress"), notify(alice, "progress")
    news = send("progress")
    marks.mark(Recipient.of(alice), "read", [read, *kept])
    grow_older(0.6)

    assert Maintenance().run() == Report(removed_by_age=2, notifications_deleted=1)
    assert not {progress, news} & set(ids(alice))
    grow_older(395)
    notify(alice, "progress")
    assert Maintenance().run() == Report(notifications_deleted=1, broadcasts_deleted=1)

    assert {row.wire_id for row in [*Notification.objects.settled(), *Broadcast.objects.all()]} == {
        *kept
    }


def test_without_a_retention_period_all_messages_are_kept(
    alice: User, notify: Send, send: Send, settings: Any
) -> None:
    settings.NOTIFICATIONS_RETENTION_DAYS = settings.NOTIFICATIONS_RETENTION_DAYS_UNREAD = None
    marks.mark(Recipient.of(alice), "read", [notify(alice)])
    notify(alice)
    send()
    grow_older(4000)

    assert Maintenance().run(full=True) == Report()


def test_a_client_with_a_position_from_before_the_deletion_has_to_reload(
    alice: User, notify: Send
) -> None:
    early = position_of(alice)
    old = notify(alice)
    marks.mark(Recipient.of(alice), "read", [old])
    up_to_date = position_of(alice)
    grow_older(91)
    new = notify(alice)

    Maintenance().run()

    recipient = Recipient.of(alice)
    assert read_changes(recipient, early, 100).resync
    changes = read_changes(recipient, up_to_date, 100)
    assert not changes.resync
    assert [frame["id"] for frame in changes.frames] == [new]


def test_a_deletion_between_reading_the_latest_position_and_the_rows_means_a_reload(
    alice: User, notify: Send, send: Send, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks.mark(Recipient.of(alice), "read", [notify(alice)])
    send()
    with commit():
        retract(Broadcast.objects.all())
    grow_older(91)
    read_rows = notifications.inbox.changes._read_own_rows

    def read_rows_after_a_pass(*args: Any) -> Any:
        Maintenance().run()
        return read_rows(*args)

    monkeypatch.setattr("notifications.inbox.changes._read_own_rows", read_rows_after_a_pass)
    up_to_date = position_of(alice)
    for position in (replace(up_to_date, seq=0), replace(up_to_date, broadcast_seq=0)):
        with transaction.atomic():
            assert read_changes(Recipient.of(alice), position, 100).resync
            transaction.set_rollback(True)


def test_a_notification_that_was_marked_unread_meanwhile_is_not_deleted(
    alice: User, notify: Send
) -> None:
    wire_id = notify(alice)

    assert retention._delete_notifications([int(wire_id[1:])], "default") == 0

    assert ids(alice) == [wire_id]
    assert Inbox.objects.get().floor == 0


def test_nothing_is_deleted_unless_the_floor_rises_with_it(
    alice: User, notify: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks.mark(Recipient.of(alice), "read", [notify(alice)])
    grow_older(91)

    def fail(*args: Any) -> None:
        raise OperationalError("the database went away")

    monkeypatch.setattr(retention, "update_rows", fail)
    with pytest.raises(OperationalError):
        Maintenance().run()

    assert Notification.objects.count() == 1


def test_the_idempotency_key_is_forgotten_with_the_row(
    alice: User, notify: Send, commit: Commit
) -> None:
    wire_id = notify(alice, idempotency_key="a")
    marks.mark(Recipient.of(alice), "read", [wire_id])
    grow_older(89)
    Maintenance().run()
    assert notify_accounts(alice, "hello", "Again", idempotency_key="a").created == 0
    grow_older(2)
    Maintenance().run()

    assert notify_accounts(alice, "hello", "Again", idempotency_key="a").created == 1


# --- Broadcasts


def test_a_broadcast_is_removed_after_365_days_and_deleted_with_its_receipts_90_days_later(
    alice: User, bob: User, send: Send, notify: Send, published: Published
) -> None:
    old = send()
    for account in (alice, bob):
        marks.mark(Recipient.of(account), "read", [old])
    notify(alice)
    bobs = position_of(bob)
    grow_older(366)
    notify(alice)  # on its own, this keeps the older one
    young = send()
    published.clear()

    assert Maintenance().run().removed_by_age == 2

    assert [frame["ids"] for frame in published.frames if "broadcast_seq" in frame] == [[old]]
    assert ids(bob) == [young]
    grow_older(91)
    assert Maintenance().run() == Report(
        notifications_deleted=1, receipts_deleted=2, broadcasts_deleted=1
    )
    assert [row.wire_id for row in Broadcast.objects.all()] == [young]
    assert not BroadcastReceipt.objects.exists()
    sequence = BroadcastSequence.objects.get()
    assert (sequence.seq, sequence.floor) == (3, 3)
    assert read_changes(Recipient.of(bob), bobs, 100).resync
    knows_the_removal = replace(bobs, broadcast_seq=3)
    assert not read_changes(Recipient.of(bob), knows_the_removal, 100).resync


# --- Limits


@pytest.fixture
def leave_old_rows(alice: User, bob: User, notify: Send, send: Send, commit: Commit) -> None:
    """Two accounts with five read notifications, and three removed broadcasts that both read."""
    broadcasts = [send() for _ in range(3)]
    for account in (alice, bob):
        own = [notify(account) for _ in range(5)]
        marks.mark(Recipient.of(account), "read", [*own, *broadcasts])
    with commit():
        retract(Broadcast.objects.all())
    grow_older(91)


@pytest.mark.usefixtures("leave_old_rows")
def test_a_pass_deletes_a_limited_number_and_the_next_ones_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention, "ROWS_PER_STEP", 4)
    monkeypatch.setattr(maintenance, "RETENTION_STEPS", 2)

    assert [str(Maintenance().run()) for _ in range(5)] == [
        "notifications deleted: 8",
        "notifications deleted: 2, receipts deleted: 4",
        "receipts deleted: 2, broadcasts deleted: 3",
        "nothing to do",
        "nothing to do",
    ]
    # The receipts had higher numbers, but their deletion raises no floor.
    assert [row.floor for row in Inbox.objects.all()] == [10, 10]


@pytest.mark.usefixtures("leave_old_rows")
def test_a_full_pass_deletes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "ROWS_PER_STEP", 2)
    monkeypatch.setattr(maintenance, "RETENTION_STEPS", 1)

    assert Maintenance().run(full=True) == Report(
        notifications_deleted=10, receipts_deleted=6, broadcasts_deleted=3
    )


@pytest.mark.usefixtures("leave_old_rows")
def test_due_rows_are_found_by_an_index(alice: User, notify: Send, send: Send) -> None:
    notify(alice)
    send()
    plans: list[str] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("SELECT") and "ORDER BY" in sql and '"type"' in sql:
            execute(f"{connection.ops.explain_query_prefix()} {sql}", params, many, context)
            plans.append(" ".join(str(row) for row in context["cursor"].fetchall()))
        return execute(sql, params, many, context)

    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:  # otherwise it would scan tables as small as these
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
    with connection.execute_wrapper(explain):
        Maintenance().run()

    names = ["site_notif_ageing", "site_notif_settled"]
    names += ["site_broadcasts_ageing", "site_broadcasts_removed"]
    used = [name for plan in plans for name in names if name in plan]
    # Two queries for types, the second of which finds none, and two for the due rows.
    assert len(used) == len(plans)
    assert {name: used.count(name) for name in names} == {
        "site_notif_ageing": 2,
        "site_notif_settled": 4,
        "site_broadcasts_ageing": 2,
        "site_broadcasts_removed": 4,
    }
