"""
Removes expired and retracted messages from all inboxes and open tabs.

The row stays until retention deletes it: its removal is a change like any other,
numbered under the lock, and read by clients that catch up later.

A caller's transaction only inserts what it retracts, as rows of its own, and never waits for
another one. After its commit, a short transaction of ours locks the inboxes, removes the
messages, and deletes those rows; what a crash leaves is finished by the hubs' checks and by
maintenance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from django.db import OperationalError, transaction
from django.db.models import Exists, OuterRef, Q

from notifications import protocol
from notifications.db import times
from notifications.db.bulk import is_one_of, one_of, update_rows
from notifications.db.transactions import in_short_transaction, is_busy
from notifications.models import (
    Broadcast,
    BroadcastSequence,
    Inbox,
    Notification,
    Retraction,
    State,
)

from . import numbering, publishing

ROWS_PER_TRANSACTION: Final = 1000
NOT_RETRACTED: Final[Mapping[int, Retraction]] = {}


def retract(model: type[Notification | Broadcast], keys: Sequence[int], by: Any, using: str) -> int:
    """
    Remove these messages once the caller's transaction commits; return how many are new to it.

    keys: primary keys, any number of them.
    by: the primary key of an account, or None.
    """
    inserted = Retraction.objects.using(using).insert(model, keys, times.now(), by)

    def remove() -> None:
        with numbering.left_to_the_check():
            for start in range(0, len(inserted), ROWS_PER_TRANSACTION):
                _finish(inserted[start : start + ROWS_PER_TRANSACTION], using)

    if inserted:
        transaction.on_commit(remove, using=using, robust=True)
    return len(inserted)


def finish(using: str, account_ids: Sequence[Any] | None = None) -> int:
    """
    Remove messages whose retraction a process left over; return how many were removed.

    Waits for nobody: those that others have locked are left to a later call.

    account_ids: only the notifications of these accounts, and broadcasts, ROWS_PER_TRANSACTION at
        most, as a hub's other work waits for it.
    """
    waiting = Retraction.objects.using(using).order_by("pk")
    if account_ids is not None:
        account = Retraction._meta.get_field("account")
        waiting = waiting.filter(
            Q(account=None) | is_one_of("account_id", account_ids, account, using)
        )
    removed, rest = 0, waiting
    while keys := list(rest.values_list("pk", flat=True)[:ROWS_PER_TRANSACTION]):
        try:
            removed += _finish(keys, using, waits=False)
        except OperationalError as error:
            if not is_busy(error):
                raise
        if account_ids is not None:
            break
        # What can't be removed yet stays.
        rest = waiting.filter(pk__gt=keys[-1])
    return removed


def expire(using: str) -> int:
    """
    Remove the notifications and broadcasts that have expired; return how many.

    Waits for nobody: those that others have locked are left to a later call.
    """
    now = times.now()
    due = Notification.objects.using(using).present().filter(expires_at__lte=now).order_by()
    expired = 0
    while keys := list(due.values_list("pk", flat=True)[:ROWS_PER_TRANSACTION]):
        if not (removed := remove_notifications(keys, using, waits=False)):
            break
        expired += removed
    broadcasts = Broadcast.objects.using(using).present().filter(expires_at__lte=now)
    if keys := list(broadcasts.values_list("pk", flat=True)):
        expired += remove_broadcasts(keys, using, waits=False)
    return expired


def remove_notifications(
    keys: Sequence[int],
    using: str,
    retractions: Mapping[int, Retraction] = NOT_RETRACTED,
    *,
    waits: bool = True,
) -> int:
    """
    Remove these notifications from their inboxes and from open tabs; return how many were removed.

    keys: primary keys, ROWS_PER_TRANSACTION at most. Notifications that have no number yet or are
    already removed are skipped.
    retractions: of each of them, if they were retracted; deleted with the removal.
    waits: False also skips those that others have locked, or their inboxes.
    """
    wanted = one_of(keys, Notification._meta.pk, using)
    present = Notification.objects.using(using).present().filter(pk__in=wanted)
    # Without the content of a thousand messages
    columns = ("account", "number", "read_at", "archived_at", "removed_at")

    def remove() -> tuple[int, list[publishing.LiveUpdate]]:
        accounts = set(present.values_list("account_id", flat=True))
        inboxes = Inbox.objects.using(using).lock(accounts, waits=waits)
        free = present if waits else present.select_for_update(skip_locked=True)
        rows = [
            row
            for row in free.order_by("account_id", "number").only(*columns)
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
        update_rows(Notification, rows, _removed_fields(rows, retractions), using)
        update_rows(Inbox, [*inboxes.values()], ["seq", "unread"], using)
        _delete(Notification, retractions, using)
        return len(rows), updates

    count, updates = in_short_transaction(remove, using, waits=waits)
    publishing.publish(updates)
    return count


def remove_broadcasts(
    keys: Sequence[int],
    using: str,
    retractions: Mapping[int, Retraction] = NOT_RETRACTED,
    *,
    waits: bool = True,
) -> int:
    """
    Remove these broadcasts, each with a new number; return how many were removed.

    retractions: as in `remove_notifications`.
    waits: False skips those that others have locked, all of them while another numbers broadcasts.
    """
    present = Broadcast.objects.using(using).present().filter(pk__in=keys)

    def remove() -> list[Broadcast]:
        sequences = BroadcastSequence.objects.using(using)
        sequence = sequences.lock() if waits else sequences.lock_if_free()
        if sequence is None:
            return []
        free = present if waits else present.select_for_update(skip_locked=True)
        rows = list(free.order_by("number").only("number", "audience", "created_at"))
        now = times.now()
        for row in rows:
            sequence.seq += 1
            row.seq = sequence.seq
            row.removed_at = now
        update_rows(Broadcast, rows, _removed_fields(rows, retractions), using)
        sequence.save(using=using, update_fields=["seq"])
        _delete(Broadcast, retractions, using)
        return rows

    rows = in_short_transaction(remove, using, waits=waits)
    for row in rows:
        frame = protocol.state(State.REMOVED, [row.wire_id], broadcast_seq=row.seq)
        publishing.publish_broadcast(row, frame, removed=True)
    return len(rows)


def _finish(keys: Sequence[int], using: str, *, waits: bool = True) -> int:
    """Remove the messages of these retractions, ROWS_PER_TRANSACTION at most; return how many."""
    wanted = one_of(keys, Retraction._meta.pk, using)
    rows = Retraction.objects.using(using).filter(pk__in=wanted).order_by("-pk")
    notifications: dict[int, Retraction] = {}
    broadcasts: dict[int, Retraction] = {}
    for row in rows:  # if a message is there twice, its first retraction counts
        if row.notification_id:
            notifications[row.notification_id] = row
        elif row.broadcast_id:
            broadcasts[row.broadcast_id] = row
    removed = 0
    if notifications:
        _number(notifications, using, waits)
        removed += remove_notifications([*notifications], using, notifications, waits=waits)
    if broadcasts:
        numbering.number_broadcasts(using, waits=waits)
        removed += remove_broadcasts([*broadcasts], using, broadcasts, waits=waits)
    return removed


def _number(keys: Iterable[int], using: str, waits: bool) -> None:
    """Number those of these notifications that have no number yet: a removal is a later change."""
    wanted = one_of([*keys], Notification._meta.pk, using)
    unnumbered = Notification.objects.using(using).unnumbered().filter(pk__in=wanted)
    if accounts := set(unnumbered.values_list("account_id", flat=True)):
        number = numbering.number_and_publish if waits else numbering.number_left_overs
        number(accounts, using)


def _removed_fields(rows: Iterable[Any], retractions: Mapping[int, Retraction]) -> list[str]:
    """Copy to the rows when and by whom they were retracted; return the fields to write."""
    if not retractions:
        return ["seq", "removed_at"]
    for row in rows:
        retraction = retractions[row.pk]
        row.retracted_at, row.retracted_by_id = retraction.retracted_at, retraction.retracted_by_id
    return ["seq", "removed_at", "retracted_at", "retracted_by"]


def _delete(
    model: type[Notification | Broadcast], retractions: Mapping[int, Retraction], using: str
) -> None:
    """Delete the retractions of these messages, but for messages that can't be removed yet."""
    if retractions:
        name = "notification" if model is Notification else "broadcast"
        keys = one_of([*retractions], model._meta.pk, using)
        waiting = model.objects.using(using).filter(pk=OuterRef(name), removed_at=None)
        own = Retraction.objects.using(using).filter(**{f"{name}__in": keys})
        own.exclude(Exists(waiting)).delete()
