"""`{% load notifications %}`: the bell, which brings the whole browser side, and the banner."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import template
from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.template import Context
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import json_script
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from notifications import protocol
from notifications.audiences import Recipient
from notifications.conf import conf
from notifications.inbox import marks, pages

register = template.Library()

SOCKET_PATH = "/ws/notifications/"
MAX_BANNERS = 3


@register.inclusion_tag("notifications/_bell.html", takes_context=True)
def notifications_bell(context: Context, socket_path: str = SOCKET_PATH) -> dict[str, Any]:
    """
    Render the bell with the unread count of the logged-in account, and all it needs.

    Nothing for anonymous visitors. Without JavaScript the bell is a link to the inbox.
    """
    return _setup(context, socket_path)


@register.inclusion_tag("notifications/_setup.html", takes_context=True)
def notifications_setup(context: Context, socket_path: str = SOCKET_PATH) -> dict[str, Any]:
    """Render what the bell needs, without a bell: for pages with elements of their own."""
    return _setup(context, socket_path)


@register.simple_tag(takes_context=True)
def notifications_config(context: Context, socket_path: str = SOCKET_PATH) -> SafeString:
    """
    Render only what `connect()` of client.js needs: for pages that have no element of ours.

    Nothing for anonymous visitors, and where another of the tags has rendered it already.
    """
    return _setup(context, socket_path, only_config=True).get("config") or SafeString()


@register.inclusion_tag("notifications/_banner.html", takes_context=True)
def notifications_banner(context: Context, socket_path: str = SOCKET_PATH) -> dict[str, Any]:
    """
    Render the account's unread broadcasts of level warning or error, the newest three.

    Each can be dismissed, which marks it as read: on all devices, and without JavaScript too.
    """
    setup = _setup(context, socket_path)
    if not setup:
        return {}
    banners = []
    if setup["unread_broadcasts"]:
        recipient = Recipient.of(setup["account"])
        banners = pages.read_page(recipient, limit=MAX_BANNERS, folder="important").items
    return {**setup, "banners": banners, "here": context["request"].get_full_path()}


@register.filter
def notification_time(iso_time: str) -> datetime | None:
    """Return the `created_at` of an item as a datetime."""
    return parse_datetime(iso_time)


@register.filter
def notification_age(iso_time: str) -> str:
    """Return how long ago an item was created, in its largest unit only; "" below a minute."""
    created_at = parse_datetime(iso_time)
    if not created_at or timezone.now() - created_at < timedelta(minutes=1):
        return ""
    return timesince(created_at, depth=1)


@register.filter
def notification_url(item: protocol.Frame | None) -> str:
    """Return the item's url if it may be followed: a row can be older than the check."""
    url = item.get("url") if item else ""
    return str(url) if protocol.is_safe_url(url) else ""


@register.filter
def can_be_marked(item: protocol.Frame, mark: str) -> bool:
    """Whether the mark changes anything of the item in its present state."""
    return item["state"] in marks.MARKS[mark]


@register.filter
def is_on_site(url: str) -> bool:
    """Whether a url that may be followed is a path on this site."""
    return url.startswith("/")


def _setup(context: Context, socket_path: str, only_config: bool = False) -> dict[str, Any]:
    request = context.get("request")
    if not isinstance(request, HttpRequest):
        return {}
    account = getattr(request, "user", None)
    if account is None or not account.is_authenticated:
        return {}
    # Once in a page, however many of the tags it has.
    setup = getattr(request, "_notifications", None) or _first_setup(request, socket_path)
    needs_setup = setup["needs_setup"] and only_config
    request._notifications = {**setup, "config": "", "needs_setup": needs_setup}  # type: ignore[attr-defined]
    return setup


def _first_setup(request: HttpRequest, socket_path: str) -> dict[str, Any]:
    latest = pages.read_latest(Recipient.of(request.user))
    return {
        "account": request.user,
        "unread": latest.counts.total,
        "unread_broadcasts": latest.counts.unread_broadcasts,
        "needs_setup": True,
        "config": _config(request, latest, socket_path),
    }


def _config(request: HttpRequest, latest: pages.Latest, socket_path: str) -> SafeString:
    return json_script(
        {
            "account": str(request.user.pk),
            "cursor": latest.position.as_dict(),
            **latest.counts.as_dict(),
            "protocol": protocol.VERSION,
            "heartbeat": {"interval": conf.HEARTBEAT_INTERVAL, "timeout": conf.HEARTBEAT_TIMEOUT},
            "sound": static(conf.SOUND) if conf.SOUND else "",
            "urls": {
                "changes": reverse("notifications:changes"),
                "items": reverse("notifications:items"),
                "mark": reverse("notifications:mark"),
                "inbox": reverse("notifications:inbox"),
                "socket": socket_path,
            },
            # Not from the cookie, which scripts may be kept from (CSRF_COOKIE_HTTPONLY).
            "csrf_token": get_token(request),
        },
        "notifications-config",
    )
