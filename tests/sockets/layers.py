"""Channel layers of a site's own, as Channels allows them: only their public calls work."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from typing import Any

from channels.layers import InMemoryChannelLayer
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer


class OwnLayer:
    """As small as a layer can be."""

    def __init__(self) -> None:
        self.groups: defaultdict[str, set[str]] = defaultdict(set)
        self.queues: dict[str, asyncio.Queue[Any]] = {}
        self.numbers = itertools.count()

    async def new_channel(self) -> str:
        channel = f"own.{next(self.numbers)}"
        self.queues[channel] = asyncio.Queue()
        return channel

    async def receive(self, channel: str) -> Any:
        return await self.queues[channel].get()

    async def group_add(self, group: str, channel: str) -> None:
        self.groups[group].add(channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self.groups[group].discard(channel)

    async def group_send(self, group: str, message: Any) -> None:
        for channel in self.groups[group]:
            self.queues[channel].put_nowait(message)


class FailingLayer(OwnLayer):
    """Every second receive() raises, and loses nothing by it."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0

    async def receive(self, channel: str) -> Any:
        if next(self.numbers) % 2:
            self.failures += 1
            raise ConnectionResetError("for alice's eyes only")
        return await super().receive(channel)


class Sealing:
    """Overrides what a layer is called with: a message that is not received is not understood."""

    async def group_send(self: Any, group: str, message: Any) -> None:
        await self.base.group_send(self, group, {"type": "sealed", "inside": message})

    async def receive(self: Any, channel: str) -> Any:
        return (await self.base.receive(self, channel))["inside"]


class SealingInMemoryLayer(Sealing, InMemoryChannelLayer):
    base = InMemoryChannelLayer


class SealingCoreLayer(Sealing, RedisChannelLayer):
    base = RedisChannelLayer


class SealingPubSubLayer(RedisPubSubChannelLayer):
    """The Redis layer hands all calls on from __getattr__, so there is no method to call."""

    async def group_send(self, group: str, message: Any) -> None:
        await self._get_layer().group_send(group, {"type": "sealed", "inside": message})

    async def receive(self, channel: str) -> Any:
        return (await self._get_layer().receive(channel))["inside"]
