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
from notifications.audiences import Recipient
from notifications.models import (
    Broadcast,
    BroadcastReceipt,
    BroadcastSequence,
    Inbox,
    Notification,
    State,
)

from .pages import Counts, Latest, Position, read_latest_of_many

MAX_CHANGES: Final = 1000  # behind by more than that, a client reloads its list
ACCOUNTS_PER_QUERY: Final = 50  # each is a condition of its own


class EncodedChange(NamedTuple):
    """One change as its encoded frame: parsed, meta data may take twenty times the memory."""

    text: str
    seq: int | None
    broadcast_seq: int | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened after a cursor, oldest first; `resync` if that can't be told any more."""

    encoded: list[EncodedChange]
    position: Position  # where a client stands that has taken all of them
    counts: Counts
    complete: bool = True  # False: there is more, ask again from `cursor`
    resync: bool = False

    @property
    def frames(self) -> list[protocol.Frame]:
        return [json.loads(encoded.text) for encoded in self.encoded]

    @property
    def size(self) -> int:
        """Characters in all frames."""
        return sum(len(encoded.text) for encoded in self.encoded)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who asks for changes, after what, up to where, and for how many at most."""

    recipient: Recipient
    position: Position
    latest: Latest
    limit: int

    @property
    def upto(self) -> int:
        """How far the account's own changes are read: one at most has each number."""
        return min(self.position.seq + self.limit, self.latest.position.seq)

    @property
    def has_changes(self) -> bool:
        return self.position != self.latest.position and _can_follow(self.position, self.latest)


def read_changes(recipient: Recipient, position: Position, limit: int) -> Changes:
    """
    Return at most `limit` changes after a cursor, oldest first.

    An item that the cursor can't know comes whole, in its present state; of
    the others only the state. A frame with a `seq` promises that everything
    up to it has been told, and so does one with a `broadcast_seq`.
    """
    return read_changes_of_many([(recipient, position, limit)])[0]


def read_changes_of_many(
    wanted: Sequence[tuple[Recipient, Position | None, int]], size: float = math.inf
) -> list[Changes]:
    """
    Return each reader's changes after its cursor; without one it starts at the head.

    Of each at most as many as it wants, and none after `size` characters.
    """
    latest_of = read_latest_of_many([recipient for recipient, _, _ in wanted])
    asked = [
        _Asked(recipient, position or latest.position, latest, limit)
        for (recipient, position, limit), latest in zip(wanted, latest_of, strict=True)
    ]
    readings = _read_after(asked, size)
    if all(one.position == one.latest.position for one in asked):
        return readings
    using = router.db_for_write(Inbox)
    inboxes = Inbox.objects.using(using).filter(pk__in={one.recipient.account_id for one in asked})
    floors = dict(inboxes.values_list("pk", "floor"))
    broadcast_floor = BroadcastSequence.objects.using(using).current().floor
    return [
        # Deleted between the reading of head and rows, a change is in no reading.
        Changes([], one.latest.position, one.latest.counts, resync=True)
        if one.position.seq < floors.get(one.recipient.account_id, 0)
        or one.position.broadcast_seq < broadcast_floor
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
        else Changes(
            [], one.latest.position, one.latest.counts, resync=one.position != one.latest.position
        )
        for one in asked
    ]


def _can_follow(position: Position, latest: Latest) -> bool:
    return (
        position.epoch == latest.position.epoch
        and position.scope == latest.position.scope
        and latest.floor <= position.seq <= latest.position.seq
        and latest.broadcast_floor <= position.broadcast_seq <= latest.position.broadcast_seq
        and latest.position.seq - position.seq <= MAX_CHANGES
        and latest.position.broadcast_seq - position.broadcast_seq <= MAX_CHANGES
    )


def _changes(
    asked: _Asked,
    size: float,
    items: list[tuple[int, Notification | BroadcastReceipt]],
    broadcasts: list[Broadcast],
    receipts: dict[tuple[Any, int], BroadcastReceipt],
) -> Changes:
    latest = asked.latest
    encoded: list[EncodedChange] = []
    reached = asked.position
    for frame, position in _steps(asked, items, broadcasts, receipts):
        if frame and (len(encoded) == asked.limit or size <= 0):
            return Changes(encoded, reached, latest.counts, complete=False)
        reached = position
        if frame:
            text = protocol.encode(frame)
            encoded.append(EncodedChange(text, frame.get("seq"), frame.get("broadcast_seq")))
            size -= len(text)
    return Changes(encoded, reached, latest.counts, complete=reached == latest.position)


def _steps(
    asked: _Asked,
    items: list[tuple[int, Notification | BroadcastReceipt]],
    broadcasts: list[Broadcast],
    receipts: dict[tuple[Any, int], BroadcastReceipt],
) -> Iterator[tuple[protocol.Frame | None, Position]]:
    """Yield each change, the account's own first, and the cursor behind it."""
    position, latest = asked.position, asked.latest
    for step, row in items:
        yield _item_frame(step, row), replace(position, seq=step)
    position = replace(position, seq=asked.upto)
    yield None, position
    if position.seq == latest.position.seq:
        for broadcast in broadcasts:
            receipt = receipts.get((asked.recipient.account_id, broadcast.pk))
            frame = _broadcast_frame(broadcast, receipt, position.broadcast_seq)
            yield frame, replace(position, broadcast_seq=broadcast.seq or 0)
        yield None, latest.position


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
    if row.removed_at is None and (row.number or 0) > after:
        return row.frame(state)
    state = State.REMOVED if row.removed_at else state
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
            after, upto = one.position.seq, one.upto
            own = Q(account_id=one.recipient.account_id, seq__gt=after)
            receipts |= own
            if upto < one.latest.position.seq:  # most lack little, and conditions cost time
                own &= Q(seq__lte=upto) | Q(number__gt=after, number__lte=upto)
            notifications |= own
        rows: defaultdict[Any, list[Notification | BroadcastReceipt]] = defaultdict(list)
        for row in Notification.objects.using(using).filter(notifications, seq__isnull=False):
            rows[row.account_id].append(row)
        for receipt in BroadcastReceipt.objects.using(using).filter(receipts):
            rows[receipt.account_id].append(receipt)
        for one in batch:
            after = one.position.seq
            changed = [row for row in rows[one.recipient.account_id] if (row.seq or 0) > after]
            steps = [(_step(row, after), row) for row in changed]
            yield sorted((item for item in steps if item[0] <= one.upto), key=itemgetter(0))


def _step(row: Notification | BroadcastReceipt, after: int) -> int:
    if isinstance(row, Notification) and row.removed_at is None and (row.number or 0) > after:
        return row.number or 0
    return row.seq or 0


def _batches(asked: Iterable[_Asked]) -> Iterator[list[_Asked]]:
    """Batches for one query each: of few accounts, and together not many rows."""
    batch: list[_Asked] = []
    rows = 0
    for one in asked:
        wanted = one.upto - one.position.seq
        rows += wanted
        if batch and (len(batch) == ACCOUNTS_PER_QUERY or rows > MAX_CHANGES):
            yield batch
            batch, rows = [], wanted
        batch.append(one)
    if batch:
        yield batch


def _changed_broadcasts(asked: Sequence[_Asked]) -> list[list[Broadcast]]:
    """Return for each the broadcasts to it that changed, by number: all by one query."""
    behind = [
        one for one in asked if one.position.broadcast_seq < one.latest.position.broadcast_seq
    ]
    rows = []
    if behind:
        using = router.db_for_write(Broadcast)
        changed = Broadcast.objects.using(using).filter(
            seq__gt=min(one.position.broadcast_seq for one in behind),
            seq__lte=max(one.latest.position.broadcast_seq for one in behind),
            audience__in=frozenset[str]().union(*(one.recipient.audiences for one in behind)),
        )
        rows = list(changed.order_by("seq"))
    changed_for = []
    for one in asked:
        after, upto = one.position.broadcast_seq, one.latest.position.broadcast_seq
        theirs = (
            row
            for row in rows
            if after < (row.seq or 0) <= upto
            and one.recipient.receives(row.audience, row.created_at)
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
        account_id__in=[one.recipient.account_id for one in asked], broadcast__in=keys
    )
    return {(receipt.account_id, receipt.broadcast_id): receipt for receipt in receipts}
