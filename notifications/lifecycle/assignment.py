"""Assigns numbers to new notifications, in memory: without a database or a clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from notifications.models.inboxes import LockedInbox

# Plain tuples, as there are many.
Message = tuple[Any, ...]  # the columns that a frame is made from
UnnumberedRow = tuple[int, Any, str, Message]  # id, account, replace key or "", message
Place = tuple[Any, str]  # account, replace key: of new notifications, only the last one keeps it


@dataclass(slots=True)
class NumberedRow:
    """A new notification with its numbers, and the parts of its frame about the inbox."""

    id: int
    account_id: Any
    message: Message
    number: int
    seq: int  # above `number` if a later one of the same call replaced it
    unread: int  # in the inbox, at `number`
    replaced_ids: Sequence[int] = ()  # their removals have the change numbers just before `number`
    removed_at: datetime | None = None

    @property
    def replaces(self) -> int | None:
        return self.replaced_ids[-1] if self.replaced_ids else None


@dataclass(slots=True)
class ReplacedRow:
    """An older notification that a new one replaced."""

    id: int
    seq: int = 0
    removed_at: datetime | None = None


class Numbered(NamedTuple):
    """The rows to write, as objects with the attributes listed here."""

    rows: list[NumberedRow]  # in the order given: number, seq, replaces, removed_at
    replaced: list[ReplacedRow]  # that were numbered before: seq, removed_at
    inboxes: list[LockedInbox]  # of the rows' accounts: seq, unread


def assign_numbers(
    inboxes: Mapping[Any, LockedInbox],
    rows: Iterable[UnnumberedRow],
    older: Mapping[Place, Sequence[int]],
    now: datetime,
) -> Numbered:
    """
    Give each row the next number of its inbox. The arguments are not modified.

    rows: in the order in which their inboxes show them.
    older: ids of unread notifications by place, the oldest first. A row with a replace key
    removes those in its place; each removal takes a change number before the row's own.
    """
    numbered: list[NumberedRow] = []
    replaced: list[ReplacedRow] = []
    advanced: dict[Any, LockedInbox] = {}
    newest: dict[Place, NumberedRow] = {}  # of these rows
    for id, account_id, replace_key, message in rows:
        inbox = advanced.get(account_id)
        if inbox is None:
            inbox = advanced[account_id] = _copy(inboxes[account_id])
        in_place: Sequence[NumberedRow | ReplacedRow] = ()
        if replace_key:
            place = (account_id, replace_key)
            if place in newest:
                in_place = [newest[place]]
            elif place in older:
                replaced += (in_place := [ReplacedRow(old_id) for old_id in older[place]])
            for old in in_place:
                old.seq = inbox.next_seq()
                old.removed_at = now
                inbox.unread -= 1
        inbox.unread += 1
        number = inbox.next_seq()
        row = NumberedRow(id, account_id, message, number, number, inbox.unread)
        numbered.append(row)
        if replace_key:
            row.replaced_ids = [old.id for old in in_place]
            newest[place] = row
    return Numbered(numbered, replaced, [*advanced.values()])


def _copy(inbox: LockedInbox) -> LockedInbox:
    # Several times as fast as dataclasses.replace.
    return LockedInbox(inbox.account_id, inbox.seq, inbox.unread, inbox.floor)
