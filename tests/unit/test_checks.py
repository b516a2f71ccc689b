"""The system checks report mistakes of a site at its start, with hints."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site
from django.core import checks
from django.core.checks import CheckMessage, run_checks
from django.db import connection

from notifications import checks as own
from notifications import conf as conf_module
from notifications.checks.channel_layer import IN_MEMORY, REDIS_CORE, REDIS_PUBSUB
from notifications.conf import SETTINGS, conf

# From Django 6 on, running the checks queries the version of the database.
pytestmark = pytest.mark.django_db

SOURCE = "".join(path.read_text() for path in Path(conf_module.__file__).parent.rglob("*.py"))
REDIS = {"address": "redis://localhost:6379", "socket_timeout": None}


def found() -> list[CheckMessage]:
    return [message for message in run_checks() if message.id.startswith("notifications.")]


def found_ids() -> list[str]:
    return [message.id for message in found()]


def test_every_check_is_registered() -> None:
    defined = {getattr(own, name) for name in own.__all__}

    assert len(defined) == 7
    assert defined <= checks.registry.registry.registered_checks


def test_no_id_has_two_meanings() -> None:
    in_checks = re.findall(r'\bid="(notifications\.[EW]\d{3})"', SOURCE)
    # Several adapters share one.
    of_adapters = set(re.findall(r'check_id="(notifications\.[EW]\d{3})"', SOURCE))
    of_settings = {setting.check_id for setting in SETTINGS}

    # Numbers are never used twice, whatever the letter.
    numbers = [id[-3:] for id in (*in_checks, *of_adapters, *of_settings)]
    assert sorted(set(numbers)) == sorted(numbers)


def test_an_id_has_the_letter_of_its_level() -> None:
    found = re.findall(
        r'\b(Error|Warning)\((?:(?!id=).)*?id="notifications\.([EW])', SOURCE, re.DOTALL
    )

    assert found
    assert all(level[0] == letter for level, letter in found)


def test_the_demo_site_passes_all_checks() -> None:
    assert found() == []


# --- Settings


@pytest.mark.parametrize("value", [-1, "8", None, False, math.inf, 3601])
def test_a_drain_must_take_a_number_of_seconds(settings: Any, value: Any) -> None:
    settings.NOTIFICATIONS_DRAIN_SECONDS = value

    (message,) = found()

    assert message.id == "notifications.E019"
    assert isinstance(message, checks.Error)
    assert message.msg == (
        f"NOTIFICATIONS_DRAIN_SECONDS must be a number of seconds from 0 to 3600, not {value!r}."
    )
    assert message.hint.startswith("The process manager must wait")


@pytest.mark.parametrize("value", [0, 0.5, 3600])
def test_a_drain_may_take_an_hour_or_no_time(settings: Any, value: Any) -> None:
    settings.NOTIFICATIONS_DRAIN_SECONDS = value

    assert found() == []


@pytest.mark.parametrize("value", ["mysite/unheard-of.mp3", None, 3])
def test_a_sound_must_be_a_static_file(settings: Any, value: Any) -> None:
    settings.NOTIFICATIONS_SOUND = value

    (message,) = found()

    assert isinstance(message, checks.Warning)
    assert message.id == "notifications.W022"
    assert message.msg.startswith("NOTIFICATIONS_SOUND must be the path of a static file")
    assert message.msg.endswith(f"not {value!r}.")


def test_a_static_file_may_be_the_sound(settings: Any) -> None:
    settings.NOTIFICATIONS_SOUND = "favicon.svg"

    assert found() == []


@pytest.mark.parametrize("value", [0, -1, "9", None, True, math.nan, math.inf])
def test_an_interval_must_be_a_number_of_seconds(settings: Any, value: Any) -> None:
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = value

    (message,) = found()
    assert message.id == "notifications.E001"
    assert message.msg.startswith("NOTIFICATIONS_HEARTBEAT_INTERVAL must be a number of seconds")
    assert message.msg.endswith(f"not {value!r}.")


@pytest.mark.parametrize("value", [17.9, 0, -20, "20", None, True, math.nan, math.inf])
def test_a_timeout_must_let_two_heartbeats_pass(settings: Any, value: Any) -> None:
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = 9
    settings.NOTIFICATIONS_HEARTBEAT_TIMEOUT = value

    (message,) = found()
    assert message.id == "notifications.E002"
    assert message.msg.endswith(f"not {value!r}.")
    assert message.hint == "Set it to 18 or more."


@pytest.mark.parametrize("timeout", [18, 18.5, 1000])
def test_two_heartbeats_are_enough(settings: Any, timeout: float) -> None:
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = 9
    settings.NOTIFICATIONS_HEARTBEAT_TIMEOUT = timeout

    assert found() == []


def test_only_the_interval_is_reported_if_both_are_wrong(settings: Any) -> None:
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = "9"
    settings.NOTIFICATIONS_HEARTBEAT_TIMEOUT = "20"

    assert found_ids() == ["notifications.E001"]


def test_the_interval_alone_can_make_the_timeout_too_short(settings: Any) -> None:
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = 11
    del settings.NOTIFICATIONS_HEARTBEAT_TIMEOUT

    assert found_ids() == ["notifications.E002"]


def test_the_defaults_are_allowed(settings: Any) -> None:
    for name in dir(site):
        if name.startswith("NOTIFICATIONS_"):
            delattr(settings, name)

    assert (conf.HEARTBEAT_INTERVAL, conf.HEARTBEAT_TIMEOUT) == (9, 20)
    assert (conf.MAINTENANCE, conf.ACCOUNT_CREATED_FIELD) == ("server", "date_joined")
    assert conf.lease.total_seconds() == 20
    assert found() == []


@pytest.mark.parametrize(
    "value",
    ["shop", "/", "/shop/", "//evil.example", "https://evil.example", "/a//b", "/../x", "/a/."]
    + ["/a b", "/a?b", "/a#b", "/%2e%2e", "/größe", "/a\n", "\\evil.example", None, 3],
)
def test_a_root_path_that_no_site_can_have(settings: Any, value: Any) -> None:
    settings.NOTIFICATIONS_ROOT_PATH = value

    [message] = found()

    assert message.id == "notifications.E043"
    assert message.msg.startswith("NOTIFICATIONS_ROOT_PATH must be a path such as “/shop”")
    assert message.msg.endswith(f"not {value!r}.")


@pytest.mark.parametrize("value", ["", "/shop", "/shop/a.b_c~d-e", "/.well-known", "/..."])
def test_a_root_path(settings: Any, value: str) -> None:
    settings.NOTIFICATIONS_ROOT_PATH = value

    assert found() == []


@pytest.mark.parametrize(("forced", "ids"), [("/shop", []), ("/other", ["notifications.E043"])])
def test_a_site_has_one_root_path(settings: Any, forced: str, ids: list[str]) -> None:
    settings.NOTIFICATIONS_ROOT_PATH = "/shop"
    settings.FORCE_SCRIPT_NAME = forced

    messages = found()

    assert [message.id for message in messages] == ids
    assert [message.hint for message in messages] == ["FORCE_SCRIPT_NAME alone suffices."] * len(
        ids
    )


@pytest.mark.parametrize(
    "value",
    ["", "/", "//evil.example/", "wss://evil.example/", "live/?a=1", "live/#a", "a//b", "../ws/"]
    + ["a b/", "live/\n", "/ws/<int:pk>/", "\\live", None, 3],
)
def test_a_path_that_no_websocket_can_have(settings: Any, value: Any) -> None:
    settings.NOTIFICATIONS_SOCKET_PATH = value

    [message] = found()

    assert message.id == "notifications.E044"
    assert message.msg.startswith("NOTIFICATIONS_SOCKET_PATH must be a path such as “live/”")


@pytest.mark.parametrize("value", ["live", "live/", "/live/", "/shop/ws/live_2/"])
def test_a_path_of_the_websocket(settings: Any, value: str) -> None:
    settings.NOTIFICATIONS_SOCKET_PATH = value

    assert found() == []


@pytest.mark.parametrize(("name", "number"), [("DIRECT_WRITES", 32), ("ACCEPT_UNSIGNED", 40)])
@pytest.mark.parametrize("value", [0, 1, "False", None])
def test_switches_are_on_or_off(settings: Any, name: str, number: int, value: Any) -> None:
    setattr(settings, f"NOTIFICATIONS_{name}", value)

    (message,) = found()
    assert message.id == f"notifications.E0{number}"
    assert message.msg == f"NOTIFICATIONS_{name} must be True or False, not {value!r}."


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("HEARTBEAT_INTERVALL", "HEARTBEAT_INTERVAL"),
        ("HEARTBEATINTERVAL", "HEARTBEAT_INTERVAL"),
        ("MAX_SOCKET_PER_ACCOUNT", "MAX_SOCKETS_PER_ACCOUNT"),
        ("RETENTION_DAYS_READ", "RETENTION_DAYS_UNREAD"),
        ("RETENTION_DAYS_PER_TYPE", "RETENTION_DAYS_BY_TYPE"),
    ],
)
def test_a_misspelt_name_is_reported_with_the_right_one(
    settings: Any, name: str, nearest: str
) -> None:
    setattr(settings, f"NOTIFICATIONS_{name}", 9)

    (message,) = found()

    assert isinstance(message, checks.Warning)
    assert message.id == "notifications.W031"
    assert message.msg == f"There is no setting NOTIFICATIONS_{name}."
    assert message.hint == f"Did you mean NOTIFICATIONS_{nearest}?"


@pytest.mark.parametrize(
    "name", ["NOTIFICATIONS_FROM_EMAIL", "NOTIFICATIONS_USE_JSONFIELD", "NOTIFICATIONS_ENABLED"]
)
def test_a_site_may_have_settings_with_our_prefix(settings: Any, name: str) -> None:
    setattr(settings, name, "of an app of the site's own")

    assert found() == []


@pytest.mark.parametrize("value", ["Server", "", None, True, ["server"]])
def test_maintenance_runs_in_the_servers_or_in_a_command(settings: Any, value: Any) -> None:
    settings.NOTIFICATIONS_MAINTENANCE = value

    (message,) = found()
    assert message.id == "notifications.E003"
    assert message.msg.endswith(f"must be “server” or “external”, not {value!r}.")


@pytest.mark.parametrize("value", ["date_joind", "username", "groups", "", None, ["last_login"]])
def test_the_field_of_an_accounts_creation_must_be_a_date(settings: Any, value: Any) -> None:
    settings.NOTIFICATIONS_ACCOUNT_CREATED_FIELD = value

    (message,) = found()
    assert message.id == "notifications.E009"
    assert "a DateTimeField or DateField of the accounts" in message.msg
    assert message.msg.endswith(f"not {value!r}.")
    settings.NOTIFICATIONS_ACCOUNT_CREATED_FIELD = "last_login"
    assert found() == []


@pytest.mark.parametrize("name", ["RETENTION_DAYS", "RETENTION_DAYS_UNREAD"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, 36_501, "90", True, [90]])
def test_retention_is_a_number_of_days(settings: Any, name: str, value: Any) -> None:
    setattr(settings, f"NOTIFICATIONS_{name}", value)

    (message,) = found()
    assert message.id == "notifications.E010"
    assert message.msg.startswith(f"NOTIFICATIONS_{name} must be a number of days above 0")
    assert message.msg.endswith(f"not {value!r}.")


@pytest.mark.parametrize(
    "value", [90, ["progress"], {"progress": 0}, {"Progress": 1}, {1: 1}, {"ping": 1}, None]
)
def test_retention_by_type_names_types_and_days(settings: Any, value: Any) -> None:
    settings.NOTIFICATIONS_RETENTION_DAYS_BY_TYPE = value

    (message,) = found()
    assert message.id == "notifications.E011"
    assert message.msg.endswith(f"not {value!r}.")


def test_messages_may_be_kept_for_ever_or_for_hours(settings: Any) -> None:
    settings.NOTIFICATIONS_RETENTION_DAYS = settings.NOTIFICATIONS_RETENTION_DAYS_UNREAD = None
    settings.NOTIFICATIONS_RETENTION_DAYS_BY_TYPE = {"progress": 0.5, "invoice": None}

    assert found() == []


@pytest.mark.parametrize(
    ("id", "name", "values"),
    [
        ("E014", "MAX_FRAME_SIZE", [0, 63, 65_537, 4096.0, "4096", None, True]),
        ("E015", "MAX_FRAMES_PER_SECOND", [0, 0.9, -1, "10", True, math.nan, math.inf]),
        ("E016", "MAX_SOCKETS_PER_ACCOUNT", [0, -1, 1.5, "50", True]),
        ("E017", "MAX_SOCKETS_PER_WORKER", [0, -1, 1.5, "50", False]),
        ("E048", "MAX_REQUESTS_PER_ACCOUNT", [0, -1, 1.5, "8", True]),
        ("E048", "MAX_REQUESTS_PER_WORKER", [0, -1, 1.5, "32", False]),
        ("E018", "MAX_UNSENT", [0, 4095, 2**24 + 1, "64k", None, True]),
        ("E018", "STALL_TIMEOUT", [0, 0.5, 3601, "60", None, True, math.nan]),
    ],
)
def test_a_limit_is_a_number_within_bounds(settings: Any, id: str, name: str, values: Any) -> None:
    for value in values:
        setattr(settings, f"NOTIFICATIONS_{name}", value)

        (message,) = found()

        assert message.id == f"notifications.{id}"
        assert message.msg.startswith(f"NOTIFICATIONS_{name} must be a ")
        assert message.msg.endswith(f"not {value!r}.")


def test_limits_may_be_at_their_bounds_or_none_for_no_limit(settings: Any) -> None:
    settings.NOTIFICATIONS_MAX_FRAME_SIZE = 64
    settings.NOTIFICATIONS_MAX_FRAMES_PER_SECOND = (
        settings.NOTIFICATIONS_MAX_SOCKETS_PER_ACCOUNT
    ) = 1
    settings.NOTIFICATIONS_MAX_UNSENT = 4096
    assert found() == []
    settings.NOTIFICATIONS_MAX_FRAMES_PER_SECOND = None
    settings.NOTIFICATIONS_MAX_SOCKETS_PER_ACCOUNT = None
    settings.NOTIFICATIONS_MAX_SOCKETS_PER_WORKER = None
    settings.NOTIFICATIONS_STALL_TIMEOUT = 3600
    assert found() == []


# --- Channel layer


@pytest.mark.parametrize("layers", [{}, {"other": {"BACKEND": IN_MEMORY}}, {"default": {}}])
def test_without_a_channel_layer_there_are_no_live_updates(settings: Any, layers: Any) -> None:
    settings.CHANNEL_LAYERS = layers

    (message,) = found()
    assert message.id == "notifications.E004"
    assert IN_MEMORY in message.hint and REDIS_PUBSUB in message.hint


def test_without_the_setting_there_is_no_channel_layer(settings: Any) -> None:
    del settings.CHANNEL_LAYERS

    assert found_ids() == ["notifications.E004"]


@pytest.mark.parametrize(
    ("config", "ids"),
    [
        ({}, ["notifications.W005"]),
        ({"capacity": 99_999}, ["notifications.W005"]),
        ({"capacity": 100_000}, []),
    ],
)
def test_the_in_memory_layer_needs_a_large_capacity(
    settings: Any, config: Any, ids: list[str]
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": IN_MEMORY, "CONFIG": config}}

    assert found_ids() == ids


@pytest.mark.parametrize(
    ("backend", "config", "ids"),
    [
        (REDIS_CORE, {"hosts": [REDIS]}, ["notifications.W006"]),
        (REDIS_PUBSUB, {"hosts": [REDIS]}, []),
        (REDIS_PUBSUB, {"hosts": [REDIS, REDIS]}, []),
        (REDIS_PUBSUB, {"hosts": ["redis://localhost:6379"]}, ["notifications.W007"]),
        (REDIS_PUBSUB, {"hosts": [("localhost", 6379)]}, ["notifications.W007"]),
        (REDIS_PUBSUB, {"hosts": [REDIS, {"address": "x"}]}, ["notifications.W007"]),
        (REDIS_PUBSUB, {"hosts": [{**REDIS, "socket_timeout": 5}]}, ["notifications.W007"]),
        (REDIS_PUBSUB, {}, ["notifications.W007"]),
        (REDIS_PUBSUB, None, ["notifications.W007"]),
        (REDIS_PUBSUB, {"hosts": 6379}, ["notifications.W007"]),
        ("elsewhere.Layer", {"hosts": ["x"]}, []),
    ],
)
def test_a_redis_layer_must_not_end_idle_subscriptions(
    settings: Any, backend: str, config: Any, ids: list[str]
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}

    assert [id for id in found_ids() if id != "notifications.W041"] == ids


@pytest.mark.parametrize("backend", [REDIS_CORE, REDIS_PUBSUB])
@pytest.mark.parametrize("config", [{}, {"prefix": "asgi"}, {"prefix": "shop"}, None])
def test_a_redis_layer_needs_a_prefix_of_its_own(
    settings: Any, backend: str, config: dict[str, Any] | None
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}

    messages = [message for message in found() if message.id == "notifications.W041"]

    assert len(messages) == (config != {"prefix": "shop"})
    for message in messages:
        assert message.hint and '"prefix"' in message.hint


def test_the_demo_has_a_prefix(settings: Any) -> None:
    settings.CHANNEL_LAYERS = demo_layers(REDIS_URL="redis://localhost:6379")
    assert found() == []
    assert settings.CHANNEL_LAYERS["default"]["CONFIG"]["prefix"] == "notify_site"

    settings.CHANNEL_LAYERS = demo_layers(REDIS_URL="redis://localhost:6379", REDIS_PREFIX="shop")
    assert settings.CHANNEL_LAYERS["default"]["CONFIG"]["prefix"] == "shop"


def demo_layers(**env: str) -> Any:
    program = (
        "import json; from notify_site import settings; print(json.dumps(settings.CHANNEL_LAYERS))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **env}, capture_output=True, check=True
    )
    return json.loads(printed.stdout)


# --- Database


@pytest.mark.parametrize(
    ("engine", "options", "ids"),
    [
        ("sqlite3", {"transaction_mode": "IMMEDIATE", "timeout": 20}, []),
        ("sqlite3", {}, ["notifications.W008"]),
        ("sqlite3", {"timeout": 20}, ["notifications.W008"]),
        ("sqlite3", {"transaction_mode": "IMMEDIATE"}, ["notifications.W008"]),
        ("sqlite3", {"transaction_mode": "DEFERRED", "timeout": 20}, ["notifications.W008"]),
        ("postgresql", {}, []),
    ],
)
def test_sqlite_must_let_writers_wait(
    monkeypatch: pytest.MonkeyPatch, engine: str, options: Any, ids: list[str]
) -> None:
    database = {"ENGINE": f"django.db.backends.{engine}", "OPTIONS": options}
    monkeypatch.setitem(site.DATABASES, "default", database)

    assert [message.id for message in own.check_database()] == ids


def test_connections_must_not_outlive_their_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    database = {"ENGINE": "django.db.backends.postgresql", "CONN_MAX_AGE": 60}
    monkeypatch.setitem(site.DATABASES, "default", database)

    assert [message.id for message in own.check_database()] == ["notifications.W012"]


@pytest.mark.parametrize("engine", ["db", "cached_db", "cache", "file", "signed_cookies"])
def test_sessions_that_cannot_be_ended_are_reported(settings: Any, engine: str) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"

    expected = ["notifications.W013"] if engine == "signed_cookies" else []
    assert found_ids() == expected


@pytest.mark.parametrize("vendor", ["mysql", "oracle", "microsoft", "cockroachdb"])
def test_a_database_that_lacks_what_we_need_is_an_error(
    monkeypatch: pytest.MonkeyPatch, vendor: str
) -> None:
    monkeypatch.setattr(connection, "vendor", vendor)

    (message,) = own.check_database()

    assert isinstance(message, checks.Error)
    assert message.id == "notifications.E055"
    assert message.msg.startswith(f"The database “default” is of the vendor “{vendor}”.")
    assert "need PostgreSQL or SQLite" in message.msg
