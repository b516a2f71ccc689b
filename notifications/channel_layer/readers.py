"""
Receiving by new_channel() and receive(), which every channel layer has.

A received message does not include its group, and other code may send a frame to
`account_<id>`. So each group has a channel of its own, and each channel a task that receives from
it. Channels does the same for each of its consumers, so it works with every channel layer.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, Final

from .summary_log import SummaryLog

try:
    from redis.exceptions import RedisError
except ImportError:  # a site without Redis
    RedisError = OSError  # type: ignore[misc, assignment]

OUTAGES: Final = (OSError, RedisError)  # a channel layer may raise anything else as well
RETRY_SECONDS: Final = (0.5, 1.5)  # random between these, as all readers fail together
MAX_PROMPT_RETRIES: Final = 500  # in a second, of all readers of a hub
CLOSE_SECONDS: Final = 3.0  # for the channel layer to clean up after the readers

# Called with the account whose group a message came through (None: all hubs), and the message.
Take = Callable[[str | None, object], None]


class Readers:
    """All readers of a hub."""

    def __init__(self, layer: Any, take: Take) -> None:
        self.layer = layer
        self.take = take
        self.failures = SummaryLog("Receiving from the channel layer failed and is retried")
        self.tasks: set[asyncio.Task[None]] = set()
        self._prompt_retries = 0
        self._counted_from = 0.0  # monotonic seconds

    def source(self, account: str | None) -> Reader:
        return Reader(self, account)

    async def close(self) -> None:
        """Wait for closed readers to end, because the channel layer cleans up when they do."""
        self.failures.close()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=CLOSE_SECONDS)

    async def pause_after(self, failure: Exception) -> None:
        """
        Wait before the next attempt, but only in an outage.

        Any other error is about one message, which the channel layer could not decode. If there
        are very many, they may be an outage of an unknown kind.
        """
        now = time.monotonic()
        if now - self._counted_from > 1:
            self._counted_from, self._prompt_retries = now, 0
        self._prompt_retries += 1
        is_outage = isinstance(failure, OUTAGES) or self._prompt_retries > MAX_PROMPT_RETRIES
        await asyncio.sleep(random.uniform(*RETRY_SECONDS) if is_outage else 0)


class Reader:
    """One channel of the channel layer, and the task that receives from it."""

    def __init__(self, readers: Readers, account: str | None) -> None:
        self.account = account
        self.channel: str | None = None
        self._readers = readers
        self._opening = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> str:
        """Return the channel's name; the first call starts receiving from it."""
        async with self._opening:
            if self.channel is None:
                self.channel = await self._readers.layer.new_channel()
                self._task = asyncio.create_task(self._read(self.channel))
                self._readers.tasks.add(self._task)
                self._task.add_done_callback(self._readers.tasks.discard)
        return self.channel

    def close(self) -> None:
        if self._task:
            # Not before it has begun, because channel layers clean up in receive().
            asyncio.get_running_loop().call_soon(self._task.cancel)

    async def _read(self, channel: str) -> None:
        while True:
            try:
                message = await self._readers.layer.receive(channel)
            except Exception as failure:
                self._readers.failures.add(type(failure).__name__)
                await self._readers.pause_after(failure)
            else:
                self._readers.take(self.account, message)
