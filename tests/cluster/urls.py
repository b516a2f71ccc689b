"""The site's URLs, and views that notify their own visitor several times."""

from __future__ import annotations

import time

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from notifications import anotify_accounts, notify_accounts
from notify_site.urls import urlpatterns as site_urlpatterns


def notify(request: HttpRequest, times: int) -> HttpResponse:
    """Return the seconds that it took."""
    started = time.monotonic()
    for n in range(times):
        notify_accounts(request.user, "hello", str(n))
    return JsonResponse({"seconds": time.monotonic() - started})


async def anotify(request: HttpRequest, times: int) -> HttpResponse:
    account = await request.auser()
    started = time.monotonic()
    for n in range(times):
        await anotify_accounts(account, "hello", str(n))
    return JsonResponse({"seconds": time.monotonic() - started})


def publish(request: HttpRequest, body: str) -> HttpResponse:
    """Send a live update that is not stored."""
    notify_accounts(request.user, "progress", body, persist=False)
    return JsonResponse({})


def slow(request: HttpRequest, seconds: int) -> HttpResponse:
    print("slow request started", flush=True)
    time.sleep(seconds)
    return JsonResponse({"seconds": seconds})


urlpatterns = [
    *site_urlpatterns,
    path("notify/<int:times>/", notify),
    path("slow/<int:seconds>/", slow),
    path("publish/<body>/", publish),
    path("anotify/<int:times>/", anotify),
]
