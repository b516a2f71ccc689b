"""
How long messages are kept: bounded steps, each a short transaction of its own.

What stayed unread for long is withdrawn like what expired, so its account's
tabs are told and the count is right; a broadcast goes at that age, too. What
was read, or has gone, is deleted some time later. That is no change to be told:
instead the floor rises to the newest number deleted, and who comes back with a
cursor below it is told to reload.
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
    """Do step after step while there is something to do; yield what each did, and how often."""
    unread = conf.RETENTION_DAYS_UNREAD
    notifications = Notification.objects.using(using)
    broadcasts = Broadcast.objects.using(using)
    for keys in _due(notifications.unread(), "created_at", unread):
        yield "withdrawn", remove_notifications(keys, using)
    for keys in _due(broadcasts.present(), "created_at", unread):
        yield "withdrawn", remove_broadcasts(keys, using)
    for keys in _due(notifications.settled(), "settled_at", conf.RETENTION_DAYS):
        yield "notifications_deleted", _delete_notifications(keys, using)
    for keys in _due(broadcasts.removed(), "removed_at", conf.RETENTION_DAYS):
        for receipts in _receipts_of(keys, using):
            yield "receipts_deleted", receipts
        yield "broadcasts_deleted", _delete_broadcasts(keys, using)


def _due(rows: QuerySet[Any], time: str, days: float | None) -> Iterator[list[int]]:
    """
    Yield keys of rows whose `time` is so many days ago, the oldest first, until there are no more.

    Type by type, for each has days of its own: the index leads to its oldest row at once.
    """
    now = timezone.now()
    seen = ""
    while oldest := (
        rows.filter(type__gt=seen).order_by("type", time).values_list("type", time).first()
    ):
        seen, since = oldest
        kept = conf.RETENTION_DAYS_BY_TYPE.get(seen, days)
        if kept is None or since > (end := now - timedelta(days=kept)):
            continue
        due = rows.filter(type=seen, **{f"{time}__lte": end}).order_by(time)
        while keys := list(due.values_list("pk", flat=True)[:ROWS_PER_STEP]):
            yield keys


def _delete_notifications(keys: Sequence[int], using: str) -> int:
    notifications = Notification.objects.using(using)
    settled = notifications.settled().filter(pk__in=one_of(keys, Notification._meta.pk, using))

    def delete() -> int:
        inboxes = Inbox.objects.using(using).lock(set(settled.values_list("account_id", flat=True)))
        deleted = []
        for pk, account_id, seq in settled.values_list("pk", "account_id", "seq"):
            if inbox := inboxes.get(account_id):  # not one that was settled since
                inbox.floor = max(inbox.floor, seq or 0)
                deleted.append(pk)
        notifications.filter(pk__in=one_of(deleted, Notification._meta.pk, using)).delete()
        update_rows(Inbox, [*inboxes.values()], ["floor"], using)
        return len(deleted)

    return in_short_transaction(delete, using)


def _receipts_of(keys: Sequence[int], using: str) -> Iterator[int]:
    """
    Delete the receipts of broadcasts that have gone; yield how many at a time.

    They raise no inbox's floor: who was told that the broadcast has gone needs
    none of them, and who was not is below the broadcasts' floor.
    """
    receipts = BroadcastReceipt.objects.using(using)
    of_gone = receipts.filter(broadcast__in=keys)
    while found := list(of_gone.values_list("pk", flat=True)[:ROWS_PER_STEP]):
        yield receipts.filter(pk__in=one_of(found, BroadcastReceipt._meta.pk, using)).delete()[0]


def _delete_broadcasts(keys: Sequence[int], using: str) -> int:
    gone = Broadcast.objects.using(using).removed().filter(pk__in=keys)

    def delete() -> int:
        sequence = BroadcastSequence.objects.using(using).lock()
        sequence.floor = max([sequence.floor, *(row.seq or 0 for row in gone)])
        sequence.save(using=using, update_fields=["floor"])
        return gone.delete()[1].get(Broadcast._meta.label, 0)

    return in_short_transaction(delete, using)
