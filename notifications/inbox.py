"""
What an account sees: pages, counts and changes. What it does is in marks.py.

Notifications have one row per account, broadcasts one row and a receipt per
account that acted. Both kinds are merged here and nowhere else. Every reading
takes the head first and the rows second, so that a row that arrives in between
is seen twice rather than never.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, TypeAlias

from django.db import router
from django.db.models import Count, Min, Q

from . import protocol
from .audiences import Reader
from .models import (
    Broadcast,
    BroadcastHead,
    BroadcastReceipt,
    Inbox,
    Message,
    Notification,
    State,
)

PAGE: Final = 30
LARGEST_PAGE: Final = 100
MOST_CHANGES: Final = 1000  # behind by more than that, a client reloads its list
ACCOUNTS_PER_QUERY: Final = 50  # each is a condition of its own

_POSITION = re.compile(r"n(\d{1,18})b(\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far somebody has seen an inbox."""

    seq: int
    broadcast_seq: int
    epoch: int
    scope: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "seq": self.seq,
            "broadcast_seq": self.broadcast_seq,
            "epoch": self.epoch,
            "scope": self.scope,
        }


@dataclass(frozen=True, slots=True)
class Counts:
    unread: int
    unread_broadcasts: int

    @property
    def total(self) -> int:
        return self.unread + self.unread_broadcasts

    def as_dict(self) -> dict[str, int]:
        return {"unread": self.unread, "unread_broadcasts": self.unread_broadcasts}


@dataclass(frozen=True, slots=True)
class Head:
    """The newest state of an inbox, read before its rows."""

    cursor: Cursor
    counts: Counts
    floor: int
    broadcast_floor: int

    def as_dict(self) -> dict[str, Any]:
        return {**self.cursor.as_dict(), **self.counts.as_dict()}


@dataclass(frozen=True, slots=True)
class Page:
    items: list[protocol.Frame]
    next: str | None  # the `before` of the next page, None at the end
    head: Head


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


# --- Reading


def read_head(reader: Reader) -> Head:
    """Return where the account's inbox stands now, with its counts."""
    return read_heads([reader])[0]


def read_heads(readers: Sequence[Reader]) -> list[Head]:
    """Return where each account's inbox stands now, by as many queries as for one."""
    using = router.db_for_write(Inbox)
    broadcasts = BroadcastHead.objects.using(using).current()
    inboxes = Inbox.objects.using(using).in_bulk([reader.account_id for reader in readers])
    unread = _count_unread_broadcasts(readers, broadcasts.seq, using)
    heads = []
    for reader, unread_broadcasts in zip(readers, unread, strict=True):
        inbox = inboxes.get(reader.account_id) or Inbox()
        cursor = Cursor(inbox.seq, broadcasts.seq, broadcasts.epoch, reader.scope)
        counts = Counts(inbox.unread, unread_broadcasts)
        heads.append(Head(cursor, counts, inbox.floor, broadcasts.floor))
    return heads


def _count_unread_broadcasts(readers: Sequence[Reader], upto: int, using: str) -> list[int]:
    """
    Return how many broadcasts up to a number each account has not read.

    For many accounts it is what was sent less what was read; the database
    counts their receipts, as a row for each would take far longer to fetch.
    """
    broadcasts = Broadcast.objects.using(using).filter(seq__lte=upto)
    if len(readers) == 1:
        return [broadcasts.unread(readers[0]).count()]
    audiences = frozenset[str]().union(*(reader.audiences for reader in readers))
    live = broadcasts.filter(gone_at=None, audience__in=audiences)
    times: defaultdict[str, list[datetime]] = defaultdict(list)
    for audience, created_at in live.order_by("created_at").values_list("audience", "created_at"):
        times[audience].append(created_at)
    if not times:
        return [0] * len(readers)
    receipts = BroadcastReceipt.objects.using(using).filter(
        account_id__in=[reader.account_id for reader in readers],
        broadcast__in=live,
        read_at__isnull=False,
    )
    read = {
        (account_id, audience): (count, earliest)
        for account_id, audience, count, earliest in receipts.values_list(
            "account_id", "broadcast__audience"
        ).annotate(Count("pk"), Min("broadcast__created_at"))
    }

    def count(reader: Reader) -> int:
        unread = 0
        for audience in reader.audiences & times.keys():
            sent = times[audience]
            since = reader.since or sent[0]
            count, earliest = read.get((reader.account_id, audience), (0, since))
            if earliest < since:  # the account's time of creation was changed
                return broadcasts.unread(reader).count()
            unread += len(sent) - bisect_left(sent, since) - count
        return unread

    return [count(reader) for reader in readers]


def newest_seqs(account_ids: Iterable[Any]) -> tuple[dict[Any, int], BroadcastHead]:
    """Return the newest `seq` of each account that has an inbox, and the broadcasts' head."""
    using = router.db_for_write(Inbox)
    seqs = dict(
        Inbox.objects.using(using).filter(pk__in=account_ids).values_list("account_id", "seq")
    )
    return seqs, BroadcastHead.objects.using(using).current()


def read_page(
    reader: Reader, before: str | None = None, limit: int = PAGE, unread: bool = False
) -> Page:
    """
    Return `limit` items of the inbox, newest first.

    before: the `next` of the page before; None starts with the newest.
    Raises ValueError for a `before` that no page gave.
    """
    head = read_head(reader)
    position = _parse_position(before) if before else None
    using = router.db_for_write(Notification)
    notifications = Notification.objects.using(using).filter(account_id=reader.account_id)
    notifications = notifications.unread() if unread else notifications.in_inbox()
    broadcasts = Broadcast.objects.using(using)
    broadcasts = broadcasts.unread(reader) if unread else broadcasts.in_inbox(reader)
    if position:
        notifications = notifications.filter(number__lt=position[0])
        broadcasts = broadcasts.filter(number__lt=position[1])
    newest = list(notifications.order_by("-number")[: limit + 1])
    newest_broadcasts = list(broadcasts.order_by("-number")[: limit + 1])
    rows = list(_merged(newest, newest_broadcasts))
    more = len(rows) > limit
    rows = rows[:limit]
    states = _broadcast_states(reader, [row for row in rows if isinstance(row, Broadcast)])
    return Page(
        [row.frame(states[row.pk]) if isinstance(row, Broadcast) else row.frame() for row in rows],
        _next_position(rows, position) if more else None,
        head,
    )


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
    return Changes(list(_joined(frames)), reached, head.counts, complete)


def _item_frame(step: int, row: Notification | BroadcastReceipt) -> protocol.Frame:
    if isinstance(row, Notification) and step == row.number:
        return {**row.frame(), "seq": step}
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


def _joined(frames: Iterable[protocol.Frame]) -> Iterator[protocol.Frame]:
    """Join neighbouring state frames that say the same of several items."""

    def kind(frame: protocol.Frame) -> Any:
        if frame["type"] != "state":
            return id(frame)
        return frame["as"], "broadcast_seq" in frame

    for _, group in groupby(frames, key=kind):
        same = list(group)
        if same[0]["type"] == "state":
            yield {**same[-1], "ids": [wire_id for frame in same for wire_id in frame["ids"]]}
        else:
            yield from same


def _merged(notifications: Sequence[Message], broadcasts: Sequence[Message]) -> Iterator[Message]:
    """
    Merge both kinds, each by its own number, by the time of the foremost.

    Not sorted by time: within a kind the number is the order, whatever the
    clocks of the processes that made the rows say.
    """
    queues = [list(reversed(notifications)), list(reversed(broadcasts))]
    while any(queues):
        yield max((queue for queue in queues if queue), key=lambda q: q[-1].created_at).pop()


def _broadcast_states(reader: Reader, broadcasts: Sequence[Broadcast]) -> dict[int, State]:
    states = dict.fromkeys((row.pk for row in broadcasts), State.UNREAD)
    receipts = BroadcastReceipt.objects.using(router.db_for_write(BroadcastReceipt))
    for receipt in receipts.filter(account_id=reader.account_id, broadcast__in=list(states)):
        states[receipt.broadcast_id] = receipt.state
    return states


def _parse_position(text: str) -> tuple[int, int]:
    if not (match := _POSITION.fullmatch(text)):
        raise ValueError(f"before must be the “next” of another page, not {text!r:.100}")
    return int(match[1]), int(match[2])


def _next_position(rows: Sequence[Message], position: tuple[int, int] | None) -> str:
    last = {row.wire_prefix: row.number for row in rows}
    beyond_all = 10**18 - 1
    number, broadcast_number = position or (beyond_all, beyond_all)
    return f"n{last.get('n', number)}b{last.get('b', broadcast_number)}"
