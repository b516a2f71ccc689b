"""Who a broadcast is for, and who sees it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone

from notifications import audiences
from notifications.inbox.pages import read_latest
from tests.unit.conftest import Make

from .reading import pages, recipient_of

pytestmark = pytest.mark.django_db


def test_a_broadcast_is_in_the_inboxes_of_its_audience(
    alice: User, bob: User, operator: User, send: Make
) -> None:
    group = Group.objects.create(name="Customers")
    other = Group.objects.create(name="Others")
    alice.groups.add(group)
    bob.groups.add(group, other)
    everyone, staff = send(), send(audience="staff")
    customers, others = send(audience=group), send(audience=other)

    assert pages(recipient_of(alice), 10) == [[customers, everyone]]
    assert pages(recipient_of(bob), 10) == [[others, customers, everyone]]
    assert pages(recipient_of(operator), 10) == [[staff, everyone]]


def test_an_audience_is_its_active_accounts(alice: User, bob: User, operator: User) -> None:
    group = Group.objects.create(name="Customers")
    group.user_set.add(alice, bob)
    User.objects.filter(pk=bob.pk).update(is_active=False)

    found = {
        key: sorted(account.username for account in audiences.accounts_in(key))
        for key in ("everyone", "staff", f"group:{group.pk}", "group:999")
    }

    assert found == {
        "everyone": ["alice", "operator"],
        "staff": ["operator"],
        f"group:{group.pk}": ["alice"],
        "group:999": [],
    }


def test_another_user_model_may_have_no_staff_and_no_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A Group as a user model: it has none of is_active, is_staff and groups.
    monkeypatch.setattr(audiences, "get_user_model", lambda: Group)
    group = Group.objects.create(name="Not an account, but as good")

    assert list(audiences.accounts_in("everyone")) == [group]
    assert list(audiences.accounts_in("staff")) == []
    assert list(audiences.accounts_in(f"group:{group.pk}")) == []


def test_an_older_broadcast_is_not_for_a_newer_account(
    alice: User, make_account: Callable[..., User], send: Make
) -> None:
    old = send()
    erin = make_account("erin")
    new = send()

    assert pages(recipient_of(alice), 10) == [[new, old]]
    assert pages(recipient_of(erin), 10) == [[new]]
    assert read_latest(recipient_of(erin)).counts.unread_broadcasts == 1


def test_the_site_may_name_another_field_of_creation(
    alice: User, send: Make, settings: Any
) -> None:
    news = send()
    User.objects.filter(pk=alice.pk).update(last_login=timezone.now())

    settings.NOTIFICATIONS_ACCOUNT_CREATED_FIELD = "last_login"
    assert pages(recipient_of(alice), 10) == [[]]
    settings.NOTIFICATIONS_ACCOUNT_CREATED_FIELD = "no_such_field"
    assert pages(recipient_of(alice), 10) == [[news]]


def test_a_recipient_knows_which_live_broadcasts_are_for_it(alice: User, send: Make) -> None:
    recipient = recipient_of(alice)
    later, earlier = (alice.date_joined + timedelta(seconds=n) for n in (1, -1))

    assert recipient.receives("everyone", later)
    assert recipient.receives("everyone", alice.date_joined)
    assert not recipient.receives("everyone", earlier)
    assert not recipient.receives("staff", later)


def test_the_scope_names_the_audiences(alice: User, bob: User) -> None:
    one, other = (Group.objects.create(name=name) for name in ("One", "Other"))
    assert recipient_of(alice).audience_hash == recipient_of(bob).audience_hash
    alice.groups.add(one, other)
    bob.groups.add(other)

    assert recipient_of(alice).audience_hash != recipient_of(bob).audience_hash
    bob.groups.add(one)
    assert recipient_of(alice).audience_hash == recipient_of(bob).audience_hash
    bob.is_staff = True
    bob.save()
    assert recipient_of(alice).audience_hash != recipient_of(bob).audience_hash
