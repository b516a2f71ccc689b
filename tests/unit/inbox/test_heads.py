"""The latest positions and the counts of unread items, for many accounts at once."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from notifications import broadcast
from notifications.inbox import marks
from notifications.inbox.pages import Latest, Position, read_latest, read_latest_of_many, read_page
from notifications.models import Broadcast
from tests.unit.conftest import Make

from .reading import recipient_of

pytestmark = pytest.mark.django_db


def test_latest_is_the_position_and_the_counts_of_the_inbox(
    alice: User, bob: User, notify: Make, send: Make
) -> None:
    wire_ids = [notify(alice), notify(alice), send(), send(audience="staff"), notify(bob)]
    recipient = recipient_of(alice)
    marks.mark(recipient, "read", [wire_ids[0]])

    latest = read_latest(recipient)
    assert latest.position == Position(3, 2, 1, recipient.audience_hash)
    assert (latest.counts.unread, latest.counts.unread_broadcasts, latest.counts.total) == (1, 1, 2)
    latest = read_latest(recipient_of(bob))
    assert (latest.position.seq, latest.position.broadcast_seq, latest.counts.total) == (1, 2, 2)


def test_a_broadcast_not_yet_numbered_does_not_count(alice: User, send: Make) -> None:
    send()
    broadcast("news", "Unnumbered")

    assert read_latest(recipient_of(alice)).counts.unread_broadcasts == 1


def test_one_account_takes_one_query_also_before_its_first_change(
    alice: User, bob: User, notify: Make, send: Make, django_assert_num_queries: Any
) -> None:
    def read() -> tuple[Latest, Latest]:
        with django_assert_num_queries(2):
            return read_latest(recipients[0]), read_latest(recipients[1])

    recipients = [recipient_of(alice), recipient_of(bob)]
    assert [*read()] == read_latest_of_many(recipients)

    notify(alice)
    assert [*read()] == read_latest_of_many(recipients)

    send()
    assert [*read()] == read_latest_of_many(recipients)
    assert [latest.counts.total for latest in read()] == [2, 1]


def test_the_counts_of_many_are_those_of_each(
    alice: User, bob: User, carol: User, operator: User, send: Make
) -> None:
    alice.groups.add(Group.objects.create(name="editors"))
    accounts = (alice, bob, carol, operator)
    sent = [send(audience=audience) for audience in ("everyone", "staff", "everyone")]
    sent += [send(audience=group) for group in Group.objects.all()] + [send()]
    marks.mark(recipient_of(alice), "read", sent)
    marks.mark(recipient_of(bob), "archived", sent[:1])
    marks.mark(recipient_of(operator), "read", sent[:3])
    marks.mark(recipient_of(operator), "unread", sent[:1])
    # Receipts stay for broadcasts that are no longer for the account: alice left the group, and
    # bob's account seems to be younger than what he archived.
    alice.groups.clear()
    User.objects.filter(pk=bob.pk).update(date_joined=Broadcast.objects.latest("pk").created_at)

    recipients = [recipient_of(account) for account in accounts]
    counts = [latest.counts.unread_broadcasts for latest in read_latest_of_many(recipients)]

    assert counts == [0, 1, 3, 2]
    assert counts == [read_latest(recipient).counts.unread_broadcasts for recipient in recipients]
    assert counts == [len(read_page(recipient, folder="unread").items) for recipient in recipients]
