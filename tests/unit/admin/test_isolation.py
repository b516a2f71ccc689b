"""Texts of people keep to themselves on every page: they turn nothing around and cover nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from notifications import broadcast, notify_accounts
from notifications.models import Connection, Notification

from .pages import BROADCASTS, COMPOSE, CONNECTIONS, NOTIFICATIONS, USERS, composed

TURNED = "\u202egnp.exe"  # shown as exe.png, with all that follows
ISOLATED = re.compile(r'<bdi class="notification-text">[^<]*</bdi>')
# A field keeps its text to itself, and so does an option.
FIELDS = re.compile(r"<(textarea|option)\b.*?</\1>|<input\b[^>]*>", re.S)
ATTRIBUTES = re.compile(r'\b(?:href|value|title|aria-label)="[^"]*"')


@pytest.fixture
def paths(alice: User, operator: User, connect: Callable[..., Connection]) -> list[str]:
    alice.username = operator.username = ""
    for account, name in ((alice, "a"), (operator, "o")):
        account.username = name + TURNED
        account.save()
    group = Group.objects.create(name=TURNED)
    group.user_set.add(alice)
    options = {"url": f"/{TURNED}"}
    sent = broadcast("news", TURNED, audience=group, sent_by=operator, **options)
    (pk,) = notify_accounts(alice, "news", TURNED, **options).ids
    connection = connect(alice, user_agent=TURNED)
    return [
        *(BROADCASTS, f"{BROADCASTS}{sent.pk}/change/", COMPOSE),
        *(NOTIFICATIONS, f"{NOTIFICATIONS}{pk}/change/"),
        *(CONNECTIONS, f"{CONNECTIONS}{connection.pk}/change/"),
    ]


def stray(page: str) -> str:
    """Return our part of a page without what is isolated, or can't leave its element."""
    # Django's own header greets the operator by name.
    content = page.partition('<div id="content"')[2] or page
    title = "".join(re.findall(r"<title>.*?</title>", page, re.S))
    rest = ISOLATED.sub("", FIELDS.sub("", title + content))
    return unescape(ATTRIBUTES.sub("", rest))


def test_every_page_isolates_them(admin: Client, paths: list[str]) -> None:
    group = Group.objects.get()
    pages = [admin.get(path) for path in paths]
    pages.append(
        admin.post(COMPOSE, composed(body=TURNED, url=f"/{TURNED}", audience=f"group:{group.pk}"))
    )
    retract = {"action": "retract", "_selected_action": [str(Notification.objects.get().pk)]}
    pages.append(admin.post(NOTIFICATIONS, retract))
    pages.append(admin.post(BROADCASTS, {**retract, "_selected_action": [paths[1].split("/")[4]]}))
    chosen = {"action": "send_notification", "_selected_action": [str(User.objects.first().pk)]}
    pages.append(admin.post(USERS, chosen))

    for answer in pages:
        page = answer.content.decode()
        assert answer.status_code == 200
        assert "\u202e" not in stray(page), answer.request["PATH_INFO"]
        assert "notifications/admin.css" in page or "\u202e" not in page
    assert sum(page.content.decode().count("<bdi") for page in pages) > 20
