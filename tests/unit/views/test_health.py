"""The health views for load balancers."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import resolve, reverse

from notifications import health
from notifications.channel_layer import sender
from notifications.maintenance import Maintenance

pytestmark = pytest.mark.django_db(transaction=True)  # the probe has a connection of its own


@pytest.fixture(autouse=True)
def long_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second may be too short for a busy machine."""
    monkeypatch.setattr(sender, "PROBE_TIMEOUT_SECONDS", 30)


def test_a_process_that_answers_is_healthy(client: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert client.get("/healthz").json() == {"status": "ok"}
    assert not len(queries)


def test_a_site_is_ready_and_warns_when_the_periodic_task_is_late(client: Client) -> None:
    late = client.get("/readyz")
    assert (late.status_code, late.json()["status"]) == (200, "ok")
    assert "notification_maintenance" in late.json()["warning"]

    Maintenance().run_in_turn()

    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ok"})


def test_a_site_with_an_unreachable_layer_is_not_ready(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "answers", lambda: False)

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "unavailable": ["channel layer"]}


def test_a_site_without_a_layer_is_not_ready(client: Client, settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "unavailable": ["channel layer"]}


def test_a_draining_server_is_not_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "is_draining", lambda: True)

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "unavailable": ["server"]}


def test_a_site_with_an_unreachable_database_is_not_ready(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise OperationalError

    monkeypatch.setattr(BaseDatabaseWrapper, "cursor", fail)

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "unavailable": ["database"]}


def test_a_site_whose_database_stands_still_is_not_ready(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    monkeypatch.setattr(health, "PROBE_SECONDS", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(health.maintenance, "is_late", lambda: goes_on.wait(60))
        stands_still = [client.get("/readyz").json() for _ in range(2)]
        (probe,) = (one for one in threading.enumerate() if one.name == "notifications-readiness")
        goes_on.set()
        probe.join(30)
    monkeypatch.undo()

    assert stands_still == [{"status": "unavailable", "unavailable": ["database"]}] * 2
    assert client.get("/readyz").json()["status"] == "ok"


def test_a_site_whose_hub_has_not_checked_its_connections_lately_is_not_ready(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "is_check_late", lambda: True)

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "unavailable": ["check"]}


def test_a_site_includes_the_health_views_at_its_root() -> None:
    assert reverse("healthz", urlconf=health) == "/healthz"
    assert reverse("readyz", urlconf=health) == "/readyz"
    assert resolve("/readyz").func is health.readyz
