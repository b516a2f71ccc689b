"""
A cheaper way for the layers of Channels and channels_redis: a Tap in the place of a queue.

These layers keep a queue for each channel of the process. Where a Tap stands instead, a message is
handed over at once, with the account of its channel: a group costs no task, queue or Redis
subscription. That takes private parts of the layers, so it is done to these very classes and no
subclass, in tested versions, if the parts are there. All other layers have Readers.
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
OFF: Final = "Each account with open tabs takes a task that receives from the channel layer."

IN_MEMORY: Final = "channels.layers.InMemoryChannelLayer"
REDIS_CORE: Final = "channels_redis.core.RedisChannelLayer"
REDIS_PUBSUB: Final = "channels_redis.pubsub.RedisPubSubChannelLayer"


class Source(Protocol):
    """One group's channel of a hub, and what takes the messages that come to it."""

    account: str | None  # whose group it is, None for the group of all hubs

    @property
    def channel(self) -> str | None:
        """The channel's name, None until it was opened."""

    async def open(self) -> str:
        """Return the channel's name; messages are taken from now on. May be repeated."""

    def close(self) -> None:
        """Take no more messages."""


class Sources(Protocol):
    """All sources of a hub."""

    def source(self, account: str | None) -> Source:
        """Return a new source."""

    async def close(self) -> None:
        """Clean up, after all sources were closed."""


class Taps:
    def __init__(self, layer: Any, take: Take) -> None:
        self.layer = layer
        self.loop = asyncio.get_running_loop()
        self.prefix = f"notifications.hub.{uuid.uuid4().hex}"
        self._take = take
        self._numbers = itertools.count()

    async def open(self) -> list[str]:
        """Return how the layer differs from those that were tested, in words."""
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
        """Return the message that is in an item of a queue."""
        return item

    def take(self, account: str | None, item: Any) -> None:
        try:
            message = self.message(item)
        except Exception:
            message = None  # nothing that the layer sent
        self._take(account, message)


class InMemoryTaps(Taps):
    async def open(self) -> list[str]:
        return differences(self.layer, channels=dict)

    def message(self, item: Any) -> object:
        _, message = item  # with the time when it expires
        return message


class RedisPubSubTaps(Taps):
    async def open(self) -> list[str]:
        return differences(self.layer, channels=dict, deserialize=Callable)

    def message(self, item: Any) -> object:
        return self.layer.deserialize(item)


class RedisCoreTaps(Taps):
    """This layer has one list in Redis for all channels: the reader of one brings those of all."""

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
    """Stands where a layer expects a channel's queue, and keeps nothing."""

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
        # The sender may run in another thread, on a loop of its own; it must not
        # fail because this hub's loop was closed without stopping the hub.
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
    if path not in TAPS:
        _warn_once(_unknown(path))
    elif ADAPTERS[path].is_on:
        taps = TAPS[path](layer, take)
        try:
            found = await taps.open()
        except Exception as error:
            found = [f"{path} raises {type(error).__name__}"]
        if not found:
            return taps
        ADAPTERS[path].turn_off(", ".join(found))
    return Readers(layer, take)


def check_taps(app_configs: Sequence[Any] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn of a layer that has Readers."""
    backend = getattr(settings, "CHANNEL_LAYERS", {}).get("default", {}).get("BACKEND")
    try:
        path = path_of(import_string(backend))
    except Exception:
        return []  # no layer, which is E004, or one that Channels can't make either
    if path in ADAPTERS:
        return ADAPTERS[path].check()
    tested = ", ".join(TAPS)
    return [Warning(_unknown(path), hint=f"Nothing is lost by it. Tested: {tested}.", id=CHECK_ID)]


def path_of(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _unknown(path: str) -> str:
    return f"The channel layer {path} is not one that was tested. {OFF}"


@cache
def _warn_once(text: str) -> None:
    logger.warning("%s (%s)", text, CHECK_ID)
