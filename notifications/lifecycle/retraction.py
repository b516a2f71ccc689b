"""
Removes expired and retracted messages from all inboxes and open tabs.

The row stays until retention deletes it: its removal is a change like any other,
numbered under the lock, and read by clients that catch up later.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from notifications import protocol
from notifications.db import times
from notifications.db.bulk import one_of, update_rows
from notifications.db.transactions import in_short_transaction
from notifications.models import Broadcast, BroadcastSequence, Inbox, Notification, State

from . import publishing

ROWS_PER_TRANSACTION: Final = 1000


def expire(using: str) -> int:
    """Remove the notifications and broadcasts that have expired; return how many."""
    now = times.now()
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
    Remove these notifications from their inboxes and from open tabs; return how many were removed.

    keys: primary keys, ROWS_PER_TRANSACTION at most. Notifications that have no number yet or are
    already removed are skipped.
    """
    wanted = one_of(keys, Notification._meta.pk, using)
    present = Notification.objects.using(using).present().filter(pk__in=wanted)
    # Without the content of a thousand messages
    columns = ("account", "number", "read_at", "archived_at", "removed_at")

    def remove() -> tuple[int, list[publishing.LiveUpdate]]:
        inboxes = Inbox.objects.using(using).lock(set(present.values_list("account_id", flat=True)))
        rows = [
            row
            for row in present.order_by("account_id", "number").only(*columns)
            if row.account_id in inboxes  # if not, it was numbered after the lock
        ]
        now = times.now()
        updates: list[publishing.LiveUpdate] = []
        for account_id, own in groupby(rows, key=lambda row: row.account_id):
            inbox = inboxes[account_id]
            before, ids = inbox.seq, []
            for row in own:
                inbox.unread -= row.state == State.UNREAD
                row.seq = inbox.next_seq()
                row.removed_at = now
                ids.append(row.wire_id)
            updates += publishing.state_updates(
                account_id, State.REMOVED, ids, before + 1, {"unread": inbox.unread}
            )
        update_rows(Notification, rows, ["seq", "removed_at"], using)
        update_rows(Inbox, [*inboxes.values()], ["seq", "unread"], using)
        return len(rows), updates

    count, updates = in_short_transaction(remove, using)
    publishing.publish(updates)
    return count


def remove_broadcasts(keys: Sequence[int], using: str) -> int:
    """Remove these broadcasts, each with a new number; return how many were removed."""
    present = Broadcast.objects.using(using).present().filter(pk__in=keys)

    def remove() -> list[Broadcast]:
        sequence = BroadcastSequence.objects.using(using).lock()
        rows = list(present.order_by("number").only("number", "audience", "created_at"))
        now = times.now()
        for row in rows:
            sequence.seq += 1
            row.seq = sequence.seq
            row.removed_at = now
        update_rows(Broadcast, rows, ["seq", "removed_at"], using)
        sequence.save(using=using, update_fields=["seq"])
        return rows

    rows = in_short_transaction(remove, using)
    for row in rows:
        frame = protocol.state(State.REMOVED, [row.wire_id], broadcast_seq=row.seq)
        publishing.publish_broadcast(row, frame, removed=True)
    return len(rows)
