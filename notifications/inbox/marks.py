"""
Marking the items in an account's inbox, and undoing a mark.

Every change is numbered under the inbox lock, one number per item, in a short
transaction of its own, and published to all tabs of the account as `state`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from django.db import router, transaction
from django.utils import timezone

from notifications import protocol
from notifications.audiences import Recipient
from notifications.db.bulk import update_rows
from notifications.db.transactions import in_short_transaction
from notifications.lifecycle import publishing
from notifications.models import (
    Broadcast,
    BroadcastQuerySet,
    BroadcastReceipt,
    Inbox,
    Notification,
    NotificationQuerySet,
    State,
)

from .pages import Counts, Latest, read_latest

MAX_IDS: Final = 1000  # in one call of `mark`

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

    def as_dict(self) -> dict[str, Any]:
        return {"as": self.mark, "from": self.first, "seq": self.seq}


@dataclass(frozen=True, slots=True)
class Marked:
    change_range: ChangeRange | None  # None if nothing changed
    ids: list[str]  # of the items that changed
    counts: Counts


def mark(recipient: Recipient, mark: str, ids: Sequence[str]) -> Marked:
    """
    Mark items in the account's own inbox, for all its tabs.

    mark: "read", "unread", "archived" or "inbox" (back from the archive, in their earlier state).
    ids: MAX_IDS at most. Those of other accounts and unknown ones are ignored.

    Raises MarkError.
    """
    _check_mark(mark, MARKS)
    notification_ids, broadcast_ids = _parse_wire_ids(ids)
    return _change(
        recipient,
        mark,
        lambda rows: rows.filter(pk__in=notification_ids),
        lambda rows: rows.filter(pk__in=broadcast_ids),
    )


def mark_all(recipient: Recipient, mark: str, seq: int, broadcast_seq: int) -> Marked:
    """
    Mark all items as "read" or "archived" whose last change is not after this position.

    Later ones stay as they are, because the client did not have them. Raises MarkError.
    """
    _check_mark(mark, ("read", "archived"))
    return _change(
        recipient,
        mark,
        lambda rows: (rows.unread() if mark == "read" else rows.in_inbox()).filter(seq__lte=seq),
        lambda rows: (
            rows.unread(recipient) if mark == "read" else rows.in_inbox(recipient)
        ).filter(seq__lte=broadcast_seq),
        upto={"seq": seq, "broadcast_seq": broadcast_seq},
    )


def undo(recipient: Recipient, change_range: ChangeRange) -> Marked:
    """Reverse a mark for all of its items that have not changed since. Raises MarkError."""
    _check_mark(change_range.mark, MARKS)
    numbered = {"seq__gte": change_range.first, "seq__lte": change_range.seq}
    receipts = BroadcastReceipt.objects.filter(account_id=recipient.account_id, **numbered)
    return _change(
        recipient,
        INVERSE[change_range.mark],
        lambda rows: rows.filter(**numbered),
        lambda rows: rows.filter(pk__in=receipts.values("broadcast")),
    )


def _change(
    recipient: Recipient,
    mark: str,
    pick: Callable[[NotificationQuerySet], NotificationQuerySet],
    pick_broadcasts: Callable[[BroadcastQuerySet], BroadcastQuerySet],
    upto: protocol.Frame | None = None,
) -> Marked:
    using = router.db_for_write(Inbox)

    def change() -> Marked:
        inbox = Inbox.objects.using(using).lock([recipient.account_id])[recipient.account_id]
        mine = Notification.objects.using(using).filter(account_id=recipient.account_id)
        # Without their content: there may be 10,000.
        columns = ("account", "read_at", "archived_at", "removed_at")
        notifications = list(pick(mine.present()).order_by("number").only(*columns))
        unread_before = sum(row.state == State.UNREAD for row in notifications)
        now = timezone.now()
        items: list[Notification | BroadcastReceipt] = [*notifications]
        items += _receipts(recipient, pick_broadcasts, using)
        changed = [item for item in items if _apply(mark, item, now)]
        # There is one frame per state, so the numbers of each state must be consecutive.
        changed.sort(key=lambda item: item.state)
        for item in changed:
            item.seq = inbox.next_seq()
        inbox.unread += sum(row.state == State.UNREAD for row in notifications) - unread_before
        update_rows(Inbox, [inbox], ["seq", "unread"], using)
        _save(changed, using)
        latest = read_latest(recipient)
        updates = list(_state_updates(recipient, changed, latest, upto))
        transaction.on_commit(lambda: publishing.publish(updates), using=using, robust=True)
        change_range = (
            ChangeRange(mark, inbox.seq - len(changed) + 1, inbox.seq) if changed else None
        )
        return Marked(change_range, [item.wire_id for item in changed], latest.counts)

    return in_short_transaction(change, using)


def _receipts(
    recipient: Recipient, pick: Callable[[BroadcastQuerySet], BroadcastQuerySet], using: str
) -> list[BroadcastReceipt]:
    """Return the account's receipts for the picked broadcasts, new ones where it has none."""
    visible = Broadcast.objects.using(using).addressed_to(recipient).filter(removed_at=None)
    keys = list(pick(visible).order_by("number").values_list("pk", flat=True))
    saved = BroadcastReceipt.objects.using(using).filter(
        account_id=recipient.account_id, broadcast__in=keys
    )
    receipts = {receipt.broadcast_id: receipt for receipt in saved}
    return [
        receipts.get(key) or BroadcastReceipt(broadcast_id=key, account_id=recipient.account_id)
        for key in keys
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
    for state, group in groupby(changed, key=lambda item: item.state):
        items = list(group)
        first, seq = items[0].seq, items[-1].seq
        assert first is not None and seq is not None
        numbers = {"seq": seq, **latest.counts.as_dict()}
        if upto:
            frame = protocol.state_range(
                state, {"from": first, "seq": seq, "upto": upto}, **numbers
            )
        else:
            frame = protocol.state(state, [item.wire_id for item in items], **numbers)
        yield publishing.live_update(
            recipient.account_id, first, seq, frame, counted_at=latest.position.broadcast_seq
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
