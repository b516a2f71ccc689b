"""
Taking messages back: out of all inboxes and open tabs, expired or retracted.

The row stays, until retention deletes it: that it has gone is a change like any
other, numbered under the lock and told to whoever comes later.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from django.utils import timezone

from notifications import protocol
from notifications.db.bulk import one_of, update_rows
from notifications.db.transactions import in_short_transaction
from notifications.models import Broadcast, BroadcastSequence, Inbox, Notification, State

from . import publishing

ROWS_PER_TRANSACTION: Final = 1000


def expire(using: str) -> int:
    """Withdraw the notifications and broadcasts that have expired; return how many."""
    now = timezone.now()
    due = Notification.objects.using(using).present().filter(expires_at__lte=now).order_by()
    expired = 0
    while keys := list(due.values_list("pk", flat=True)[:ROWS_PER_TRANSACTION]):
        expired += remove_notifications(keys, using)
    broadcasts = Broadcast.objects.using(using).present().filter(expires_at__lte=now)
    if keys := list(broadcasts.values_list("pk", flat=True)):
        expired += remove_broadcasts(keys, using)
    return expired


def remove_notifications(keys: Sequence[int], using: str) -> int:
    """
    Let these notifications go, and tell their accounts' tabs; return how many went.

    keys: primary keys, ROWS_PER_TRANSACTION at most. What has no number yet, or has gone, is
    passed over.
    """
    wanted = one_of(keys, Notification._meta.pk, using)
    present = Notification.objects.using(using).present().filter(pk__in=wanted)

    def withdraw() -> list[publishing.LiveUpdate]:
        inboxes = Inbox.objects.using(using).lock(set(present.values_list("account_id", flat=True)))
        rows = [
            row
            for row in present.order_by("account_id", "number")
            if row.account_id in inboxes  # not one that got its number since
        ]
        updates = []
        for account_id, own in groupby(rows, key=lambda row: row.account_id):
            inbox = inboxes[account_id]
            first, ids = inbox.seq + 1, []
            for row in own:
                inbox.unread -= row.state == State.UNREAD
                row.seq = inbox.next_seq()
                row.removed_at = timezone.now()
                ids.append(row.wire_id)
            gone = protocol.state(State.REMOVED, ids, seq=inbox.seq, unread=inbox.unread)
            updates.append(publishing.step(account_id, first, inbox.seq, gone))
        update_rows(Notification, rows, ["seq", "removed_at"], using)
        update_rows(Inbox, [*inboxes.values()], ["seq", "unread"], using)
        return updates

    updates = in_short_transaction(withdraw, using)
    publishing.publish(updates)
    return sum(update.seq - update.first + 1 for update in updates)


def remove_broadcasts(keys: Sequence[int], using: str) -> int:
    """Let these broadcasts go, each with a new number, and tell all tabs; return how many went."""
    present = Broadcast.objects.using(using).present().filter(pk__in=keys)

    def withdraw() -> list[Broadcast]:
        sequence = BroadcastSequence.objects.using(using).lock()
        rows = list(present.order_by("number"))
        for row in rows:
            sequence.seq += 1
            row.seq = sequence.seq
            row.removed_at = timezone.now()
        update_rows(Broadcast, rows, ["seq", "removed_at"], using)
        sequence.save(using=using, update_fields=["seq"])
        return rows

    rows = in_short_transaction(withdraw, using)
    for row in rows:
        gone = protocol.state(State.REMOVED, [row.wire_id], broadcast_seq=row.seq)
        publishing.publish_broadcast(row, gone, removed=True)
    return len(rows)
