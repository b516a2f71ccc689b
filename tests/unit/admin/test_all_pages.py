"""The list of notifications, and rules for all our admin pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

import notifications
from notifications import broadcast, move_inbox, notify_accounts
from notifications.models import Connection, Notification

from .pages import BROADCASTS, CONNECTIONS, NOTIFICATIONS, row, text


def test_support_staff_find_an_accounts_notifications(
    staff: Callable[..., Client], alice: User, bob: User
) -> None:
    notify_accounts(alice, "order_paid", "Order 1 is paid")
    notify_accounts(bob, "order_paid", "Order 2 is paid")
    Notification.objects.filter(account=bob).update(read_at=timezone.now())
    browser = staff("view_notification")

    shown = row(browser.get(f"{NOTIFICATIONS}?q=alice").content.decode())
    assert (shown["account_name"], shown["summary"]) == ("alice", "Order 1 is paid")
    assert (shown["type"], shown["status"]) == ("order_paid", "Unread")
    assert row(browser.get(f"{NOTIFICATIONS}?state=read").content.decode())["status"] == "Read"


def test_the_notification_of_a_deleted_account_is_listed(admin: Client, alice: User) -> None:
    notify_accounts(alice, "order_paid", "Order 1 is paid")
    pk = alice.pk
    alice.delete()

    shown = row(admin.get(NOTIFICATIONS).content.decode())
    assert shown["account_name"] == f"deleted account {pk}"
    orphan = Notification.objects.get()
    assert admin.get(f"{NOTIFICATIONS}{orphan.pk}/change/").status_code == 200


def test_the_rows_of_a_deleted_account_do_not_name_a_new_one_with_its_key(
    admin: Client, alice: User, bob: User, connect: Callable[..., Connection]
) -> None:
    notify_accounts(alice, "order_paid", "Order 1 is paid")
    connect(alice)
    broadcast("news", "News", sent_by=bob)
    was = row(admin.get(BROADCASTS).content.decode())["sender"]
    deleted = {"account": alice.pk, "operator": bob.pk}
    for account in (alice, bob):
        pk = account.pk
        User.objects.filter(pk=pk).delete()
        User.objects.create_user(f"mallory{pk}", pk=pk)

    for address, column, name in (
        (NOTIFICATIONS, "account_name", "account"),
        (CONNECTIONS, "account_name", "account"),
        (BROADCASTS, "sender", "operator"),
    ):
        page = admin.get(address).content.decode()
        assert row(page)[column] == f"deleted account {deleted[name]}"
    assert was == "bob"


def test_moved_notifications_name_the_account_that_has_them(
    admin: Client, alice: User, make_account: Callable[..., User]
) -> None:
    notify_accounts(alice, "order_paid", "Order 1 is paid")
    move_inbox(alice, make_account("young"))

    assert row(admin.get(NOTIFICATIONS).content.decode())["account_name"] == "young"


@pytest.mark.parametrize(
    ("state", "fields"),
    [
        ("unread", []),
        ("read", ["read_at"]),
        ("archived", ["archived_at"]),
        ("archived", ["read_at", "archived_at"]),
        ("gone", ["removed_at"]),
        ("gone", ["read_at", "archived_at", "removed_at"]),
    ],
)
def test_a_filter_finds_each_state(
    admin: Client, alice: User, state: str, fields: list[str]
) -> None:
    notify_accounts(alice, "order_paid", "Order 1 is paid")
    Notification.objects.update(**dict.fromkeys(fields, timezone.now()))

    for other in ("unread", "read", "archived", "gone"):
        found = "1 notification" in text(admin.get(f"{NOTIFICATIONS}?state={other}"))
        assert found == (other == state)


@pytest.mark.parametrize(
    "address", [CONNECTIONS, NOTIFICATIONS, "/admin/site_notifications/worker/"]
)
def test_nothing_can_be_added_or_deleted_here(admin: Client, address: str) -> None:
    assert admin.get(address).status_code == 200
    assert admin.get(f"{address}add/").status_code == 403
    assert "delete_selected" not in admin.get(address).content.decode()


def test_no_admin_page_needs_an_inline_script_or_style() -> None:
    templates = [*Path(notifications.__file__).parent.glob("templates/admin/**/*.html")]

    assert templates
    for template in templates:
        page = template.read_text()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page), template
        assert not re.search(r"<script(?![^>]*\ssrc=)", page), template
