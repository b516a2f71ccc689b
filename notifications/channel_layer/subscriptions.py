"""
A hub's memberships in the channel layer: the group of all hubs and one per local account.

The layers don't tell a receiver which group a message was sent to, and anybody
may send a plain frame to `account_<id>`. So each group gets a channel name of
its own, all of one hub; where a layer would queue a channel's messages there
stands a Tap that hands them over with the account. No task, queue or Redis
subscription is added for it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from channels.layers import InMemoryChannelLayer, get_channel_layer

from notifications import protocol
from notifications.conf import conf

from . import sender
from .envelopes import Envelope

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 3.0  # seconds for calls made at a time
RETRY_SECONDS: Final = 1.0  # seconds between two attempts while the layer is away

# Called with the account's key, None for the group of all hubs, and the message.
Receiver = Callable[[str | None, Envelope], None]


class Tap:
    """Stands where a layer expects a channel's queue, and keeps nothing."""

    def __init__(self, hand_over: Callable[[Any], None]) -> None:
        self.put_nowait = hand_over

    def empty(self) -> bool:
        return True


class Subscriptions:
    """
    The groups of one hub. While the layer is away nobody waits for it: what is
    to be joined and left then is done once it is back.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._layer: Any = get_channel_layer()
        self._channels: dict[str | None, str] = {}  # by account
        self._left: dict[str, str | None] = {}  # accounts by channel, still known to the layer
        self._is_away = asyncio.Event()
        self._prefix = ""
        self._numbers = itertools.count()
        self._reader: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Find out how this layer hands over messages, and join the group of all hubs."""
        if _is_redis_core(self._layer):
            # It queues by connection, so one reader brings the messages of all channels.
            self._prefix = await self._layer.new_channel()
            self._reader = asyncio.create_task(self._read(self._prefix))
        else:
            self._prefix = f"notifications.hub.{uuid.uuid4().hex}"
        await self.join(None)

    async def close(self) -> None:
        if self._reader:
            self._reader.cancel()
        self._left |= {channel: account for account, channel in self._channels.items()}
        self._channels.clear()
        if not self._is_away.is_set():
            await self._each(self._discard, list(self._left))

    async def join(self, account: str | None) -> None:
        """Join an account's group, at once or when the layer is back."""
        if account not in self._channels:
            self._channels[account] = f"{self._prefix}.{next(self._numbers)}"
            self._queues()[self._channels[account]] = Tap(self._hand_over_to(account))
        if not self._is_away.is_set():
            await self._each(self._add, [account])

    async def leave(self, account: str | None) -> None:
        """Leave an account's group, at once or when the layer is back."""
        if channel := self._channels.pop(account, None):
            self._left[channel] = account
            if not self._is_away.is_set():
                await self._each(self._discard, [channel])

    async def step(self) -> None:
        """
        Join all groups again at intervals, because memberships expire and a
        restarted Redis forgets them; shortly while the layer is away.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(conf.HEARTBEAT_INTERVAL):
                await self._is_away.wait()
                await asyncio.sleep(RETRY_SECONDS)
        left, joined = list(self._left), list(self._channels)
        if await self._each(self._discard, left) and await self._each(self._add, joined):
            if self._is_away.is_set():
                logger.info("Channel layer available again: %d groups joined", len(joined))
            self._is_away.clear()

    async def _each(self, call: Callable[[Any], Awaitable[None]], items: list[Any]) -> bool:
        """Return whether the layer did this for all items; the first failure ends it."""
        try:
            await sender.each(call, items, TIMEOUT_SECONDS)
        except Exception as failure:
            if not self._is_away.is_set():
                logger.warning("Channel layer unavailable: %s", type(failure).__name__)
            self._is_away.set()
            return False
        return True

    async def _add(self, account: str | None) -> None:
        if channel := self._channels.get(account):  # nobody left meanwhile
            await self._layer.group_add(_group(account), channel)

    async def _discard(self, channel: str) -> None:
        if channel in self._left:  # nobody else did it meanwhile
            await self._layer.group_discard(_group(self._left[channel]), channel)
            self._queues().pop(channel, None)
            self._left.pop(channel, None)

    def _queues(self) -> dict[str, Any]:
        """Return the layer's queues by channel name, where the taps are put."""
        name = "receive_buffer" if _is_redis_core(self._layer) else "channels"
        queues: dict[str, Any] = getattr(self._layer, name)
        return queues

    def _hand_over_to(self, account: str | None) -> Callable[[Any], None]:
        def hand_over(item: Any) -> None:
            # A sender may run in another thread, on a loop of its own; it must not
            # fail because this hub's loop was closed without stopping the hub.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._receiver, account, self._message(item))

        return hand_over

    def _message(self, item: Any) -> Envelope:
        if isinstance(self._layer, InMemoryChannelLayer):
            _, message = item  # with the time of its expiry
        elif isinstance(item, bytes):
            message = self._layer.deserialize(item)
        else:
            message = item
        return dict(message)

    async def _read(self, channel: str) -> None:
        while True:
            try:
                await self._layer.receive(channel)
            except Exception:
                logger.exception("Receiving from the channel layer failed")
                await asyncio.sleep(1)


def _group(account: str | None) -> str:
    return protocol.HUBS_GROUP if account is None else protocol.account_group(account)


def _is_redis_core(layer: Any) -> bool:
    # Not by isinstance: channels_redis need not be installed.
    return type(layer).__module__.startswith("channels_redis.core")
