"""
What happened in an inbox after a cursor: how clients that were away catch up.

The rows of many accounts are read together, since many sockets are behind at
the same time: after an outage all of them are.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import itemgetter
from typing import Any, Final, NamedTuple

from django.db import router
from django.db.models import Q

from notifications import protocol
from notifications.audiences import Reader
from notifications.models import (
    Broadcast,
    BroadcastHead,
    BroadcastReceipt,
    Inbox,
    Notification,
    State,
)

from .pages import Counts, Cursor, Head, read_heads

MOST_CHANGES: Final = 1000  # behind by more than that, a client reloads its list
ACCOUNTS_PER_QUERY: Final = 50  # each is a condition of its own


class Told(NamedTuple):
    """One change as its encoded frame: parsed, meta data may take twenty times the memory."""

    text: str
    seq: int | None
    broadcast_seq: int | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened after a cursor, oldest first; `resync` if that can't be told any more."""

    told: list[Told]
    cursor: Cursor  # where a client stands that has taken all of them
    counts: Counts
    complete: bool = True  # False: there is more, ask again from `cursor`
    resync: bool = False

    @property
    def frames(self) -> list[protocol.Frame]:
        return [json.loads(told.text) for told in self.told]

    @property
    def size(self) -> int:
        """Characters in all frames."""
        return sum(len(told.text) for told in self.told)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who asks for changes, after what, up to where, and for how many at most."""

    reader: Reader
    cursor: Cursor
    head: Head
    limit: int

    @property
    def upto(self) -> int:
        """How far the account's own changes are read: one at most has each number."""
        return min(self.cursor.seq + self.limit, self.head.cursor.seq)

    @property
    def has_changes(self) -> bool:
        return self.cursor != self.head.cursor and _can_follow(self.cursor, self.head)


def read_changes(reader: Reader, cursor: Cursor, limit: int) -> Changes:
    """
    Return at most `limit` changes after a cursor, oldest first.

    An item that the cursor can't know comes whole, in its present state; of
    the others only the state. A frame with a `seq` promises that everything
    up to it has been told, and so does one with a `broadcast_seq`.
    """
    return read_changes_of_many([(reader, cursor, limit)])[0]


def read_changes_of_many(
    wanted: Sequence[tuple[Reader, Cursor | None, int]], size: float = math.inf
) -> list[Changes]:
    """
    Return each reader's changes after its cursor; without one it starts at the head.

    Of each at most as many as it wants, and none after `size` characters.
    """
    heads = read_heads([reader for reader, _, _ in wanted])
    asked = [
        _Asked(reader, cursor or head.cursor, head, limit)
        for (reader, cursor, limit), head in zip(wanted, heads, strict=True)
    ]
    readings = _read_after(asked, size)
    if all(one.cursor == one.head.cursor for one in asked):
        return readings
    using = router.db_for_write(Inbox)
    inboxes = Inbox.objects.using(using).filter(pk__in={one.reader.account_id for one in asked})
    floors = dict(inboxes.values_list("pk", "floor"))
    broadcast_floor = BroadcastHead.objects.using(using).current().floor
    return [
        # Deleted between the reading of head and rows, a change is in no reading.
        Changes([], one.head.cursor, one.head.counts, resync=True)
        if one.cursor.seq < floors.get(one.reader.account_id, 0)
        or one.cursor.broadcast_seq < broadcast_floor
        else reading
        for one, reading in zip(asked, readings, strict=True)
    ]


def _read_after(asked: Sequence[_Asked], size: float) -> list[Changes]:
    behind = [one for one in asked if one.has_changes]
    items = _changed_items(behind)
    broadcasts = _changed_broadcasts(behind)
    receipts = _receipts_of(behind, broadcasts)
    found = zip(items, broadcasts, strict=True)
    return [
        _changes(one, size, *next(found), receipts)
        if one.has_changes
        else Changes([], one.head.cursor, one.head.counts, resync=one.cursor != one.head.cursor)
        for one in asked
    ]


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
    asked: _Asked,
    size: float,
    items: list[tuple[int, Notification | BroadcastReceipt]],
    broadcasts: list[Broadcast],
    receipts: dict[tuple[Any, int], BroadcastReceipt],
) -> Changes:
    head = asked.head
    told: list[Told] = []
    reached = asked.cursor
    for frame, cursor in _steps(asked, items, broadcasts, receipts):
        if frame and (len(told) == asked.limit or size <= 0):
            return Changes(told, reached, head.counts, complete=False)
        reached = cursor
        if frame:
            text = protocol.encode(frame)
            told.append(Told(text, frame.get("seq"), frame.get("broadcast_seq")))
            size -= len(text)
    return Changes(told, reached, head.counts, complete=reached == head.cursor)


def _steps(
    asked: _Asked,
    items: list[tuple[int, Notification | BroadcastReceipt]],
    broadcasts: list[Broadcast],
    receipts: dict[tuple[Any, int], BroadcastReceipt],
) -> Iterator[tuple[protocol.Frame | None, Cursor]]:
    """Yield each change, the account's own first, and the cursor behind it."""
    cursor, head = asked.cursor, asked.head
    for step, row in items:
        yield _item_frame(step, row), replace(cursor, seq=step)
    cursor = replace(cursor, seq=asked.upto)
    yield None, cursor
    if cursor.seq == head.cursor.seq:
        for broadcast in broadcasts:
            receipt = receipts.get((asked.reader.account_id, broadcast.pk))
            frame = _broadcast_frame(broadcast, receipt, cursor.broadcast_seq)
            yield frame, replace(cursor, broadcast_seq=broadcast.seq or 0)
        yield None, head.cursor


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
    asked: Sequence[_Asked],
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
        notifications, receipts = Q(), Q()
        for one in batch:
            after, upto = one.cursor.seq, one.upto
            own = Q(account_id=one.reader.account_id, seq__gt=after)
            receipts |= own
            if upto < one.head.cursor.seq:  # most lack little, and conditions cost time
                own &= Q(seq__lte=upto) | Q(number__gt=after, number__lte=upto)
            notifications |= own
        rows: defaultdict[Any, list[Notification | BroadcastReceipt]] = defaultdict(list)
        for row in Notification.objects.using(using).filter(notifications, seq__isnull=False):
            rows[row.account_id].append(row)
        for receipt in BroadcastReceipt.objects.using(using).filter(receipts):
            rows[receipt.account_id].append(receipt)
        for one in batch:
            after = one.cursor.seq
            changed = [row for row in rows[one.reader.account_id] if (row.seq or 0) > after]
            steps = [(_step(row, after), row) for row in changed]
            yield sorted((item for item in steps if item[0] <= one.upto), key=itemgetter(0))


def _step(row: Notification | BroadcastReceipt, after: int) -> int:
    if isinstance(row, Notification) and row.gone_at is None and (row.number or 0) > after:
        return row.number or 0
    return row.seq or 0


def _batches(asked: Iterable[_Asked]) -> Iterator[list[_Asked]]:
    """Batches for one query each: of few accounts, and together not many rows."""
    batch: list[_Asked] = []
    rows = 0
    for one in asked:
        wanted = one.upto - one.cursor.seq
        rows += wanted
        if batch and (len(batch) == ACCOUNTS_PER_QUERY or rows > MOST_CHANGES):
            yield batch
            batch, rows = [], wanted
        batch.append(one)
    if batch:
        yield batch


def _changed_broadcasts(asked: Sequence[_Asked]) -> list[list[Broadcast]]:
    """Return for each the broadcasts to it that changed, by number: all by one query."""
    behind = [one for one in asked if one.cursor.broadcast_seq < one.head.cursor.broadcast_seq]
    rows = []
    if behind:
        using = router.db_for_write(Broadcast)
        changed = Broadcast.objects.using(using).filter(
            seq__gt=min(one.cursor.broadcast_seq for one in behind),
            seq__lte=max(one.head.cursor.broadcast_seq for one in behind),
            audience__in=frozenset[str]().union(*(one.reader.audiences for one in behind)),
        )
        rows = list(changed.order_by("seq"))
    changed_for = []
    for one in asked:
        after, upto = one.cursor.broadcast_seq, one.head.cursor.broadcast_seq
        theirs = (
            row
            for row in rows
            if after < (row.seq or 0) <= upto and one.reader.gets(row.audience, row.created_at)
        )
        # One more than it wants, which says that there is more.
        changed_for.append(list(islice(theirs, one.limit + 1)))
    return changed_for


def _receipts_of(
    asked: Sequence[_Asked], broadcasts: Sequence[Sequence[Broadcast]]
) -> dict[tuple[Any, int], BroadcastReceipt]:
    """Return the receipts for these broadcasts by account and broadcast."""
    keys = {row.pk for rows in broadcasts for row in rows}
    if not keys:
        return {}
    receipts = BroadcastReceipt.objects.using(router.db_for_write(BroadcastReceipt)).filter(
        account_id__in=[one.reader.account_id for one in asked], broadcast__in=keys
    )
    return {(receipt.account_id, receipt.broadcast_id): receipt for receipt in receipts}
