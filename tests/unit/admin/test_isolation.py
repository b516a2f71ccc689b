"""Texts of people keep to themselves on every page: they turn nothing around and cover nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.test import Client

from notifications import broadcast, notify_accounts
from notifications.models import Connection, Notification
from notifications.texts import plain

from .pages import BROADCASTS, COMPOSE, CONNECTIONS, NOTIFICATIONS, USERS, composed

PILED = "a" + 60 * "\u0301"  # covers the lines above
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


def test_piled_up_marks_are_cut_off_where_a_page_is_named_after_its_message(
    admin: Client, operator: User, alice: User
) -> None:
    (pk,) = notify_accounts(alice, "news", PILED).ids
    sent = broadcast("news", PILED, sent_by=operator)
    admin.post(COMPOSE, composed(body=PILED, _send="1"))
    chosen = {"action": "send_notification", "_selected_action": [str(alice.pk)], "_send": "1"}
    admin.post(USERS, {**chosen, "type": "news", "body": PILED, "level": "info"})

    for path in (f"{NOTIFICATIONS}{pk}/change/", f"{BROADCASTS}{sent.pk}/change/"):
        assert 0 < most_marks(stray(admin.get(path).content.decode())) <= 3
    logged = list(LogEntry.objects.values_list("object_repr", flat=True))
    assert [0 < most_marks(text) <= 3 for text in logged] == [True, True]


def most_marks(text: str) -> int:
    return max(map(len, re.findall("\u0301+", text)), default=0)


def test_plain_text_has_few_marks_on_a_letter() -> None:
    assert plain(PILED) == "a" + 3 * "\u0301"
    assert plain("a" + 9 * "\u0301\u200b").count("\u0301") == 3
    assert plain("e\u0301te\u0301 " + 9 * "\u20dd") == "e\u0301te\u0301 " + 3 * "\u20dd"
    for text in ("Việt", "e\u0323\u0302", "שָּׁ", "❤\ufe0f\u200d🔥"):
        assert plain(text) == text
