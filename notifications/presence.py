"""
Presence: who is connected, as Worker and Connection rows, written in batches.

A connection counts until its worker's lease ends, by the database's clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import router, transaction
from django.db.models import Count
from django.db.models.functions import Now

from .accounts import KEYS_PER_QUERY, account_keys
from .conf import conf
from .models import Connection, Worker
from .signals import account_offline, account_online


def online(accounts: Any) -> set[Any]:
    """
    Return the primary keys of those accounts that have an open connection, on any worker.

    accounts: an account, a primary key, or an iterable or queryset of them.
    """
    keys = account_keys(accounts)
    live = Connection.objects.using(router.db_for_write(Connection)).live()
    found: set[Any] = set()
    for start in range(0, len(keys), KEYS_PER_QUERY):
        rows = live.filter(account_id__in=keys[start : start + KEYS_PER_QUERY])
        found.update(rows.values_list("account_id", flat=True).distinct())
    return found


def renew_lease(worker: Worker, connections: Iterable[Connection]) -> None:
    """
    Renew the lease of a worker, and with it of its connections.

    Inserts them all if the worker has no row: it is new, or was reaped while
    the process or the database was frozen. Only then is `connections` iterated.
    """
    lease_until = Now() + conf.lease
    if Worker.objects.filter(pk=worker.pk).update(lease_until=lease_until):
        return
    with transaction.atomic(using=router.db_for_write(Connection)):
        Worker.objects.bulk_create([worker])
        Worker.objects.filter(pk=worker.pk).update(lease_until=lease_until)
        Connection.objects.bulk_create(list(connections), ignore_conflicts=True, batch_size=500)
        # Otherwise they would look overdue, with a `last_seen` from their opening.
        Connection.objects.filter(worker=worker.pk).update(last_seen=Now())


def record(
    opened: Sequence[Connection],
    closed: Sequence[Connection],
    seen: Sequence[Any],
) -> None:
    """
    Insert the rows of opened connections, delete those of closed ones, and update `last_seen`.

    seen: ids of connections that the worker has heard from lately.
    """
    # A connection that was closed before it was written needs no row.
    ended = {connection.pk for connection in closed}
    rows = [connection for connection in opened if connection.pk not in ended]
    for row in rows:
        row.last_seen = Now()  # not by this host's clock
    # Two queries that most sites don't need, as they have no receivers of these signals.
    has_receivers = account_online.has_listeners() or account_offline.has_listeners()
    affected = {row.account_id for row in (*opened, *closed)} if has_receivers else set()
    before = online(affected)
    with transaction.atomic(using=router.db_for_write(Connection)):
        # A renewal of the lease may have inserted them already.
        Connection.objects.bulk_create(rows, ignore_conflicts=True, batch_size=500)
        if ended:
            Connection.objects.filter(pk__in=ended).delete()
        if seen:
            Connection.objects.filter(pk__in=seen).update(last_seen=Now())
    after = online(affected)
    _send_signals(after - before, before - after)


def surplus(accounts: Iterable[Any]) -> list[Any]:
    """Return the ids of these accounts' oldest live connections that exceed the maximum."""
    maximum = conf.MAX_SOCKETS_PER_ACCOUNT
    if maximum is None:
        return []
    live = Connection.objects.live().filter(account_id__in=set(accounts))
    counted = live.order_by().values("account_id").annotate(connections=Count("pk"))
    found: list[Any] = []
    for account_id in counted.filter(connections__gt=maximum).values_list("account_id", flat=True):
        newest_first = live.filter(account_id=account_id).order_by("-opened_at", "-pk")
        found += newest_first.values_list("pk", flat=True)[maximum:]
    return found


def retire(worker: Worker) -> None:
    """Delete the rows of a stopping worker and of its connections."""
    _delete(Worker.objects.filter(pk=worker.pk))


def reap() -> tuple[int, int]:
    """Delete workers whose lease has ended; return how many, and how many connections they had."""
    return _delete(Worker.objects.dead())


def _delete(workers: Any) -> tuple[int, int]:
    accounts = set(
        Connection.objects.filter(worker__in=workers).values_list("account_id", flat=True)
    )
    _, deleted = workers.delete()
    _send_signals((), accounts - online(accounts))
    return deleted.get(Worker._meta.label, 0), deleted.get(Connection._meta.label, 0)


def _send_signals(arrived: Iterable[Any], left: Iterable[Any]) -> None:
    for account_id in arrived:
        account_online.send_robust(Connection, account_id=account_id)
    for account_id in left:
        account_offline.send_robust(Connection, account_id=account_id)
