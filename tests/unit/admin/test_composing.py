"""Writing a broadcast, and its preview before it is sent."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.test import Client

from notifications.models import Broadcast, Connection

from .pages import COMPOSE, composed, text


def test_composing_starts_with_an_announcement_to_everyone(admin: Client) -> None:
    page = admin.get(COMPOSE).content.decode()

    assert 'name="type" value="announcement"' in page
    assert '<option value="everyone">Everyone</option>' in page.replace(" selected", "")
    assert 'name="_preview"' in page
    assert 'name="_save"' not in page


def test_groups_can_be_chosen_by_name(admin: Client) -> None:
    group = Group.objects.create(name="Customers")

    page = admin.get(COMPOSE).content.decode()

    assert f'<option value="group:{group.pk}">Customers</option>' in page


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("type", "Not a type", "Use lowercase letters"),
        ("type", "heartbeat", "“heartbeat” is reserved"),
        ("body", "  ", "This field is required"),
        ("body", "x" * 2001, "at most 2000 characters"),
        ("url", "javascript:alert(1)", "Enter a path on this site"),
        ("url", "//evil.example/", "Enter a path on this site"),
        ("level", "fatal", "Select a valid choice"),
        ("audience", "group:99", "Select a valid choice"),
        ("expires_at_0", "2001-01-01", "Choose a time in the future"),
    ],
)
@pytest.mark.parametrize("button", ["_preview", "_send"])
def test_an_error_is_shown_at_its_field_and_nothing_is_sent(
    admin: Client, field: str, value: str, error: str, button: str
) -> None:
    fields = composed(**{"expires_at_1": "12:00"} if field == "expires_at_0" else {})
    answer = admin.post(COMPOSE, {**fields, field: value, button: "1"})

    errors = answer.context["adminform"].form.errors
    assert list(errors) == [re.sub(r"_\d$", "", field)]
    assert error in text(answer)
    assert not Broadcast.objects.exists()


def test_the_preview_shows_the_message_and_its_audience(
    admin: Client, alice: User, bob: User, connect: Callable[..., Connection]
) -> None:
    connect(alice)
    connect(alice)

    shown = text(admin.post(COMPOSE, composed(url="/orders/7/", _preview="1")))

    assert "Nothing has been sent yet. Back in five minutes" in shown
    assert "Level Warning Link /orders/7/" in shown
    assert "Audience Everyone Accounts 3 Online now 1" in shown


def test_the_preview_stores_nothing(admin: Client) -> None:
    answer = admin.post(COMPOSE, composed(_preview="1"))

    assert 'value="Send to 1 account"' in answer.content.decode()
    assert not Broadcast.objects.exists()
    assert not LogEntry.objects.exists()


def test_the_preview_counts_a_group(admin: Client, alice: User, bob: User, carol: User) -> None:
    group = Group.objects.create(name="Customers")
    group.user_set.set([alice, bob])
    carol.groups.add(group)
    carol.is_active = False
    carol.save()

    answer = admin.post(COMPOSE, composed(audience=f"group:{group.pk}", _preview="1"))

    assert "Audience Customers" in text(answer)
    assert 'value="Send to 2 accounts"' in answer.content.decode()


def test_the_preview_shows_tags_as_text(admin: Client) -> None:
    page = admin.post(COMPOSE, composed(body="<b>bold</b>", _preview="1")).content.decode()

    assert "<b>bold</b>" not in page
    assert "&lt;b&gt;bold" in page


def test_going_back_to_edit_keeps_all_fields(admin: Client) -> None:
    preview = admin.post(
        COMPOSE,
        composed(
            body="First\r\nsecond",
            url="/orders/7/",
            audience="staff",
            expires_at_0="2100-01-02",
            expires_at_1="03:04:05",
            _preview="1",
        ),
    )
    kept = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', preview.content.decode()))

    page = admin.post(COMPOSE, {**kept, "_edit": "1"}).content.decode()

    assert ">\nFirst\nsecond</textarea>" in page.replace("\r", "")
    assert 'value="/orders/7/"' in page
    assert '<option value="staff" selected>' in page
    assert '<option value="warning" selected>' in page
    assert 'value="2100-01-02"' in page
    assert 'value="03:04:05"' in page
    assert "Please correct" not in page
    assert not Broadcast.objects.exists()
