"""
Health views for load balancers: `/healthz` and `/readyz`.

A site includes them at its root: `path("", include("notifications.health"))`.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Any, Final

from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET

from . import maintenance
from .channel_layer import sender
from .db.connections import close_all, leave_pools
from .hub.hub import is_check_late, is_draining

PROBE_SECONDS: Final = 3.0  # for the database to answer


@never_cache
@csrf_exempt  # it takes no forms, so Django need not read one
@require_GET
@transaction.non_atomic_requests
def healthz(request: HttpRequest) -> HttpResponse:
    """200: this process answers."""
    return JsonResponse({"status": "ok"})


@never_cache
@csrf_exempt  # it takes no forms, so Django need not read one
@require_GET
@transaction.non_atomic_requests
def readyz(request: HttpRequest) -> HttpResponse:
    """
    200 if the database and the channel layer answer, the hub compared its connections with the
    database lately, and the server is not shutting down; else 503.

    `unavailable` lists what does not answer, or “check”. A `warning`: maintenance is late.
    """
    report = _readiness.report()
    return JsonResponse(report, status=503 if "unavailable" in report else 200)


def _probe() -> dict[str, Any]:
    problems = ["server"] if is_draining() else []
    database = _database.probe()
    if database is None:
        problems.append("database")
    if not sender.answers():
        problems.append("channel layer")
    if is_check_late():
        problems.append("check")
    report: dict[str, Any] = {"status": "unavailable" if problems else "ok"}
    if problems:
        report["unavailable"] = problems
    elif database and database.is_maintenance_late:
        report["warning"] = "Maintenance has not run lately. See notification_maintenance."
    return report


class _DatabaseProbe(threading.Thread):
    """
    Asks the database in a thread of its own: one that stands still, as it does, holds up nobody.

    A daemon, because an exiting process must not wait for it either.
    """

    def __init__(self) -> None:
        super().__init__(name="notifications-readiness", daemon=True)
        self.answers = self.is_maintenance_late = False

    def run(self) -> None:
        leave_pools()
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            self.is_maintenance_late = maintenance.is_late()
            self.answers = True
        except DatabaseError:
            pass
        finally:
            close_all()


class _Database:
    """Has one probe at a time."""

    def __init__(self) -> None:
        self._last: _DatabaseProbe | None = None

    def probe(self) -> _DatabaseProbe | None:
        """Return a probe that was answered, or None."""
        if self._last and self._last.is_alive():
            return None  # still not answered
        probe = self._last = _DatabaseProbe()
        probe.start()
        probe.join(PROBE_SECONDS)
        return probe if probe.answers else None


class _Readiness:
    """
    Probes once for all that ask at the same time.

    Anybody may ask, as often as they like, and each probe takes a database connection. Those that
    wait have none.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun_at = -math.inf
        self._report: dict[str, Any] = {}

    def report(self) -> dict[str, Any]:
        asked_at = time.monotonic()
        with self._lock:
            if self._begun_at < asked_at:
                begun_at = time.monotonic()
                self._report = _probe()
                self._begun_at = begun_at
            return self._report


_database = _Database()
_readiness = _Readiness()

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
]
