"""The pages of an inbox as JSON."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from notifications import notify_accounts
from notifications.lifecycle import numbering

from .requests import CHANGES, ITEMS, post, scope

pytestmark = pytest.mark.django_db


def test_items_are_listed_with_the_position_and_the_counts(
    browser: Client, alice: User, bob: User, notify: Any, send: Any
) -> None:
    notify(bob, "not hers")
    one = notify(alice, "Größe 😀", meta_data={"order_id": 12}, url="/orders/12/")
    news = send()

    answer = browser.get(ITEMS).json()

    assert [item["id"] for item in answer["items"]] == [news, one]
    item = answer["items"][1]
    assert item["content"] == {"body": "Größe 😀", "meta_data": {"order_id": 12}}
    assert (item["type"], item["state"], item["url"]) == ("hello", "unread", "/orders/12/")
    assert answer["next"] is None
    assert (answer["seq"], answer["broadcast_seq"], answer["epoch"]) == (1, 1, 1)
    assert (answer["unread"], answer["unread_broadcasts"]) == (1, 1)
    assert len(answer["scope"]) == 12


def test_pages_follow_one_another(browser: Client, alice: User, notify: Any, send: Any) -> None:
    sent = [make() for _ in range(5) for make in (lambda: notify(alice), send)]
    found: list[str] = []
    before = ""

    while True:
        answer = browser.get(ITEMS, {"limit": "3", "before": before}).json()
        found += [item["id"] for item in answer["items"]]
        assert len(found) <= len(sent)
        if (before := answer["next"]) is None:
            break

    assert found == sent[::-1]


def test_a_page_can_be_limited_to_unread_items(browser: Client, alice: User, notify: Any) -> None:
    read, unread = notify(alice), notify(alice)
    post(browser, {"ids": [read], "as": "read"})

    assert [i["id"] for i in browser.get(ITEMS, {"unread": "1"}).json()["items"]] == [unread]
    assert len(browser.get(ITEMS, {"unread": "0"}).json()["items"]) == 2


def test_a_page_can_list_archived_items(browser: Client, alice: User, notify: Any) -> None:
    archived, kept = notify(alice), notify(alice)
    post(browser, {"ids": [archived], "as": "archived"})

    assert [i["id"] for i in browser.get(ITEMS, {"archived": "1"}).json()["items"]] == [archived]
    assert [i["id"] for i in browser.get(ITEMS).json()["items"]] == [kept]
    assert browser.get(ITEMS, {"important": "1"}).json()["items"] == []


def test_a_page_has_thirty_items_by_default(browser: Client, alice: User, notify: Any) -> None:
    for _ in range(31):
        notify_accounts(alice, "hello", "Hello")
    numbering.number_and_publish([alice.pk], "default")

    assert len(browser.get(ITEMS).json()["items"]) == 30
    assert len(browser.get(ITEMS, {"limit": "100"}).json()["items"]) == 31


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"limit": "0"}, "limit must be a number from 1 to 100, not '0'"),
        ({"limit": "101"}, "limit must be a number from 1 to 100, not '101'"),
        ({"limit": "-1"}, "limit must be a number from 1 to 100, not '-1'"),
        ({"limit": "x"}, "limit must be a number from 1 to 100, not 'x'"),
        ({"limit": "1.5"}, "limit must be a number from 1 to 100, not '1.5'"),
        ({"limit": "٣"}, "limit must be a number from 1 to 100, not '٣'"),
        ({"before": "x"}, "before must be the “next” of another page, not 'x'"),
        ({"before": "n1"}, "before must be the “next” of another page, not 'n1'"),
    ],
)
def test_the_error_for_a_bad_parameter_names_what_is_allowed(
    browser: Client, query: dict[str, str], message: str
) -> None:
    answer = browser.get(ITEMS, query)

    assert (answer.status_code, answer.json()) == (400, {"error": message})


def test_a_long_list_takes_as_many_queries_as_a_short_one(
    browser: Client, alice: User, notify: Any, send: Any
) -> None:
    def queries(path: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert browser.get(path).status_code == 200
        return len(queries)

    paths = (ITEMS, f"{CHANGES}?seq=0&broadcast_seq=0&epoch=1&scope={scope(browser)}")
    notify(alice)
    send()
    short = [queries(path) for path in paths]
    for _ in range(5):
        notify(alice)
        send()
    assert [queries(path) for path in paths] == short
    assert max(short) < 13
