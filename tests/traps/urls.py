"""The site's, and those by which accounts are told something: plainly, and by our API."""

from __future__ import annotations

from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.urls import path

from notifications import broadcast, notify_accounts
from notify_site.urls import urlpatterns as site_urlpatterns


def body(request: HttpRequest) -> str:
    return request.GET["body"].ljust(int(request.GET.get("size", 0)), "x")


def plainly(group: str, body: str) -> None:
    content = {"body": body, "meta_data": ""}
    event = {"type": "notify", "frame": {"type": "bench", "content": content}}
    async_to_sync(get_channel_layer().group_send)(group, event)


def tell(request: HttpRequest, peer: str, name: str) -> HttpResponse:
    account = User.objects.get(username=name)
    if peer == "plain":
        plainly(f"account_{account.pk}", body(request))
    else:
        notify_accounts(account, "bench", body(request))
    return HttpResponse()


def tell_everyone(request: HttpRequest, peer: str) -> HttpResponse:
    if peer == "plain":
        plainly("everyone", body(request))
    else:
        broadcast("bench", body(request))
    return HttpResponse()


urlpatterns: list[Any] = [
    *site_urlpatterns,
    path("tell/<peer>/everyone/", tell_everyone),
    path("tell/<peer>/<name>/", tell),
]
