"""
System checks: what is set wrong is said at start, with what is allowed.

E001–E003, E009–E011 and E014–E019 settings, E004–W007 channel layer, W008 and W012 database,
W013 sessions, W021 and W022 static files, E023–E027 others of the same name.
"""

from __future__ import annotations

import importlib.metadata
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from django.apps import AppConfig, apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.checks import CheckMessage, Error, Warning
from django.db import router
from django.db.models import DateTimeField
from django.template import Engine, engines
from django.template.backends.django import DjangoTemplates
from django.template.base import Origin
from django.template.library import import_library
from django.template.loaders import app_directories
from django.urls import get_resolver

from .conf import conf
from .protocol import is_valid_type

IN_MEMORY = "channels.layers.InMemoryChannelLayer"
REDIS_CORE = "channels_redis.core.RedisChannelLayer"
REDIS_PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
DISTRIBUTION = "notify-site-notifications"
PACKAGE = Path(__file__).parent
MIN_CAPACITY = 100_000
MAX_DAYS = 36_500
MAX_DRAIN_SECONDS = 3600  # seconds
FRAME_SIZES = 64, 64 * 1024  # bytes, least and most
SLOWNESS = [("MAX_UNSENT", "bytes", 4096, 16 * 1024 * 1024), ("STALL_TIMEOUT", "seconds", 1, 3600)]


def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    interval, timeout = conf.HEARTBEAT_INTERVAL, conf.HEARTBEAT_TIMEOUT
    if not _is_number(interval) or interval <= 0:
        messages.append(
            Error(
                f"NOTIFICATIONS_HEARTBEAT_INTERVAL must be a number of seconds above 0, "
                f"not {interval!r}.",
                id="notifications.E001",
            )
        )
    elif not _is_number(timeout) or timeout < 2 * interval:
        messages.append(
            Error(
                f"NOTIFICATIONS_HEARTBEAT_TIMEOUT must be a number of seconds that lets two "
                f"heartbeats pass, not {timeout!r}.",
                hint=f"Set it to {2 * interval:g} or more.",
                id="notifications.E002",
            )
        )
    if not _is_number(conf.DRAIN_SECONDS) or not 0 <= conf.DRAIN_SECONDS <= MAX_DRAIN_SECONDS:
        messages.append(
            Error(
                f"NOTIFICATIONS_DRAIN_SECONDS must be a number of seconds from 0 to "
                f"{MAX_DRAIN_SECONDS}, not {conf.DRAIN_SECONDS!r}.",
                hint="What stops the server must wait a little longer before it kills it.",
                id="notifications.E019",
            )
        )
    if conf.MAINTENANCE not in ("server", "external"):
        messages.append(
            Error(
                f"NOTIFICATIONS_MAINTENANCE must be “server” or “external”, "
                f"not {conf.MAINTENANCE!r}.",
                id="notifications.E003",
            )
        )
    # The default may be missing: such a site shows older broadcasts to new accounts.
    if hasattr(settings, "NOTIFICATIONS_ACCOUNT_CREATED_FIELD") and not _is_time_of_account(
        conf.ACCOUNT_CREATED_FIELD
    ):
        messages.append(
            Error(
                f"NOTIFICATIONS_ACCOUNT_CREATED_FIELD must be the name of a DateTimeField of the "
                f"accounts, not {conf.ACCOUNT_CREATED_FIELD!r}.",
                id="notifications.E009",
            )
        )
    for name in ("RETENTION_DAYS", "RETENTION_DAYS_UNREAD"):
        if not _is_retention(days := getattr(conf, name)):
            messages.append(
                Error(
                    f"NOTIFICATIONS_{name} must be a number of days above 0 and up to "
                    f"{MAX_DAYS}, or None to keep for ever, not {days!r}.",
                    id="notifications.E010",
                )
            )
    by_type = conf.RETENTION_DAYS_BY_TYPE
    if not isinstance(by_type, dict) or not all(
        is_valid_type(type) and _is_retention(days) for type, days in by_type.items()
    ):
        messages.append(
            Error(
                f"NOTIFICATIONS_RETENTION_DAYS_BY_TYPE must be a dict of message types, each with "
                f"a number of days above 0 and up to {MAX_DAYS}, or None to keep for ever, "
                f"not {by_type!r}.",
                id="notifications.E011",
            )
        )
    return messages + _check_limits()


def check_channel_layer(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    layer = getattr(settings, "CHANNEL_LAYERS", {}).get("default")
    if not layer:
        return [
            Error(
                "CHANNEL_LAYERS has no “default” layer: nothing could be pushed.",
                hint=f"Use {IN_MEMORY} for one process, {REDIS_PUBSUB} for several.",
                id="notifications.E004",
            )
        ]
    backend, config = layer.get("BACKEND"), layer.get("CONFIG", {})
    if backend == IN_MEMORY and config.get("capacity", 100) < MIN_CAPACITY:
        return [
            Warning(
                "The in-memory channel layer drops what exceeds its capacity.",
                hint=f'Set "CONFIG": {{"capacity": {MIN_CAPACITY}}} or more.',
                id="notifications.W005",
            )
        ]
    if backend == REDIS_CORE:
        return [
            Warning(
                "RedisChannelLayer drops bursts and closes its sockets when Redis pauses.",
                hint=f"Use {REDIS_PUBSUB}.",
                id="notifications.W006",
            )
        ]
    # Without hosts it is one on this machine, with redis-py's own time-out.
    hosts = (config.get("hosts") or [{}]) if backend == REDIS_PUBSUB else []
    if any(not isinstance(host, dict) or host.get("socket_timeout", 5) for host in hosts):
        return [
            Warning(
                "redis-py ends an idle subscription after 5 seconds.",
                hint='Give each host as {"address": …, "socket_timeout": None, '
                '"socket_connect_timeout": 3, "socket_keepalive": True}.',
                id="notifications.W007",
            )
        ]
    return []


def check_database(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    from .models import Notification

    messages: list[CheckMessage] = []
    database = settings.DATABASES.get(router.db_for_write(Notification), {})
    options = database.get("OPTIONS", {})
    if database.get("ENGINE") == "django.db.backends.sqlite3" and not (
        options.get("transaction_mode") == "IMMEDIATE" and options.get("timeout", 5) >= 20
    ):
        messages.append(
            Warning(
                "SQLite will answer “database is locked” when several write at once.",
                hint='Set OPTIONS to {"transaction_mode": "IMMEDIATE", "timeout": 20, '
                '"init_command": "PRAGMA journal_mode=WAL;"}.',
                id="notifications.W008",
            )
        )
    if database.get("CONN_MAX_AGE", 0) != 0:
        messages.append(
            Warning(
                "Under ASGI each request has a thread of its own: CONN_MAX_AGE keeps its database "
                "connection open after the thread has gone, until there are too many.",
                hint="Leave CONN_MAX_AGE at 0. PostgreSQL can have a pool: "
                'OPTIONS = {"pool": True}.',
                id="notifications.W012",
            )
        )
    return messages


def check_static_files(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    # Only storages that put a hash into names have the attribute.
    storage = staticfiles_storage if apps.is_installed("django.contrib.staticfiles") else None
    if not getattr(storage, "support_js_module_import_aggregation", True):
        messages.append(
            Warning(
                "The static files storage leaves the imports of JavaScript modules without hashes: "
                "after an upgrade, browsers mix the modules they kept with new ones.",
                hint="Subclass it with support_js_module_import_aggregation = True.",
                id="notifications.W021",
            )
        )
    sound = conf.SOUND
    if sound != "" and not (isinstance(sound, str) and finders.find(sound)):
        messages.append(
            Warning(
                f"NOTIFICATIONS_SOUND must be the path of a static file, such as "
                f"“mysite/new.mp3”, and none is found for {sound!r}.",
                id="notifications.W022",
            )
        )
    return messages


def check_sessions(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    if settings.SESSION_ENGINE != "django.contrib.sessions.backends.signed_cookies":
        return []
    return [
        Warning(
            "Sessions in signed cookies can't be ended: whoever has a copy of the cookie gets in "
            "for SESSION_COOKIE_AGE, also after a logout.",
            hint='Set SESSION_ENGINE to "django.contrib.sessions.backends.db" or “cached_db”.',
            id="notifications.W013",
        )
    ]


def check_names(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Find what has a name of ours and is found in its place."""
    return [
        *_check_distributions(),
        *_check_templates(),
        *_check_static_names(),
        *_check_url_namespace(),
        *_check_tag_library(),
    ]


def _check_distributions() -> list[CheckMessage]:
    # A distribution may be found twice, and spelled in two ways.
    names = {
        re.sub(r"[-_.]+", "-", str(distribution.metadata["Name"])).lower()
        for distribution in importlib.metadata.distributions()
        if _has_our_package(distribution)
    }
    others = " ".join(sorted(names - {DISTRIBUTION}))
    if not others:
        return []
    return [
        Error(
            f"Another installed distribution has a package “notifications”: {others}.",
            hint="They overwrite or hide each other's files. Uninstall both, by “pip uninstall "
            f"{others} {DISTRIBUTION}”, and then install the one to keep.",
            id="notifications.E023",
        )
    ]


def _has_our_package(distribution: importlib.metadata.Distribution) -> bool:
    # packages_distributions() says it of all packages, and takes eight times as long.
    packages = distribution.read_text("top_level.txt") or ""
    record = distribution.read_text("RECORD") or ""
    return "notifications" in packages.split() or "\nnotifications/" in f"\n{record}"


def _check_templates() -> list[CheckMessage]:
    hidden: dict[str, list[str]] = {}
    for name in _names_in("templates"):
        origin = _find_template(name)
        # Those in DIRS are a site's own, made to replace ours.
        if origin and isinstance(origin.loader, app_directories.Loader):
            app = next(
                config.name
                for config in apps.get_app_configs()
                if Path(config.path, "templates", name).is_file()
            )
            hidden.setdefault(app, []).append(name)
    hidden.pop("notifications", None)
    return [
        Warning(
            f"The app “{app}” has templates that hide ours: {', '.join(names)}.",
            hint="Rename them. If they are meant to replace ours, move them to the DIRS of "
            "TEMPLATES, or silence this warning.",
            id="notifications.W024",
        )
        for app, names in hidden.items()
    ]


def _find_template(name: str) -> Origin | None:
    for engine in _template_engines():
        for loader in engine.template_loaders:
            for origin in loader.get_template_sources(name):
                if Path(origin.name).is_file():
                    return origin
    return None


def _check_static_names() -> list[CheckMessage]:
    if not apps.is_installed("django.contrib.staticfiles"):
        return []
    hidden: dict[Path, list[str]] = {}
    for name in _names_in("static"):
        found = finders.find(name)
        if found and not (PACKAGE / "static" / name).samefile(found):
            hidden.setdefault(Path(found.removesuffix(name)), []).append(name)
    return [
        Warning(
            f"Static files in {folder} hide ours: {', '.join(names)}.",
            hint="Rename them. If they are meant to replace ours, silence this warning.",
            id="notifications.W025",
        )
        for folder, names in hidden.items()
    ]


def _check_url_namespace() -> list[CheckMessage]:
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    root = get_resolver()
    # As reverse() finds it.
    instances = root.app_dict.get("notifications", ["notifications"])
    namespace = "notifications" if "notifications" in instances else instances[0]
    if namespace not in root.namespace_dict:
        return []
    _, resolver = root.namespace_dict[namespace]
    ours = get_resolver("notifications.urls").reverse_dict
    names = [name for name in ours if isinstance(name, str)]
    missing = sorted(name for name in names if name not in resolver.reverse_dict)
    if not missing:
        return []
    where = getattr(resolver.urlconf_module, "__name__", f"the list at “{resolver.pattern}”")
    return [
        Error(
            f"The URL namespace “notifications” is that of {where}, which has no "
            f"{', '.join(missing)}.",
            hint="Give it another app_name, and include “notifications.urls”.",
            id="notifications.E026",
        )
    ]


def _check_tag_library() -> list[CheckMessage]:
    ours = import_library("notifications.templatetags.notifications")
    for engine in _template_engines():
        library = engine.template_libraries["notifications"]
        missing = {*ours.tags, *ours.filters} - {*library.tags, *library.filters}
        if missing:
            return [
                Error(
                    f"The template tag library “notifications” is "
                    f"{engine.libraries['notifications']}, which has no "
                    f"{', '.join(sorted(missing))}.",
                    hint="Rename that module.",
                    id="notifications.E027",
                )
            ]
    return []


def _template_engines() -> list[Engine]:
    return [backend.engine for backend in engines.all() if isinstance(backend, DjangoTemplates)]


def _names_in(folder: str) -> list[str]:
    root = PACKAGE / folder
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*"))


def _is_count(value: object, least: int = 1, most: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_number_between(least: float, most: float) -> Callable[[object], bool]:
    return lambda value: _is_number(value) and least <= value <= most


def _check_limits() -> list[CheckMessage]:
    messages: list[CheckMessage] = []

    def check(name: str, is_allowed: Callable[[Any], bool], allowed: str, id: str) -> None:
        value = getattr(conf, name)
        if not is_allowed(value):
            told = f"NOTIFICATIONS_{name} must be {allowed}, not {value!r}."
            messages.append(Error(told, None, None, id))

    check(
        "MAX_FRAME_SIZE",
        lambda value: _is_count(value, *FRAME_SIZES),
        "a number of bytes from {} to {}".format(*FRAME_SIZES),
        id="notifications.E014",
    )
    check(
        "MAX_FRAMES_PER_SECOND",
        lambda value: value is None or (_is_number(value) and value >= 1),
        "a number from 1, or None for any number",
        id="notifications.E015",
    )
    check(
        "MAX_SOCKETS_PER_ACCOUNT",
        lambda value: value is None or _is_count(value),
        "a whole number from 1, or None for any number",
        id="notifications.E016",
    )
    check(
        "MAX_SOCKETS_PER_WORKER",
        lambda value: value is None or _is_count(value),
        "a whole number from 1, or None for any number",
        id="notifications.E017",
    )
    for name, unit, least, most in SLOWNESS:
        check(
            name,
            _is_number_between(least, most),
            f"a number of {unit} from {least} to {most}",
            id="notifications.E018",
        )
    return messages


def _is_retention(days: object) -> bool:
    return days is None or (_is_number(days) and 0 < days <= MAX_DAYS)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_time_of_account(name: object) -> bool:
    fields = get_user_model()._meta.get_fields()
    return any(field.name == name and isinstance(field, DateTimeField) for field in fields)
