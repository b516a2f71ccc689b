"""Presence: workers and their connections; and the lease of the periodic task."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from notifications.conf import conf
from notifications.db import times

from .ends import AccountEnded


class WorkerQuerySet(models.QuerySet["Worker"]):
    def alive(self) -> WorkerQuerySet:
        """Workers whose lease has not ended, by the database's clock, as hosts' clocks differ."""
        return self.filter(lease_until__gt=Now())

    def dead(self) -> WorkerQuerySet:
        return self.filter(lease_until__lte=Now())


class Worker(models.Model):
    """One server process. Its connections count while it renews its lease."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    host = models.CharField(_("host"), max_length=255)
    pid = models.PositiveIntegerField(_("process"))
    started_at = times.TimeField(_("started"), default=times.now)
    lease_until = times.TimeField(_("lease until"), default=times.now)

    objects = WorkerQuerySet.as_manager()

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class ConnectionQuerySet(models.QuerySet["Connection"]):
    def live(self) -> ConnectionQuerySet:
        return self.filter(worker__lease_until__gt=Now())

    def of_current_lives(self) -> ConnectionQuerySet:
        """Without those of deleted accounts whose key another account has now."""
        ends = AccountEnded.objects.filter(
            account_id=models.OuterRef("account_id"), ended_at__gte=models.OuterRef("opened_at")
        )
        return self.exclude(models.Exists(ends))

    def overdue(self) -> ConnectionQuerySet:
        """Rows that their live worker should have deleted long ago."""
        slack = timedelta(seconds=60 + 2 * conf.HEARTBEAT_TIMEOUT)
        return self.live().filter(last_seen__lt=Now() - slack)


class Connection(models.Model):
    """One open WebSocket of a browser tab or another client."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    worker = models.ForeignKey(Worker, verbose_name=_("worker"), on_delete=models.CASCADE)
    account = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("account"),
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
    )
    opened_at = times.TimeField(_("opened"), default=times.now)
    # Updated once a minute.
    last_seen = times.TimeField(_("last seen"), default=times.now)
    user_agent = models.CharField(_("browser"), max_length=200, blank=True)
    address = models.GenericIPAddressField(_("address"), null=True)

    objects = ConnectionQuerySet.as_manager()

    class Meta:
        verbose_name = _("connection")
        verbose_name_plural = _("connections")

    def __str__(self) -> str:
        return str(self.id)


class MaintenanceLease(models.Model):
    """A single row that lets one process run the periodic task per interval."""

    ONLY = 1

    expires_at = times.TimeField()  # the next pass can begin
    last_pass_at = times.TimeField(null=True)  # the last complete pass ended

    def __str__(self) -> str:
        return f"Last pass {self.last_pass_at}"
