"""
From committed rows to open tabs: number them, build their frames, push.

Rows are numbered after the commit, in short transactions that lock the inbox
first and read second: ids are given before the commit, and transactions commit
in another order, so a reader that goes by ids can miss a row for ever. Whoever
numbers a row pushes it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from weakref import WeakKeyDictionary, ref

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import TextField
from django.db.models.functions import Cast
from django.utils import timezone

from notifications import protocol
from notifications.db.bulk import is_one_of, update_rows
from notifications.db.transactions import in_short_transaction
from notifications.models import Broadcast, BroadcastSequence, Inbox, Notification
from notifications.signals import broadcast_sent, notification_created

from .publishing import LiveUpdate, publish, publish_broadcast, step

ACCOUNTS_PER_TRANSACTION: Final = 1000
MESSAGE_FIELDS: Final = ("type", "body", "url", "level", "created_at", "expires_at")


class _Accounts(set[Any]):
    """
    Those that a transaction's hooks deliver: they go with the hooks when it is rolled back.

    A set of one's own kind, as a plain one can't be referred to weakly.
    """


_pending: WeakKeyDictionary[BaseDatabaseWrapper, ref[_Accounts]] = WeakKeyDictionary()


def number_after_commit(account_ids: Iterable[Any], using: str) -> None:
    """Deliver these accounts' rows once the transaction commits, with all others of it at once."""
    connection = connections[using]
    of_last_call = _pending.get(connection)
    pending = of_last_call() if of_last_call else None
    if pending is None or not connection.run_on_commit:
        # The first call of a transaction, or of one of the hooks that are just run.
        pending = _Accounts()
        _pending[connection] = ref(pending)
    pending.update(account_ids)

    # A nested function: a partial would crash while Django logs its failure (ticket 36487).
    def number_pending() -> None:
        accounts = set(pending)
        pending.clear()
        number_and_publish(accounts, using)

    transaction.on_commit(number_pending, using=using, robust=True)


def number_and_publish(account_ids: Iterable[Any], using: str) -> int:
    """Number and push what is committed and unnumbered for these accounts; return how many rows."""
    keys = sorted(set(account_ids))
    delivered = 0
    for start in range(0, len(keys), ACCOUNTS_PER_TRANSACTION):
        ids, updates = in_short_transaction(
            _numbering(keys[start : start + ACCOUNTS_PER_TRANSACTION], using), using
        )
        publish(updates)
        if notification_created.has_listeners(Notification):
            for row in Notification.objects.using(using).filter(pk__in=ids).order_by("pk"):
                notification_created.send_robust(Notification, notification=row)
        delivered += len(ids)
    return delivered


def number_broadcasts(using: str) -> int:
    """Number and push the committed, unnumbered broadcasts; return how many."""
    if not Broadcast.objects.using(using).unnumbered().exists():
        return 0

    def number() -> list[Broadcast]:
        sequence = BroadcastSequence.objects.using(using).lock()
        rows = list(Broadcast.objects.using(using).unnumbered().order_by("pk"))
        for row in rows:
            sequence.seq += 1
            row.number = row.seq = sequence.seq
        update_rows(Broadcast, rows, ["number", "seq"], using)
        sequence.save(using=using, update_fields=["seq"])
        return rows

    rows = in_short_transaction(number, using)
    for row in rows:
        publish_broadcast(row, row.frame())
        broadcast_sent.send_robust(Broadcast, broadcast=row)
    return len(rows)


@dataclass(slots=True)
class _Row:
    """What numbering has to know of a notification and change in it: no model, there are many."""

    id: int
    account_id: Any
    replace_key: str
    message: tuple[Any, ...] = ()  # as MESSAGE_FIELDS
    number: int | None = None
    seq: int | None = None
    replaces: int | None = None
    removed_at: datetime | None = None


def _numbering(keys: Sequence[Any], using: str) -> Callable[[], tuple[list[int], list[LiveUpdate]]]:
    def number() -> tuple[list[int], list[LiveUpdate]]:
        inboxes = Inbox.objects.using(using).lock(keys)
        rows = _unnumbered(keys, using)
        older = _replaceable(rows, using)
        encoder = _Encoder()
        replaced: list[_Row] = []
        updates = []
        for row in rows:
            inbox = inboxes[row.account_id]
            first = inbox.seq + 1
            if row.replace_key:
                place = (row.account_id, row.replace_key)
                for old in older[place]:
                    old.seq = inbox.next_seq()
                    old.removed_at = timezone.now()
                    inbox.unread -= 1
                    replaced.append(old)
                    row.replaces = old.id
                # The frame names the last. There are others where one was read, so that it was
                # not replaced, and then marked unread again.
                if others := older[place][:-1]:
                    updates.append(_gone(others, first, inbox.unread + 1))
                    first += len(others)
                older[place] = [row]
            row.number = row.seq = seq = inbox.next_seq()
            inbox.unread += 1
            updates.append(
                LiveUpdate(
                    account=str(row.account_id),
                    first=first,
                    seq=seq,
                    text=encoder.encode(row, inbox.unread),
                    unread=inbox.unread,
                    unread_broadcasts=None,
                    counted_at=None,
                )
            )
        update_rows(Notification, rows, ["number", "seq"], using)
        if replaced:
            changed = [*replaced, *(row for row in rows if row.replaces)]
            update_rows(Notification, changed, ["seq", "removed_at", "replaces"], using)
        update_rows(Inbox, [*inboxes.values()], ["seq", "unread"], using)
        return [row.id for row in rows], updates

    return number


def _gone(rows: Sequence[_Row], first: int, unread: int) -> LiveUpdate:
    """The step that tells of these rows of one account, numbered from `first`, that they went."""
    seq = first + len(rows) - 1
    ids = [f"{Notification.wire_prefix}{row.id}" for row in rows]
    return step(rows[0].account_id, first, seq, protocol.state("gone", ids, seq=seq, unread=unread))


def _unnumbered(keys: Sequence[Any], using: str) -> list[_Row]:
    account = Notification._meta.get_field("account")
    wanted = is_one_of("account_id", keys, account, using)
    unnumbered = Notification.objects.using(using).unnumbered().filter(wanted)
    values = (
        unnumbered.annotate(stored_meta_data=Cast("meta_data", TextField()))
        .order_by("account_id", "pk")
        .values_list("pk", "account_id", "replace_key", "stored_meta_data", *MESSAGE_FIELDS)
    )
    return [_Row(row[0], row[1], row[2], row[3:]) for row in values]


def _replaceable(rows: Iterable[_Row], using: str) -> defaultdict[tuple[Any, str], list[_Row]]:
    """Return the unread notifications whose place one of `rows` takes, by account and key."""
    places = {(row.account_id, row.replace_key) for row in rows if row.replace_key}
    older: defaultdict[tuple[Any, str], list[_Row]] = defaultdict(list)
    if places:
        unread = Notification.objects.using(using).unread()
        candidates = unread.filter(
            account_id__in={account for account, _ in places},
            replace_key__in={key for _, key in places},
        ).exclude(replace_key="")  # as the index says, or it is not used
        for pk, account, key in candidates.order_by("number").values_list(
            "pk", "account_id", "replace_key"
        ):
            if (account, key) in places:
                older[account, key].append(_Row(pk, account, key))
    return older


class _Encoder:
    """Encodes new notifications: many have one message, which is then encoded once."""

    def __init__(self) -> None:
        self._messages: dict[tuple[Any, ...], str] = {}  # encoded, without the closing brace

    def encode(self, row: _Row, unread: int) -> str:
        message = self._messages.get(row.message)
        if message is None:
            message = self._messages[row.message] = self._encode_message(*row.message)
        replaces = "null" if row.replaces is None else f'"{Notification.wire_prefix}{row.replaces}"'
        return (
            f'{message},"id":"{Notification.wire_prefix}{row.id}","number":{row.number},'
            f'"seq":{row.seq},"unread":{unread},"replaces":{replaces}}}'
        )

    def _encode_message(self, meta_data: str, *values: Any) -> str:
        fields = dict(zip(MESSAGE_FIELDS, values, strict=True))
        frame = Notification(meta_data=json.loads(meta_data), **fields).frame()
        own = {"id", "number", "seq", "replaces"}
        shared = {key: value for key, value in frame.items() if key not in own}
        return protocol.encode(shared).removesuffix("}")
