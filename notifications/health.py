"""What a load balancer asks: does this process answer, and should it get requests?"""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from . import maintenance
from .channel_layer import sender
from .hub.hub import is_draining


@never_cache
@require_GET
def healthz(request: HttpRequest) -> HttpResponse:
    """This process answers."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_GET
def readyz(request: HttpRequest) -> HttpResponse:
    """
    The database and the channel layer answer, and the server is not about to end: 200, else 503.

    A `warning` says when the periodic task has not run lately.
    """
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
        report["warning"] = "The periodic task has not run lately: see notification_maintenance."
    return JsonResponse(report, status=503 if problems else 200)
