"""`{% load notifications %}`: the bell and all it needs in the browser, the banner, filters."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, Final

from django import template
from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.template import Context
from django.templatetags.static import static
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.functional import cached_property
from django.utils.html import json_script
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import get_language

from notifications import protocol
from notifications.audiences import Recipient
from notifications.conf import conf
from notifications.db import times
from notifications.inbox import marks, pages
from notifications.private_pages import make_private
from notifications.root_path import socket_path

register = template.Library()

MAX_BANNERS: Final = 3
# Such as “zh-hans”. Django also takes “sr@latin”.
_LANGUAGE_TAG: Final = re.compile(r"[a-z]{2,3}(?:-[a-z0-9]{2,8})*", re.ASCII | re.IGNORECASE)
STATE_ATTRIBUTE: Final = "site_notifications"


@register.inclusion_tag("notifications/_bell.html", takes_context=True)
def notifications_bell(context: Context) -> dict[str, Any]:
    """
    Render the bell with the unread count of the logged-in account, and all it needs.

    It renders nothing for anonymous visitors. Without JavaScript the bell is a link to the inbox.
    """
    return _setup(context)


@register.inclusion_tag("notifications/_setup.html", takes_context=True)
def notifications_setup(context: Context) -> dict[str, Any]:
    """Render what the bell needs, without a bell: for pages with elements of their own."""
    return _setup(context)


@register.simple_tag(takes_context=True)
def notifications_config(context: Context) -> SafeString:
    """
    Render only what `connect()` of client.js needs: for pages that have no element of ours.

    It renders nothing for anonymous visitors, or where another tag has rendered it already.
    """
    request = _own_request(context)
    return _config(request) if request else SafeString()


@register.inclusion_tag("notifications/_banner.html", takes_context=True)
def notifications_banner(context: Context) -> dict[str, Any]:
    """
    Render the newest three of the account's unread broadcasts of level warning or error.

    Each can be dismissed, which marks it as read on all devices. That works without
    JavaScript as well.
    """
    request = _own_request(context)
    if request is None:
        return {}
    setup = _setup(context)
    banners = []
    if setup["unread_broadcasts"]:
        recipient = PageState.of(request).recipient
        banners = pages.read_page(recipient, limit=MAX_BANNERS, folder="important").items
    return {**setup, "banners": banners, "here": request.get_full_path()}


@register.simple_tag
def notification_language() -> str:
    """Return the active language for the `lang` of a page, "" if browsers refuse its name."""
    language = get_language() or ""
    return language if _LANGUAGE_TAG.fullmatch(language) else ""


@register.filter
def notification_time(iso_time: str) -> datetime | None:
    """Return the `created_at` of an item as a datetime."""
    return parse_datetime(iso_time)


@register.filter
def notification_age(iso_time: str) -> str:
    """Return how long ago an item was created, in its largest unit; "" below a minute."""
    created_at = parse_datetime(iso_time)
    if not created_at or times.now() - created_at < timedelta(minutes=1):
        return ""
    return timesince(created_at, depth=1)


@register.filter
def notification_url(item: protocol.Frame | None) -> str:
    """Return the item's url if it is safe: a row can be older than the check."""
    url = item.get("url") if item else ""
    return str(url) if protocol.is_safe_url(url) else ""


@register.filter
def can_be_marked(item: protocol.Frame, mark: str) -> bool:
    """Whether the mark would change the item in its present state."""
    return item["state"] in marks.MARKS[mark]


@register.filter
def is_on_site(url: str) -> bool:
    """Whether a safe url is a path on this site."""
    return url.startswith("/")


class PageState:
    """State that the tags of one page share, in the request's attribute `site_notifications`."""

    def __init__(self, recipient: Recipient) -> None:
        self.recipient = recipient
        self._rendered: set[str] = set()

    @classmethod
    def of(cls, request: HttpRequest) -> PageState:
        state: PageState | None = getattr(request, STATE_ATTRIBUTE, None)
        if state is None:
            state = cls(Recipient.of(request.user))
            setattr(request, STATE_ATTRIBUTE, state)
            make_private(request)
        return state

    @cached_property
    def latest(self) -> pages.Latest:
        return pages.read_latest(self.recipient)

    def is_first(self, part: str) -> bool:
        """Whether this part of the page has not been rendered yet; it counts as rendered now."""
        is_first = part not in self._rendered
        self._rendered.add(part)
        return is_first


def _own_request(context: Context) -> HttpRequest | None:
    """Return the request that a page is rendered for, None for an anonymous visitor's."""
    request = context.get("request")
    if not isinstance(request, HttpRequest):
        return None
    account = getattr(request, "user", None)
    return request if account is not None and account.is_authenticated else None


def _setup(context: Context) -> dict[str, Any]:
    """Return the variables that the templates of all elements have."""
    request = _own_request(context)
    if request is None:
        return {}
    state = PageState.of(request)
    return {
        "account": request.user,
        "unread": state.latest.counts.total,
        "unread_broadcasts": state.latest.counts.unread_broadcasts,
        "needs_setup": state.is_first("setup"),
        "config": _config(request),
    }


def _config(request: HttpRequest) -> SafeString:
    state = PageState.of(request)
    if not state.is_first("config"):
        return SafeString()
    return json_script(
        {
            "account": str(request.user.pk),
            "cursor": state.latest.position.as_dict(),
            **state.latest.counts.as_dict(),
            "protocol": protocol.VERSION,
            "heartbeat": {"interval": conf.HEARTBEAT_INTERVAL, "timeout": conf.HEARTBEAT_TIMEOUT},
            "sound": static(conf.SOUND) if conf.SOUND else "",
            "urls": {
                "changes": reverse("notifications:changes"),
                "items": reverse("notifications:items"),
                "mark": reverse("notifications:mark"),
                "inbox": reverse("notifications:inbox"),
                "socket": socket_path(),
            },
            # Not from the cookie, which scripts may not be able to read (CSRF_COOKIE_HTTPONLY).
            "csrf_token": get_token(request),
        },
        "notifications-config",
    )
