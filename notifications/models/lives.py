"""
Records the ends of accounts, and deletes what is of an earlier life of an account's key.

An end is recorded in the transaction that deletes the account, by inserting one row; nothing is
locked. What belongs to the life that ended is deleted under the lock of its inbox: after a read of
a new account with the key, when the inbox is locked for anything else, or by the periodic task.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from notifications.db.bulk import is_one_of
from notifications.db.functions import LastId

from .broadcasts import BroadcastReceipt
from .connections import Connection
from .ends import AccountEnded
from .notifications import Notification


def record_end(account_id: Any, using: str) -> None:
    """Record that all rows of this key, committed or not, belong to a life that has ended."""
    AccountEnded.objects.using(using).create(
        account_id=account_id,
        notifications_upto=LastId(Notification),
        receipts_upto=LastId(BroadcastReceipt),
    )


def finish_ends(
    account_ids: Collection[Any], using: str, max_rows: int | None = None
) -> set[Any] | None:
    """
    Delete what these accounts' earlier lives left; return the accounts that had a pending end.

    Their inboxes have to be locked.
    max_rows: deletes that many rows of a kind at most; returns None if there may be more.
    """
    pending = pending_ends(account_ids, using)
    if not pending:
        return set()
    for rows in _rows_of(pending, using):
        if max_rows is None:
            rows.delete()
            continue
        keys = list(rows.values_list("pk", flat=True)[:max_rows])
        if keys:
            rows.model._base_manager.using(using).filter(pk__in=keys).delete()
        if len(keys) == max_rows:
            return None
    ends = AccountEnded.objects.using(using)
    ends.filter(pk__in=[end.pk for end in pending]).update(finished_at=Now())
    return {end.account_id for end in pending}


def pending_ends(account_ids: Collection[Any], using: str) -> list[AccountEnded]:
    account = AccountEnded._meta.get_field("account")
    mine = is_one_of("account_id", [*account_ids], account, using)
    return list(AccountEnded.objects.using(using).pending().filter(mine))


def _rows_of(ends: Sequence[AccountEnded], using: str) -> Iterator[QuerySet[Any]]:
    """Yield the rows of the lives that ended, as one queryset for each index that finds them."""
    mine = AccountEnded.objects.filter(
        pk__in=[end.pk for end in ends], account_id=OuterRef("account_id")
    )
    account_ids = sorted({end.account_id for end in ends})

    def rows(model: Any, **last: str) -> QuerySet[Any]:
        own = is_one_of("account_id", account_ids, model._meta.get_field("account"), using)
        upto = {name: OuterRef(column) for name, column in last.items()}
        found: QuerySet[Any] = model._base_manager.using(using)
        return found.filter(own, Exists(mine.filter(**upto)))

    notifications = rows(Notification, notifications_upto__gte="pk")
    yield notifications.filter(seq__isnull=True)
    yield notifications.filter(seq__isnull=False)
    yield rows(BroadcastReceipt, receipts_upto__gte="pk")
    yield rows(Connection, ended_at__gte="opened_at")
