"""A site's own channel layers: only their public calls can be used."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from typing import Any

from channels.layers import InMemoryChannelLayer
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer


class OwnLayer:
    """The smallest layer that works."""

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
    """Every second receive() raises an error, but loses no message."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0

    async def receive(self, channel: str) -> Any:
        if next(self.numbers) % 2:
            self.failures += 1
            raise ConnectionResetError("for alice's eyes only")
        return await super().receive(channel)


class Sealing:
    """Overrides public calls: a message can only be read through `receive()`."""

    async def group_send(self: Any, group: str, message: Any) -> None:
        await self.base.group_send(self, group, {"type": "sealed", "inside": message})

    async def receive(self: Any, channel: str) -> Any:
        return (await self.base.receive(self, channel))["inside"]


class SealingInMemoryLayer(Sealing, InMemoryChannelLayer):
    base = InMemoryChannelLayer


class SealingCoreLayer(Sealing, RedisChannelLayer):
    base = RedisChannelLayer


class SealingPubSubLayer(RedisPubSubChannelLayer):
    """This Redis layer passes on all calls in __getattr__, so there is no method to override."""

    async def group_send(self, group: str, message: Any) -> None:
        await self._get_layer().group_send(group, {"type": "sealed", "inside": message})

    async def receive(self, channel: str) -> Any:
        return (await self._get_layer().receive(channel))["inside"]
