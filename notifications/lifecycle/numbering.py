"""
Numbers committed rows, builds their frames, and publishes them to open tabs.

Rows are numbered after the commit, in short transactions that lock the inbox
first and read second. Ids can't serve as numbers: they are assigned before the
commit, and transactions may commit in another order, so a client that relies on
ids could miss a row for good. The process that numbers a row also publishes it.
"""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet

from django.db import (
    DatabaseError,
    InterfaceError,
    InternalError,
    OperationalError,
    connections,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import TextField
from django.db.models.functions import Cast

from notifications import audiences, protocol
from notifications.db import times
from notifications.db.bulk import is_one_of, update_rows
from notifications.db.rows import read_rows
from notifications.db.transactions import in_short_transaction, is_busy
from notifications.models import (
    Broadcast,
    BroadcastSequence,
    Inbox,
    Notification,
    State,
    stored_meta_data,
)
from notifications.signals import broadcast_sent, notification_created

from .assignment import Numbered, NumberedRow, Place, UnnumberedRow, assign_numbers
from .publishing import LiveUpdate, publish, publish_broadcast, state_updates

logger = logging.getLogger(__name__)

ACCOUNTS_PER_TRANSACTION: Final = 1000
MAX_BUSY_BATCHES: Final = 12  # each takes a tenth of a second
MESSAGE_FIELDS: Final = ("type", "body", "url", "level", "created_at", "expires_at")


@dataclass(eq=False)
class _Call:
    """
    The accounts of one call of `number_after_commit`, until they are numbered.

    Only its commit hook keeps it alive. When Django drops the hook because the transaction or
    the savepoint is rolled back, the call is gone as well, and no later transaction on the
    same connection numbers its accounts.
    """

    account_ids: set[Any]


_calls: WeakKeyDictionary[BaseDatabaseWrapper, WeakSet[_Call]] = WeakKeyDictionary()


def number_after_commit(account_ids: Iterable[Any], using: str) -> None:
    """
    Number and publish these accounts' rows once the transaction commits.

    The first hook to run handles all calls of the transaction.
    """
    call = _Call(set(account_ids))
    calls = _calls.setdefault(connections[using], WeakSet())
    calls.add(call)

    # A nested function: a partial would crash while Django logs its failure (ticket 36487).
    def number_calls() -> None:
        if call in calls:
            accounts = set[Any]().union(*(waiting.account_ids for waiting in calls))
            calls.clear()
            with left_to_the_check():
                number_and_publish(accounts, using)

    transaction.on_commit(number_calls, using=using, robust=True)


def number_broadcasts_after_commit(using: str) -> None:
    """Number and publish broadcasts once the transaction commits."""

    def number() -> None:
        with left_to_the_check():
            number_broadcasts(using)

    transaction.on_commit(number, using=using, robust=True)


@contextmanager
def left_to_the_check() -> Iterator[None]:
    """Leave to the check what can't be done now: the caller has committed it."""
    try:
        yield
    except (InterfaceError, InternalError, OperationalError) as error:
        reason = type(error.__cause__ or error).__name__
        logger.warning("Not done now (%s): the next check will do it", reason)


def number_and_publish(account_ids: Iterable[Any], using: str) -> int:
    """
    Number and publish the committed, unnumbered rows of these accounts; return how many.

    Waits for the inboxes that others have locked, but not for long (OperationalError).
    """
    keys = sorted(set(account_ids))
    return sum(
        _number_batch(keys[start : start + ACCOUNTS_PER_TRANSACTION], using)
        for start in range(0, len(keys), ACCOUNTS_PER_TRANSACTION)
    )


def number_left_overs(account_ids: Iterable[Any], using: str) -> int:
    """
    Do the same without waiting for others, whose rows are left to a later call.

    These may hold a lock for long, if they stand still.
    """
    keys = sorted(set(account_ids))
    waiting = [
        keys[start : start + ACCOUNTS_PER_TRANSACTION]
        for start in range(0, len(keys), ACCOUNTS_PER_TRANSACTION)
    ]
    count = failures = 0
    while waiting and failures < MAX_BUSY_BATCHES:
        batch = waiting.pop()
        try:
            count += _number_batch(batch, using, waits=False)
        except OperationalError as error:
            if not is_busy(error):
                raise
            # A lock that can't be skipped, such as that of an inbox which another is inserting.
            # By chance, so that the accounts it concerns keep others from it only once.
            failures += 1
            random.shuffle(batch)
            half = len(batch) // 2
            waiting += [part for part in (batch[:half], batch[half:]) if half]
    return count


def _number_batch(account_ids: Sequence[Any], using: str, *, waits: bool = True) -> int:
    rows = in_short_transaction(partial(_number, account_ids, using, waits), using, waits=waits)
    publish([*live_updates(rows)])
    if notification_created.has_listeners(Notification):
        ids = [row.id for row in rows]
        for row in Notification.objects.using(using).filter(pk__in=ids).order_by("pk"):
            notification_created.send_robust(Notification, notification=row)
    return len(rows)


def number_broadcasts(using: str, *, waits: bool = True) -> int:
    """
    Number and publish the committed, unnumbered broadcasts; return how many.

    waits: False leaves them to a later call if another is numbering broadcasts.
    """
    if not Broadcast.objects.using(using).unnumbered().exists():
        return 0

    def number() -> list[Broadcast]:
        sequences = BroadcastSequence.objects.using(using)
        sequence = sequences.lock() if waits else sequences.lock_if_free()
        if sequence is None:
            return []
        rows = read_rows(Broadcast.objects.using(using).unnumbered().order_by("pk"))
        for row in rows:
            sequence.seq += 1
            row.number = row.seq = sequence.seq
        update_rows(Broadcast, rows, ["number", "seq"], using)
        sequence.save(using=using, update_fields=["seq"])
        return rows

    try:
        rows = in_short_transaction(number, using, waits=waits)
    except OperationalError as error:
        if waits or not is_busy(error):
            raise
        return 0
    for row in rows:
        publish_broadcast(row, row.frame())
        broadcast_sent.send_robust(Broadcast, broadcast=row)
    # Last, and without the lock: a count of a million accounts takes a while.
    for row in rows:
        _store_audience_size(row, using)
    return len(rows)


def _store_audience_size(row: Broadcast, using: str) -> None:
    """Count the accounts that get this broadcast; without it, the admin counts those of now."""

    def store() -> None:
        accounts = audiences.accounts_in(row.audience).filter(audiences.created_by(row.created_at))
        own = Broadcast.objects.using(using).filter(pk=row.pk)
        own.update(audience_size=accounts.count())

    try:
        in_short_transaction(store, using, waits=False)
    except DatabaseError as error:
        reason = type(error.__cause__ or error).__name__
        logger.warning("Broadcast %s: its audience can't be counted (%s)", row.pk, reason)


def _number(account_ids: Sequence[Any], using: str, waits: bool) -> list[NumberedRow]:
    """Number the accounts' rows, inside a transaction."""
    inboxes = Inbox.objects.using(using).lock(account_ids, waits=waits)
    rows = _read_unnumbered(sorted(inboxes), using)
    if any(inbox.ended_upto for inbox in inboxes.values()):
        # Committed after their account ended; maintenance deletes them.
        rows = [row for row in rows if row[0] > inboxes[row[1]].ended_upto]
    older = _read_replaceable(rows, using)
    numbered = assign_numbers(inboxes, rows, older, times.now())
    _write(numbered, using)
    return numbered.rows


def _read_unnumbered(account_ids: Sequence[Any], using: str) -> list[UnnumberedRow]:
    account = Notification._meta.get_field("account")
    wanted = is_one_of("account_id", account_ids, account, using)
    unnumbered = Notification.objects.using(using).unnumbered().filter(wanted)
    values = (
        unnumbered.annotate(stored_meta_data=Cast("meta_data", TextField()))
        .order_by("account_id", "pk")
        .values_list("pk", "account_id", "replace_key", "stored_meta_data", *MESSAGE_FIELDS)
    )
    return [(row[0], row[1], row[2], row[3:]) for row in read_rows(values)]


def _read_replaceable(rows: Iterable[UnnumberedRow], using: str) -> dict[Place, list[int]]:
    """Return the ids of the unread notifications that `rows` will replace, by place."""
    places = {(account_id, key) for _, account_id, key, _ in rows if key}
    older: defaultdict[Place, list[int]] = defaultdict(list)
    if places:
        unread = Notification.objects.using(using).unread()
        candidates = unread.filter(
            account_id__in={account for account, _ in places},
            replace_key__in={key for _, key in places},
        ).exclude(replace_key="")  # the index's condition; without it the index is not used
        for id, account_id, key in candidates.order_by("number").values_list(
            "pk", "account_id", "replace_key"
        ):
            if (account_id, key) in places:
                older[account_id, key].append(id)
    return older


def _write(numbered: Numbered, using: str) -> None:
    fields = ["number", "seq"]
    if any(row.replaced_ids for row in numbered.rows):
        fields += ["replaces", "removed_at"]
    update_rows(Notification, numbered.rows, fields, using)
    update_rows(Notification, numbered.replaced, ["seq", "removed_at"], using)
    update_rows(Inbox, numbered.inboxes, ["seq", "unread"], using)


def live_updates(rows: Iterable[NumberedRow]) -> Iterator[LiveUpdate]:
    """Yield the live updates about new rows and the ones that they replace."""
    encoder = _Encoder()
    for row in rows:
        first = number = row.number
        if replaced_ids := row.replaced_ids:
            first -= 1  # the last one's removal, which the frame includes
            # There are others if one had been read, so that it was not replaced, and was later
            # marked as unread.
            if others := replaced_ids[:-1]:
                yield from _removals(row.account_id, others, first - 1, row.unread)
        text = encoder.encode(row)
        # By position: keywords take twice as long.
        yield LiveUpdate(str(row.account_id), first, number, row.unread, None, None, text)


def _removals(account_id: Any, ids: Sequence[int], seq: int, unread: int) -> Iterator[LiveUpdate]:
    """Yield the updates for notifications that were removed, the last of them at `seq`."""
    wire_ids = [f"{Notification.wire_prefix}{id}" for id in ids]
    first = seq - len(ids) + 1
    return state_updates(account_id, State.REMOVED, wire_ids, first, {"unread": unread})


class _Encoder:
    """Encodes frames of new notifications, a message that many of them share only once."""

    def __init__(self) -> None:
        self._messages: dict[tuple[Any, ...], str] = {}  # encoded, without the closing brace

    def encode(self, row: NumberedRow) -> str:
        message = self._messages.get(row.message)
        if message is None:
            message = self._messages[row.message] = self._encode_message(*row.message)
        prefix = Notification.wire_prefix
        replaces = f'"{prefix}{row.replaces}"' if row.replaced_ids else "null"
        return (
            f'{message},"id":"{prefix}{row.id}","number":{row.number},"seq":{row.number},'
            f'"unread":{row.unread},"replaces":{replaces}}}'
        )

    def _encode_message(self, meta_data: str, *values: Any) -> str:
        fields = dict(zip(MESSAGE_FIELDS, values, strict=True))
        frame = Notification(meta_data=stored_meta_data(meta_data), **fields).frame()
        own = {"id", "number", "seq", "replaces"}
        shared = {key: value for key, value in frame.items() if key not in own}
        return protocol.encode(shared).removesuffix("}")
