"""What expires or is retracted leaves all inboxes and tabs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from notifications import broadcast, delivery, inbox, marks, notify_accounts, protocol, withdrawal
from notifications.audiences import Reader
from notifications.models import Inbox

from .conftest import Commit, Published

pytestmark = pytest.mark.django_db


# --- Expiry


def test_what_expires_leaves_the_inbox_and_the_count(
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
    reader = Reader.of(alice)
    marks.mark(reader, "read", [read])
    marks.mark(reader, "archived", [archived])
    published.clear()

    assert withdrawal.expire("default") == 3

    assert [item["id"] for item in inbox.read_page(reader).items] == [never, later]
    ((_, message),) = published
    assert [(entry["first"], entry["seq"]) for entry in message["entries"]] == [(8, 10)]
    (frame,) = published.frames
    assert (frame["as"], frame["ids"]) == ("gone", [unread, read, archived])
    assert (frame["seq"], frame["unread"]) == (10, 2)
    assert Inbox.objects.get().unread == 2
    published.clear()
    assert withdrawal.expire("default") == 0
    assert not published


def test_what_expired_before_it_was_numbered_expires_as_well(alice: User, commit: Commit) -> None:
    notify_accounts(alice, "hello", "Hello", expires_at=timezone.now())
    assert withdrawal.expire("default") == 0

    delivery.deliver([alice.pk], "default")

    assert withdrawal.expire("default") == 1
    assert Inbox.objects.get().unread == 0


def test_more_expires_than_one_transaction_takes(
    alice: User, bob: User, carol: User, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    with commit():
        notify_accounts([alice, bob, carol], "hello", "Hello", expires_at=timezone.now())
    monkeypatch.setattr(withdrawal, "ROWS_PER_TRANSACTION", 2)

    assert withdrawal.expire("default") == 3
    assert not Inbox.objects.filter(unread__gt=0).exists()


def test_an_expired_broadcast_gets_a_new_number(
    alice: User, commit: Commit, published: Published
) -> None:
    with commit():
        row = broadcast("news", "News", audience="staff", expires_at=timezone.now())
        broadcast("news", "Stays")
    published.clear()

    assert withdrawal.expire("default") == 1

    row.refresh_from_db()
    assert (row.number, row.seq) == (1, 3)
    ((name, message),) = published
    assert (name, message["gone"], message["seq"]) == (protocol.HUBS_GROUP, True, 3)
    assert (message["audience"], message["created_at"]) == ("staff", row.created_at.isoformat())
    (frame,) = published.frames
    assert (frame["as"], frame["ids"], frame["broadcast_seq"]) == ("gone", [row.wire_id], 3)
    assert withdrawal.expire("default") == 0
