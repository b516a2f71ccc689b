"""
Notices when accounts end and begin, and clears away what earlier lives left.

The key of a deleted account may be given to a new one. Django announces most deletions and
beginnings; where it does not, rows older than the account count as left over, unless the database
gives the keys.
"""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db import OperationalError, router, transaction
from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now
from django.db.models.signals import post_delete, pre_save

from notifications import audiences
from notifications.channel_layer import hub_commands
from notifications.db import times
from notifications.db.bulk import is_one_of
from notifications.db.keys import is_automatic, is_key
from notifications.db.signals import connect
from notifications.db.transactions import in_short_transaction, is_busy
from notifications.models import (
    AccountEnded,
    BroadcastReceipt,
    Inbox,
    Notification,
    finish_ends,
    record_end,
)

logger = logging.getLogger(__name__)

ACCOUNTS_PER_STEP: Final = 100
ROWS_PER_STEP: Final = 1000
# By how much the clocks of two hosts may differ, as one creates accounts and another notifies them.
CLOCK_TOLERANCE: Final = timedelta(seconds=1)
# Reads look for older rows of accounts that are younger than this; the sweep does it for all.
YOUNG: Final = timedelta(days=1)
# No transaction that began before an account ended is open for longer.
LATE: Final = timedelta(days=1)

Created = Sequence[tuple[Any, datetime | None]]  # keys of accounts, and when each was created


def keys_are_automatic() -> bool:
    """Whether the database gives accounts their keys, so that no key is given to another."""
    return is_automatic(get_user_model()._meta.pk)


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
    if is_key(key, instance._meta.pk) and _has_rows(key, using) and _record_missing([key], using):
        # A tab of the account before may be open still, if its process died as it was deleted.
        # A nested function: a partial would crash while Django logs its failure (ticket 36487).
        def recheck() -> None:
            hub_commands.recheck_accounts([key])

        transaction.on_commit(recheck, using=using, robust=True)


def _has_rows(key: Any, using: str) -> bool:
    inbox = Inbox.objects.using(using).filter(pk=key).values("account_id")
    ends = AccountEnded.objects.using(using).filter(account_id=key).values("account_id")
    unnumbered = Notification.objects.using(using).unnumbered().filter(account_id=key)
    return bool(inbox.union(ends, unnumbered.values("account_id"), all=True)[:1])


def _record_missing(account_ids: Sequence[Any], using: str) -> list[Any]:
    """
    Record the ends of those of these accounts that don't exist; return their keys.

    Only what is committed counts as theirs: a new account may be about to be.
    """
    notifications, receipts = (
        _last_ids(model, account_ids, using) for model in (Notification, BroadcastReceipt)
    )
    missing = sorted({*account_ids} - _existing(account_ids))  # after reading what is theirs
    AccountEnded.objects.using(using).bulk_create(
        AccountEnded(
            account_id=key,
            notifications_upto=notifications.get(key, 0),
            receipts_upto=receipts.get(key, 0),
        )
        for key in missing
    )
    return missing


def _last_ids(model: Any, account_ids: Sequence[Any], using: str) -> dict[Any, int]:
    last: defaultdict[Any, int] = defaultdict(int)
    mine = _is_account("account_id", account_ids, using)
    for numbered in (Q(seq__isnull=True), Q(seq__isnull=False)):  # an index for each
        rows = model.objects.using(using).filter(mine, numbered)
        for key, id in rows.values_list("account_id").annotate(Max("pk")):
            last[key] = max(last[key], id)
    return last


# --- After reads


def clear_after_commit(ended: Sequence[Any], older: Mapping[Any, datetime], using: str) -> bool:
    """
    Clear away what earlier lives left to these accounts, once the transaction commits.

    ended: those with a pending end. older: those that `find_older` returned.

    Waits for nobody; what is not done then is left to the next read or pass. Returns whether it
    was done now, as there is no transaction.
    """
    done = False

    # A nested function: a partial would crash while Django logs its failure (ticket 36487).
    def clear() -> None:
        nonlocal done
        try:
            for keys in _batches(ended):
                _finish_step(keys, using)
            for key, since in older.items():
                _hide_older(key, since, using)
        except OperationalError as error:
            if not is_busy(error):
                raise
        else:
            done = True

    transaction.on_commit(clear, using=using, robust=True)
    return done


# --- Rows that are older than their account


def is_young(since: datetime | None) -> bool:
    """Whether an account may have older rows, as it may not have been swept since its creation."""
    return since is not None and since <= times.now() < since + YOUNG and not keys_are_automatic()


def is_older(first: datetime | None, since: datetime | None) -> bool:
    """Whether a row was created before its account was, and not just by another clock."""
    if first is None or since is None or since > times.now():
        return False
    return first < since - CLOCK_TOLERANCE


def find_older(accounts: Created, using: str) -> dict[Any, datetime]:
    """Return those of these accounts whose inboxes begin with rows of an unannounced life."""
    if not accounts or keys_are_automatic():
        return {}
    known = AccountEnded.objects.using(using).filter(account_id=OuterRef("pk"))
    inboxes = Inbox.objects.using(using).filter(pk__in=[key for key, _ in accounts])
    found: Any = inboxes.with_first().annotate(
        known=Subquery(known.order_by("-ended_at").values("ended_at")[:1])
    )
    since_of = dict(accounts)
    return {
        key: since
        for key, first, known_at in found.values_list("pk", "first", "known")
        if (since := since_of[key])
        and is_older(first, since)
        and (known_at is None or is_older(known_at, since))
    }


def older_ids(account_ids: Sequence[Any], idempotency_key: str, using: str) -> dict[Any, int]:
    """
    Return those of these accounts whose notification with this key is of an unannounced life, with
    its id. Until it is hidden, that tells the lives apart.
    """
    if keys_are_automatic():
        return {}
    mine = _is_account("account_id", account_ids, using)
    rows = Notification.objects.using(using).filter(mine, idempotency_key=idempotency_key)
    found = list(rows.order_by("pk").values_list("account_id", "pk", "created_at"))
    if not found:
        return {}
    keys = [account_id for account_id, _, _ in found]
    since_of = {account.pk: audiences.created_at(account) for account in _accounts(keys)}
    ends = AccountEnded.objects.using(using).filter(account_id__in=keys)
    known_at = dict(ends.order_by("ended_at").values_list("account_id", "ended_at"))
    return {
        account_id: id
        for account_id, id, created_at in found
        if is_older(created_at, since := since_of.get(account_id))
        and (account_id not in known_at or is_older(known_at[account_id], since))
    }


def hide_older(accounts: Created, using: str, until: float = math.inf) -> int:
    """
    Remove what is older than these accounts: a deletion that nothing announced left it.

    until: in monotonic seconds; the rest is left to a later call.
    Returns in how many inboxes there was something. Those that others have locked are left out.
    """
    hidden = 0
    for key, since in find_older(accounts, using).items():
        if time.monotonic() < until:
            hidden += _hide_older(key, since, using)
    return hidden


def _hide_older(account_id: Any, since: datetime, using: str) -> bool:
    """The rows are kept as removed ones are, because the time may have been changed by mistake."""

    def hide() -> int:
        inboxes = Inbox.objects.using(using).lock([account_id], waits=False)
        mine = Notification.objects.using(using).filter(account_id=account_id)
        older = mine.filter(created_at__lt=since)
        last = older.aggregate(last=Max("pk"))["last"]
        if not inboxes or last is None or not find_older([(account_id, since)], using):
            return 0
        hidden = older.filter(seq__isnull=False, removed_at=None).update(removed_at=times.now())
        deleted, _ = older.unnumbered().delete()
        mine.filter(created_at__gte=since, idempotency_key__isnull=False).update(life=last)
        AccountEnded.objects.using(using).create(
            account_id=account_id,
            notifications_upto=last,
            receipts_upto=0,
            ended_at=since,
            finished_at=Now(),
        )
        Inbox.objects.using(using).begin_anew([*inboxes.values()])
        return hidden + deleted

    if count := in_short_transaction(hide, using, waits=False):
        logger.warning(
            "Removed %d notifications of account %r that are older than the account (%s), as those "
            "of a deleted one with the same key",
            count,
            account_id,
            since,
        )
    return bool(count)


def keep_older(account_id: Any, since: datetime, using: str) -> None:
    """Record that rows older than this account are its own: they were moved to it."""
    AccountEnded.objects.using(using).create(
        account_id=account_id,
        notifications_upto=0,
        receipts_upto=0,
        ended_at=since,
        finished_at=Now(),
    )


# --- The sweep


def finish_pending(using: str, until: float = math.inf) -> None:
    """
    Delete what ended accounts left, until a time in monotonic seconds.

    Waits for nobody: what others have locked is left to the next call.
    """
    pending = AccountEnded.objects.using(using).pending().order_by("account_id")
    accounts = rest = pending.values_list("account_id", flat=True).distinct()
    while time.monotonic() < until and (keys := list(rest[:ACCOUNTS_PER_STEP])):
        _finish(keys, using, until)
        rest = accounts.filter(account_id__gt=keys[-1])


def sweep_missing(account_ids: Sequence[Any], using: str, until: float = math.inf) -> int:
    """
    Delete the rows of accounts that no longer exist, unless they are created meanwhile.

    Returns of how many accounts there was something.
    """
    recorded = []
    if unannounced := _unannounced(account_ids, using):
        recorded = _record_missing(unannounced, using)
    for keys in _batches(recorded):
        _finish(keys, using, until)
    if not keys_are_automatic():
        # The inboxes stay: the changes of the next accounts with the keys go on from there.
        return len(recorded)
    deleted = 0
    for keys in _batches(account_ids):
        if time.monotonic() < until:
            delete = partial(_delete_empty_inboxes, keys, using)
            deleted += in_short_transaction(delete, using, waits=False)
    return deleted


def forget_ends(ends: Sequence[AccountEnded], using: str) -> None:
    """Delete those of these ends that no row can belong to any more, and rows that came late."""
    if not ends:
        return
    late = AccountEnded.objects.filter(
        account_id=OuterRef("account_id"), notifications_upto__gte=OuterRef("pk")
    ).exclude(finished_at=None)
    _delete_in_steps(Notification.objects.using(using).unnumbered().filter(Exists(late)))
    finished = AccountEnded.objects.using(using).filter(pk__in=[end.pk for end in ends])
    finished = finished.exclude(finished_at=None)
    later = AccountEnded.objects.filter(
        account_id=OuterRef("account_id"), pk__gt=OuterRef("pk")
    ).exclude(notifications_upto__lt=OuterRef("notifications_upto"))
    finished.filter(Exists(later)).delete()
    used = _existing([end.account_id for end in ends])
    finished.filter(ended_at__lt=Now() - LATE).exclude(account_id__in=used).delete()


def _finish(account_ids: Sequence[Any], using: str, until: float) -> None:
    try:
        while time.monotonic() < until and _finish_step(account_ids, using):
            pass
    except OperationalError as error:
        if not is_busy(error):
            raise


def _finish_step(account_ids: Sequence[Any], using: str) -> bool:
    """
    Delete ROWS_PER_STEP rows of a kind at most; return whether there may be more.

    Inboxes that others have locked are left out.
    """

    def finish() -> bool:
        inboxes = Inbox.objects.using(using).lock_free(account_ids)
        existing = Inbox.objects.using(using).filter(_is_account("pk", account_ids, using))
        locked = {*existing.values_list("pk", flat=True)} - inboxes.keys()
        free = [key for key in account_ids if key not in locked]
        finished = finish_ends(free, using, ROWS_PER_STEP)
        if finished is None:
            return True
        begun = [inbox for key, inbox in inboxes.items() if key in finished]
        Inbox.objects.using(using).begin_anew(begun)
        return False

    return in_short_transaction(finish, using, waits=False)


def _unannounced(account_ids: Sequence[Any], using: str) -> list[Any]:
    """Return those of these accounts that have something, but no pending end."""
    mine = _is_account("account_id", account_ids, using)
    found: set[Any] = set()
    for rows in (
        Notification.objects.unnumbered(),
        Notification.objects.filter(seq__isnull=False),
        BroadcastReceipt.objects.all(),
        # Without rows, positions can be followed still if there is something after the floor.
        Inbox.objects.filter(seq__gt=F("floor")),
    ):
        found.update(rows.using(using).filter(mine).values_list("account_id", flat=True).distinct())
    pending = AccountEnded.objects.using(using).pending().filter(mine)
    return sorted(found.difference(pending.values_list("account_id", flat=True)))


def _delete_empty_inboxes(account_ids: Sequence[Any], using: str) -> int:
    inboxes = Inbox.objects.using(using)
    missing = inboxes.lock_free(account_ids).keys() - _existing(account_ids)
    rows = (
        model.objects.filter(account_id=OuterRef("pk"), seq__isnull=False)
        for model in (Notification, BroadcastReceipt)
    )
    empty = inboxes.filter(*(~Exists(each) for each in rows), pk__in=missing)
    return empty.delete()[0]


def _delete_in_steps(rows: QuerySet[Any]) -> None:
    """Delete rows that nobody else has locked."""

    def delete() -> int:
        free = rows.select_for_update(skip_locked=True)
        keys = list(free.values_list("pk", flat=True)[:ROWS_PER_STEP])
        rows.model._base_manager.using(rows.db).filter(pk__in=keys).delete()
        return len(keys)

    while in_short_transaction(delete, rows.db, waits=False) == ROWS_PER_STEP:
        pass


def _existing(account_ids: Sequence[Any]) -> set[Any]:
    return set(_accounts(account_ids).values_list("pk", flat=True))


def _accounts(account_ids: Sequence[Any]) -> QuerySet[Any]:
    # Never from a replica, which may not have the newest accounts yet.
    user_model = get_user_model()
    accounts = user_model._base_manager.using(router.db_for_write(user_model))
    return accounts.filter(pk__in=account_ids)


def _is_account(name: str, account_ids: Sequence[Any], using: str) -> Q:
    return is_one_of(name, account_ids, Inbox._meta.get_field("account"), using)


def _batches(account_ids: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(account_ids), ACCOUNTS_PER_STEP):
        yield account_ids[start : start + ACCOUNTS_PER_STEP]
