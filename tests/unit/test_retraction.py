"""Expired and retracted messages are removed from all inboxes and tabs."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from notifications import anotify_accounts, aretract, broadcast, notify_accounts, protocol, retract
from notifications.audiences import Recipient
from notifications.inbox import marks, pages
from notifications.lifecycle import numbering, retraction
from notifications.models import Broadcast, Inbox, Notification, Retraction

from .conftest import Commit, Published

pytestmark = pytest.mark.django_db


# --- Expiry


def test_expired_notifications_leave_the_inbox_and_the_count(
    alice: User, commit: Commit, published: Published
) -> None:
    now = timezone.now()
    with commit():
        unread, read, archived, later, never = (
            f"n{notify_accounts(alice, 'hello', body, expires_at=expires_at).ids[0]}"
            for body, expires_at in (
                ("unread", now),
                ("read", now),
                ("archived", now),
                ("later", now + timedelta(hours=1)),
                ("never", None),
            )
        )
    recipient = Recipient.of(alice)
    marks.mark(recipient, "read", [read])
    marks.mark(recipient, "archived", [archived])
    published.clear()

    assert retraction.expire("default") == 3

    assert [item["id"] for item in pages.read_page(recipient).items] == [never, later]
    ((_, message),) = published
    assert [(entry["first"], entry["seq"]) for entry in message["entries"]] == [(8, 10)]
    (frame,) = published.frames
    assert (frame["as"], frame["ids"]) == ("gone", [unread, read, archived])
    assert (frame["seq"], frame["unread"]) == (10, 2)
    assert Inbox.objects.get().unread == 2
    published.clear()
    assert retraction.expire("default") == 0
    assert not published


def test_a_notification_that_expired_before_it_was_numbered_is_removed_as_well(
    alice: User, commit: Commit
) -> None:
    notify_accounts(alice, "hello", "Hello", expires_at=timezone.now())
    assert retraction.expire("default") == 0

    numbering.number_and_publish([alice.pk], "default")

    assert retraction.expire("default") == 1
    assert Inbox.objects.get().unread == 0


def test_more_expired_notifications_than_one_transaction_takes_are_all_removed(
    alice: User, bob: User, carol: User, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    with commit():
        notify_accounts([alice, bob, carol], "hello", "Hello", expires_at=timezone.now())
    monkeypatch.setattr(retraction, "ROWS_PER_TRANSACTION", 2)

    assert retraction.expire("default") == 3
    assert not Inbox.objects.filter(unread__gt=0).exists()


def test_an_expired_broadcast_gets_a_new_number(
    alice: User, commit: Commit, published: Published
) -> None:
    with commit():
        row = broadcast("news", "News", audience="staff", expires_at=timezone.now())
        broadcast("news", "Stays")
    published.clear()

    assert retraction.expire("default") == 1

    row.refresh_from_db()
    assert (row.number, row.seq) == (1, 3)
    ((name, message),) = published
    assert (name, message["gone"], message["seq"]) == (protocol.HUBS_GROUP, True, 3)
    assert (message["audience"], message["created_at"]) == ("staff", row.created_at.isoformat())
    (frame,) = published.frames
    assert (frame["as"], frame["ids"], frame["broadcast_seq"]) == ("gone", [row.wire_id], 3)
    assert retraction.expire("default") == 0


# --- Retraction


def test_a_retracted_notification_leaves_the_inbox_and_the_count(
    alice: User, bob: User, commit: Commit, published: Published
) -> None:
    with commit():
        notify_accounts([alice, bob], "hello", "Wrong")
        notify_accounts([alice, bob], "hello", "Right")
    wrong = Notification.objects.get(account=alice, body="Wrong")
    published.clear()

    with commit():
        assert retract(wrong) == 1
        assert not published  # the caller may still roll back
    with commit():
        assert retract(wrong) == 0

    (frame,) = published.frames
    assert (frame["as"], frame["ids"]) == ("gone", [wrong.wire_id])
    assert (frame["seq"], frame["unread"]) == (3, 1)
    assert [item["content"]["body"] for item in pages.read_page(Recipient.of(alice)).items] == [
        "Right"
    ]
    assert pages.read_latest(Recipient.of(bob)).counts.unread == 2


def test_a_retracted_broadcast_gets_a_new_number(
    alice: User, commit: Commit, published: Published
) -> None:
    with commit():
        row = broadcast("news", "Wrong", audience="staff")
        broadcast("news", "Stays")
    published.clear()

    with commit():
        assert retract(row) == 1
    with commit():
        assert retract(row) == 0

    row.refresh_from_db()
    assert (row.number, row.seq) == (1, 3)
    ((name, message),) = published
    assert (name, message["gone"], message["seq"]) == (protocol.HUBS_GROUP, True, 3)


def test_many_can_be_retracted_at_once(
    alice: User, bob: User, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retraction, "ROWS_PER_TRANSACTION", 2)
    with commit():
        for _ in range(3):
            notify_accounts([alice, bob], "offer", "Cheap")
        notify_accounts(alice, "hello", "Stays")
        one, other = broadcast("offer", "Cheap"), broadcast("news", "Stays")

    with commit():
        assert retract(Notification.objects.filter(type="offer")[:5]) == 5
        assert retract([*Notification.objects.filter(type="offer"), one]) == 2  # 5 were, above

    assert [row.body for row in Notification.objects.present()] == ["Stays"]
    assert list(Broadcast.objects.present()) == [other]
    assert [row.unread for row in Inbox.objects.order_by("pk")] == [1, 0]


def test_messages_can_be_retracted_in_the_transaction_that_sends_them(
    alice: User, commit: Commit
) -> None:
    with commit():
        notify_accounts(alice, "hello", "Hello")
        retract([*Notification.objects.all(), broadcast("news", "News")])

    assert Notification.objects.get().state == "gone"
    assert Broadcast.objects.get().removed_at
    assert not Retraction.objects.exists()
    assert pages.read_latest(Recipient.of(alice)).counts.total == 0


@pytest.mark.django_db(transaction=True)
def test_a_retraction_that_is_rolled_back_removes_nothing(alice: User) -> None:
    notify_accounts(alice, "hello", "Hello")
    row = broadcast("news", "News")

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        retract([*Notification.objects.all(), row])
        raise ZeroDivisionError

    assert retraction.expire("default") == 0
    assert pages.read_latest(Recipient.of(alice)).counts.total == 2


def test_after_a_crash_maintenance_removes_retracted_messages(alice: User, commit: Commit) -> None:
    with commit():
        notify_accounts(alice, "hello", "Hello")
        row = broadcast("news", "News")

    retract([*Notification.objects.all(), row])  # the hooks of this commit never run

    assert retraction.finish("default") == 2


def test_a_retraction_notes_when_and_by_whom_and_leaves_the_expiry_alone(
    alice: User, operator: User, commit: Commit
) -> None:
    later = timezone.now() + timedelta(days=1)
    with commit():
        notify_accounts(alice, "hello", "Wrong", expires_at=later)
        broadcast("news", "Wrong")
    before = timezone.now()

    with commit():
        retract(Notification.objects.all(), by=operator)
        retract(Broadcast.objects.get())

    for row, by, expires_at in (
        (Notification.objects.get(), operator, later),
        (Broadcast.objects.get(), None, None),
    ):
        assert row.removed_at and row.retracted_at
        assert before <= row.retracted_at <= row.removed_at
        assert (row.retracted_by, row.expires_at) == (by, expires_at)


def test_an_expiry_is_no_retraction(alice: User, commit: Commit) -> None:
    with commit():
        notify_accounts(alice, "hello", "Hello", expires_at=timezone.now())
        broadcast("news", "News", expires_at=timezone.now())

    assert retraction.expire("default") == 2

    assert Notification.objects.get().retracted_at is None
    assert Broadcast.objects.get().retracted_at is None


def test_the_callers_transaction_only_inserts(
    alice: User, bob: User, commit: Commit, django_assert_num_queries: Any
) -> None:
    with commit():
        notify_accounts([alice, bob], "hello", "Hello")
    rows = list(Notification.objects.all())

    with django_assert_num_queries(1) as captured:
        assert retract(rows) == 2

    assert captured.captured_queries[0]["sql"].startswith("INSERT INTO")


@pytest.mark.django_db(transaction=True)
def test_a_retraction_in_a_savepoint_that_is_rolled_back_removes_nothing(alice: User) -> None:
    notify_accounts(alice, "hello", "Hello")

    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            retract(Notification.objects.all())
            raise ZeroDivisionError
        notify_accounts(alice, "hello", "Again")

    assert not Retraction.objects.exists()
    assert pages.read_latest(Recipient.of(alice)).counts.unread == 2


def test_what_a_crash_left_without_a_number_is_numbered_and_then_removed(
    alice: User, commit: Commit, published: Published
) -> None:
    notify_accounts(alice, "hello", "Hello")
    retract([*Notification.objects.all(), broadcast("news", "News")])

    assert retraction.finish("default") == 2

    assert [frame["type"] for frame in published.frames] == ["hello", "state", "news", "state"]
    row = Notification.objects.get()
    assert (row.number, row.seq) == (1, 2)
    assert Inbox.objects.get().unread == 0
    assert not Retraction.objects.exists()


def test_a_hub_finishes_the_retractions_of_its_own_accounts(
    alice: User, bob: User, commit: Commit
) -> None:
    with commit():
        notify_accounts([alice, bob], "hello", "Hello")
        row = broadcast("news", "News")
    retract([*Notification.objects.all(), row])

    assert retraction.finish("default", [alice.pk]) == 2

    assert Notification.objects.present().get().account == bob
    assert Retraction.objects.get().account == bob


def test_nothing_is_left_of_a_retraction_whose_message_is_gone_for_another_reason(
    alice: User, bob: User, commit: Commit
) -> None:
    with commit():
        ids = [
            notify_accounts(account, "hello", "Hello", expires_at=expires_at).ids[0]
            for account, expires_at in ((alice, timezone.now()), (bob, None))
        ]
        row = broadcast("news", "News")
    retract([*Notification.objects.all(), row])

    retraction.expire("default")
    Notification.objects.filter(pk=ids[1]).delete()
    Broadcast.objects.all().delete()

    assert retraction.finish("default") == 0
    assert not Retraction.objects.exists()
    assert Notification.objects.get().retracted_at is None  # it expired


def test_a_retracted_notification_may_have_been_replaced(
    alice: User, commit: Commit, published: Published
) -> None:
    with commit():
        (old,) = notify_accounts(alice, "hello", "Old", replace_key="a").ids

    with commit():
        notify_accounts(alice, "hello", "New", replace_key="a")
        assert retract(Notification.objects.get(pk=old)) == 1

    assert not Retraction.objects.exists()
    assert Notification.objects.get(pk=old).removed_at
    assert Inbox.objects.get().unread == 1
    assert [frame["type"] for frame in published.frames] == ["hello", "hello"]


def test_a_message_retracted_twice_was_retracted_by_the_first(
    alice: User, bob: User, operator: User, commit: Commit
) -> None:
    with commit():
        (pk,) = notify_accounts(alice, "hello", "Hello").ids
    retract(Notification.objects.get(), by=operator)
    # Two transactions don't see each other's retractions.
    Retraction.objects.create(
        notification_id=pk, account=alice, retracted_at=timezone.now(), retracted_by=bob
    )

    assert retraction.finish("default") == 1

    assert Notification.objects.get().retracted_by == operator
    assert not Retraction.objects.exists()


@pytest.mark.parametrize("wrong", ["operator", 7, User(pk=None)])
def test_only_an_account_can_retract(alice: User, commit: Commit, wrong: Any) -> None:
    notify_accounts(alice, "hello", "Hello")

    with pytest.raises(ValueError, match="by must be None or a saved account, not"):
        retract(Notification.objects.all(), by=wrong)


@pytest.mark.parametrize("wrong", ["n12", 12, None, [7], User(pk=1), Notification(), Broadcast()])
def test_only_saved_messages_can_be_retracted(db: None, wrong: Any) -> None:
    with pytest.raises(ValueError, match="messages must be saved notifications or broadcasts, not"):
        retract(wrong)


@pytest.mark.django_db(transaction=True)
async def test_in_an_event_loop_retracting_is_awaited(alice: User) -> None:
    await anotify_accounts(alice, "hello", "Hello")
    row = await Notification.objects.aget()

    with pytest.raises(RuntimeError, match=r"use await aretract\(\.\.\.\)"):
        retract(row)
    assert await aretract(row) == 1
    assert not await Notification.objects.present().aexists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["notifications", "broadcasts", "both"])
def test_callers_that_retract_the_same_messages_in_another_order_both_succeed(
    alice: User, bob: User, kind: str
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time: the second would wait for the first")
    ids = notify_accounts([alice, bob], "hello", "Wrong").ids
    notifications = [*Notification.objects.filter(pk__in=ids).order_by("pk")]
    broadcasts = [broadcast("news", "Wrong"), broadcast("news", "Wrong too")]
    messages = {
        "notifications": notifications,
        "broadcasts": broadcasts,
        "both": [notifications[0], broadcasts[0]],
    }[kind]
    each_has_retracted_one = threading.Barrier(2)

    def retract_both(first: Any, second: Any) -> None:
        try:
            with transaction.atomic():
                retract(first)
                each_has_retracted_one.wait(30)
                retract(second)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(retract_both, *order) for order in (messages, messages[::-1])]
        for call in calls:
            call.result(60)

    for message in messages:
        message.refresh_from_db()
        assert message.removed_at
    assert not Retraction.objects.exists()
