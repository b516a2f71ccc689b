"""
A hub's memberships in the channel layer: the group of all hubs and one per local account.

A received message does not include its group, and other code may send a frame to
`account_<id>`. So each group has a source with a channel of its own (taps.py, readers.py).
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from channels.layers import get_channel_layer

from notifications import protocol
from notifications.conf import conf

from . import background_loop, envelopes, sender, site
from .envelopes import Arrival, Content
from .replays import Replays
from .summary_log import SummaryLog
from .taps import Source, Sources, open_sources

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 3.0  # for one batch of concurrent calls
RETRY_SECONDS: Final = 1.0  # between two attempts while the channel layer is unavailable

Receiver = Callable[[Content], None]


class Subscriptions:
    """
    The groups of one hub.

    Callers don't wait for an unavailable channel layer: groups are joined and left once it is back.
    """

    def __init__(self, receiver: Receiver) -> None:
        """`receiver` is called on this event loop with envelopes for the joined accounts."""
        self._receiver = receiver
        self._layer = _make_layer()
        self._sources: Sources | None = None
        self._joined: dict[str | None, Source] = {}  # by account
        self._left: dict[Source, None] = {}  # possibly still joined, the oldest first
        self._is_unavailable = asyncio.Event()
        self._replays = Replays(since=time.monotonic())
        self._ignored = SummaryLog("Ignored on the channel layer")
        background_loop.hub_opened()

    async def open(self) -> None:
        """Choose the sources for this channel layer, and join the group of all hubs."""
        await site.reader.wait_async()  # without it, nothing can be taken
        self._sources = await open_sources(self._layer, self._take)
        await self.join(None)

    async def close(self) -> None:
        """Leave all groups."""
        self._left.update(dict.fromkeys(self._joined.values()))
        self._joined.clear()
        if not self._is_unavailable.is_set():
            await self._each(self._discard, list(self._left))
        for source in self._left:
            source.close()
        if self._sources:
            await self._sources.close()
        self._ignored.close()
        background_loop.hub_closed()

    async def join(self, account: str | None) -> None:
        """Join an account's group, at once or when the channel layer is back."""
        assert self._sources, "open() comes first"
        if account not in self._joined:
            self._joined[account] = self._sources.source(account)
        if not self._is_unavailable.is_set():
            await self._each(self._add, [self._joined[account]])

    async def leave(self, account: str | None) -> None:
        """Leave an account's group, at once or when the channel layer is back."""
        if source := self._joined.pop(account, None):
            self._left[source] = None
            if not self._is_unavailable.is_set():
                await self._each(self._discard, [source])

    async def step(self) -> None:
        """
        Wait for an interval, then join all groups again, because memberships expire and a
        restarted Redis forgets them. While the channel layer is unavailable, the wait is short.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(conf.HEARTBEAT_INTERVAL):
                await self._is_unavailable.wait()
                await asyncio.sleep(RETRY_SECONDS)
        left, joined = list(self._left), list(self._joined.values())
        if await self._each(self._discard, left) and await self._each(self._add, joined):
            if self._is_unavailable.is_set():
                logger.info("Channel layer available again: %d groups joined", len(joined))
            self._is_unavailable.clear()

    async def _each(self, call: Callable[[Source], Awaitable[None]], items: list[Source]) -> bool:
        """Return whether the call succeeded for all items; the first failed batch is the last."""
        try:
            await sender.each(call, items, TIMEOUT_SECONDS)
        except Exception as failure:
            if not self._is_unavailable.is_set():
                logger.warning("Channel layer unavailable: %s", type(failure).__name__)
            self._is_unavailable.set()
            return False
        return True

    async def _add(self, source: Source) -> None:
        if not self._is_joined(source):
            return
        try:
            channel = await source.open()
            await self._layer.group_add(_group(source), channel)
        finally:
            if not self._is_joined(source):  # left meanwhile, so leave it again
                self._left[source] = None

    async def _discard(self, source: Source) -> None:
        if source not in self._left:
            return
        del self._left[source]
        try:
            if source.channel:
                await self._layer.group_discard(_group(source), source.channel)
        except BaseException:
            self._left[source] = None
            raise
        source.close()

    def _is_joined(self, source: Source) -> bool:
        return self._joined.get(source.account) is source

    # --- Receiving

    def _take(self, account: str | None, message: object) -> None:
        """Check a message that came through the group of `account`, or of all hubs (None)."""
        arrival = Arrival(account, self._joined, self._report, site.reader.known(), self._replays)
        content = envelopes.parse(message, arrival)
        if content is None:
            return
        try:
            self._receiver(content)
        except Exception as error:
            # Without the error's text and the envelope, which may contain personal texts.
            logger.error(
                "Failed to handle %s: %s\n%s",
                content.TYPE,
                type(error).__name__,
                "".join(traceback.format_tb(error.__traceback__)),
            )

    def _report(self, message_type: str, reason: str) -> None:
        self._ignored.add(f"{message_type} ({reason})")


def _make_layer() -> Any:
    try:
        return get_channel_layer()
    except Exception as failure:
        logger.error("The channel layer can't be created: %s", failure)
        return None


def _group(source: Source) -> str:
    account = source.account
    return protocol.HUBS_GROUP if account is None else protocol.account_group(account)
