"""How many accounts a broadcast is for, and how many of them are online or have read it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q, QuerySet

from notifications import audiences
from notifications.db.bulk import values_of
from notifications.models import Broadcast, BroadcastReceipt, Connection


@dataclass(frozen=True, slots=True)
class AudienceSize:
    accounts: int
    online: int
    read: int = 0


def of_audience(key: str) -> AudienceSize:
    """Return the present size of an audience."""
    accounts = audiences.accounts_in(key)
    return AudienceSize(accounts.count(), _online(accounts).count())


def of_broadcasts(broadcasts: Iterable[Broadcast]) -> dict[int, AudienceSize]:
    """Return the size of each broadcast's audience by primary key, in three queries."""
    recipients = {f"b{row.pk}": _recipients_of(row) for row in broadcasts}
    if not recipients:
        return {}
    # One pass over the accounts counts them for all the broadcasts.
    counts = {name: Count("pk", filter=condition) for name, condition in recipients.items()}
    everyone = audiences.accounts_in(audiences.EVERYONE)
    accounts = everyone.aggregate(**counts)
    online = _online(everyone).aggregate(**counts)
    keys = [int(name[1:]) for name in recipients]
    read = dict(
        BroadcastReceipt.objects.filter(broadcast__in=keys, read_at__isnull=False)
        .values_list("broadcast")
        .annotate(Count("pk"))
    )
    return {pk: AudienceSize(accounts[f"b{pk}"], online[f"b{pk}"], read.get(pk, 0)) for pk in keys}


def _online(accounts: QuerySet[Any]) -> QuerySet[Any]:
    return accounts.filter(pk__in=values_of(Connection.objects.live(), "account", accounts.db))


def _recipients_of(broadcast: Broadcast) -> Q:
    condition = Q(pk__isnull=False)
    if broadcast.audience != audiences.EVERYONE:
        condition &= Q(pk__in=audiences.accounts_in(broadcast.audience).values("pk"))
    return condition & audiences.created_by(broadcast.created_at)
