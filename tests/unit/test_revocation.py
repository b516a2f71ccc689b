"""The end of a session, or a change of an account, is announced to the hubs after the commit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import login, logout
from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save
from django.http import HttpRequest
from django.test import Client

from notifications.channel_layer import sender
from notifications.models import AccountEnded, Inbox
from notifications.sessions.authentication import session_names
from tests.unit.conftest import Commit, Published

pytestmark = pytest.mark.django_db


def announced(published: Published) -> list[Any]:
    """Return the close codes, or the accounts to recheck, of each envelope in order."""
    return [
        message.get("code") or [entry["account"] for entry in message["entries"]]
        for _, message in published
    ]


@pytest.fixture
def browser(alice: User) -> Client:
    browser = Client()
    browser.force_login(alice)
    return browser


def test_a_logout_announces_the_session_to_all_hubs_without_its_key(
    browser: Client, published: Published, commit: Commit
) -> None:
    key = browser.cookies["sessionid"].value

    with commit():
        browser.post("/logout/")

    [(group, message)] = published
    assert group == "notifications.hubs"
    assert message["sessions"] == [*session_names(key)]
    assert message["code"] == 4401
    assert key not in json.dumps(published)


def test_a_logout_that_is_rolled_back_is_not_announced(
    browser: Client, published: Published
) -> None:
    with transaction.atomic():
        browser.post("/logout/")
        transaction.set_rollback(True)

    assert published == []


def test_a_logout_of_an_anonymous_visitor_is_not_announced(
    published: Published, commit: Commit, client: Client
) -> None:
    with commit():
        client.post("/logout/")
        client.cookies["sessionid"] = "0123456789abcdefghijklmnopqrstuv"
        client.post("/logout/")

    assert published == []


def test_a_logout_works_while_the_layer_fails(
    browser: Client, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("no layer today")

    monkeypatch.setattr(sender, "publish", fail)

    with commit():
        assert browser.post("/logout/").status_code == 302

    assert not Session.objects.exists()


def test_a_login_ends_the_session_that_the_browser_had(
    browser: Client, bob: User, published: Published, commit: Commit
) -> None:
    before = browser.cookies["sessionid"].value
    User.objects.filter(pk=bob.pk).update(is_staff=True)

    with commit():
        browser.post("/admin/login/", {"username": "bob", "password": "demo"})

    assert [(m["sessions"], m["code"]) for _, m in published] == [([*session_names(before)], 4402)]


def test_the_first_login_of_a_browser_ends_nothing(
    alice: User, published: Published, commit: Commit, client: Client
) -> None:
    with commit():
        client.post("/login/", {"username": "alice", "password": "demo"})

    assert client.cookies["sessionid"].value
    assert published == []


@pytest.mark.parametrize(
    ("fields", "is_announced"),
    [
        (None, True),
        (["is_active"], True),
        (["is_staff", "last_login"], True),
        (["password"], True),
        (["last_login"], False),
        (["first_name", "email"], False),
        ([], False),
    ],
)
def test_a_saved_account_is_announced_if_its_sessions_or_audiences_may_have_changed(
    alice: User, published: Published, commit: Commit, fields: list[str] | None, is_announced: bool
) -> None:
    with commit():
        alice.save(update_fields=fields)

    assert announced(published) == ([[str(alice.pk)]] if is_announced else [])


def test_a_new_account_is_not_announced(
    published: Published, commit: Commit, make_account: Any
) -> None:
    with commit():
        make_account("dave")

    assert published == []


def test_a_deleted_account_is_announced(alice: User, published: Published, commit: Commit) -> None:
    key = str(alice.pk)

    with commit():
        alice.delete()

    assert announced(published) == [[key]]


def test_all_members_of_a_group_are_announced_together(
    published: Published, commit: Commit, make_account: Any
) -> None:
    members = [make_account(f"member{n}") for n in range(30)]
    group = Group.objects.create(name="Drivers")

    with commit():
        group.user_set.set(members)
    with commit():
        group.delete()

    everybody = sorted(str(member.pk) for member in members)
    assert [sorted(accounts) for accounts in announced(published)] == [everybody, everybody]
    assert {group for group, _ in published} == {"notifications.hubs"}


def test_a_logout_without_a_cookie_announces_the_session(
    alice: User, published: Published, commit: Commit
) -> None:
    """As with a request created in code."""
    request = HttpRequest()
    request.session = SessionStore()
    request.user = alice
    with commit():
        login(request, alice, "django.contrib.auth.backends.ModelBackend")
        key = request.session.session_key
        logout(request)

    assert key
    assert [message["sessions"] for _, message in published] == [[*session_names(key)]]


# --- Through proxies of the models, which are senders of their own


@pytest.fixture(scope="module")
def proxies() -> Iterator[tuple[type[User], type[Group]]]:
    """Proxies that are defined after the app is ready, as those in admin.py may be."""
    registered = apps.all_models["auth"].copy()

    class Member(User):
        class Meta:
            app_label = "auth"
            proxy = True

    class Team(Group):
        class Meta:
            app_label = "auth"
            proxy = True

    yield Member, Team
    apps.all_models["auth"].clear()
    apps.all_models["auth"].update(registered)
    apps.clear_cache()


def test_a_change_through_a_proxy_is_announced(
    alice: User, published: Published, commit: Commit, proxies: Any
) -> None:
    member = proxies[0].objects.get(pk=alice.pk)

    with commit():
        member.is_active = False
        member.save()
    with commit():
        member.delete()

    assert announced(published) == [[str(alice.pk)]] * 2


def test_a_deletion_through_a_proxy_ends_the_account(alice: User, proxies: Any) -> None:
    key = alice.pk
    proxies[0].objects.get(pk=key).delete()

    assert AccountEnded.objects.get().account_id == key


def test_a_beginning_through_a_proxy_ends_the_account_before(
    alice: User, published: Published, commit: Commit, proxies: Any
) -> None:
    Inbox.objects.create(account=alice)
    rows = User.objects.filter(pk=alice.pk)
    rows._raw_delete(rows.db)

    with commit():
        proxies[0].objects.create(pk=alice.pk, username="other")

    assert AccountEnded.objects.get().account_id == alice.pk
    assert announced(published) == [[str(alice.pk)]]


def test_a_group_deleted_through_a_proxy_is_announced(
    alice: User, published: Published, commit: Commit, proxies: Any
) -> None:
    alice.groups.add(Group.objects.create(name="board"))
    published.clear()

    with commit():
        proxies[1].objects.get().delete()

    assert announced(published) == [[str(alice.pk)]]


def test_deletions_of_other_models_have_no_receiver_of_ours() -> None:
    """With one, Django would load all rows to delete any, such as sessions."""
    for signal in (pre_save, post_save, pre_delete, post_delete):
        assert not [
            receiver
            for receiver in signal._live_receivers(Session)[0]
            if receiver.__module__.startswith("notifications.")
        ]
