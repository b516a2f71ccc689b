"""Sending a notification to accounts chosen from the list of users."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from notifications.models import Inbox, Notification

from .pages import USERS, text


def chosen(*accounts: User, **fields: str) -> dict[str, Any]:
    keys = [account.pk for account in accounts]
    return {"action": "send_notification", "_selected_action": keys, **fields}


def filled_in(**fields: str) -> dict[str, str]:
    message = {"type": "message", "body": "Your parcel is here", "level": "info", "url": ""}
    return {**message, "_send": "1", **fields}


def test_choosing_accounts_opens_a_form_for_the_message(
    admin: Client, alice: User, bob: User, carol: User
) -> None:
    answer = admin.post(USERS, chosen(alice, bob, index="0"))

    page = answer.content.decode()
    assert "Send a notification" in text(answer)
    assert "To: alice, bob" in text(answer)
    assert 'value="Send to 2 accounts"' in page
    assert 'name="type" value="message"' in page
    assert not Notification.objects.exists()


def test_the_chosen_accounts_get_the_message(
    admin: Client,
    operator: User,
    alice: User,
    bob: User,
    carol: User,
    django_capture_on_commit_callbacks: Any,
) -> None:
    form = filled_in(level="success", url="/orders/7/")

    with django_capture_on_commit_callbacks(execute=True):
        answer = admin.post(USERS, chosen(alice, bob, **form), follow=True)

    assert "Sent to 2 accounts." in text(answer)
    rows = Notification.objects.order_by("account_id")
    assert [(row.account, row.number) for row in rows] == [(alice, 1), (bob, 1)]
    assert {(row.type, row.body, row.level, row.url) for row in rows} == {
        ("message", "Your parcel is here", "success", "/orders/7/")
    }
    assert set(Inbox.objects.values_list("unread", flat=True)) == {1}
    assert LogEntry.objects.get().user == operator


@pytest.mark.parametrize(
    ("field", "value"),
    [("type", "ping"), ("body", ""), ("url", "javascript:alert(1)"), ("level", "fatal")],
)
def test_an_error_is_shown_and_the_chosen_accounts_are_kept(
    admin: Client, alice: User, bob: User, field: str, value: str
) -> None:
    answer = admin.post(USERS, chosen(alice, bob, **filled_in(**{field: value})))

    assert list(answer.context["adminform"].form.errors) == [field]
    assert "To: alice, bob" in text(answer)
    assert f'name="_selected_action" value="{bob.pk}"' in answer.content.decode()
    assert not Notification.objects.exists()


def test_all_accounts_of_a_search_can_be_chosen(
    admin: Client, make_account: Callable[..., User], alice: User
) -> None:
    members = [make_account(f"member{number:02}") for number in range(12)]
    address = f"{USERS}?q=member"

    answer = admin.post(address, chosen(members[0], index="0", select_across="1"))

    assert 'value="Send to 12 accounts"' in answer.content.decode()
    assert "member09 and 2 more" in text(answer)
    admin.post(address, chosen(members[0], select_across="1", **filled_in()))
    assert Notification.objects.count() == 12
    assert not Notification.objects.filter(account=alice).exists()


def test_the_action_needs_the_permission_to_send(staff: Callable[..., Client], alice: User) -> None:
    browser = staff("view_user", "change_user")

    assert "send_notification" not in browser.get(USERS).content.decode()
    browser.post(USERS, chosen(alice, **filled_in()))
    assert not Notification.objects.exists()
