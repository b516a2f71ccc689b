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
import logging
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from channels.layers import InMemoryChannelLayer, get_channel_layer

from . import protocol
from .layer import AT_A_TIME, Message

logger = logging.getLogger(__name__)

TIMEOUT: Final = 3.0  # seconds for the joins of one refresh

# Called with the account's key, None for the group of all hubs, and the message.
Receiver = Callable[[str | None, Message], None]


class Tap:
    """Stands where a layer expects a channel's queue, and keeps nothing."""

    def __init__(self, hand_over: Callable[[Any], None]) -> None:
        self.put_nowait = hand_over

    def empty(self) -> bool:
        return True


class Subscriptions:
    """
    The groups of one hub. Joining and leaving may fail while the layer is away:
    `refresh` joins again whatever should be joined.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._layer: Any = get_channel_layer()
        self._channels: dict[str | None, str] = {}  # by account
        self._prefix = ""
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
        for account in list(self._channels):
            await self.leave(account)

    async def join(self, account: str | None) -> None:
        """Join an account's group; what can't be joined now is joined by `refresh`."""
        if account not in self._channels:
            self._channels[account] = f"{self._prefix}.{len(self._channels)}.{uuid.uuid4().hex[:8]}"
            self._queues()[self._channels[account]] = Tap(self._hand_over_to(account))
        await self._bounded(self._layer.group_add(_group(account), self._channels[account]))

    async def leave(self, account: str | None) -> None:
        channel = self._channels.pop(account, None)
        if channel is None:
            return
        await self._bounded(self._layer.group_discard(_group(account), channel))
        self._queues().pop(channel, None)

    async def refresh(self) -> None:
        """Join all groups again: memberships expire, and a restarted Redis forgets them."""
        accounts = list(self._channels)
        try:
            async with asyncio.timeout(TIMEOUT):
                for start in range(0, len(accounts), AT_A_TIME):
                    await asyncio.gather(
                        *(
                            self._layer.group_add(_group(account), self._channels[account])
                            for account in accounts[start : start + AT_A_TIME]
                            if account in self._channels
                        )
                    )
        except Exception as failure:
            logger.warning("Channel layer unavailable: %s", type(failure).__name__)

    async def _bounded(self, call: Any) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                await call
        except Exception as failure:
            logger.warning("Channel layer unavailable: %s", type(failure).__name__)

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

    def _message(self, item: Any) -> Message:
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
