"""The permission to send a broadcast, and sending it once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.utils import timezone

from notifications.admin import BroadcastAdmin
from notifications.models import Broadcast

from .pages import BROADCASTS, COMPOSE, composed, text


def test_sending_stores_one_row_for_all_inboxes(
    admin: Client, operator: User, alice: User, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        answer = admin.post(
            COMPOSE, composed(body="One\r\ntwo", url="/orders/7/", _send="1"), follow=True
        )

    sent = Broadcast.objects.get()
    assert (sent.type, sent.body, sent.level) == ("announcement", "One\ntwo", "warning")
    assert (sent.audience, sent.url, sent.sent_by) == ("everyone", "/orders/7/", operator)
    assert sent.number == 1
    assert answer.redirect_chain == [(BROADCASTS, 302)]
    assert "Sent to 2 accounts." in text(answer)


def test_sending_to_a_group_reaches_its_members(admin: Client) -> None:
    group = Group.objects.create(name="Customers")

    admin.post(COMPOSE, composed(audience=f"group:{group.pk}", _send="1"))

    assert Broadcast.objects.get().audience == f"group:{group.pk}"


def test_the_expiry_time_is_stored(admin: Client) -> None:
    admin.post(COMPOSE, composed(expires_at_0="2100-01-02", expires_at_1="03:04:05", _send="1"))

    assert Broadcast.objects.get().expires_at.isoformat() == "2100-01-02T03:04:05+00:00"


def test_a_second_click_sends_nothing_more(admin: Client) -> None:
    admin.post(COMPOSE, composed(_send="1"))
    answer = admin.post(COMPOSE, composed(_send="1"), follow=True)

    assert Broadcast.objects.count() == 1
    assert "it was not sent again" in text(answer)


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_once_send_one_broadcast(
    operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_have_checked = threading.Barrier(2)
    check = BroadcastAdmin._was_just_sent

    def check_together(*args: Any) -> bool:
        was_sent = check(*args)
        with suppress(threading.BrokenBarrierError):
            both_have_checked.wait(timeout=0.5)
        return was_sent

    def click(browser: Client) -> int:
        try:
            return browser.post(COMPOSE, composed(_send="1")).status_code
        finally:
            connection.close()

    monkeypatch.setattr(BroadcastAdmin, "_was_just_sent", check_together)
    browsers = [Client(), Client()]
    for browser in browsers:
        browser.force_login(operator)
    with ThreadPoolExecutor() as clicks:
        assert list(clicks.map(click, browsers)) == [302, 302]

    assert Broadcast.objects.count() == 1


def test_the_same_message_can_be_sent_again_later(admin: Client) -> None:
    admin.post(COMPOSE, composed(_send="1"))
    Broadcast.objects.update(created_at=timezone.now() - timedelta(minutes=2))

    admin.post(COMPOSE, composed(_send="1"))

    assert Broadcast.objects.count() == 2


def test_the_sender_is_recorded(admin: Client, operator: User) -> None:
    admin.post(COMPOSE, composed(_send="1"))

    entry = LogEntry.objects.get()
    assert (entry.user, entry.is_addition()) == (operator, True)
    assert entry.object_id == str(Broadcast.objects.get().pk)


@pytest.mark.parametrize("button", ["_preview", "_edit", "_send"])
def test_without_the_permission_nothing_can_be_composed_or_sent(
    staff: Callable[..., Client], button: str
) -> None:
    browser = staff("view_broadcast", "add_broadcast", "change_broadcast", "delete_broadcast")

    assert browser.get(COMPOSE).status_code == 403
    assert browser.post(COMPOSE, composed(**{button: "1"})).status_code == 403
    assert COMPOSE not in browser.get(BROADCASTS).content.decode()
    assert not Broadcast.objects.exists()


def test_the_permission_to_send_is_enough_to_send(staff: Callable[..., Client]) -> None:
    browser = staff("send_broadcast")

    answer = browser.post(COMPOSE, composed(_send="1"), follow=True)

    assert "Sent to 1 account." in text(answer)
    assert browser.get(BROADCASTS).status_code == 403


def test_accounts_that_are_not_staff_are_redirected_to_the_log_in_page(
    client: Client, alice: User
) -> None:
    alice.user_permissions.set(Permission.objects.filter(codename="send_broadcast"))
    client.force_login(alice)

    assert client.post(COMPOSE, composed(_send="1")).status_code == 302
    assert not Broadcast.objects.exists()


def test_a_form_of_another_site_cannot_send(operator: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(operator)

    assert browser.post(COMPOSE, composed(_send="1")).status_code == 403
    assert not Broadcast.objects.exists()
