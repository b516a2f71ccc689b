"""
Notices when accounts end and begin, and clears away what earlier lives left.

The key of a deleted account may be given to a new one. Django announces most deletions and
beginnings; where it does not, rows older than the account count as left over.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db import router, transaction
from django.db.models import Exists, Max, OuterRef, Q, Subquery
from django.db.models.functions import Now
from django.db.models.signals import post_delete, pre_save

from notifications.channel_layer import hub_commands
from notifications.db import times
from notifications.db.keys import is_key
from notifications.db.signals import connect
from notifications.db.transactions import in_short_transaction
from notifications.models import (
    AccountEnded,
    BroadcastReceipt,
    Inbox,
    Notification,
    record_end,
    rows_of,
)

ROWS_PER_STEP: Final = 1000
# By how much the clocks of two hosts may differ, as one creates accounts and another notifies them.
CLOCK_TOLERANCE: Final = timedelta(seconds=1)
# Reads look for older rows of accounts that are younger than this; the sweep does it for all.
YOUNG: Final = timedelta(days=1)
# No transaction that began before an account ended is open for longer.
LATE: Final = timedelta(days=1)

# --- What Django announces


def connect_receivers() -> None:
    connect(post_delete, _deleted, get_user_model())
    connect(pre_save, _saved, get_user_model())


def _deleted(instance: Any, using: str, **kwargs: Any) -> None:
    """Record the end of an account in the transaction that deletes it."""
    key, ours = instance.pk, router.db_for_write(AccountEnded)
    if using == ours:
        record_end(key, ours)
    else:  # only once it is certain
        transaction.on_commit(lambda: record_end(key, ours), using=using, robust=True)


def _saved(instance: Any, raw: bool, using: str, **kwargs: Any) -> None:
    """
    Record that what exists for the key of a new account is not the account's.

    Before it is saved, as receivers of `post_save` may welcome it. Keys that the database gives
    were never another account's, and fixtures (`raw`) restore accounts.
    """
    key = instance.pk
    is_new = instance._state.adding and not raw and key is not None
    if not is_new or using != router.db_for_write(AccountEnded):
        return
    if is_key(key, instance._meta.pk) and _has_rows(key, using):
        accounts = get_user_model()._base_manager.using(using)
        if not accounts.filter(pk=key).exists():
            record_end(key, using)
            # A tab of the account before may be open still, if its process died as it was deleted.
            recheck = partial(hub_commands.recheck_accounts, [key])
            transaction.on_commit(recheck, using=using, robust=True)


def _has_rows(key: Any, using: str) -> bool:
    inbox = Inbox.objects.using(using).filter(pk=key).values("account_id")
    ends = AccountEnded.objects.using(using).filter(account_id=key).values("account_id")
    unnumbered = Notification.objects.using(using).unnumbered().filter(account_id=key)
    return bool(inbox.union(ends, unnumbered.values("account_id"), all=True)[:1])


# --- Clearing away


def finish(account_ids: Sequence[Any], using: str) -> int:
    """Delete what earlier lives left to these accounts; return how many ends there were."""
    if not account_ids:
        return 0
    ends = AccountEnded.objects.using(using).pending().filter(account_id__in=account_ids)
    pending = list(ends)
    for end in pending:
        for rows in rows_of(end, using):
            _delete_in_steps(rows)
    if pending:
        keys = [end.account_id for end in pending]
        in_short_transaction(partial(Inbox.objects.using(using).lock, keys), using)
    return len(pending)


def is_young(since: datetime | None) -> bool:
    """Whether an account that was created then may not have been swept since."""
    return since is not None and since <= times.now() < since + YOUNG


def is_older(first: datetime | None, since: datetime | None) -> bool:
    """Whether a row was created before its account was, and not just by another clock."""
    if first is None or since is None or since > times.now():
        return False
    return first < since - CLOCK_TOLERANCE


def hide_older(accounts: Sequence[tuple[Any, datetime | None]], using: str) -> int:
    """
    Remove what is older than these accounts: a deletion that nothing announced left it.

    accounts: keys, and when each was created. Returns of how many there was something.

    The rows are kept as removed ones are, because the time may have been changed by mistake.
    """
    if not accounts:
        return 0
    known = AccountEnded.objects.using(using).filter(account_id=OuterRef("pk"))
    inboxes = Inbox.objects.using(using).filter(pk__in=[key for key, _ in accounts])
    found: Any = inboxes.with_first().annotate(
        known=Subquery(known.order_by("-ended_at").values("ended_at")[:1])
    )
    since_of = dict(accounts)
    hidden = 0
    for key, first, known_at in found.values_list("pk", "first", "known"):
        since = since_of[key]
        if since and is_older(first, since) and (known_at is None or is_older(known_at, since)):
            hidden += in_short_transaction(partial(_hide_older, key, since, using), using)
    return hidden


def _hide_older(account_id: Any, since: datetime, using: str) -> bool:
    inbox = Inbox.objects.using(using).lock([account_id])[account_id]
    mine = Notification.objects.using(using).filter(account_id=account_id, seq__isnull=False)
    older = mine.filter(created_at__lt=since)
    last = older.aggregate(last=Max("pk"))["last"]
    if last is None:
        return False
    older.filter(removed_at=None).update(removed_at=times.now())
    mine.filter(created_at__gte=since, idempotency_key__isnull=False).update(life=last)
    AccountEnded.objects.using(using).create(
        account_id=account_id,
        notifications_upto=last,
        receipts_upto=0,
        ended_at=since,
        finished_at=Now(),
    )
    Inbox.objects.using(using).filter(pk=account_id).update(
        seq=inbox.seq + 1, floor=inbox.seq + 1, unread=mine.unread().count()
    )
    return True


def keep_older(account_id: Any, since: datetime, using: str) -> None:
    """Record that rows older than this account are its own: they were moved to it."""
    AccountEnded.objects.using(using).create(
        account_id=account_id,
        notifications_upto=0,
        receipts_upto=0,
        ended_at=since,
        finished_at=Now(),
    )


def delete_rows_of_missing(account_ids: Sequence[Any], using: str) -> None:
    """Delete the rows of accounts that no longer exist, unless they are created meanwhile."""
    for account_id in account_ids:
        _record_missing(account_id, using)
    finish(account_ids, using)
    for account_id in account_ids:
        in_short_transaction(partial(_delete_empty_inbox, account_id, using), using)


def _record_missing(account_id: Any, using: str) -> None:
    """Record the end of an account that ended without a signal."""
    ends = AccountEnded.objects.using(using)
    if ends.pending().filter(account_id=account_id).exists():
        return
    # Only what is committed: a new account may be about to be.
    mine = {"account_id": account_id}
    last = {
        model: max(
            model.objects.using(using).filter(rows, **mine).aggregate(last=Max("pk"))["last"] or 0
            for rows in (Q(seq__isnull=True), Q(seq__isnull=False))
        )
        for model in (Notification, BroadcastReceipt)
    }
    if not any(last.values()):
        return
    user_model = get_user_model()
    accounts = user_model._base_manager.using(router.db_for_write(user_model))
    if not accounts.filter(pk=account_id).exists():  # after reading what is to be deleted
        ends.create(
            account_id=account_id,
            notifications_upto=last[Notification],
            receipts_upto=last[BroadcastReceipt],
        )


def _delete_empty_inbox(account_id: Any, using: str) -> None:
    Inbox.objects.using(using).lock([account_id])
    own = {"account_id": account_id, "seq__isnull": False}
    if not (
        Notification.objects.using(using).filter(**own).exists()
        or BroadcastReceipt.objects.using(using).filter(**own).exists()
    ):
        Inbox.objects.using(using).filter(pk=account_id).delete()


def sweep_ends(ends: Sequence[AccountEnded], using: str) -> None:
    """Finish these ends, and delete those that no row can belong to any more."""
    if not ends:
        return
    finish([end.account_id for end in ends if end.finished_at is None], using)
    late = AccountEnded.objects.filter(
        account_id=OuterRef("account_id"), notifications_upto__gte=OuterRef("pk")
    )
    _delete_in_steps(Notification.objects.using(using).unnumbered().filter(Exists(late)))
    user_model = get_user_model()
    accounts = user_model._base_manager.using(router.db_for_write(user_model))
    keys = [end.account_id for end in ends]
    used = {
        *accounts.filter(pk__in=keys).values_list("pk", flat=True),
        *Inbox.objects.using(using).filter(pk__in=keys).values_list("pk", flat=True),
    }
    finished = AccountEnded.objects.using(using).filter(pk__in=[end.pk for end in ends])
    finished = finished.exclude(finished_at=None)
    later = AccountEnded.objects.filter(
        account_id=OuterRef("account_id"), pk__gt=OuterRef("pk")
    ).exclude(notifications_upto__lt=OuterRef("notifications_upto"))
    finished.filter(Exists(later)).delete()
    finished.filter(ended_at__lt=Now() - LATE).exclude(account_id__in=used).delete()


def _delete_in_steps(rows: Any) -> None:
    while keys := list(rows.values_list("pk", flat=True)[:ROWS_PER_STEP]):
        step = rows.model._base_manager.using(rows.db).filter(pk__in=keys)
        in_short_transaction(step.delete, rows.db)
