"""The NOTIFICATIONS_* settings: `conf.HEARTBEAT_INTERVAL` and so on, read live."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.staticfiles import finders
from django.db.models import DateField

from .protocol import is_valid_type
from .settings_spec import (
    TRUE_OR_FALSE,
    Allowed,
    Setting,
    is_number,
    number,
    one_of,
    positive_number,
    whole_number,
)

MAX_RETENTION_DAYS: Final = 36_500


def _lets_two_heartbeats_pass(timeout: object) -> bool:
    interval = conf.HEARTBEAT_INTERVAL
    if not Conf.HEARTBEAT_INTERVAL.allowed.test(interval):
        return True  # the interval is what has to be fixed
    return is_number(timeout) and timeout >= 2 * interval


def date_field_of_accounts(name: object) -> Any:
    """Return the accounts' DateTimeField or DateField of this name, None if there is none."""
    for field in get_user_model()._meta.concrete_fields:
        if field.name == name and isinstance(field, DateField):
            return field
    return None


def _is_date_field_of_accounts(name: object) -> bool:
    # Accounts need not have the default field: that is a warning's (checks/accounts.py).
    return not Conf.ACCOUNT_CREATED_FIELD.is_set or date_field_of_accounts(name) is not None


def _is_sound_file(path: object) -> bool:
    return path == "" or (isinstance(path, str) and finders.find(path) is not None)


# Of letters, digits and "-._~", which a browser sends as they are; it resolves "." and "..".
_PATH: Final = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+"


def _is_root_path(path: object) -> bool:
    if not isinstance(path, str) or not re.fullmatch(rf"(?:/{_PATH})*", path):
        return False
    return path == "" or settings.FORCE_SCRIPT_NAME in (None, "", path)


def _is_socket_path(path: object) -> bool:
    return isinstance(path, str) and re.fullmatch(rf"/?{_PATH}(?:/{_PATH})*/?", path) is not None


_DAYS = positive_number("days", MAX_RETENTION_DAYS).or_none("to keep for ever")
_CONNECTIONS = whole_number("connections", 1).or_none("for any number")
_REQUESTS = whole_number("requests", 1).or_none("for any number")


def _are_days_by_type(value: object) -> bool:
    return isinstance(value, dict) and all(
        is_valid_type(type) and _DAYS.test(days) for type, days in value.items()
    )


class Conf:
    HEARTBEAT_INTERVAL = Setting[float](
        9,
        positive_number("seconds"),
        "notifications.E001",
        "The time between two heartbeats of a client, two checks of the hub, and two renewals of "
        "a worker's lease. With the in-memory channel layer the hub checks every second, so that "
        "messages from a shell or a command outside the server reach open tabs.",
    )
    HEARTBEAT_TIMEOUT = Setting[float](
        20,
        Allowed(
            "a number of seconds, at least twice NOTIFICATIONS_HEARTBEAT_INTERVAL",
            _lets_two_heartbeats_pass,
        ),
        "notifications.E002",
        "A connection that is silent for this long is closed (4408). Also the length of a "
        "worker's lease.",
        hint=lambda: f"Set it to {2 * conf.HEARTBEAT_INTERVAL:g} or more.",
    )
    DRAIN_SECONDS = Setting[float](
        8,
        number("seconds", 0, 3600),
        "notifications.E019",
        "The time over which a stopping server (SIGTERM) moves its clients to the others. With "
        "two more seconds for closing, it fits into the ten that Docker waits. Set it to 0 on a "
        "site with a single process: see [deployment](deployment.md#deploys).",
        hint=lambda: "The process manager must wait a little longer before it kills the server.",
    )
    MAINTENANCE = Setting[str](
        "server",
        one_of("server", "external"),
        "notifications.E003",
        'Where the periodic task runs. `"server"`: in the server processes, one at a time. '
        '`"external"`: only in `manage.py notification_maintenance`.',
    )
    RETENTION_DAYS = Setting[float | None](
        90,
        _DAYS,
        "notifications.E010",
        "A message is deleted this long after it was read, archived or removed.",
    )
    RETENTION_DAYS_UNREAD = Setting[float | None](
        365,
        _DAYS,
        "notifications.E010",
        "An unread notification is removed from its inbox and from open tabs at this age, and so "
        "is every broadcast. `NOTIFICATIONS_RETENTION_DAYS` later it is deleted.",
    )
    RETENTION_DAYS_BY_TYPE = Setting[dict[str, float | None]](
        {},
        Allowed(f"a dict of message types, each with {_DAYS.text}", _are_days_by_type),
        "notifications.E011",
        "Replaces both of the above for messages of these types: "
        '`{"progress": 0.5, "invoice": None}`.',
    )
    ACCOUNT_CREATED_FIELD = Setting[str](
        "date_joined",
        Allowed(
            "the name of a DateTimeField or DateField of the accounts", _is_date_field_of_accounts
        ),
        "notifications.E009",
        "The field with an account's creation date. An account does not get the broadcasts that "
        "were sent earlier; one without a value there gets all of them. A day begins at 00:00 in "
        "`TIME_ZONE`. The field has to be a column of the accounts' own table, or of their "
        "parent's: neither a property nor a field of a profile. Accounts without the default field "
        "get all broadcasts (`notifications.W053`).",
    )
    ACCEPT_UNSIGNED = Setting[bool](
        False,
        TRUE_OR_FALSE,
        "notifications.E040",
        "Whether a plain `notifications.frame`, as any code with access to the channel layer can "
        "send it, is shown to the account of its group. `False`: only those that "
        "`notifications.protocol.account_message()` signed.",
    )
    SOUND = Setting[str](
        "",
        Allowed("the path of a static file that can be found, or “” for no sound", _is_sound_file),
        "notifications.W022",
        'A sound, such as `"mysite/new.mp3"`, that a browser plays for new messages, in one tab '
        "only. Browsers play no sound on a page before the first click or key press there.",
    )
    ROOT_PATH = Setting[str](
        "",
        Allowed(
            "a path such as “/shop”, without a slash at its end, or “” for none, and that of "
            "FORCE_SCRIPT_NAME where that is set too",
            _is_root_path,
        ),
        "notifications.E043",
        "The path below which the site is mounted. `FORCE_SCRIPT_NAME`, if that is set, or the "
        "server's `--root-path` do the same; with plain Daphne the latter does not count: see "
        "[deployment](deployment.md#below-a-path).",
        hint=lambda: "FORCE_SCRIPT_NAME alone suffices." if settings.FORCE_SCRIPT_NAME else "",
    )
    SOCKET_PATH = Setting[str](
        "ws/notifications/",
        Allowed(
            "a path such as “live/”, below the site's root path, or “/live/”, from the host's root "
            "(letters, digits and “-._~”)",
            _is_socket_path,
        ),
        "notifications.E044",
        "The path of the WebSocket, relative to the site's root path. One that begins with a "
        "slash is the whole path, as the browser requests it. It is read at the start.",
    )
    DIRECT_WRITES = Setting[bool](
        True,
        TRUE_OR_FALSE,
        "notifications.E032",
        "Whether frames are written straight to the transport of a server that was tested "
        "(Daphne without TLS, uvicorn). `False`: always through ASGI `send`.",
    )
    MAX_FRAME_SIZE = Setting[int](
        4096,
        whole_number("bytes", 64, 64 * 1024),
        "notifications.E014",
        "The maximum size of a client's frame. A longer one is answered with the error "
        "`bad_frame`.",
    )
    MAX_FRAMES_PER_SECOND = Setting[float | None](
        10,
        number("frames", 1).or_none("for any number"),
        "notifications.E015",
        "The maximum rate of one connection in the long run; ten seconds' worth may come at once. "
        "Pings, pongs and parts of messages count too, with Daphne and uvicorn. "
        "The first frame above it is answered with the error `rate_limited`, the next ones are "
        "ignored, and after another ten seconds' worth the connection is closed (4429).",
    )
    MAX_SOCKETS_PER_ACCOUNT = Setting[int | None](
        50,
        _CONNECTIONS,
        "notifications.E016",
        "The connections of one account, on all servers together. The oldest are closed to make "
        "way for newer ones (4409).",
    )
    MAX_SOCKETS_PER_WORKER = Setting[int | None](
        20_000,
        _CONNECTIONS,
        "notifications.E017",
        "The connections of one server process, including those whose account is still being "
        "looked up. Further ones are refused (4503, with a delay of 5 to 15 s).",
    )
    MAX_REQUESTS_PER_ACCOUNT = Setting[int | None](
        8,
        _REQUESTS,
        "notifications.E048",
        "The requests of one account to the app's views that one server process works on at the "
        "same time. Further ones are answered with 503 and `Retry-After`.",
    )
    MAX_REQUESTS_PER_WORKER = Setting[int | None](
        32,
        _REQUESTS,
        "notifications.E048",
        "The same for all accounts together. Each request may take a database connection: all "
        "processes together must stay below what the database has.",
    )
    MAX_UNSENT = Setting[int](
        64 * 1024,
        number("bytes", 4096, 16 * 1024 * 1024),
        "notifications.E018",
        "How much may wait to be sent to a client that reads slowly. Above it, the client falls "
        "behind; once it has read, it catches up from the database. Through ASGI `send`, sixteen "
        "times that amount may wait. A single frame above it is not sent: the client gets "
        "`resync` instead, and loads its list.",
    )
    STALL_TIMEOUT = Setting[float](
        50,
        number("seconds", 1, 3600),
        "notifications.E018",
        "The connection of a client that reads nothing for this long is closed (4408), and cut "
        "off six seconds later.",
    )

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.HEARTBEAT_TIMEOUT)


conf: Conf = Conf()
SETTINGS: list[Setting[Any]] = [
    value for value in vars(Conf).values() if isinstance(value, Setting)
]
