"""
Health views for load balancers: `/healthz` and `/readyz`.

A site includes them at its root: `path("", include("notifications.health"))`.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET

from . import maintenance
from .channel_layer import sender
from .db.connections import close_old
from .hub.hub import is_draining


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
    200 if the database and the channel layer answer and the server is not shutting down, else 503.

    `unavailable` lists what does not answer. A `warning` means that maintenance is late.
    """
    report = _readiness.report()
    return JsonResponse(report, status=503 if "unavailable" in report else 200)


def _probe() -> dict[str, Any]:
    problems = ["server"] if is_draining() else []
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        problems.append("database")
    if not sender.answers():
        problems.append("channel layer")
    report: dict[str, Any] = {"status": "unavailable" if problems else "ok"}
    if problems:
        report["unavailable"] = problems
    elif maintenance.is_late():
        report["warning"] = "Maintenance has not run lately. See notification_maintenance."
    return report


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
                try:
                    self._report = _probe()
                finally:
                    close_old()
                self._begun_at = begun_at
            return self._report


_readiness = _Readiness()

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
]
