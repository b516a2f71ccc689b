"""Texts may be lazy, wherever a caller gives one; bodies have something that can be seen."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import models
from django.urls import reverse_lazy
from django.utils.functional import SimpleLazyObject, lazystr
from django.utils.html import format_html
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy, override

from notifications import broadcast, notify_accounts
from notifications.channel_layer.envelopes import PlainFrame
from notifications.forms import NotificationForm
from notifications.models import Broadcast, Level, Notification
from notifications.protocol import MAX_META_DATA_LEVELS, frame
from notifications.texts import is_blank

from .conftest import Commit, Published


class Kind(models.TextChoices):
    PAID = "order_paid", _("Paid")


class Plain(str, enum.Enum):  # noqa: UP042  its str() is the name
    PAID = "order_paid"


def stored(account: User, **changes: Any) -> Notification:
    arguments = {"type": "news", "body": "Hello", **changes}
    return Notification.objects.get(pk=notify_accounts(account, **arguments).ids[0])


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (_("Unread"), "未读"),
        (ngettext_lazy("%d day", "%d days") % 3, "3 days"),
        (lazystr("Hello"), "Hello"),
        (mark_safe("<b>x</b>"), "<b>x</b>"),
        (format_html("<b>{}</b>", "&"), "<b>&amp;</b>"),
        (SimpleLazyObject(lambda: "Hello"), "Hello"),
        (Kind.PAID, "order_paid"),
        (Plain.PAID, "order_paid"),
    ],
    ids=["gettext", "ngettext", "lazystr", "safe", "format_html", "object", "choices", "enum"],
)
def test_a_text_may_be_of_any_kind(alice: User, text: Any, plain: str) -> None:
    with override("zh-hans"):
        row = stored(
            alice,
            body=text,
            meta_data={text: [text, {"inside": (text, 1, None)}]},
            idempotency_key=text,
            replace_key=text,
        )
        sent = broadcast("news", text, meta_data=text)

    assert (row.body, row.idempotency_key, row.replace_key) == (plain, plain, plain)
    assert row.meta_data == {plain: [plain, {"inside": [plain, 1, None]}]}
    assert (sent.body, sent.meta_data) == (plain, plain)
    assert type(sent.body) is type(sent.meta_data) is str
    again = Broadcast.objects.get()
    assert (again.body, again.meta_data) == (plain, plain)


def test_so_may_the_type_the_link_the_level_and_the_audience(alice: User) -> None:
    link = reverse_lazy("notifications:inbox")
    row = stored(alice, type=Plain.PAID, url=link, level=Level.SUCCESS)
    sent = broadcast(
        Kind.PAID, "Hello", audience=lazystr("staff"), url=link, level=lazystr("error")
    )

    assert (row.type, row.url, row.level) == ("order_paid", "/notifications/", "success")
    assert (sent.type, sent.url, sent.audience) == ("order_paid", "/notifications/", "staff")
    assert sent.level == "error"


def test_so_may_those_of_a_frame(alice: User, commit: Commit, published: Published) -> None:
    with commit():
        notify_accounts(
            alice, lazystr("progress"), lazystr("50 %"), meta_data=[_("Unread")], persist=False
        )
    (live,) = published.frames
    assert (live["type"], live["content"]) == (
        "progress",
        {"body": "50 %", "meta_data": ["Unread"]},
    )

    other = frame(lazystr("progress"), _("Unread"), {_("Read"): [_("Unread")]}, url=lazystr("/"))
    assert json.loads(PlainFrame.of(other).text) == {
        "type": "progress",
        "content": {"body": "Unread", "meta_data": {"Read": ["Unread"]}},
        "url": "/",
    }


@pytest.mark.parametrize("argument", ["body", "type", "url", "level"])
def test_a_lazy_text_is_checked_as_any_other(alice: User, argument: str) -> None:
    with pytest.raises(ValueError, match=f"^{argument} must .* not '\\\\t'"):
        stored(alice, **{argument: lazystr("\t")})


def test_lists_inside_lists_are_refused_at_any_depth(alice: User) -> None:
    for depth in (MAX_META_DATA_LEVELS + 1, 100_000):
        value: Any = _("Unread")
        for _each in range(depth):
            value = [value]
        with pytest.raises(ValueError, match="^meta_data must be a JSON value"):
            stored(alice, meta_data=value)


# --- Blank bodies

BLANK = [
    *("", " ", "\n\t\r", "\xa0", "\u3000", "\u2028", "\u200b", "\ufeff", "\u2060", "\u180e"),
    *("\u200e", "\u200f", "\u202e", "\u2066\u2069", "\u00ad", "\u200d", "\u034f", "\u061c"),
    *("\u2800", "\u3164", "\u115f\u1160", "\uffa0", "\ufe0f", "\U000e0100", "\U000e0041"),
    *("\u0301", "\u20dd", "\x07", "\u2065", "\U000e0fff", "\U0001d159", " \u200b\u3164\ufe0f "),
]
SEEN = [
    *("a", "5", ".", "👩\u200d👩\u200d👧", "❤\ufe0f", "1\ufe0f\u20e3", "🇩🇪", "e\u0301" * 9, "שלום"),
    *("\u202e\u200bx", "हिन्दी", "한", "\u1112\u1161", "⠁", "\ue000", "\U0001fae8", "\u2422"),
]


@pytest.mark.parametrize("body", BLANK, ids=ascii)
def test_a_body_that_nobody_can_see_is_refused(alice: User, body: str) -> None:
    assert is_blank(body)
    calls: list[Callable[[], Any]] = [
        lambda: notify_accounts(alice, "news", body),
        lambda: notify_accounts(alice, "news", body, persist=False),
        lambda: broadcast("news", lazystr(body)),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="^body must be text that can be seen.*; not '"):
            call()
    form = NotificationForm({"body": body, "level": "info", "type": "news"})
    assert form.errors == {"body": ["This field is required."]}


@pytest.mark.parametrize("body", SEEN, ids=ascii)
def test_any_text_that_can_be_seen_is_taken(alice: User, body: str) -> None:
    assert stored(alice, body=body).body == body
    assert NotificationForm({"body": body, "level": "info", "type": "news"}).is_valid()


def test_frames_of_other_code_need_no_body() -> None:
    assert json.loads(PlainFrame.of(frame("typing")).text)["content"]["body"] == ""
