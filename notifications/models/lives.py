"""
Records the ends of accounts, and deletes what is of an earlier life of an account's key.

An end is recorded in the transaction that deletes the account, by inserting one row; nothing is
locked. What belongs to the life that ended is deleted when its inbox is locked next, by the first
read of a new account with the key, or by the periodic task.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import Now

from notifications.db.bulk import one_of
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


def finish_ends(account_ids: Collection[Any], using: str) -> set[Any]:
    """
    Delete what these accounts' earlier lives left; return the accounts that had a pending end.

    Their inboxes have to be locked.
    """
    ends = AccountEnded.objects.using(using)
    wanted = one_of([*account_ids], AccountEnded._meta.get_field("account"), using)
    pending = list(ends.pending().filter(account_id__in=wanted))
    for end in pending:
        for rows in rows_of(end, using):
            rows.delete()
    ends.filter(pk__in=[end.pk for end in pending]).update(finished_at=Now())
    return {end.account_id for end in pending}


def rows_of(end: AccountEnded, using: str) -> Iterator[QuerySet[Any]]:
    """Yield the rows of the life that ended, as one queryset for each index that finds them."""
    notifications = Notification.objects.using(using).filter(
        account_id=end.account_id, pk__lte=end.notifications_upto
    )
    yield notifications.filter(seq__isnull=True)
    yield notifications.filter(seq__isnull=False)
    yield BroadcastReceipt.objects.using(using).filter(
        account_id=end.account_id, pk__lte=end.receipts_upto
    )
    yield Connection.objects.using(using).filter(
        account_id=end.account_id, opened_at__lte=end.ended_at
    )
