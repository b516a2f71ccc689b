"""Marks from pages without JavaScript."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from notifications.models import BroadcastReceipt, Notification

from .requests import MARK

pytestmark = pytest.mark.django_db


def test_a_form_marks_and_redirects_back(
    browser: Client, alice: User, notify: Any, send: Any
) -> None:
    one, news = notify(alice), send()

    answer = browser.post(
        MARK, {"ids": [one, news], "as": "read", "next": "/notifications/?unread=1"}
    )

    assert (answer.status_code, answer["Location"]) == (302, "/notifications/?unread=1")
    assert Notification.objects.get().state == "read"
    assert BroadcastReceipt.objects.get().state == "read"


def test_a_form_marks_all_up_to_the_position_of_the_page(
    browser: Client, alice: User, notify: Any
) -> None:
    notify(alice)
    notify(alice)

    answer = browser.post(MARK, {"seq": "1", "broadcast_seq": "0", "as": "read"})

    assert (answer.status_code, answer["Location"]) == (302, "/notifications/")
    first, second = Notification.objects.order_by("pk")
    assert (first.state, second.state) == ("read", "unread")


@pytest.mark.parametrize(
    "away",
    [
        "//evil.example",
        "///evil.example",
        "http://evil.example/",
        "https:evil.example",
        "http:///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        " //evil.example",
        "/" + "a" * 2000,  # proxies refuse so long a header
        "\x08//evil.example",
        "http://testserver@evil.example/",
        "",
    ],
)
def test_a_form_does_not_redirect_to_another_site(browser: Client, away: str) -> None:
    answer = browser.post(MARK, {"as": "read", "next": away})

    assert (answer.status_code, answer["Location"]) == (302, "/notifications/")


@pytest.mark.parametrize(
    ("wanted", "location"),
    [
        ("/orders/", "/orders/"),
        ("http://testserver/orders/", "http://testserver/orders/"),
        ("orders", "orders"),  # relative, and not the name of a view
        ("login", "login"),
        ("shop:orders", "/notifications/"),
        ("?unread=1", "?unread=1"),
    ],
)
def test_a_form_may_redirect_anywhere_on_the_site(
    browser: Client, wanted: str, location: str
) -> None:
    answer = browser.post(MARK, {"as": "read", "next": wanted})

    assert (answer.status_code, answer["Location"]) == (302, location)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({}, "as must be one of read, unread, archived, inbox; not ''"),
        ({"as": "read", "ids": "x"}, "ids must hold ids of items"),
        ({"as": "read", "seq": "1"}, "broadcast_seq must be a number from 0"),
        ({"as": "read", "seq": "x", "broadcast_seq": "1"}, "seq must be a number from 0"),
        ({"as": "inbox", "seq": "1", "broadcast_seq": "1"}, "as must be one of read, archived"),
    ],
)
def test_a_bad_form_is_refused(browser: Client, form: dict[str, str], message: str) -> None:
    answer = browser.post(MARK, form)

    assert answer.status_code == 400
    assert message in answer.json()["error"]
