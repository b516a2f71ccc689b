"""Marks, sent as JSON."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from notifications.audiences import Recipient
from notifications.models import BroadcastReceipt, Inbox, Notification

from .requests import ITEMS, post

pytestmark = pytest.mark.django_db


def test_the_answer_contains_the_range_the_ids_and_the_counts(
    browser: Client, alice: User, notify: Any, send: Any
) -> None:
    one, two, news = notify(alice), notify(alice), send()

    answer = post(browser, {"ids": [one, news], "as": "read"}).json()

    assert answer == {
        "range": {"as": "read", "from": 3, "seq": 4},
        "ids": [one, news],
        # Where the counts are exact: a client may not have all broadcasts yet.
        "seq": 4,
        "broadcast_seq": 1,
        "epoch": 1,
        "scope": Recipient.of(alice).audience_hash,
        "unread": 1,
        "unread_broadcasts": 0,
    }
    again = post(browser, {"ids": [one], "as": "read"}).json()
    assert (again["range"], again["ids"], again["unread"]) == (None, [], 1)
    undone = post(browser, {"undo": answer["range"]}).json()
    assert (sorted(undone["ids"]), undone["unread"]) == (sorted([one, news]), 2)
    redone = post(browser, {"undo": undone["range"]}).json()
    assert redone["unread"] == 1
    assert Notification.objects.get(pk=two[1:]).state == "unread"


def test_all_items_up_to_a_position_are_marked(browser: Client, alice: User, notify: Any) -> None:
    notify(alice)
    latest = browser.get(ITEMS).json()
    later = notify(alice)
    upto = {"seq": latest["seq"], "broadcast_seq": latest["broadcast_seq"]}

    answer = post(browser, {"upto": upto, "as": "archived"}).json()

    assert (len(answer["ids"]), answer["unread"]) == (1, 1)
    assert [item["id"] for item in browser.get(ITEMS).json()["items"]] == [later]


def test_several_marks_are_done_in_their_order(browser: Client, alice: User, notify: Any) -> None:
    one, two = notify(alice), notify(alice)
    read = post(browser, {"ids": [two], "as": "read"}).json()["range"]
    archive = {"ids": [one], "as": "archived"}

    answers = post(
        browser, {"marks": [archive, {"ids": [one], "as": "read"}, {"undo": read}]}
    ).json()["answers"]

    assert [answer["ids"] for answer in answers] == [[one], [], [two]]
    assert [answer["unread"] for answer in answers] == [0, 0, 1]
    states = {row.wire_id: row.state for row in Notification.objects.all()}
    assert states == {one: "archived", two: "unread"}


@pytest.mark.parametrize("marks", [None, {}, "n1", 1001 * [{"ids": [], "as": "read"}]])
def test_several_marks_must_be_a_short_list(browser: Client, marks: Any) -> None:
    answer = post(browser, {"marks": marks})

    assert answer.status_code == 400
    assert "marks must be a list of 100 marks at most" in answer.json()["error"]


@pytest.mark.parametrize("invalid", [None, 1, [], {"as": "read"}, {"marks": []}])
def test_an_invalid_mark_among_several_leaves_those_before_it_done(
    browser: Client, alice: User, notify: Any, invalid: Any
) -> None:
    one, two = notify(alice), notify(alice)
    marks = [{"ids": [one], "as": "read"}, invalid, {"ids": [two], "as": "read"}]

    assert post(browser, {"marks": marks}).status_code == 400

    states = {row.wire_id: row.state for row in Notification.objects.all()}
    assert states == {one: "read", two: "unread"}


def test_huge_numbers_are_accepted(browser: Client, alice: User, notify: Any) -> None:
    wire_id = notify(alice)
    huge = {"seq": 10**30, "broadcast_seq": 10**30}
    assert post(browser, {"upto": huge, "as": "read"}).json()["ids"] == [wire_id]

    for first, last, ids in ((0, 10**30, [wire_id]), (10**30, 10**30, []), (5, 1, [])):
        answer = post(browser, {"undo": {"as": "read", "from": first, "seq": last}})
        assert (answer.status_code, answer.json()["ids"]) == (200, ids)


def test_ids_of_other_accounts_are_treated_as_unknown(
    browser: Client, alice: User, bob: User, notify: Any, send: Any
) -> None:
    others = [notify(bob), send(audience="staff")]

    answer = post(browser, {"ids": others, "as": "archived"})

    assert (answer.status_code, answer.json()["ids"]) == (200, [])
    assert Notification.objects.get().state == "unread"
    assert not BroadcastReceipt.objects.exists()
    assert Inbox.objects.get(pk=bob.pk).seq == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{", "The body must be JSON."),
        (b"\xff\xfe\xff", "The body must be JSON."),
        ("[" * 100_000, "The body must be JSON."),
        ('{"ids": ' + "1" * 5000 + "}", "The body must be JSON."),
        ("[]", "The body must be a JSON object."),
        ("null", "The body must be a JSON object."),
        ({}, "The body must have “as” (text) with “ids” (a list)"),
        ({"ids": ["n1"]}, "The body must have “as” (text) with “ids” (a list)"),
        ({"ids": "n1", "as": "read"}, "The body must have “as” (text) with “ids” (a list)"),
        ({"ids": [], "as": ["read"]}, "The body must have “as” (text) with “ids” (a list)"),
        ({"upto": 5, "as": "read"}, "or with “upto” (an object with the numbers “seq”"),
        ({"upto": {"seq": 5}, "as": "read"}, "or with “upto” (an object with the numbers “seq”"),
        ({"upto": {"seq": "5", "broadcast_seq": 1}, "as": "read"}, "or with “upto”"),
        ({"upto": {"seq": 1.0, "broadcast_seq": 1}, "as": "read"}, "or with “upto”"),
        ({"upto": {"seq": -1, "broadcast_seq": 1}, "as": "read"}, "or with “upto”"),
        ({"upto": {"seq": True, "broadcast_seq": 1}, "as": "read"}, "or with “upto”"),
        ({"undo": {"as": "read", "from": -1, "seq": 2}}, "or only “undo” (a range"),
        ({"undo": {"from": 1, "seq": 2}}, "or only “undo” (a range"),
        ({"undo": None}, "or only “undo” (a range"),
        ({"ids": [], "as": "gone"}, "as must be one of read, unread, archived, inbox; not 'gone'"),
        ({"ids": ["x"], "as": "read"}, "ids must hold ids of items, such as “n12”, not 'x'"),
        ({"ids": [["n1"]], "as": "read"}, "ids must hold ids of items"),
        ({"ids": ["\ud800"], "as": "read"}, "ids must hold ids of items"),
        ({"ids": ["n1"] * 1001, "as": "read"}, "1000 ids at most, not 1001 of them"),
        ({"upto": {"seq": 1, "broadcast_seq": 1}, "as": "inbox"}, "as must be one of read, arch"),
        ({"undo": {"as": "x", "from": 1, "seq": 2}}, "as must be one of read, unread, archived"),
    ],
    ids=lambda value: f"{value!r:.40}",
)
def test_the_error_for_a_bad_body_names_what_is_allowed(
    browser: Client, body: Any, message: str
) -> None:
    answer = post(browser, body)

    assert answer.status_code == 400
    assert message in answer.json()["error"]
