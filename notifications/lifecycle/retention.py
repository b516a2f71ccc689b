"""
Deletes messages that were kept long enough, in bounded steps with short transactions.

These wait for nobody: rows that others have locked are left to a later call.

A notification that stays unread for too long is removed, as if it had expired,
and so is every broadcast of that age: tabs drop it, and counts stay correct.
Read and removed messages are deleted some time later. That is no change with a
number, as twice as many rows would have to be written: open tabs are only asked to
drop the items. The floor rises to the newest deleted number, and a client that
returns with a position below it has to reload its list.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

from django.db.models import QuerySet

from notifications.conf import conf
from notifications.db import times
from notifications.db.bulk import one_of, update_rows
from notifications.db.transactions import in_short_transaction
from notifications.models import Broadcast, BroadcastReceipt, BroadcastSequence, Inbox, Notification

from .publishing import publish_deleted
from .retraction import remove_broadcasts, remove_notifications

ROWS_PER_STEP: Final = 1000


def steps(using: str) -> Iterator[tuple[str, int]]:
    """
    Work through all that is due; after each step, yield its kind and its number of rows.

    The kind is the name of a field of `maintenance.Report`.
    """
    unread = conf.RETENTION_DAYS_UNREAD
    notifications = Notification.objects.using(using)
    broadcasts = Broadcast.objects.using(using)
    for keys in _due(notifications.unread(), "created_at", unread):
        yield "removed_by_age", remove_notifications(keys, using, waits=False)
    for keys in _due(broadcasts.present(), "created_at", unread):
        yield "removed_by_age", remove_broadcasts(keys, using, waits=False)
    for keys in _due(notifications.settled(), "settled_at", conf.RETENTION_DAYS):
        yield "notifications_deleted", _delete_notifications(keys, using)
    for keys in _due(broadcasts.removed(), "removed_at", conf.RETENTION_DAYS):
        for deleted in _delete_receipts(keys, using):
            yield "receipts_deleted", deleted
        yield "broadcasts_deleted", _delete_broadcasts(keys, using)


def _due(rows: QuerySet[Any], time: str, days: float | None) -> Iterator[list[int]]:
    """
    Yield the keys of rows whose `time` is `days` ago or more, oldest first, until none is left.

    The caller has to remove or delete the rows of each step before it takes the next. A step after
    which all are still there ends those of its type: others have locked them.
    Goes type by type, as each may have its own days; the index finds a type's oldest row.
    """
    now = times.now()
    type = ""
    while oldest := (
        rows.filter(type__gt=type).order_by("type", time).values_list("type", time).first()
    ):
        type, oldest_time = oldest
        kept_days = conf.RETENTION_DAYS_BY_TYPE.get(type, days)
        if kept_days is None or oldest_time > (until := now - timedelta(days=kept_days)):
            continue
        due = rows.filter(type=type, **{f"{time}__lte": until}).order_by(time)
        done: list[int] = []
        while (keys := list(due.values_list("pk", flat=True)[:ROWS_PER_STEP])) and keys != done:
            yield keys
            done = keys


def _delete_notifications(keys: Sequence[int], using: str) -> int:
    notifications = Notification.objects.using(using)
    settled = notifications.settled().filter(pk__in=one_of(keys, Notification._meta.pk, using))

    def delete() -> list[Notification]:
        accounts = set(settled.values_list("account_id", flat=True))
        inboxes = Inbox.objects.using(using).lock(accounts, waits=False)
        deleted = [
            row
            for row in settled.only("account", "seq", "removed_at").order_by("pk")
            # If not, it was settled after the lock, or another has locked it.
            if row.account_id in inboxes
        ]
        for row in deleted:
            inbox = inboxes[row.account_id]
            inbox.floor = max(inbox.floor, row.seq or 0)
        keys = [row.pk for row in deleted]
        notifications.filter(pk__in=one_of(keys, Notification._meta.pk, using)).delete()
        update_rows(Inbox, [*inboxes.values()], ["floor"], using)
        return deleted

    deleted = in_short_transaction(delete, using, waits=False)
    listed = defaultdict[Any, list[str]](list)
    for row in deleted:
        if row.removed_at is None:
            listed[row.account_id].append(row.wire_id)
    publish_deleted(listed)
    return len(deleted)


def _delete_receipts(keys: Sequence[int], using: str) -> Iterator[int]:
    """
    Delete the receipts of removed broadcasts; yield how many at a time.

    This raises no inbox's floor: a client that has received the removal does not need them, and
    one that has not will be below the broadcasts' floor.
    """
    receipts = BroadcastReceipt.objects.using(using)
    of_removed = receipts.filter(broadcast__in=keys)
    while found := list(of_removed.values_list("pk", flat=True)[:ROWS_PER_STEP]):
        rows = receipts.filter(pk__in=one_of(found, BroadcastReceipt._meta.pk, using))
        yield in_short_transaction(rows.delete, using, waits=False)[0]


def _delete_broadcasts(keys: Sequence[int], using: str) -> int:
    removed = Broadcast.objects.using(using).removed().filter(pk__in=keys)

    def delete() -> int:
        sequence = BroadcastSequence.objects.using(using).lock_if_free()
        if sequence is None:
            return 0
        sequence.floor = max([sequence.floor, *(row.seq or 0 for row in removed)])
        sequence.save(using=using, update_fields=["floor"])
        return removed.delete()[1].get(Broadcast._meta.label, 0)

    return in_short_transaction(delete, using, waits=False)
