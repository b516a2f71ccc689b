"""
The periodic task, without Celery: cleaning up, and finishing what a crash interrupted.

Every server process runs it. A lease row makes sure that only one of them does a
pass per interval. The command `notification_maintenance` runs the same passes.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import islice
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db import DatabaseError, OperationalError, models, router
from django.db.models.functions import Now

from . import presence
from .audiences import Recipient
from .channel_layer import hub_commands
from .conf import conf
from .db.thread import DatabaseThread
from .db.transactions import in_short_transaction, is_busy
from .lifecycle import lives, numbering, retention, retraction
from .models import (
    AccountEnded,
    BroadcastSequence,
    Connection,
    Inbox,
    MaintenanceLease,
    Notification,
)
from .protocol import CloseCode

logger = logging.getLogger(__name__)

BATCH_SIZE: Final = 1000
RETENTION_STEPS: Final = 20  # per pass; each is a transaction of at most 1,000 rows
LATE_INTERVALS: Final = 5


@dataclass(slots=True)
class Report:
    """How many rows of each kind one pass handled."""

    workers_reaped: int = 0
    connections_reaped: int = 0
    overdue_connections: int = 0
    notifications_numbered: int = 0
    broadcasts_numbered: int = 0
    retracted: int = 0
    expired: int = 0
    accounts_swept: int = 0
    inboxes_with_older_rows: int = 0  # than their account; removed
    removed_by_age: int = 0
    notifications_deleted: int = 0
    receipts_deleted: int = 0
    broadcasts_deleted: int = 0

    def __str__(self) -> str:
        done = [f"{name.replace('_', ' ')}: {n}" for name, n in asdict(self).items() if n]
        return ", ".join(done) or "nothing to do"


class Maintenance:
    """The task of one process, and its state between passes."""

    def __init__(self) -> None:
        self._reap_from = 0.0  # monotonic seconds
        self._swept_upto: Any = None
        self._swept_ends_upto = 0

    def run_in_turn(self) -> Report | None:
        """Run a pass unless another process did within the interval."""
        try:
            is_my_turn = _take_turn()
        except DatabaseError:
            self._reap_later()
            raise
        return self.run() if is_my_turn else None

    def run(self, full: bool = False) -> Report:
        """
        Run one pass; a full one checks every account and deletes all rows past their retention.

        After a database error no worker is reaped for the length of a lease, as
        live workers could not renew theirs either.
        """
        try:
            report = self._pass(full)
        except DatabaseError:
            self._reap_later()
            raise
        _record_pass()
        return report

    def _reap_later(self) -> None:
        self._reap_from = time.monotonic() + conf.HEARTBEAT_TIMEOUT

    def _pass(self, full: bool) -> Report:
        report = Report()
        if time.monotonic() >= self._reap_from:
            report.workers_reaped, report.connections_reaped = presence.reap()
        report.overdue_connections = _close_overdue()
        using = router.db_for_write(Notification)
        report.notifications_numbered = _number_left_overs(using)
        report.broadcasts_numbered = numbering.number_broadcasts(using, waits=False)
        report.retracted = retraction.finish(using)
        with _left_to_the_next_pass():
            report.expired = retraction.expire(using)
        # So that the next pass is in time, which reaps and expires.
        budget = math.inf if full else conf.HEARTBEAT_INTERVAL / 2
        until = time.monotonic() + budget
        with _left_to_the_next_pass():
            self._sweep_ends(using, until)
        with _left_to_the_next_pass():
            swept, hidden = self._sweep(using, full, until)
            report.accounts_swept, report.inboxes_with_older_rows = swept, hidden
        # Last and bounded, so that it does not delay the rest of the next pass.
        with _left_to_the_next_pass():
            for name, count in islice(retention.steps(using), None if full else RETENTION_STEPS):
                setattr(report, name, getattr(report, name) + count)
        return report

    def _sweep_ends(self, using: str, until: float) -> None:
        """Clear away what ended accounts left, and look through the next BATCH_SIZE ends."""
        ends = AccountEnded.objects.using(using).order_by("pk")
        batch = list(ends.filter(pk__gt=self._swept_ends_upto)[:BATCH_SIZE])
        if batch or self._swept_ends_upto:
            lives.finish_pending(using, until)
        self._swept_ends_upto = batch[-1].pk if len(batch) == BATCH_SIZE else 0
        lives.forget_ends(batch, using)

    def _sweep(self, using: str, sweep_all: bool, until: float) -> tuple[int, int]:
        """
        Delete the rows of deleted accounts, in the next BATCH_SIZE inboxes or in all of them.

        Rows that are older than their account are removed. Returns of how many accounts there was
        something, and in how many inboxes there were older rows.
        """
        user_model = get_user_model()
        swept = hidden = 0
        while True:
            inboxes = Inbox.objects.using(using).order_by("pk")
            if self._swept_upto is not None:
                inboxes = inboxes.filter(pk__gt=self._swept_upto)
            keys = list(inboxes.values_list("pk", flat=True)[:BATCH_SIZE])
            self._swept_upto = keys[-1] if keys else None
            # Never from a replica, which may not have the newest accounts yet.
            accounts = user_model._base_manager.using(router.db_for_write(user_model))
            if keys:
                known = Recipient.of_many(list(accounts.filter(pk__in=keys)))
                created = [(account.account_id, account.since) for account in known]
                hidden += lives.hide_older(created, using, until)
                missing = sorted({*keys} - {account.account_id for account in known})
                swept += lives.sweep_missing(missing, using, until)
            if not (keys and sweep_all):
                return swept, hidden


def begin_epoch() -> int:
    """
    Begin a new epoch after the database was restored from a backup; return it.

    Clients' earlier positions become meaningless: clients get `resync` when they reconnect or,
    on open connections, at the next check of their hub.
    """
    using = router.db_for_write(BroadcastSequence)

    def begin() -> int:
        sequence = BroadcastSequence.objects.using(using).lock()
        # Not simply the next number, which the lost database may have used already.
        sequence.epoch = max(sequence.epoch + 1, int(time.time()))
        sequence.save(using=using, update_fields=["epoch"])
        return sequence.epoch

    return in_short_transaction(begin, using)


def is_late() -> bool:
    """Whether no process has completed a pass for LATE_INTERVALS intervals."""
    limit = Now() - timedelta(seconds=LATE_INTERVALS * conf.HEARTBEAT_INTERVAL)
    return not MaintenanceLease.objects.filter(last_pass_at__gte=limit).exists()


async def run_forever() -> None:
    """Run a pass per interval until cancelled; failures are logged."""
    thread = DatabaseThread("notifications-maintenance")
    maintenance = Maintenance()
    try:
        while True:
            try:
                report = await thread.run(maintenance.run_in_turn)
            except DatabaseError as error:
                logger.warning("Maintenance: database unavailable (%s)", type(error).__name__)
            except Exception:
                logger.exception("A maintenance pass failed")
            else:
                if report and report != Report():
                    logger.info("Maintenance: %s", report)
            await asyncio.sleep(conf.HEARTBEAT_INTERVAL)
    finally:
        await thread.close()


def _take_turn() -> bool:
    # A little less than the interval, or every second pass would come just too early.
    until = Now() + timedelta(seconds=0.8 * conf.HEARTBEAT_INTERVAL)
    turn = _lease().filter(expires_at__lte=Now())
    if turn.update(expires_at=until):
        return True
    _create_lease()
    return bool(turn.update(expires_at=until))


def _record_pass() -> None:
    if not _lease().update(last_pass_at=Now()):
        _create_lease()
        _lease().update(last_pass_at=Now())


def _lease() -> models.QuerySet[MaintenanceLease]:
    return MaintenanceLease.objects.filter(pk=MaintenanceLease.ONLY)


def _create_lease() -> None:
    first = MaintenanceLease(pk=MaintenanceLease.ONLY, expires_at=Now())
    MaintenanceLease.objects.bulk_create([first], ignore_conflicts=True)


def _close_overdue() -> int:
    overdue = list(Connection.objects.overdue().values_list("pk", flat=True)[:BATCH_SIZE])
    if overdue:
        hub_commands.close_connections(overdue, CloseCode.HEARTBEAT_LOST)
    return len(overdue)


@contextmanager
def _left_to_the_next_pass() -> Iterator[None]:
    """Give up a part of the pass for which another transaction holds a lock."""
    try:
        yield
    except OperationalError as error:
        if not is_busy(error):
            raise
        logger.info("Maintenance: another transaction holds a lock; the next pass tries again")


def _number_left_overs(using: str) -> int:
    """Number the rows of processes that crashed between their commit and the numbering."""
    unnumbered = Notification.objects.using(using).unnumbered().order_by("account_id")
    accounts = unnumbered.values_list("account_id", flat=True).distinct()
    numbered, rest = 0, accounts
    while keys := list(rest[:BATCH_SIZE]):
        numbered += numbering.number_left_overs(keys, using)
        # A row that can't be read stays unnumbered, and so do those of locked inboxes.
        rest = accounts.filter(account_id__gt=keys[-1])
    return numbered
