"""
A cheaper way to receive from the layers of Channels and channels_redis: a Tap instead of a queue.

These layers keep a queue for each channel of the process. A Tap in its stead hands a message over
at once, with the account of its channel, so a group costs no task, queue or Redis subscription.
That uses private parts of the layers, so it is only done with these exact classes, no subclasses,
in tested versions, if the parts are there. All other channel layers get Readers.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final, Protocol

from django.conf import settings
from django.core.checks import CheckMessage, Warning
from django.utils.module_loading import import_string

from notifications.adapters import Adapter, Versions, differences

from .readers import Readers, Take

logger = logging.getLogger(__name__)

CHECK_ID: Final = "notifications.W029"
OFF: Final = "Each account with open tabs needs its own task to receive from the channel layer."

IN_MEMORY: Final = "channels.layers.InMemoryChannelLayer"
REDIS_CORE: Final = "channels_redis.core.RedisChannelLayer"
REDIS_PUBSUB: Final = "channels_redis.pubsub.RedisPubSubChannelLayer"


class Source(Protocol):
    """A hub's channel for one group, which passes on the messages that arrive there."""

    account: str | None  # whose group it is, None for the group of all hubs

    @property
    def channel(self) -> str | None:
        """The channel's name, None until it is opened."""

    async def open(self) -> str:
        """Start receiving; return the channel's name. Further calls only return it."""

    def close(self) -> None:
        """Stop receiving."""


class Sources(Protocol):
    """All sources of a hub."""

    def source(self, account: str | None) -> Source:
        """Return a new source."""

    async def close(self) -> None:
        """Clean up, after all sources have been closed."""


class Taps:
    def __init__(self, layer: Any, take: Take) -> None:
        self.layer = layer
        self.loop = asyncio.get_running_loop()
        self.prefix = f"notifications.hub.{uuid.uuid4().hex}"
        self._take = take
        self._numbers = itertools.count()

    async def open(self) -> list[str]:
        """Return how the layer differs from the tested versions, as text."""
        raise NotImplementedError

    async def close(self) -> None:
        pass

    def source(self, account: str | None) -> Tap:
        return Tap(self, account, f"{self.prefix}.{next(self._numbers)}")

    def queues(self) -> dict[str, Any]:
        """Return the layer's queues, by channel."""
        queues: dict[str, Any] = self.layer.channels
        return queues

    def message(self, item: Any) -> object:
        """Return the message in a queue's item."""
        return item

    def take(self, account: str | None, item: Any) -> None:
        try:
            message = self.message(item)
        except Exception:
            message = None  # not from the layer itself
        self._take(account, message)


class InMemoryTaps(Taps):
    async def open(self) -> list[str]:
        return differences(self.layer, channels=dict)

    def message(self, item: Any) -> object:
        _, message = item  # the time when it expires, and the message
        return message


class RedisPubSubTaps(Taps):
    async def open(self) -> list[str]:
        return differences(self.layer, channels=dict, deserialize=Callable)

    def message(self, item: Any) -> object:
        return self.layer.deserialize(item)


class RedisCoreTaps(Taps):
    """This layer has one Redis list for all channels: one reader receives for all of them."""

    def __init__(self, layer: Any, take: Take) -> None:
        super().__init__(layer, take)
        self._readers = Readers(layer, lambda account, message: None)
        self._reader = self._readers.source(None)

    async def open(self) -> list[str]:
        found = differences(self.layer, receive_buffer=dict)
        if not found:
            self.prefix = await self._reader.open()
        return found

    async def close(self) -> None:
        self._reader.close()
        await self._readers.close()

    def queues(self) -> dict[str, Any]:
        queues: dict[str, Any] = self.layer.receive_buffer
        return queues


class Tap:
    """Replaces a channel's queue in a layer, and stores nothing."""

    __slots__ = ("_taps", "account", "channel")

    def __init__(self, taps: Taps, account: str | None, channel: str) -> None:
        self._taps = taps
        self.account = account
        self.channel = channel

    async def open(self) -> str:
        self._taps.queues()[self.channel] = self
        return self.channel

    def close(self) -> None:
        self._taps.queues().pop(self.channel, None)

    def put_nowait(self, item: Any) -> None:
        # The sender may run in another thread, on another loop. It must not fail
        # if this hub's loop was closed without stopping the hub.
        with suppress(RuntimeError):
            self._taps.loop.call_soon_threadsafe(self._taps.take, self.account, item)

    def empty(self) -> bool:
        return True


TAPS: Final[dict[str, type[Taps]]] = {
    IN_MEMORY: InMemoryTaps,
    REDIS_CORE: RedisCoreTaps,
    REDIS_PUBSUB: RedisPubSubTaps,
}
ADAPTERS: Final = {
    IN_MEMORY: Adapter(Versions("channels", "4.3", "4.3"), off=OFF, check_id=CHECK_ID),
    REDIS_CORE: Adapter(Versions("channels_redis", "4.3", "4.3"), off=OFF, check_id=CHECK_ID),
    REDIS_PUBSUB: Adapter(Versions("channels_redis", "4.3", "4.3"), off=OFF, check_id=CHECK_ID),
}


async def open_sources(layer: Any, take: Take) -> Sources:
    """Return the cheapest sources that this layer allows; `take` is called on the running loop."""
    path = path_of(type(layer))
    if is_tested(layer):
        taps = TAPS[path](layer, take)
        try:
            found = await taps.open()
        except Exception as error:
            found = [f"{path} raises {type(error).__name__}"]
        if not found:
            return taps
        ADAPTERS[path].turn_off(", ".join(found))
    elif layer is not None and path not in ADAPTERS:
        _warn_once(_unknown(path))
    return Readers(layer, take)


def is_tested(layer: Any) -> bool:
    """Whether this is one of the layers named here, in a tested version and without differences."""
    path = path_of(type(layer))
    return path in ADAPTERS and ADAPTERS[path].is_on


def check_taps(app_configs: Sequence[Any] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn about a channel layer that needs Readers."""
    backend = getattr(settings, "CHANNEL_LAYERS", {}).get("default", {}).get("BACKEND")
    try:
        path = path_of(import_string(backend))
    except Exception:
        return []  # none (E004), or one that Channels can't create either
    if path in ADAPTERS:
        return ADAPTERS[path].check()
    tested = ", ".join(TAPS)
    return [Warning(_unknown(path), hint=f"Nothing is lost. Tested: {tested}.", id=CHECK_ID)]


def path_of(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _unknown(path: str) -> str:
    return f"The channel layer {path} was not tested. {OFF}"


@cache
def _warn_once(text: str) -> None:
    logger.warning("%s (%s)", text, CHECK_ID)
