"""
The changes of an inbox after a position, for clients that catch up.

The rows of many accounts are read together, as after an outage all connections
are behind at the same time.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import itemgetter
from typing import Any, Final, NamedTuple

from django.db import router
from django.db.models import Q

from notifications import protocol
from notifications.audiences import Recipient
from notifications.conf import conf
from notifications.db.rows import read_rows
from notifications.models import (
    Broadcast,
    BroadcastReceipt,
    BroadcastSequence,
    Inbox,
    Notification,
    State,
)

from .pages import Counts, Latest, Position, read_latest_of_many, reader

MAX_CHANGES: Final = 1000  # a client that is further behind reloads its list
ACCOUNTS_PER_QUERY: Final = 50  # each adds a condition

OwnRow = Notification | BroadcastReceipt
Receipts = Mapping[tuple[Any, int], BroadcastReceipt]  # by account and broadcast


class EncodedChange(NamedTuple):
    """One change as an encoded frame; parsed meta data may take twenty times the memory."""

    text: str
    seq: int | None
    broadcast_seq: int | None


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes after a position, oldest first."""

    encoded: list[EncodedChange]
    position: Position  # of a client that has taken all of them
    counts: Counts
    complete: bool = True  # False: there are more after `position`, or the counts may be newer
    resync: bool = False  # True: the client has to reload its list, and continues from `position`

    @property
    def frames(self) -> list[protocol.Frame]:
        return [json.loads(encoded.text) for encoded in self.encoded]

    @property
    def size(self) -> int:
        """Characters in all frames."""
        return sum(len(encoded.text) for encoded in self.encoded)


@dataclass(frozen=True, eq=False, slots=True)
class _Request:
    """A request for at most `limit` changes after `position`; a key of dicts by identity."""

    recipient: Recipient
    position: Position
    latest: Latest
    limit: int

    @property
    def last_seq(self) -> int:
        """The account's own changes are read up to this number; no two have the same one."""
        return min(self.position.seq + self.limit, self.latest.position.seq)

    @property
    def is_behind(self) -> bool:
        return self.position != self.latest.position

    @property
    def has_changes(self) -> bool:
        return self.is_behind and _can_follow(self.position, self.latest)


def read_changes(recipient: Recipient, position: Position, limit: int) -> Changes:
    """
    Return at most `limit` changes after a position, oldest first.

    An item that is new to the client is sent whole, in its present state; of
    other items, only the state is sent. A frame with a `seq` or `broadcast_seq`
    promises that the client now has everything up to it.
    """
    return read_changes_of_many([(recipient, position, limit)])[0]


def read_changes_of_many(
    wanted: Sequence[tuple[Recipient, Position | None, int]], size: float = math.inf
) -> list[Changes]:
    """
    Return the changes for each recipient, position and limit, in the same order.

    wanted: a position of None means the latest one.
    size: characters for each recipient. The change that exceeds it is the last one.
    """
    latest_of = read_latest_of_many([recipient for recipient, _, _ in wanted])
    requests = [
        _Request(reader(recipient, latest), position or latest.position, latest, limit)
        for (recipient, position, limit), latest in zip(wanted, latest_of, strict=True)
    ]
    changes = _read_changes(requests, size)
    if len(requests) == 1 and not requests[0].is_behind:
        return [changes[requests[0]]]
    using = router.db_for_write(Inbox)
    account_ids = [recipient.account_id for recipient, _, _ in wanted]
    inboxes = Inbox.objects.using(using).filter(pk__in=set(account_ids))
    numbers = {pk: (seq, floor) for pk, seq, floor in inboxes.values_list("pk", "seq", "floor")}
    broadcasts = BroadcastSequence.objects.using(using).current()
    for request, account_id in zip(requests, account_ids, strict=True):
        position = request.latest.position
        seq, floor = numbers.get(account_id, (0, 0))
        if request.position.seq < floor or request.position.broadcast_seq < broadcasts.floor:
            # A change that was deleted after the latest position was read is missing from the rows.
            changes[request] = _without_changes(request, resync=True)
        if not request.latest.has_own:
            seq = position.seq  # nothing was counted
        if len(requests) > 1 and (seq, broadcasts.seq) != (position.seq, position.broadcast_seq):
            # The counts of many are read by several queries, and may be newer than the position.
            changes[request] = replace(changes[request], complete=False)
    return [changes[request] for request in requests]


def _read_changes(requests: Sequence[_Request], size: float) -> dict[_Request, Changes]:
    changes = {request: _without_changes(request, resync=request.is_behind) for request in requests}
    behind = [request for request in requests if request.has_changes]
    broadcasts = _read_broadcasts(behind)
    receipts = _read_receipts(behind, broadcasts)
    for batch in _batches(behind):
        own_rows = _read_own_rows(batch)
        for request in batch:
            frames = _frames(request, own_rows[request], broadcasts[request], receipts)
            changes[request] = _encode(request, frames, size)
    return changes


def _without_changes(request: _Request, resync: bool) -> Changes:
    return Changes([], request.latest.position, request.latest.counts, resync=resync)


def _can_follow(position: Position, latest: Latest) -> bool:
    return (
        position.epoch == latest.position.epoch
        and position.scope == latest.position.scope
        and latest.floor <= position.seq <= latest.position.seq
        and latest.broadcast_floor <= position.broadcast_seq <= latest.position.broadcast_seq
        and latest.position.seq - position.seq <= MAX_CHANGES
        and latest.position.broadcast_seq - position.broadcast_seq <= MAX_CHANGES
    )


# --- Reading rows


def _batches(requests: Iterable[_Request]) -> Iterator[list[_Request]]:
    """Yield batches for one query each, limited in accounts and in rows."""
    batch: list[_Request] = []
    rows = 0
    for request in requests:
        own_rows = request.last_seq - request.position.seq
        rows += own_rows
        if batch and (len(batch) == ACCOUNTS_PER_QUERY or rows > MAX_CHANGES):
            yield batch
            batch, rows = [], own_rows
        batch.append(request)
    if batch:
        yield batch


def _read_own_rows(batch: Sequence[_Request]) -> dict[_Request, list[tuple[int, OwnRow]]]:
    """
    Return each account's changed notifications and receipts, in order, with their change numbers.

    A notification that is new to the client is placed at its own number, even if it changed later.
    Otherwise, a client that stops in between would take it for one that it has.

    Nothing after the latest position is returned: one table may already have a later change when
    the other does not have an earlier one yet.
    """
    using = router.db_for_write(Notification)
    notifications, receipts = Q(), Q()
    for request in batch:
        after, last = request.position.seq, request.last_seq
        own = Q(account_id=request.recipient.account_id, seq__gt=after)
        receipts |= own
        if last < request.latest.position.seq:  # rare, and conditions take time
            own &= Q(seq__lte=last) | Q(number__gt=after, number__lte=last)
        notifications |= own
    rows: defaultdict[Any, list[OwnRow]] = defaultdict(list)
    changed = Notification.objects.using(using).filter(notifications, seq__isnull=False)
    for row in read_rows(changed):
        rows[row.account_id].append(row)
    for receipt in BroadcastReceipt.objects.using(using).filter(receipts):
        rows[receipt.account_id].append(receipt)
    own_rows = {}
    for request in batch:
        after = request.position.seq
        newer = [row for row in rows[request.recipient.account_id] if (row.seq or 0) > after]
        numbered = [(_seq_after(after, row), row) for row in newer]
        up_to_last = [(seq, row) for seq, row in numbered if seq <= request.last_seq]
        own_rows[request] = sorted(up_to_last, key=itemgetter(0))
    return own_rows


def _seq_after(after: int, row: OwnRow) -> int:
    if isinstance(row, Notification) and _is_new(row, after):
        return row.number or 0
    return row.seq or 0


def _is_new(row: Notification | Broadcast, after: int) -> bool:
    """Whether a client at this number does not have the item yet."""
    return row.removed_at is None and (row.number or 0) > after


def _read_broadcasts(requests: Sequence[_Request]) -> dict[_Request, list[Broadcast]]:
    """Return the changed broadcasts that each recipient receives, by number, in one query."""
    behind = [
        request
        for request in requests
        if request.position.broadcast_seq < request.latest.position.broadcast_seq
    ]
    rows = []
    if behind:
        using = router.db_for_write(Broadcast)
        changed = Broadcast.objects.using(using).filter(
            seq__gt=min(request.position.broadcast_seq for request in behind),
            seq__lte=max(request.latest.position.broadcast_seq for request in behind),
            audience__in=frozenset[str]().union(
                *(request.recipient.audiences for request in behind)
            ),
        )
        rows = read_rows(changed.order_by("seq"))
    broadcasts = {}
    for request in requests:
        after, last = request.position.broadcast_seq, request.latest.position.broadcast_seq
        received = (
            row
            for row in rows
            if after < (row.seq or 0) <= last
            and request.recipient.receives(row.audience, row.created_at)
        )
        # One above the limit shows that there are more.
        broadcasts[request] = list(islice(received, request.limit + 1))
    return broadcasts


def _read_receipts(
    requests: Sequence[_Request], broadcasts: Mapping[_Request, Sequence[Broadcast]]
) -> Receipts:
    """Return the recipients' receipts for these broadcasts."""
    keys = {row.pk for rows in broadcasts.values() for row in rows}
    if not keys:
        return {}
    receipts = BroadcastReceipt.objects.using(router.db_for_write(BroadcastReceipt)).filter(
        account_id__in=[request.recipient.account_id for request in requests], broadcast__in=keys
    )
    return {(receipt.account_id, receipt.broadcast_id): receipt for receipt in receipts}


# --- Frames


def _encode(
    request: _Request, frames: Iterable[tuple[protocol.Frame | None, Position]], size: float
) -> Changes:
    latest = request.latest
    encoded: list[EncodedChange] = []
    reached = request.position
    for frame, position in frames:
        if frame and (len(encoded) == request.limit or size <= 0):
            return Changes(encoded, reached, latest.counts, complete=False)
        reached = position
        if frame:
            text = protocol.encode(frame)
            if protocol.size(text) > conf.MAX_UNSENT:
                # No connection takes it, so the client has to load its list.
                return _without_changes(request, resync=True)
            encoded.append(EncodedChange(text, frame.get("seq"), frame.get("broadcast_seq")))
            size -= len(text)
    return Changes(encoded, reached, latest.counts, complete=reached == latest.position)


def _frames(
    request: _Request,
    own_rows: Sequence[tuple[int, OwnRow]],
    broadcasts: Sequence[Broadcast],
    receipts: Receipts,
) -> Iterator[tuple[protocol.Frame | None, Position]]:
    """
    Yield the frame of each change, the account's own first, and the position after it.

    A frame of None: there is nothing more up to this position.
    """
    position, latest = request.position, request.latest.position
    for seq, row in own_rows:
        yield _own_frame(row, seq), replace(position, seq=seq)
    position = replace(position, seq=request.last_seq)
    yield None, position
    if position.seq == latest.seq:
        for broadcast in broadcasts:
            receipt = receipts.get((request.recipient.account_id, broadcast.pk))
            frame = _broadcast_frame(broadcast, receipt, position.broadcast_seq)
            yield frame, replace(position, broadcast_seq=broadcast.seq or 0)
        yield None, latest


def _own_frame(row: OwnRow, seq: int) -> protocol.Frame:
    if isinstance(row, Notification) and seq == row.number:
        # A client that loaded a page meanwhile may have it, in an older state than this one.
        changed = {} if row.seq == seq else {"changed": row.seq}
        return {**row.frame(), "seq": seq, **changed}
    return protocol.state(row.state, [row.wire_id], seq=seq)


def _broadcast_frame(
    row: Broadcast, receipt: BroadcastReceipt | None, after: int
) -> protocol.Frame:
    state = receipt.state if receipt else State.UNREAD
    if _is_new(row, after):
        return row.frame(state)
    state = State.REMOVED if row.removed_at else state
    return protocol.state(state, [row.wire_id], broadcast_seq=row.seq)
