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
    """Who joins the audience later may be online and read as well, so `accounts` is no maximum."""

    accounts: int
    online: int
    read: int = 0


def of_audience(key: str) -> AudienceSize:
    """Return the present size of an audience."""
    accounts = audiences.accounts_in(key)
    return AudienceSize(accounts.count(), _online(accounts).count())


def of_broadcasts(broadcasts: Iterable[Broadcast]) -> dict[int, AudienceSize]:
    """
    Return the size of each broadcast's audience by primary key, in three queries at most.

    It was counted when the broadcast was sent. Where it was not, by an older release, the accounts
    are counted that would get it now.
    """
    rows = {row.pk: row for row in broadcasts}
    everyone = audiences.accounts_in(audiences.EVERYONE)
    sizes = {pk: row.audience_size for pk, row in rows.items() if row.audience_size is not None}
    sizes |= _count(everyone, [row for pk, row in rows.items() if pk not in sizes])
    online = _count(_online(everyone), rows.values())
    read = dict(
        BroadcastReceipt.objects.filter(broadcast__in=rows, read_at__isnull=False)
        .values_list("broadcast")
        .annotate(Count("pk"))
    )
    return {pk: AudienceSize(sizes[pk], online[pk], read.get(pk, 0)) for pk in rows}


def _count(accounts: QuerySet[Any], broadcasts: Iterable[Broadcast]) -> dict[int, int]:
    """Return how many of these accounts are recipients of each broadcast, in one query."""
    recipients = {f"b{row.pk}": _recipients_of(row) for row in broadcasts}
    counts = {name: Count("pk", filter=condition) for name, condition in recipients.items()}
    if not counts:
        return {}
    return {int(name[1:]): count for name, count in accounts.aggregate(**counts).items()}


def _online(accounts: QuerySet[Any]) -> QuerySet[Any]:
    return accounts.filter(pk__in=values_of(Connection.objects.live(), "account", accounts.db))


def _recipients_of(broadcast: Broadcast) -> Q:
    condition = Q(pk__isnull=False)
    if broadcast.audience != audiences.EVERYONE:
        condition &= Q(pk__in=audiences.accounts_in(broadcast.audience).values("pk"))
    return condition & audiences.created_by(broadcast.created_at)
