"""
How long messages are kept: bounded steps, each a short transaction of its own.

A notification that stays unread for too long is removed, as if it had expired,
and so is every broadcast of that age: tabs drop it, and counts stay right.
Read and removed messages are deleted some time later. That is no change for
clients. Instead the floor rises to the newest number deleted, and a client
that comes back from a position below it has to reload its list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

from django.db.models import QuerySet
from django.utils import timezone

from notifications.conf import conf
from notifications.db.bulk import one_of, update_rows
from notifications.db.transactions import in_short_transaction
from notifications.models import Broadcast, BroadcastReceipt, BroadcastSequence, Inbox, Notification

from .retraction import remove_broadcasts, remove_notifications

ROWS_PER_STEP: Final = 1000


def steps(using: str) -> Iterator[tuple[str, int]]:
    """
    Work through all that is due; yield after each step what it did and to how many rows.

    What it did is the name of a field of `maintenance.Report`.
    """
    unread = conf.RETENTION_DAYS_UNREAD
    notifications = Notification.objects.using(using)
    broadcasts = Broadcast.objects.using(using)
    for keys in _due(notifications.unread(), "created_at", unread):
        yield "removed_by_age", remove_notifications(keys, using)
    for keys in _due(broadcasts.present(), "created_at", unread):
        yield "removed_by_age", remove_broadcasts(keys, using)
    for keys in _due(notifications.settled(), "settled_at", conf.RETENTION_DAYS):
        yield "notifications_deleted", _delete_notifications(keys, using)
    for keys in _due(broadcasts.removed(), "removed_at", conf.RETENTION_DAYS):
        for deleted in _delete_receipts(keys, using):
            yield "receipts_deleted", deleted
        yield "broadcasts_deleted", _delete_broadcasts(keys, using)


def _due(rows: QuerySet[Any], time: str, days: float | None) -> Iterator[list[int]]:
    """
    Yield the keys of rows whose `time` is so many days ago, the oldest first, until none is left.

    The caller has to remove or delete the rows of each step before it takes the next.
    One type after another, as each may have days of its own. The index leads to its oldest row.
    """
    now = timezone.now()
    type = ""
    while oldest := (
        rows.filter(type__gt=type).order_by("type", time).values_list("type", time).first()
    ):
        type, oldest_time = oldest
        kept_days = conf.RETENTION_DAYS_BY_TYPE.get(type, days)
        if kept_days is None or oldest_time > (until := now - timedelta(days=kept_days)):
            continue
        due = rows.filter(type=type, **{f"{time}__lte": until}).order_by(time)
        while keys := list(due.values_list("pk", flat=True)[:ROWS_PER_STEP]):
            yield keys


def _delete_notifications(keys: Sequence[int], using: str) -> int:
    notifications = Notification.objects.using(using)
    settled = notifications.settled().filter(pk__in=one_of(keys, Notification._meta.pk, using))

    def delete() -> int:
        inboxes = Inbox.objects.using(using).lock(set(settled.values_list("account_id", flat=True)))
        deleted = []
        for pk, account_id, seq in settled.values_list("pk", "account_id", "seq"):
            if inbox := inboxes.get(account_id):  # else settled after the inboxes were locked
                inbox.floor = max(inbox.floor, seq or 0)
                deleted.append(pk)
        notifications.filter(pk__in=one_of(deleted, Notification._meta.pk, using)).delete()
        update_rows(Inbox, [*inboxes.values()], ["floor"], using)
        return len(deleted)

    return in_short_transaction(delete, using)


def _delete_receipts(keys: Sequence[int], using: str) -> Iterator[int]:
    """
    Delete the receipts of removed broadcasts; yield how many at a time.

    They raise no inbox's floor. A client that knows of the removal needs none of them, and one
    that does not will be below the broadcasts' floor.
    """
    receipts = BroadcastReceipt.objects.using(using)
    of_removed = receipts.filter(broadcast__in=keys)
    while found := list(of_removed.values_list("pk", flat=True)[:ROWS_PER_STEP]):
        yield receipts.filter(pk__in=one_of(found, BroadcastReceipt._meta.pk, using)).delete()[0]


def _delete_broadcasts(keys: Sequence[int], using: str) -> int:
    removed = Broadcast.objects.using(using).removed().filter(pk__in=keys)

    def delete() -> int:
        sequence = BroadcastSequence.objects.using(using).lock()
        sequence.floor = max([sequence.floor, *(row.seq or 0 for row in removed)])
        sequence.save(using=using, update_fields=["floor"])
        return removed.delete()[1].get(Broadcast._meta.label, 0)

    return in_short_transaction(delete, using)
