"""The hot queries use indexes, however full the tables are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from harness.plans import plans
from notifications import retract
from notifications.audiences import Recipient
from notifications.inbox import marks, pages
from notifications.inbox.changes import read_changes_of_many
from notifications.lifecycle import numbering, retraction
from notifications.maintenance import Maintenance
from notifications.models import Broadcast, BroadcastReceipt, BroadcastSequence, Inbox, Notification

pytestmark = pytest.mark.django_db

ACCOUNTS = range(1, 4001)
BUSY_ACCOUNT = 7  # has many more rows than others
BUSY_ROWS = 1000
REPLACING = range(7, 200)  # accounts with a replace_key each
# On SQLite, a parameter does not match the literal in the index's condition.
INDEX_OF_REPLACED = {"site_notif_replaceable"} if connection.vendor == "postgresql" else set()
BIG_TABLES = {model._meta.db_table for model in (Notification, BroadcastReceipt)}


@pytest.fixture
def full_tables(db: None) -> None:
    """Tables so full that a scan is slower than an index, with up-to-date statistics."""
    now = timezone.now()
    User.objects.bulk_create(User(pk=key, username=f"account{key}") for key in ACCOUNTS)
    Inbox.objects.bulk_create(
        Inbox(account_id=key, seq=2 * BUSY_ROWS, unread=BUSY_ROWS) for key in ACCOUNTS
    )
    for number in range(1, 6):
        _insert(ACCOUNTS, number=number)
    _insert([BUSY_ACCOUNT], number=6, expires_at=now)
    Notification.objects.bulk_create(
        Notification(
            account_id=BUSY_ACCOUNT, type="hello", body="Hello", number=n, seq=n, read_at=now
        )
        for n in range(7, BUSY_ROWS + 1)
    )
    Broadcast.objects.bulk_create(
        Broadcast(pk=n, type="news", body="News", number=n, seq=n) for n in range(1, 101)
    )
    BroadcastSequence.objects.lock()
    BroadcastSequence.objects.update(seq=100)
    BroadcastReceipt.objects.bulk_create(
        BroadcastReceipt(broadcast_id=n, account_id=key, seq=BUSY_ROWS + n, read_at=now)
        for n in (1, 2)
        for key in ACCOUNTS
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    Notification.objects.bulk_create(
        Notification(account_id=key, type="hello", body="Hello", replace_key=f"key {key}")
        for key in REPLACING
    )


def _insert(accounts: range | list[int], number: int | None = None, **values: object) -> None:
    Notification.objects.insert(
        accounts, type="hello", body="Hello", number=number, seq=number, **values
    )


def recipient(key: int = BUSY_ACCOUNT) -> Recipient:
    return Recipient(key, frozenset({"everyone"}), None)


def changes() -> None:
    recipients = [recipient(), recipient(77), recipient(78)]
    behind = [
        (one, replace(latest.position, seq=latest.position.seq - 5, broadcast_seq=90), 100)
        for one, latest in zip(recipients, pages.read_latest_of_many(recipients), strict=True)
    ]
    read_changes_of_many(behind)


# The queries, and the indexes that they must use.
HOT: dict[str, tuple[Callable[[], object], set[str]]] = {
    "page": (lambda: pages.read_page(recipient()), {"site_notif_page"}),
    "next page": (lambda: pages.read_page(recipient(), "n500b50"), {"site_notif_page"}),
    "unread": (lambda: pages.read_page(recipient(), folder="unread"), {"site_notif_unread"}),
    "latest": (lambda: pages.read_latest(recipient()), set()),
    "latest of many": (lambda: pages.read_latest_of_many([recipient(), recipient(77)]), set()),
    "latest seqs": (lambda: pages.latest_seqs([BUSY_ACCOUNT, 77]), set()),
    "changes": (changes, {"site_notif_one_per_seq"}),
    "number": (
        lambda: numbering.number_and_publish(REPLACING, connection.alias),
        {"site_notif_unnumbered", *INDEX_OF_REPLACED},
    ),
    "expire": (lambda: retraction.expire(connection.alias), {"site_notif_expiring"}),
    "retract": (
        lambda: retract(Notification.objects.unread().filter(account=BUSY_ACCOUNT)),
        set(),
    ),
    "finish retractions": (lambda: retraction.finish(connection.alias, [BUSY_ACCOUNT]), set()),
    "mark": (lambda: marks.mark(recipient(), "read", ["n7", "b3"]), set()),
    "mark all": (lambda: marks.mark_all(recipient(), "read", BUSY_ROWS, 50), set()),
    "maintain": (
        lambda: Maintenance().run(),
        {"site_notif_unnumbered", "site_notif_expiring"},
    ),
}


def test_the_hot_queries_have_their_indexes(full_tables: None) -> None:
    problems = []
    for name, (run, indexes) in HOT.items():
        with plans() as found:
            run()
        for plan in found:
            if plan.scanned & BIG_TABLES:
                problems.append(f"{name} scans a table: {plan.statement}\n{plan.text}")
        for index in indexes:
            if not any(index in plan.text for plan in found):
                problems.append(f"{name} does not use {index}")

    assert problems == []
