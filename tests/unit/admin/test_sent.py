"""Sent broadcasts in the admin."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from notifications import broadcast
from notifications.admin import audience_size
from notifications.admin.audience_size import AudienceSize
from notifications.models import Broadcast, BroadcastReceipt, Connection, Worker
from tests.unit.conftest import Commit

from .pages import BROADCASTS, composed, row, text


def test_the_list_shows_how_many_are_online_and_have_read(
    admin: Client, operator: User, alice: User, bob: User, connect: Callable[..., Connection]
) -> None:
    sent = broadcast("announcement", "Hello", level="success", sent_by=operator)
    connect(alice)
    connect(alice)
    connect(bob)
    BroadcastReceipt.objects.create(broadcast=sent, account=alice, read_at=timezone.now(), seq=1)
    BroadcastReceipt.objects.create(broadcast=sent, account=bob, archived_at=timezone.now(), seq=1)

    shown = row(admin.get(BROADCASTS).content.decode())

    assert shown["summary"] == "Hello"
    assert shown["audience_in_words"] == "Everyone"
    assert shown["level"] == "Success"
    assert shown["sender"] == "operator"
    assert shown["online_now"] == "2 of 3"
    assert shown["read_by"] == "1 of 3"


def test_the_size_of_the_audience_is_that_of_the_sending(
    admin: Client, alice: User, bob: User, carol: User, commit: Commit
) -> None:
    customers = Group.objects.create(name="Customers")
    customers.user_set.set([alice, bob, carol])
    with commit():
        sent = broadcast("announcement", "Hello", audience=customers)
    for account in (alice, bob):
        BroadcastReceipt.objects.create(
            broadcast=sent, account=account, read_at=timezone.now(), seq=1
        )

    customers.user_set.set([alice])

    assert row(admin.get(BROADCASTS).content.decode())["read_by"] == "2 of 3"


def test_accounts_created_after_a_broadcast_are_not_in_its_size(
    alice: User, make_account: Callable[..., User], commit: Commit
) -> None:
    with commit():
        sent = broadcast("announcement", "Hello")
        make_account("dave")
    sent.refresh_from_db()

    assert sent.audience_size == 1


@pytest.mark.parametrize("is_known", [True, False])
def test_more_readers_than_the_size_of_the_audience_are_a_number_alone(
    admin: Client, alice: User, bob: User, commit: Commit, is_known: bool
) -> None:
    customers = Group.objects.create(name="Customers")
    customers.user_set.set([alice])
    with commit():
        sent = broadcast("announcement", "Hello", audience=customers)
    if not is_known:  # an older release sent it
        Broadcast.objects.update(audience_size=None)
    for account in (alice, bob):
        BroadcastReceipt.objects.create(
            broadcast=sent, account=account, read_at=timezone.now(), seq=1
        )

    assert row(admin.get(BROADCASTS).content.decode())["read_by"] == "2"


def test_the_accounts_are_not_counted_again(
    operator: User, commit: Commit, count_queries: Callable[..., int]
) -> None:
    with commit():
        broadcast("announcement", "Hello")
    (sent,) = Broadcast.objects.all()

    assert count_queries(lambda: audience_size.of_broadcasts([sent])) == 2  # online, read


def test_each_audience_has_its_own_numbers(
    operator: User, alice: User, bob: User, carol: User, connect: Callable[..., Connection]
) -> None:
    customers = Group.objects.create(name="Customers")
    customers.user_set.set([alice, bob])
    connect(bob)
    connect(carol)
    sent = {
        audience: broadcast("announcement", "Hello", audience=audience)
        for audience in ("everyone", "staff", customers)
    }

    numbers = audience_size.of_broadcasts(sent.values())

    assert numbers[sent["everyone"].pk] == AudienceSize(accounts=4, online=2, read=0)
    assert numbers[sent["staff"].pk] == AudienceSize(accounts=1, online=0, read=0)
    assert numbers[sent[customers].pk] == AudienceSize(accounts=2, online=1, read=0)


def test_accounts_created_later_do_not_count(
    alice: User, make_account: Callable[..., User]
) -> None:
    sent = broadcast("announcement", "Hello")
    make_account("dave")
    make_account("erin", date_joined=sent.created_at - timedelta(days=1), is_active=False)

    assert audience_size.of_broadcasts([sent])[sent.pk].accounts == 1


def test_numbers_of_dead_workers_do_not_count(
    alice: User, worker: Worker, connect: Callable[..., Connection]
) -> None:
    connect(alice)
    assert audience_size.of_audience("everyone").online == 1

    Worker.objects.update(lease_until=timezone.now() - timedelta(seconds=1))

    assert audience_size.of_audience("everyone").online == 0


def test_a_longer_list_takes_no_more_queries(
    admin: Client, operator: User, count_queries: Callable[..., int]
) -> None:
    groups = [Group.objects.create(name=f"Group {number}") for number in range(6)]
    broadcast("announcement", "First", audience=groups[0], sent_by=operator)
    few = count_queries(lambda: admin.get(BROADCASTS))
    for group in groups:
        broadcast("announcement", "Next", audience=group, sent_by=operator)
    broadcast("announcement", "To staff", audience="staff", sent_by=operator)

    assert count_queries(lambda: admin.get(BROADCASTS)) == few


def test_an_audience_whose_group_was_deleted_is_still_named(admin: Client) -> None:
    group = Group.objects.create(name="Customers")
    broadcast("announcement", "Hello", audience=group)
    pk = group.pk
    group.delete()

    shown = row(admin.get(BROADCASTS).content.decode())

    assert shown["audience_in_words"] == f"deleted group {pk}"
    assert shown["read_by"] == "0 of 0"


def test_a_deleted_sender_does_not_break_the_pages(admin: Client, bob: User) -> None:
    sent = broadcast("announcement", "Hello", sent_by=bob)
    pk = bob.pk
    bob.delete()

    shown = row(admin.get(BROADCASTS).content.decode())
    assert shown["sender"] == f"deleted account {pk}"
    assert admin.get(f"{BROADCASTS}{sent.pk}/change/").status_code == 200


def test_a_sent_broadcast_can_only_be_viewed(admin: Client, operator: User) -> None:
    sent = broadcast("announcement", "Hello", audience="staff", sent_by=operator)
    address = f"{BROADCASTS}{sent.pk}"

    page = admin.get(f"{address}/change/")

    assert "Audience: Staff" in text(page)
    assert "Read by: 0 of 1" in text(page)
    assert "<textarea" not in page.content.decode()
    assert 'type="submit"' not in page.content.decode().split("content-main")[1]
    assert admin.post(f"{address}/change/", composed(body="Other")).status_code == 403
    assert admin.post(f"{address}/delete/", {"post": "yes"}).status_code == 403
    assert Broadcast.objects.get().body == "Hello"
