"""
Moves an inbox to another account, when two accounts are merged.

Both inboxes are locked, in each of several short transactions, and each leaves both complete. In
the other inbox, everything gets a new number after those that it has. Its tabs can't follow that as
changes, as items keep their states and the client may have some of them: they reload their lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db import IntegrityError, router, transaction
from django.db.models import Max

from notifications import protocol
from notifications.audiences import Recipient
from notifications.db import times
from notifications.db.bulk import update_rows
from notifications.db.transactions import in_short_transaction
from notifications.models import (
    AccountEnded,
    BroadcastReceipt,
    Inbox,
    LockedInbox,
    Notification,
    State,
)

from . import lives, numbering, publishing

ROWS_PER_TRANSACTION: Final = 1000
MAX_ATTEMPTS: Final = 5  # after a call with a moved row's idempotency key at the same time


def move(from_id: Any, to_id: Any, using: str) -> int:
    """Move the notifications and receipts of one account to another; return how many."""
    _require_no_transaction(using)
    user_model = get_user_model()
    accounts = user_model._base_manager.using(router.db_for_write(user_model))
    if since := Recipient.of(accounts.get(pk=to_id)).since:
        lives.keep_older(to_id, since, using)
    numbering.number_and_publish([from_id, to_id], using)
    moved = 0
    for move_part in (_move_notifications, _move_receipts):
        while count := _repeated(partial(move_part, from_id, to_id, using), using):
            moved += count
    if moved:
        _let_tabs_reload([from_id, to_id], using)
    return moved


def _require_no_transaction(using: str) -> None:
    try:
        with transaction.atomic(using=using, durable=True):
            pass
    except RuntimeError:
        raise RuntimeError(
            "move_inbox() locks both inboxes, in transactions of its own; call it before the "
            "transaction that merges the accounts, or from transaction.on_commit()"
        ) from None


def _repeated(move_part: partial[int], using: str) -> int:
    for _ in range(MAX_ATTEMPTS - 1):
        try:
            return in_short_transaction(move_part, using)
        except IntegrityError:
            continue
    return in_short_transaction(move_part, using)


def _move_notifications(from_id: Any, to_id: Any, using: str) -> int:
    inboxes = Inbox.objects.using(using).lock([from_id, to_id])
    source, target = inboxes[from_id], inboxes[to_id]
    numbered = Notification.objects.using(using).filter(account_id=from_id, seq__isnull=False)
    columns = [
        *("account", "number", "seq", "created_at", "read_at", "archived_at", "removed_at"),
        *("replace_key", "idempotency_key", "life"),
    ]
    rows = list(numbered.order_by("number").only(*columns)[:ROWS_PER_TRANSACTION])
    source.unread -= sum(row.state == State.UNREAD for row in rows)
    _move_keys(rows, from_id, to_id, using)
    replaced = _replace(rows, target, using)
    for row in rows:
        row.account_id = to_id
        row.number = row.seq = target.next_seq()
        target.unread += row.state == State.UNREAD
    fields = ["account", "number", "seq", "removed_at", "idempotency_key", "life"]
    update_rows(Notification, rows, fields, using)
    update_rows(Notification, replaced, ["seq", "removed_at"], using)
    _save(source, target, len(rows), using)
    return len(rows)


def _move_keys(rows: Sequence[Notification], from_id: Any, to_id: Any, using: str) -> None:
    """Let idempotency keys count for the other account, if it has none of that name."""
    ends = AccountEnded.objects.using(using)
    old_life, life = (
        ends.filter(account_id=key).aggregate(last=Max("notifications_upto"))["last"] or 0
        for key in (from_id, to_id)
    )
    keys = [row.idempotency_key for row in rows if row.idempotency_key is not None]
    used = set(
        Notification.objects.using(using)
        .filter(account_id=to_id, life=life, idempotency_key__in=keys)
        .values_list("idempotency_key", flat=True)
    )
    for row in rows:
        if row.idempotency_key in used or row.life != old_life:
            row.idempotency_key = None
        row.life = life if row.idempotency_key is not None else 0


def _replace(rows: Sequence[Notification], inbox: LockedInbox, using: str) -> list[Notification]:
    """Remove all but the newest unread row with each replace key; return the inbox's own ones."""
    moved = [row for row in rows if row.replace_key and row.state == State.UNREAD]
    present = (
        Notification.objects.using(using)
        .unread()
        .filter(account_id=inbox.account_id, replace_key__in={row.replace_key for row in moved})
        .exclude(replace_key="")
        .only("created_at", "replace_key", "seq", "removed_at", "read_at", "archived_at")
    )
    own = {row.pk: row for row in present} if moved else {}
    newest: dict[str, Notification] = {}
    now = times.now()
    for row in sorted([*own.values(), *moved], key=lambda row: (row.created_at, row.pk)):
        if older := newest.get(row.replace_key):
            older.removed_at = now
        newest[row.replace_key] = row
    replaced = [row for row in own.values() if row.removed_at]
    for row in replaced:
        row.seq = inbox.next_seq()
        inbox.unread -= 1
    return replaced


def _move_receipts(from_id: Any, to_id: Any, using: str) -> int:
    inboxes = Inbox.objects.using(using).lock([from_id, to_id])
    source, target = inboxes[from_id], inboxes[to_id]
    receipts = BroadcastReceipt.objects.using(using)
    rows = list(receipts.filter(account_id=from_id).order_by("seq")[:ROWS_PER_TRANSACTION])
    of_both = receipts.filter(account_id=to_id, broadcast__in=[row.broadcast_id for row in rows])
    present = {receipt.broadcast_id: receipt for receipt in of_both}
    for row in rows:
        receipt = present.get(row.broadcast_id, row)
        receipt.account_id = to_id
        receipt.read_at = receipt.read_at or row.read_at
        receipt.archived_at = receipt.archived_at or row.archived_at
        receipt.seq = target.next_seq()
    doubles = [row.pk for row in rows if row.broadcast_id in present]
    receipts.filter(pk__in=doubles).delete()
    kept = [*(row for row in rows if row.broadcast_id not in present), *present.values()]
    update_rows(BroadcastReceipt, kept, ["account", "read_at", "archived_at", "seq"], using)
    _save(source, target, len(rows), using)
    return len(rows)


def _save(source: LockedInbox, target: LockedInbox, moved: int, using: str) -> None:
    if moved:
        source.floor = source.next_seq()
        target.floor = target.seq
        update_rows(Inbox, [source, target], ["seq", "unread", "floor"], using)


def _let_tabs_reload(account_ids: Sequence[Any], using: str) -> None:
    """Let the hubs compare these accounts' connections with the database, now."""
    inboxes = Inbox.objects.using(using).filter(pk__in=account_ids)
    # Counted at an impossible number, so that no connection takes it for its next change.
    publishing.publish(
        [
            publishing.live_update(key, seq, seq, protocol.frame("resync"), counted_at=2**63 - 1)
            for key, seq in inboxes.values_list("pk", "seq")
        ]
    )
