"""
What happened in an inbox after a cursor: how clients that were away catch up.

The rows of many accounts are read together, since many sockets are behind at
the same time: after an outage all of them are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, TypeAlias

from django.db import router
from django.db.models import Q

from . import protocol
from .audiences import Reader
from .inbox import Counts, Cursor, Head, read_heads
from .models import (
    Broadcast,
    BroadcastHead,
    BroadcastReceipt,
    Inbox,
    Notification,
    State,
)

MOST_CHANGES: Final = 1000  # behind by more than that, a client reloads its list
ACCOUNTS_PER_QUERY: Final = 50  # each is a condition of its own


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened after a cursor, oldest first; `resync` if that can't be told any more."""

    frames: list[protocol.Frame]
    cursor: Cursor  # where a client stands that has taken all frames
    counts: Counts
    complete: bool = True  # False: there is more, ask again from `cursor`
    resync: bool = False


# Who asks for changes, after what, and up to where.
Asked: TypeAlias = tuple[Reader, Cursor, Head]


def read_changes(reader: Reader, cursor: Cursor, limit: int) -> Changes:
    """
    Return at most `limit` changes after a cursor, oldest first.

    An item that the cursor can't know comes whole, in its present state; of
    the others only the state. A frame with a `seq` promises that everything
    up to it has been told, and so does one with a `broadcast_seq`.
    """
    return read_changes_of_many([(reader, cursor)], limit)[0]


def read_changes_of_many(
    wanted: Sequence[tuple[Reader, Cursor | None]], limit: int
) -> list[Changes]:
    """Return each reader's changes after its cursor; without one it starts at the head."""
    heads = read_heads([reader for reader, _ in wanted])
    starts = [
        (reader, cursor or head.cursor, head)
        for (reader, cursor), head in zip(wanted, heads, strict=True)
    ]
    readings = _read_after(starts, limit)
    if all(cursor == head.cursor for _, cursor, head in starts):
        return readings
    using = router.db_for_write(Inbox)
    inboxes = Inbox.objects.using(using).filter(pk__in={reader.account_id for reader, _ in wanted})
    floors = dict(inboxes.values_list("pk", "floor"))
    broadcast_floor = BroadcastHead.objects.using(using).current().floor
    return [
        # Deleted between the reading of head and rows, a change is in no reading.
        Changes([], head.cursor, head.counts, resync=True)
        if cursor.seq < floors.get(reader.account_id, 0) or cursor.broadcast_seq < broadcast_floor
        else reading
        for (reader, cursor, head), reading in zip(starts, readings, strict=True)
    ]


def _read_after(asked: Sequence[Asked], limit: int) -> list[Changes]:
    behind = [one for one in asked if _has_changes(*one[1:])]
    items = _changed_items(behind)
    broadcasts = [rows[: limit + 1] for rows in _changed_broadcasts(behind)]
    receipts = _receipts_of(behind, broadcasts)
    found = zip(items, broadcasts, strict=True)
    return [
        _changes(one, limit, *next(found), receipts)
        if _has_changes(*one[1:])
        else Changes([], one[2].cursor, one[2].counts, resync=one[1] != one[2].cursor)
        for one in asked
    ]


def _has_changes(cursor: Cursor, head: Head) -> bool:
    return cursor != head.cursor and _can_follow(cursor, head)


def _can_follow(cursor: Cursor, head: Head) -> bool:
    return (
        cursor.epoch == head.cursor.epoch
        and cursor.scope == head.cursor.scope
        and head.floor <= cursor.seq <= head.cursor.seq
        and head.broadcast_floor <= cursor.broadcast_seq <= head.cursor.broadcast_seq
        and head.cursor.seq - cursor.seq <= MOST_CHANGES
        and head.cursor.broadcast_seq - cursor.broadcast_seq <= MOST_CHANGES
    )


def _changes(
    asked: Asked,
    limit: int,
    items: list[tuple[int, Notification | BroadcastReceipt]],
    broadcasts: list[Broadcast],
    receipts: dict[tuple[Any, int], BroadcastReceipt],
) -> Changes:
    reader, cursor, head = asked
    complete = len(items) <= limit
    frames = [_item_frame(*item) for item in items[:limit]]
    seq = head.cursor.seq if complete else items[limit - 1][0]
    broadcast_seq = cursor.broadcast_seq
    if complete:
        room = limit - len(items)
        complete = len(broadcasts) <= room
        for row in broadcasts[:room]:
            receipt = receipts.get((reader.account_id, row.pk))
            frames.append(_broadcast_frame(row, receipt, cursor.broadcast_seq))
        if complete:
            broadcast_seq = head.cursor.broadcast_seq
        elif room:
            broadcast_seq = broadcasts[room - 1].seq or 0
    reached = Cursor(seq, broadcast_seq, head.cursor.epoch, head.cursor.scope)
    return Changes(frames, reached, head.counts, complete)


def _item_frame(step: int, row: Notification | BroadcastReceipt) -> protocol.Frame:
    if isinstance(row, Notification) and step == row.number:
        # With a page, a client may have it already, in a state of before that change.
        changed = {} if row.seq == step else {"changed": row.seq}
        return {**row.frame(), "seq": step, **changed}
    return protocol.state(row.state, [row.wire_id], seq=step)


def _broadcast_frame(
    row: Broadcast, receipt: BroadcastReceipt | None, after: int
) -> protocol.Frame:
    state = receipt.state if receipt else State.UNREAD
    if row.gone_at is None and (row.number or 0) > after:
        return row.frame(state)
    state = State.GONE if row.gone_at else state
    return protocol.state(state, [row.wire_id], broadcast_seq=row.seq)


def _changed_items(
    asked: Sequence[Asked],
) -> Iterator[list[tuple[int, Notification | BroadcastReceipt]]]:
    """
    Yield for each what changed in its account's own rows, notifications and receipts, by number.

    What is new stands at its own number, also if it changed since: at the number
    of its change, a cursor that was there in between would take it for known.

    Up to the head only: a later change may already be in one of the two
    tables while an earlier one was not yet in the other when that was read.
    """
    using = router.db_for_write(Notification)
    for batch in _batches(asked):
        changed = Q()
        for reader, cursor, _ in batch:
            changed |= Q(account_id=reader.account_id, seq__gt=cursor.seq)
        rows: defaultdict[Any, list[Notification | BroadcastReceipt]] = defaultdict(list)
        for row in Notification.objects.using(using).filter(changed, seq__isnull=False):
            rows[row.account_id].append(row)
        for receipt in BroadcastReceipt.objects.using(using).filter(changed):
            rows[receipt.account_id].append(receipt)
        for reader, cursor, head in batch:
            after, upto = cursor.seq, head.cursor.seq
            own = [row for row in rows[reader.account_id] if (row.seq or 0) > after]
            steps = [(_step(row, after), row) for row in own]
            yield sorted((item for item in steps if item[0] <= upto), key=itemgetter(0))


def _step(row: Notification | BroadcastReceipt, after: int) -> int:
    if isinstance(row, Notification) and row.gone_at is None and (row.number or 0) > after:
        return row.number or 0
    return row.seq or 0


def _batches(asked: Iterable[Asked]) -> Iterator[list[Asked]]:
    """Batches for one query each: of few accounts, and together not many rows."""
    batch: list[Asked] = []
    rows = 0
    for one in asked:
        _, cursor, head = one
        rows += head.cursor.seq - cursor.seq
        if batch and (len(batch) == ACCOUNTS_PER_QUERY or rows > MOST_CHANGES):
            yield batch
            batch, rows = [], head.cursor.seq - cursor.seq
        batch.append(one)
    if batch:
        yield batch


def _changed_broadcasts(asked: Sequence[Asked]) -> Iterator[list[Broadcast]]:
    """Yield for each the broadcasts to it that changed, by number: all by one query."""
    behind = [
        (reader, cursor, head)
        for reader, cursor, head in asked
        if cursor.broadcast_seq < head.cursor.broadcast_seq
    ]
    rows = []
    if behind:
        using = router.db_for_write(Broadcast)
        changed = Broadcast.objects.using(using).filter(
            seq__gt=min(cursor.broadcast_seq for _, cursor, _ in behind),
            seq__lte=max(head.cursor.broadcast_seq for _, _, head in behind),
            audience__in=frozenset[str]().union(*(reader.audiences for reader, _, _ in behind)),
        )
        rows = list(changed.order_by("seq"))
    for reader, cursor, head in asked:
        after, upto = cursor.broadcast_seq, head.cursor.broadcast_seq
        yield [
            row
            for row in rows
            if after < (row.seq or 0) <= upto and reader.gets(row.audience, row.created_at)
        ]


def _receipts_of(
    asked: Sequence[Asked], broadcasts: Sequence[Sequence[Broadcast]]
) -> dict[tuple[Any, int], BroadcastReceipt]:
    """Return the receipts for these broadcasts by account and broadcast."""
    keys = {row.pk for rows in broadcasts for row in rows}
    if not keys:
        return {}
    receipts = BroadcastReceipt.objects.using(router.db_for_write(BroadcastReceipt)).filter(
        account_id__in=[reader.account_id for reader, _, _ in asked], broadcast__in=keys
    )
    return {(receipt.account_id, receipt.broadcast_id): receipt for receipt in receipts}
