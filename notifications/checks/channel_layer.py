"""
The channel layer must not drop messages in bursts, end idle subscriptions, or serve two sites.
"""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from notifications.channel_layer.taps import IN_MEMORY, REDIS_CORE, REDIS_PUBSUB

MIN_CAPACITY: Final = 100_000  # messages
DEFAULT_PREFIX: Final = "asgi"  # of channels_redis


def check_channel_layer(**kwargs: Any) -> list[CheckMessage]:
    return [*_check_messages(), *_check_prefix()]


def _check_messages() -> list[CheckMessage]:
    layer = getattr(settings, "CHANNEL_LAYERS", {}).get("default")
    if not layer:
        return [
            Error(
                "CHANNEL_LAYERS has no “default” layer, so there are no live updates.",
                hint=f"Use {IN_MEMORY} for one process, {REDIS_PUBSUB} for several.",
                id="notifications.E004",
            )
        ]
    backend, config = layer.get("BACKEND"), layer.get("CONFIG") or {}
    if backend == IN_MEMORY and config.get("capacity", 100) < MIN_CAPACITY:
        return [
            Warning(
                "The in-memory channel layer drops messages above its capacity.",
                hint=f'Set "CONFIG": {{"capacity": {MIN_CAPACITY}}} or more.',
                id="notifications.W005",
            )
        ]
    if backend == REDIS_CORE:
        return [
            Warning(
                "RedisChannelLayer drops messages in bursts and fails when Redis pauses.",
                hint=f"Use {REDIS_PUBSUB}.",
                id="notifications.W006",
            )
        ]
    # Without hosts the layer uses one on this machine, with redis-py's default timeout.
    hosts = (config.get("hosts") or [{}]) if backend == REDIS_PUBSUB else []
    hosts = hosts if isinstance(hosts, list | tuple) else [hosts]
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


def _check_prefix() -> list[CheckMessage]:
    layer = getattr(settings, "CHANNEL_LAYERS", {}).get("default") or {}
    prefix = (layer.get("CONFIG") or {}).get("prefix", DEFAULT_PREFIX)
    if layer.get("BACKEND") not in {REDIS_CORE, REDIS_PUBSUB} or prefix != DEFAULT_PREFIX:
        return []
    return [
        Warning(
            "The channel layer has the prefix that every site has by default. If another site uses "
            "the same Redis, each gets what the other sends, and has to drop it. Redis's database "
            "numbers do not separate them.",
            hint='Set "CONFIG": {"prefix": …} to a name of this site.',
            id="notifications.W041",
        )
    ]
