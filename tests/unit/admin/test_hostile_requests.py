"""Requests to the admin that its own pages never send: lookups, keys, search terms."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from notifications.models import Broadcast, Connection, Notification

from .pages import BROADCASTS, COMPOSE, CONNECTIONS, NOTIFICATIONS, USERS, composed, text

WORKERS = "/admin/site_notifications/worker/"
LISTS = [NOTIFICATIONS, BROADCASTS, CONNECTIONS, WORKERS]
VIEW = [f"view_{model}" for model in ("notification", "broadcast", "connection", "worker")]

EARLY, LATE = "2020-01-01 00:00:00+00:00", "2999-01-01 00:00:00+00:00"

# Keys that no page contains: text, too large for any column, too many digits, a null byte.
MALFORMED = ["abc", "1.5", "-", "", "9" * 30, "-" + "9" * 30, "9" * 5000, "1\x00", "\x00"]


@pytest.fixture
def rows(alice: User, connect: Callable[..., Connection]) -> None:
    Notification.objects.create(account=alice, type="hello", body="Hello", number=1, seq=1)
    Broadcast.objects.create(type="news", body="News", number=1, seq=1)
    connect(alice)


LOOKUPS = [
    *("body__regex", "body__iregex", "body__contains", "type__regex", "host__regex"),
    *("id", "id__in", "pk__gt", "user_agent__regex", "audience__regex", "level__regex"),
    *("created_at__regex", "opened_at__regex", "worker__host__regex", "worker__id__regex"),
    *("account__password__startswith", "sent_by__password__startswith", "meta_data__x"),
    *("account_id__exact", "worker__connection__account__password__exact", "nothing"),
    *("worker__host__exact", "worker__connection__exact"),
]


@pytest.mark.parametrize("address", LISTS)
def test_only_the_lookups_of_the_lists_filters_are_allowed(
    rows: None, staff: Callable[..., Client], address: str
) -> None:
    browser = staff(*VIEW)

    for lookup in LOOKUPS:
        assert browser.get(address, {lookup: "1"}).status_code == 400, lookup


@pytest.mark.parametrize(
    ("address", "query"),
    [
        (NOTIFICATIONS, {"state": "unread", "level__exact": "info"}),
        (NOTIFICATIONS, {"created_at__gte": EARLY, "created_at__lt": LATE}),
        (CONNECTIONS, {"opened_at__gte": EARLY, "opened_at__lt": LATE}),
    ],
)
def test_the_lists_own_filters_work(
    rows: None, staff: Callable[..., Client], address: str, query: dict[str, str]
) -> None:
    found = text(staff(*VIEW).get(address, query))

    assert "1 notification" in found or "1 connection" in found


def test_each_link_of_a_filter_is_allowed(rows: None, staff: Callable[..., Client]) -> None:
    browser = staff(*VIEW)

    for address in LISTS:
        page: Any = browser.get(address)
        for spec in page.context["cl"].filter_specs:
            for choice in spec.choices(page.context["cl"]):
                assert browser.get(f"{address}{choice['query_string']}").status_code == 200


@pytest.mark.parametrize("address", LISTS)
def test_no_value_of_a_parameter_leads_to_a_500(rows: None, admin: Client, address: str) -> None:
    names = ["level__exact", "level__isnull", "state", "created_at__gte", "opened_at__isnull"]
    names += ["worker__id__exact", "q", "o", "p", "all", "e", "_to_field", "_changelist_filters"]

    for name, value in product(names, ["\x00", "x\x00", "9" * 5000, "9" * 30, "x", ""]):
        assert admin.get(address, {name: value}).status_code in {200, 302, 400}, (name, value)


@pytest.mark.parametrize(
    ("address", "name"), [(NOTIFICATIONS, "created_at"), (CONNECTIONS, "opened_at")]
)
@pytest.mark.parametrize("time", ["0001-01-01 00:00:00+23:59", "9999-12-31 23:59:59-23:59"])
def test_a_time_that_utc_has_no_year_for_is_refused(
    rows: None, staff: Callable[..., Client], address: str, name: str, time: str
) -> None:
    browser = staff(*VIEW)

    for lookup in ("gte", "lt"):
        assert browser.get(address, {f"{name}__{lookup}": time}).status_code == 400


def test_a_filter_with_many_values_leads_to_no_500(rows: None, admin: Client) -> None:
    query = {"level__exact": ["info"] * 990}

    assert admin.get(NOTIFICATIONS, query).status_code in {200, 302, 400}


@pytest.mark.parametrize("address", LISTS)
def test_a_search_for_very_many_words_is_answered(rows: None, admin: Client, address: str) -> None:
    assert admin.get(address, {"q": "o " * 5000}).status_code == 200


ACTIONS = [
    (NOTIFICATIONS, "retract"),
    (BROADCASTS, "retract"),
    (CONNECTIONS, "disconnect"),
    (USERS, "send_notification"),
]


@pytest.mark.parametrize(("address", "action"), ACTIONS)
def test_an_action_on_a_malformed_key_selects_nothing(
    rows: None, admin: Client, address: str, action: str
) -> None:
    form = {"action": action, "newest": "1", "body": "x", "type": "x", "level": "info"}

    for key, button in product(MALFORMED, [{}, {"index": "0"}, {"_send": "1"}]):
        sent = {**form, **button, "_selected_action": [key]}
        shown = text(admin.post(address, sent, follow=True))

        assert "Items must be selected in order to perform actions on them." in shown, key
    assert Notification.objects.get().removed_at is None


def test_a_malformed_key_beside_others_is_ignored(rows: None, admin: Client, alice: User) -> None:
    keys = [*MALFORMED, str(alice.pk)]
    form = {"action": "send_notification", "_selected_action": keys}

    admin.post(USERS, {**form, "_send": "1", "body": "x", "type": "x", "level": "info"})

    assert Notification.objects.get(body="x").account_id == alice.pk


def test_a_broadcast_cannot_expire_after_the_last_day(admin: Client, settings: Any) -> None:
    settings.TIME_ZONE = "America/New_York"
    form = composed(expires_at_0="9999-12-31", expires_at_1="23:59:59")

    for button in ({}, {"_send": "1"}):
        assert "Enter a valid date/time." in text(admin.post(COMPOSE, {**form, **button}))


@pytest.mark.parametrize("newest", ["", "x", "9" * 30, "-" + "9" * 30, "9" * 5000, "\x00"])
@pytest.mark.parametrize("address", [NOTIFICATIONS, BROADCASTS])
def test_a_malformed_confirmation_is_asked_for_again(
    rows: None, admin: Client, address: str, newest: str
) -> None:
    model = Notification if address == NOTIFICATIONS else Broadcast
    form = {"action": "retract", "_selected_action": [model.objects.get().pk], "newest": newest}

    assert "Retract messages" in text(admin.post(address, form))


@pytest.mark.parametrize("address", LISTS)
def test_no_page_of_a_malformed_key_is_a_500(rows: None, admin: Client, address: str) -> None:
    keys = [key.replace("\x00", "%00") for key in MALFORMED if key]

    for key, page in product(keys, ["change/", "history/", "delete/", ""]):
        answer = admin.get(f"{address}{key}/{page}")

        assert answer.status_code in {302, 403, 404}, (key, page)
