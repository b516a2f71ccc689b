"""
An account's inbox: the latest change numbers, the counts, and pages of items.

A notification is one row per account. A broadcast is one row for all accounts, with a
receipt for each account that read or archived it. Only this module merges the two.
The latest numbers are always read before the rows, so that a row that arrives in
between is seen twice rather than never.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from django.db import router
from django.db.models import (
    Count,
    F,
    Func,
    IntegerField,
    Min,
    OuterRef,
    Subquery,
    Value,
)

from notifications import protocol
from notifications.audiences import Recipient
from notifications.db import times
from notifications.db.bulk import is_one_of
from notifications.db.rows import read_rows
from notifications.lifecycle import lives
from notifications.models import (
    Broadcast,
    BroadcastQuerySet,
    BroadcastReceipt,
    BroadcastSequence,
    Inbox,
    Message,
    Notification,
    NotificationQuerySet,
    State,
)

PAGE_SIZE: Final = 30
MAX_PAGE_SIZE: Final = 100

Folder = Literal["inbox", "unread", "archived", "important"]

_CURSOR = re.compile(r"n(\d{1,18})b(\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """The change numbers up to which a client has an inbox."""

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
class Latest:
    """The latest position of an inbox with its counts, read before its rows."""

    position: Position
    counts: Counts
    floor: int
    broadcast_floor: int
    # False: the account's own rows are still those of an earlier life, so that it has none.
    has_own: bool = True

    def as_dict(self) -> dict[str, Any]:
        return {**self.position.as_dict(), **self.counts.as_dict()}


@dataclass(frozen=True, slots=True)
class Page:
    items: list[protocol.Frame]
    next: str | None  # the cursor of the next page; None: this is the last one
    latest: Latest


def read_latest(recipient: Recipient) -> Latest:
    """Return the latest position and counts of the account's inbox."""
    return read_latest_of_many([recipient])[0]


def read_latest_of_many(recipients: Sequence[Recipient]) -> list[Latest]:
    """
    Return the same for many accounts, with a fixed number of queries.

    This waits for nobody and, in a transaction, writes nothing: what earlier lives of the accounts
    left is cleared away after it. Until then, the accounts' own parts are empty.
    """
    return _read_latest(recipients, router.db_for_write(Inbox))


def _read_latest(
    recipients: Sequence[Recipient], using: str, *, clears: bool = True
) -> list[Latest]:
    stored = _read_stored(recipients, using)
    older = lives.find_older(
        [
            (recipient.account_id, recipient.since)
            for recipient, one in zip(recipients, stored, strict=True)
            if lives.is_older(one.first, recipient.since)
        ],
        using,
    )
    left = {
        recipient.account_id
        for recipient, one in zip(recipients, stored, strict=True)
        if one.is_pending or recipient.account_id in older
    }
    if not left:
        return [one.latest for one in stored]
    if clears and lives.clear_after_commit(sorted(left - older.keys()), older, using):
        return _read_latest(recipients, using, clears=False)
    strangers = [
        replace(recipient, account_id=None) if recipient.account_id in left else recipient
        for recipient in recipients
    ]
    return [
        _without_own(one.latest, other.latest, recipient.account_id not in older)
        if recipient.account_id in left
        else one.latest
        for recipient, one, other in zip(
            recipients, stored, _read_stored(strangers, using), strict=True
        )
    ]


def _without_own(latest: Latest, of_stranger: Latest, is_pending: bool) -> Latest:
    """
    Return it for an inbox whose rows are an earlier life's, for the account that has none yet.

    is_pending: no row is the account's. Then clearing away makes the inbox's next change, before
    any other, and what is read now is what there is at that change.
    """
    seq = latest.position.seq + is_pending
    return replace(
        of_stranger, position=replace(of_stranger.position, seq=seq), floor=seq, has_own=False
    )


def reader(recipient: Recipient, latest: Latest) -> Recipient:
    """Return whose rows to read for this recipient: nobody's, if its own part is empty."""
    return recipient if latest.has_own else replace(recipient, account_id=None)


class _Stored(NamedTuple):
    """What is stored, which may include rows of an earlier life of the account."""

    latest: Latest
    is_pending: bool
    first: datetime | None  # when the row with the first change was created; of young accounts


def _read_stored(recipients: Sequence[Recipient], using: str) -> list[_Stored]:
    if len(recipients) == 1:
        return [_read_stored_of_one(recipients[0], using)]
    broadcasts = BroadcastSequence.objects.using(using).current()
    keys = [recipient.account_id for recipient in recipients]
    columns = ["pk", "seq", "unread", "floor", "pending"]
    inboxes: Any = Inbox.objects.using(using).with_pending().filter(pk__in=keys)
    if any(lives.is_young(recipient.since) for recipient in recipients):
        columns.append("first")
        inboxes = inboxes.with_first()
    inbox_of = {key: numbers for key, *numbers in inboxes.values_list(*columns)}
    unread = _count_unread_broadcasts(recipients, broadcasts.seq, using)
    stored = []
    for recipient, unread_broadcasts in zip(recipients, unread, strict=True):
        seq, own, floor, pending, *first = inbox_of.get(recipient.account_id, (0, 0, 0, 0))
        position = Position(seq, broadcasts.seq, broadcasts.epoch, recipient.audience_hash)
        latest = Latest(position, Counts(own, unread_broadcasts), floor, broadcasts.floor)
        stored.append(_Stored(latest, bool(pending), first[0] if first else None))
    return stored


def _read_stored_of_one(recipient: Recipient, using: str) -> _Stored:
    """Return it with one query, as every page with a bell needs it."""
    columns = ["kind", "seq", "floor", "unread"]
    inboxes: Any = Inbox.objects.using(using).with_pending().filter(pk=recipient.account_id)
    broadcasts: Any = BroadcastSequence.objects.using(using).filter(pk=BroadcastSequence.ONLY)
    unread = Broadcast.objects.using(using).unread(recipient).filter(seq__lte=OuterRef("seq"))
    # Not Count, for which Django would group by broadcast.
    count = unread.values(count=Func(F("pk"), function="COUNT", output_field=IntegerField()))
    inboxes = inboxes.annotate(kind=Value("inbox"))
    broadcasts = broadcasts.annotate(kind=Value("broadcasts"), unread=Subquery(count))
    if lives.is_young(recipient.since):
        columns.append("first")
        inboxes = inboxes.with_first()
        broadcasts = broadcasts.annotate(first=Value(None, output_field=times.TimeField()))
    rows = inboxes.values_list(*columns, "pending").union(
        broadcasts.values_list(*columns, "epoch"), all=True
    )
    found = {kind: numbers for kind, *numbers in rows}
    # Neither has a row before its first change.
    seq, floor, own, *first, pending = found.get("inbox", (0, 0, 0, 0))
    broadcast_seq, broadcast_floor, unread_broadcasts, *_, epoch = found.get(
        "broadcasts", (0, 0, 0, BroadcastSequence().epoch)
    )
    latest = Latest(
        Position(seq, broadcast_seq, epoch, recipient.audience_hash),
        Counts(own, unread_broadcasts),
        floor,
        broadcast_floor,
    )
    return _Stored(latest, bool(pending), first[0] if first else None)


def _count_unread_broadcasts(recipients: Sequence[Recipient], upto: int, using: str) -> list[int]:
    """
    Return each account's number of unread broadcasts, up to a change number.

    They are the broadcasts to its audiences, minus those it read. The database counts
    the receipts, as fetching each one would take far longer.
    """
    broadcasts = Broadcast.objects.using(using).filter(seq__lte=upto)
    audiences = frozenset[str]().union(*(recipient.audiences for recipient in recipients))
    live = broadcasts.filter(removed_at=None, audience__in=audiences)
    times: defaultdict[str, list[datetime]] = defaultdict(list)
    for audience, created_at in live.order_by("created_at").values_list("audience", "created_at"):
        times[audience].append(created_at)
    if not times:
        return [0] * len(recipients)
    receipts = BroadcastReceipt.objects.using(using).filter(
        account_id__in=[recipient.account_id for recipient in recipients],
        broadcast__in=live,
        read_at__isnull=False,
    )
    read = {
        (account_id, audience): (count, earliest)
        for account_id, audience, count, earliest in receipts.values_list(
            "account_id", "broadcast__audience"
        ).annotate(Count("pk"), Min("broadcast__created_at"))
    }

    def count(recipient: Recipient) -> int:
        unread = 0
        for audience in recipient.audiences & times.keys():
            sent = times[audience]
            since = recipient.since or sent[0]
            count, earliest = read.get((recipient.account_id, audience), (0, since))
            if earliest < since:  # the account's time of creation was changed
                return broadcasts.unread(recipient).count()
            unread += len(sent) - bisect_left(sent, since) - count
        return unread

    return [count(recipient) for recipient in recipients]


def latest_seqs(account_ids: Sequence[Any]) -> tuple[dict[Any, int], BroadcastSequence]:
    """Return the latest `seq` of each account that has an inbox, and the broadcasts' sequence."""
    using = router.db_for_write(Inbox)
    known = is_one_of("account_id", account_ids, Inbox._meta.pk, using)
    seqs = dict(Inbox.objects.using(using).filter(known).values_list("account_id", "seq"))
    return seqs, BroadcastSequence.objects.using(using).current()


def read_page(
    recipient: Recipient,
    before: str | None = None,
    limit: int = PAGE_SIZE,
    folder: Folder = "inbox",
) -> Page:
    """
    Return at most `limit` items of a folder, newest first.

    before: a cursor, the `next` of the previous page; None: the first page.
    folder: "inbox", "unread", "archived", or "important" (unread broadcasts of level
        warning or error).

    Raises ValueError for a malformed cursor.
    """
    latest = read_latest(recipient)
    recipient = reader(recipient, latest)
    cursor = _parse_cursor(before) if before else None
    notifications, broadcasts = _rows_in(folder, recipient)
    if cursor:
        notifications = notifications.filter(number__lt=cursor[0])
        broadcasts = broadcasts.filter(number__lt=cursor[1])
    newest = read_rows(notifications.order_by("-number"), limit + 1)
    newest_broadcasts = read_rows(broadcasts.order_by("-number"), limit + 1)
    rows = list(_merged(newest, newest_broadcasts))
    more = len(rows) > limit
    rows = rows[:limit]
    states = _broadcast_states(recipient, [row for row in rows if isinstance(row, Broadcast)])
    return Page(
        [row.frame(states[row.pk]) if isinstance(row, Broadcast) else row.frame() for row in rows],
        _next_cursor(rows, cursor) if more else None,
        latest,
    )


def _rows_in(
    folder: Folder, recipient: Recipient
) -> tuple[NotificationQuerySet, BroadcastQuerySet]:
    using = router.db_for_write(Notification)
    notifications = Notification.objects.using(using).filter(account_id=recipient.account_id)
    broadcasts = Broadcast.objects.using(using)
    match folder:
        case "inbox":
            return notifications.in_inbox(), broadcasts.in_inbox(recipient)
        case "unread":
            return notifications.unread(), broadcasts.unread(recipient)
        case "archived":
            return notifications.archived(), broadcasts.archived(recipient)
        case "important":
            return notifications.none(), broadcasts.important(recipient)


def _merged(notifications: Sequence[Message], broadcasts: Sequence[Message]) -> Iterator[Message]:
    """
    Merge notifications and broadcasts by the times of the next one of each.

    Not sorted by time: within a kind, `number` decides, as the clocks of the
    processes that created the rows may differ.
    """
    queues = [list(reversed(notifications)), list(reversed(broadcasts))]
    while any(queues):
        yield max((queue for queue in queues if queue), key=lambda q: q[-1].created_at).pop()


def _broadcast_states(recipient: Recipient, broadcasts: Sequence[Broadcast]) -> dict[int, State]:
    states = dict.fromkeys((row.pk for row in broadcasts), State.UNREAD)
    receipts = BroadcastReceipt.objects.using(router.db_for_write(BroadcastReceipt))
    for receipt in receipts.filter(account_id=recipient.account_id, broadcast__in=list(states)):
        states[receipt.broadcast_id] = receipt.state
    return states


def _parse_cursor(text: str) -> tuple[int, int]:
    if not (match := _CURSOR.fullmatch(text)):
        raise ValueError(f"before must be the “next” of another page, not {text!r:.100}")
    return int(match[1]), int(match[2])


def _next_cursor(rows: Sequence[Message], cursor: tuple[int, int] | None) -> str:
    last = {row.wire_prefix: row.number for row in rows}
    beyond_all = 10**18 - 1
    number, broadcast_number = cursor or (beyond_all, beyond_all)
    return f"n{last.get('n', number)}b{last.get('b', broadcast_number)}"
