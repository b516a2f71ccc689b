"""The admin of a site with `USE_TZ = False` shows and takes its local times."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from notifications import notify_accounts
from notifications.models import Broadcast, Connection

from .pages import BROADCASTS, COMPOSE, CONNECTIONS, NOTIFICATIONS, composed, row, text


def test_an_operator_chooses_a_local_time_at_which_a_broadcast_expires(
    no_zones: str, admin: Client
) -> None:
    local = datetime(2100, 1, 15, 9, 30)  # a fixed one: no change of the clocks is near
    fields = composed(expires_at_0=f"{local:%Y-%m-%d}", expires_at_1=f"{local:%H:%M}")
    shown = f"{local:%H:%M}"

    preview = admin.post(COMPOSE, fields)
    assert "Nothing has been sent yet." in text(preview)
    assert f"{local:%-I}" in text(preview).partition("Expires")[2]
    assert admin.post(COMPOSE, fields | {"_send": "1"}).status_code == 302

    sent = Broadcast.objects.get()
    assert sent.expires_at and f"{sent.expires_at:%H:%M}" == shown
    assert sent.expires_at == local.replace(tzinfo=ZoneInfo(no_zones))
    assert f"{sent.expires_at:%-I:%M}" in text(admin.get(f"{BROADCASTS}{sent.pk}/change/"))


def test_a_local_time_in_the_past_is_refused(no_zones: str, admin: Client) -> None:
    # Converted last, as the clocks may just have changed.
    past = datetime.now(UTC) - timedelta(minutes=2)
    local = past.astimezone(ZoneInfo(no_zones))
    fields = composed(expires_at_0=f"{local:%Y-%m-%d}", expires_at_1=f"{local:%H:%M}")

    assert "Choose a time in the future." in text(admin.post(COMPOSE, fields))
    assert admin.post(COMPOSE, fields | {"expires_at_0": "9999-12-31"}).status_code == 200


def test_a_double_click_sends_one_broadcast(no_zones: str, admin: Client) -> None:
    for _ in range(2):
        admin.post(COMPOSE, composed() | {"_send": "1"})

    assert Broadcast.objects.count() == 1


def test_filters_and_lists_have_local_times(
    no_zones: str, admin: Client, alice: User, connect: Callable[..., Connection]
) -> None:
    notify_accounts(alice, "order_paid", "Order 1 is paid")
    connect(alice)
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    bounds = f"created_at__gte={today}&created_at__lt={today + timedelta(days=1)}"
    now = timezone.now()

    shown = row(admin.get(f"{NOTIFICATIONS}?{bounds}").content.decode())
    assert shown["summary"] == "Order 1 is paid"
    assert f"{now:%-I}" in shown["created_at"].partition("2026")[2] or now.year != 2026
    bounds = bounds.replace("created_at", "opened_at")
    assert row(admin.get(f"{CONNECTIONS}?{bounds}").content.decode())["seen"] == "just now"
