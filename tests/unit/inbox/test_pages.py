"""The pages of an inbox, newest first."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from notifications import broadcast, notify_accounts
from notifications.inbox import marks
from notifications.inbox.pages import read_page
from notifications.lifecycle import retraction
from notifications.models import Broadcast, Notification
from tests.unit.conftest import Make

from .reading import ids, pages, recipient_of

pytestmark = pytest.mark.django_db


def test_an_empty_inbox_is_one_empty_page(alice: User) -> None:
    page = read_page(recipient_of(alice))

    assert (page.items, page.next) == ([], None)
    assert page.latest.as_dict() == {
        "seq": 0,
        "broadcast_seq": 0,
        "epoch": 1,
        "scope": recipient_of(alice).audience_hash,
        "unread": 0,
        "unread_broadcasts": 0,
    }


def test_both_kinds_are_merged_newest_first(
    alice: User, bob: User, notify: Make, send: Make
) -> None:
    sent = [notify(alice), send(), notify(alice), notify(bob), send(), send(audience="staff")]
    del sent[5], sent[3]

    assert pages(recipient_of(alice), 10) == [sent[::-1]]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7, 30])
def test_no_item_is_lost_or_doubled_from_page_to_page(
    alice: User, notify: Make, send: Make, limit: int
) -> None:
    # Runs of one kind longer than a page, and both kinds alternating.
    sent = [notify(alice) for _ in range(4)]
    sent += [send() for _ in range(5)]
    for _ in range(3):
        sent += [notify(alice), send()]

    found = pages(recipient_of(alice), limit)

    assert [wire_id for page in found for wire_id in page] == sent[::-1]
    assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
    assert 0 < len(found[-1]) <= limit


def test_clocks_that_disagree_lose_and_double_nothing(
    alice: User, notify: Make, send: Make
) -> None:
    wire_ids = {notify(alice) for _ in range(6)} | {send() for _ in range(6)}
    now = timezone.now()
    for model in (Notification, Broadcast):
        for row in model.objects.all():
            # Neither ascending nor unique.
            model.objects.filter(pk=row.pk).update(
                created_at=now + timedelta(hours=row.number * 5 % 3)
            )

    found = [wire_id for page in pages(recipient_of(alice), 2) for wire_id in page]

    assert sorted(found) == sorted(wire_ids)
    for kind in "nb":
        own = [int(wire_id[1:]) for wire_id in found if wire_id[0] == kind]
        assert own == sorted(own, reverse=True)  # within a kind, the number is the order


def test_an_item_that_arrives_between_two_pages_shifts_nothing(
    alice: User, notify: Make, send: Make
) -> None:
    sent = [notify(alice), send(), notify(alice), send()]
    recipient = recipient_of(alice)
    first = read_page(recipient, limit=2)

    notify(alice)
    send()
    second = read_page(recipient, first.next, limit=2)

    assert ids(first.items) + ids(second.items) == sent[::-1]
    assert second.next is None


def test_the_unread_page_has_only_unread_items(alice: User, notify: Make, send: Make) -> None:
    read, unread, archived = (notify(alice) for _ in range(3))
    read_news, unread_news, archived_news = (send() for _ in range(3))
    recipient = recipient_of(alice)
    marks.mark(recipient, "read", [read, read_news])
    marks.mark(recipient, "archived", [archived, archived_news])

    assert pages(recipient, 1, folder="unread") == [[unread_news], [unread]]
    assert pages(recipient, 10) == [[unread_news, read_news, unread, read]]


def test_the_archived_page_has_only_archived_items(
    alice: User, bob: User, notify: Make, send: Make
) -> None:
    _inbox, read, archived, taken_out = (notify(alice) for _ in range(4))
    _news, archived_news = send(), send()
    recipient = recipient_of(alice)
    marks.mark(recipient, "read", [read])
    marks.mark(recipient, "archived", [archived, archived_news, taken_out])
    marks.mark(recipient, "inbox", [taken_out])

    assert pages(recipient, 1, folder="archived") == [[archived_news], [archived]]
    assert {item["state"] for item in read_page(recipient, folder="archived").items} == {"archived"}
    assert pages(recipient_of(bob), 1, folder="archived") == [[]]


def test_important_are_unread_broadcasts_of_level_warning_or_error(
    alice: User, notify: Make, send: Make
) -> None:
    notify(alice, level="error")
    send(level="info")
    send(level="success")
    warning, error, read, archived = (
        send(level=level) for level in ("warning", "error", "error", "error")
    )
    send(level="error", expires_at=timezone.now())
    retraction.expire("default")
    recipient = recipient_of(alice)
    marks.mark(recipient, "read", [read])
    marks.mark(recipient, "archived", [archived])

    assert pages(recipient, 10, folder="important") == [[error, warning]]


def test_items_carry_their_state(alice: User, notify: Make, send: Make) -> None:
    wire_ids = [notify(alice), notify(alice), send(), send()]
    marks.mark(recipient_of(alice), "read", wire_ids[::2])

    items = read_page(recipient_of(alice)).items

    assert [(item["id"], item["state"]) for item in items] == [
        (wire_ids[3], "unread"),
        (wire_ids[2], "read"),
        (wire_ids[1], "unread"),
        (wire_ids[0], "read"),
    ]


def test_removed_and_unnumbered_items_are_on_no_page(alice: User, notify: Make, send: Make) -> None:
    notify(alice, expires_at=timezone.now())
    send(expires_at=timezone.now())
    notify(alice, replace_key="a")
    kept = notify(alice, replace_key="a")
    retraction.expire("default")
    notify_accounts(alice, "hello", "Unnumbered")
    broadcast("news", "Unnumbered")

    assert pages(recipient_of(alice), 10) == [[kept]]


def test_a_long_page_takes_as_many_queries_as_a_short_one(
    alice: User, notify: Make, send: Make
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            read_page(recipient)
        return len(queries)

    recipient = recipient_of(alice)
    notify(alice)
    send()
    short = queries()
    for _ in range(10):
        notify(alice)
        marks.mark(recipient, "read", [send()])

    assert queries() == short < 10


@pytest.mark.parametrize(
    "before",
    ["x", "n1", "b1", "n1b1 ", "n1b1\n", "n-1b1", "n١b1", "b1n1", "n1b" + "9" * 19, "n1b1\x00"],
)
def test_a_made_up_position_is_refused(alice: User, before: str) -> None:
    with pytest.raises(ValueError, match="before must be the “next” of another page"):
        read_page(recipient_of(alice), before)


@pytest.mark.parametrize("before", ["n0b0", "n" + "9" * 18 + "b" + "9" * 18])
def test_any_position_that_looks_right_is_taken(
    alice: User, notify: Make, send: Make, before: str
) -> None:
    notify(alice)
    send()

    assert len(read_page(recipient_of(alice), before).items) in {0, 2}
