"""The site's URLs, and views that send messages by the layer alone and by our API."""

from __future__ import annotations

from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.urls import path

from notifications import broadcast, notify_accounts
from notifications.protocol import MAX_BODY_LENGTH
from notify_site.urls import urlpatterns as site_urlpatterns


def body(request: HttpRequest) -> str:
    return request.GET["body"].ljust(int(request.GET.get("size", 0)), "x")


def parts(body: str) -> list[str]:
    """Return what a body has beyond its limit as meta data, for as many messages as that takes."""
    rest = body[MAX_BODY_LENGTH:]
    return [rest[start : start + 16_000] for start in range(0, len(rest), 16_000)] or [""]


def send_by_layer(group: str, body: str) -> None:
    content = {"body": body, "meta_data": ""}
    event = {"type": "notify", "frame": {"type": "bench", "content": content}}
    async_to_sync(get_channel_layer().group_send)(group, event)


def send(request: HttpRequest, peer: str, name: str) -> HttpResponse:
    account = User.objects.get(username=name)
    if peer == "plain":
        send_by_layer(f"account_{account.pk}", body(request))
    else:
        for meta_data in parts(body(request)):
            notify_accounts(account, "bench", body(request)[:MAX_BODY_LENGTH], meta_data=meta_data)
    return HttpResponse()


def broadcast_to_all(request: HttpRequest, peer: str) -> HttpResponse:
    if peer == "plain":
        send_by_layer("everyone", body(request))
    else:
        for meta_data in parts(body(request)):
            broadcast("bench", body(request)[:MAX_BODY_LENGTH], meta_data=meta_data)
    return HttpResponse()


urlpatterns: list[Any] = [
    *site_urlpatterns,
    path("send/<peer>/everyone/", broadcast_to_all),
    path("send/<peer>/<name>/", send),
]
