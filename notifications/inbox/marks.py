"""
Marking the items in an account's inbox, and undoing a mark.

Every change is numbered under the inbox lock, one number per item, in a short
transaction of its own, and published to all tabs of the account as `state`.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial, reduce
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple, Protocol

from django.db import connections, router, transaction

from notifications import protocol
from notifications.audiences import Recipient
from notifications.db import times
from notifications.db.bulk import update_rows
from notifications.db.transactions import in_short_transaction
from notifications.lifecycle import publishing
from notifications.models import (
    Broadcast,
    BroadcastReceipt,
    Inbox,
    LockedInbox,
    Notification,
    NotificationQuerySet,
    State,
)

from .pages import Latest, read_latest

MAX_IDS: Final = 1000  # in one call of `mark`
# More take several: SQLite has one writer at a time, and PostgreSQL one for each inbox.
ITEMS_PER_TRANSACTION: Final = 250
SQLITE_PAUSE_SECONDS: Final = 0.03  # between two: other writers don't queue there, they poll

# Each mark, with the states that it changes.
MARKS: Final = {
    "read": {State.UNREAD},
    "unread": {State.READ},
    "archived": {State.UNREAD, State.READ},
    "inbox": {State.ARCHIVED},
}
INVERSE: Final = {"read": "unread", "unread": "read", "archived": "inbox", "inbox": "archived"}

_WIRE_ID = re.compile(r"([nb])(\d{1,18})", re.ASCII)


class MarkError(ValueError):
    """A mark that is not allowed. The message names the field, the value and what is allowed."""


@dataclass(frozen=True, slots=True)
class ChangeRange:
    """The change numbers of all items that one mark changed; `undo` takes it."""

    mark: str
    first: int
    seq: int
    # If other changes have numbers in between: the first and last number of each part, ascending.
    parts: tuple[tuple[int, int], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        parts = {"parts": [list(part) for part in self.parts]} if self.parts else {}
        return {"as": self.mark, "from": self.first, "seq": self.seq, **parts}

    def then(self, later: ChangeRange) -> ChangeRange:
        """Return this range and a later one of the same mark as one."""
        *parts, (first, last) = self.parts or ((self.first, self.seq),)
        if later.first == last + 1:
            parts.append((first, later.seq))
        else:
            parts += [(first, last), (later.first, later.seq)]
        return ChangeRange(self.mark, self.first, later.seq, tuple(parts) if parts[1:] else ())

    def __contains__(self, seq: int) -> bool:
        before = bisect_right(self.parts, seq, key=itemgetter(0))
        return not self.parts or (before > 0 and seq <= self.parts[before - 1][1])


@dataclass(frozen=True, slots=True)
class Marked:
    change_range: ChangeRange | None  # None if nothing changed
    ids: list[str]  # of the items that changed
    latest: Latest  # the position after it, with the counts there


def mark(recipient: Recipient, mark: str, ids: Sequence[str]) -> Marked:
    """
    Mark items in the account's own inbox, for all its tabs.

    mark: "read", "unread", "archived" or "inbox" (back from the archive, in their earlier state).
    ids: MAX_IDS at most. Those of other accounts and unknown ones are ignored.

    Raises MarkError.
    """
    _check_mark(mark, MARKS)
    return _change(recipient, mark, _Chosen(*_parse_wire_ids(ids)))


def mark_all(recipient: Recipient, mark: str, seq: int, broadcast_seq: int) -> Marked:
    """
    Mark all items as "read" or "archived" whose last change is not after this position.

    Later ones stay as they are, because the client did not have them. Raises MarkError.
    """
    _check_mark(mark, ("read", "archived"))
    return _change(recipient, mark, _UpTo(mark, seq, broadcast_seq))


def undo(recipient: Recipient, change_range: ChangeRange) -> Marked:
    """Reverse a mark for all of its items that have not changed since. Raises MarkError."""
    _check_mark(change_range.mark, MARKS)
    changes = _Changed(change_range, change_range.first - 1)
    return _change(recipient, INVERSE[change_range.mark], changes)


# --- Which items: a part of them for each transaction


class _Part(NamedTuple):
    notifications: list[Notification]
    broadcast_keys: list[int]
    rest: _Selection | None  # the items after this part; None: there are no more
    # The part is everything up to this position. None: the frames name the items.
    upto: protocol.Frame | None = None


class _Selection(Protocol):
    def next_part(self, recipient: Recipient, inbox: LockedInbox, using: str) -> _Part: ...


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Items by their primary keys, few enough for one part."""

    notification_keys: list[int]
    broadcast_keys: list[int]

    def next_part(self, recipient: Recipient, inbox: LockedInbox, using: str) -> _Part:
        chosen = _present(recipient, using).filter(pk__in=self.notification_keys)
        return _Part(list(chosen.order_by("number")), self.broadcast_keys, None)


@dataclass(frozen=True, slots=True)
class _UpTo:
    """Everything up to a position that the mark may change: notifications, then broadcasts."""

    mark: str
    seq: int
    broadcast_seq: int
    # Up to here it has been done.
    done: int = 0
    done_broadcasts: int = 0

    def next_part(self, recipient: Recipient, inbox: LockedInbox, using: str) -> _Part:
        is_read = self.mark == "read"
        own = _present(recipient, using)
        own = (own.unread() if is_read else own.in_inbox()).filter(seq__gt=self.done)
        # The items of earlier parts have numbers after the position, even if it is in the future.
        seq = min(self.seq, inbox.seq)
        notifications = list(own.filter(seq__lte=seq).order_by("seq")[:ITEMS_PER_TRANSACTION])
        if len(notifications) == ITEMS_PER_TRANSACTION:
            done = notifications[-1].seq or 0
            upto = {"seq": done, "broadcast_seq": self.done_broadcasts}
            return _Part(notifications, [], replace(self, seq=seq, done=done), upto)
        broadcasts = Broadcast.objects.using(using)
        news = broadcasts.unread(recipient) if is_read else broadcasts.in_inbox(recipient)
        news = news.filter(seq__gt=self.done_broadcasts, seq__lte=self.broadcast_seq)
        room = ITEMS_PER_TRANSACTION - len(notifications)
        keys = list(news.order_by("seq").values_list("pk", "seq")[:room])
        broadcast_seq, rest = self.broadcast_seq, None
        if len(keys) == room:
            broadcast_seq = keys[-1][1] or 0
            rest = replace(self, seq=seq, done=seq, done_broadcasts=broadcast_seq)
        # A client would apply a later part to broadcasts of this one, which others may have marked
        # meanwhile. Notifications that were marked have later numbers.
        is_later = self.done_broadcasts > 0
        reached = None if is_later else {"seq": seq, "broadcast_seq": broadcast_seq}
        return _Part(notifications, [key for key, _ in keys], rest, reached)


@dataclass(frozen=True, slots=True)
class _Changed:
    """The items whose last change is in a range, with a number above `done`."""

    change_range: ChangeRange
    done: int

    def next_part(self, recipient: Recipient, inbox: LockedInbox, using: str) -> _Part:
        # Earlier parts have given their items later numbers.
        change_range = replace(self.change_range, seq=min(self.change_range.seq, inbox.seq))
        numbered = {"seq__gt": self.done, "seq__lte": change_range.seq}
        receipts = BroadcastReceipt.objects.using(using).filter(
            account_id=recipient.account_id, **numbered
        )
        own = _present(recipient, using).filter(**numbered).order_by("seq")
        found: list[tuple[int, Notification | int]] = [
            *((row.seq or 0, row) for row in own[:ITEMS_PER_TRANSACTION]),
            *receipts.order_by("seq").values_list("seq", "broadcast")[:ITEMS_PER_TRANSACTION],
        ]
        found = sorted(found, key=itemgetter(0))[:ITEMS_PER_TRANSACTION]
        is_last = len(found) < ITEMS_PER_TRANSACTION
        marked = [item for seq, item in found if seq in change_range]
        return _Part(
            [item for item in marked if isinstance(item, Notification)],
            [item for item in marked if isinstance(item, int)],
            None if is_last else _Changed(change_range, found[-1][0]),
        )


def _present(recipient: Recipient, using: str) -> NotificationQuerySet:
    """Return the account's notifications without their content: there may be many."""
    columns = ("account", "number", "seq", "read_at", "archived_at", "removed_at")
    mine = Notification.objects.using(using).filter(account_id=recipient.account_id)
    return mine.present().only(*columns)


# --- Changing them


def _change(recipient: Recipient, mark: str, selection: _Selection) -> Marked:
    """Mark the items, in transactions so short that others hardly wait for them."""
    using = router.db_for_write(Inbox)
    parts: list[Marked] = []
    rest: _Selection | None = selection
    while rest:
        if parts and connections[using].vendor == "sqlite":
            time.sleep(SQLITE_PAUSE_SECONDS)
        marked, rest = in_short_transaction(
            partial(_change_part, recipient, mark, rest, using), using
        )
        parts.append(marked)
    ranges = [part.change_range for part in parts if part.change_range]
    return Marked(
        reduce(ChangeRange.then, ranges) if ranges else None,
        [wire_id for part in parts for wire_id in part.ids],
        parts[-1].latest,
    )


def _change_part(
    recipient: Recipient, mark: str, selection: _Selection, using: str
) -> tuple[Marked, _Selection | None]:
    """Mark one part, inside a transaction; return the result, and the rest of the selection."""
    inbox = Inbox.objects.using(using).lock([recipient.account_id])[recipient.account_id]
    part = selection.next_part(recipient, inbox, using)
    notifications = sorted(part.notifications, key=lambda row: row.number or 0)
    unread_before = sum(row.state == State.UNREAD for row in notifications)
    now = times.now()
    items: list[Notification | BroadcastReceipt] = [*notifications]
    items += _receipts(recipient, part.broadcast_keys, using)
    changed = [item for item in items if _apply(mark, item, now)]
    # There are frames per state, so the numbers of each state must be consecutive.
    changed.sort(key=lambda item: item.state)
    first = inbox.seq + 1
    for item in changed:
        item.seq = inbox.next_seq()
    inbox.unread += sum(row.state == State.UNREAD for row in notifications) - unread_before
    update_rows(Inbox, [inbox], ["seq", "unread"], using)
    _save(changed, using)
    latest = read_latest(recipient)
    updates = list(_state_updates(recipient, changed, latest, part.upto))
    transaction.on_commit(lambda: publishing.publish(updates), using=using, robust=True)
    change_range = ChangeRange(mark, first, inbox.seq) if changed else None
    return Marked(change_range, [item.wire_id for item in changed], latest), part.rest


def _receipts(recipient: Recipient, keys: Sequence[int], using: str) -> list[BroadcastReceipt]:
    """Return the account's receipts for these broadcasts, new ones where it has none."""
    if not keys:
        return []
    visible = Broadcast.objects.using(using).addressed_to(recipient).filter(removed_at=None)
    visible_keys = list(visible.filter(pk__in=keys).order_by("number").values_list("pk", flat=True))
    saved = BroadcastReceipt.objects.using(using).filter(
        account_id=recipient.account_id, broadcast__in=visible_keys
    )
    receipts = {receipt.broadcast_id: receipt for receipt in saved}
    return [
        receipts.get(key) or BroadcastReceipt(broadcast_id=key, account_id=recipient.account_id)
        for key in visible_keys
    ]


def _apply(mark: str, item: Notification | BroadcastReceipt, now: datetime) -> bool:
    """Mark the item; return whether that changed it."""
    if item.state not in MARKS[mark]:
        return False
    match mark:
        case "read":
            item.read_at = now
        case "unread":
            item.read_at = None
        case "archived":
            item.archived_at = now
            item.read_at = item.read_at or now
        case "inbox":
            # Archiving marked it as read as well.
            if item.read_at == item.archived_at:
                item.read_at = None
            item.archived_at = None
    return True


def _save(changed: Sequence[Notification | BroadcastReceipt], using: str) -> None:
    update_rows(
        Notification,
        [item for item in changed if isinstance(item, Notification)],
        ["read_at", "archived_at", "seq"],
        using,
    )
    BroadcastReceipt.objects.using(using).bulk_create(
        [item for item in changed if isinstance(item, BroadcastReceipt)],
        update_conflicts=True,
        unique_fields=["broadcast", "account"],
        update_fields=["read_at", "archived_at", "seq"],
        batch_size=500,
    )


def _state_updates(
    recipient: Recipient,
    changed: Sequence[Notification | BroadcastReceipt],
    latest: Latest,
    upto: protocol.Frame | None,
) -> Iterator[publishing.LiveUpdate]:
    account_id = recipient.account_id
    for state, group in groupby(changed, key=lambda item: item.state):
        items = list(group)
        first, seq = items[0].seq, items[-1].seq
        assert first is not None and seq is not None
        # At the numbers before the last one, the counts are others.
        is_last = seq == changed[-1].seq
        counts = latest.counts.as_dict() if is_last else {}
        counted_at = latest.position.broadcast_seq if is_last else None
        if upto:
            frame = protocol.state_range(
                state, {"from": first, "seq": seq, "upto": upto}, seq=seq, **counts
            )
            yield publishing.live_update(account_id, first, seq, frame, counted_at)
        else:
            wire_ids = [item.wire_id for item in items]
            yield from publishing.state_updates(
                account_id, state, wire_ids, first, counts, counted_at
            )


def _check_mark(mark: Any, allowed: Iterable[str]) -> None:
    if not isinstance(mark, str) or mark not in allowed:
        raise MarkError(f"as must be one of {', '.join(allowed)}; not {mark!r:.100}")


def _parse_wire_ids(ids: Any) -> tuple[list[int], list[int]]:
    if not isinstance(ids, list) or len(ids) > MAX_IDS:
        given = f"{len(ids)} of them" if isinstance(ids, list) else f"{ids!r:.100}"
        raise MarkError(f"ids must be a list of {MAX_IDS} ids at most, not {given}")
    keys: dict[str, list[int]] = {"n": [], "b": []}
    for wire_id in ids:
        match = _WIRE_ID.fullmatch(wire_id) if isinstance(wire_id, str) else None
        if not match:
            raise MarkError(f"ids must hold ids of items, such as “n12”, not {wire_id!r:.100}")
        keys[match[1]].append(int(match[2]))
    return keys["n"], keys["b"]
