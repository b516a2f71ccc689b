"""A channel layer on a real Redis that drops, duplicates and delays messages."""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any, Final

from channels_redis.pubsub import (  # type: ignore[import-untyped]
    RedisPubSubChannelLayer,
)

# Shares of all messages; the rest are sent normally.
SHARES: Final = {"dropped": 0.03, "doubled": 0.02, "repeated": 0.03, "delayed": 0.05}
MAX_DELAY_SECONDS: Final = 1.0  # long enough for the next message to overtake most of them


class FaultyLayer(RedisPubSubChannelLayer):  # type: ignore[misc]  # it has no types
    """
    A `doubled` message is sent twice at once, a `repeated` one again later. A `delayed` one is
    usually overtaken. Each is a line in the file CHAOS_LAYER_LOG.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Each process has its own seed, derived from that of the run.
        self._rng = random.Random(os.environ["CHAOS_SEED"])
        self._file = os.open(os.environ["CHAOS_LAYER_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._delayed: set[asyncio.Task[None]] = set()

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        (fault,) = self._rng.choices(
            [*SHARES, "sent"], [*SHARES.values(), 1 - sum(SHARES.values())]
        )
        if fault != "sent":
            self._record(fault)
        if fault in {"delayed", "repeated"}:
            self._send_later(group, message)
        if fault not in {"delayed", "dropped"}:
            await self._get_layer().group_send(group, message)
        if fault == "doubled":
            await self._get_layer().group_send(group, message)

    def _send_later(self, group: str, message: dict[str, Any]) -> None:
        async def send() -> None:
            await asyncio.sleep(self._rng.uniform(0, MAX_DELAY_SECONDS))
            await self._get_layer().group_send(group, message)

        task = asyncio.create_task(send())
        self._delayed.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._delayed.discard(task)
        # A late message that Redis refuses counts as dropped.
        if not task.cancelled() and task.exception():
            self._record("dropped")

    def _record(self, fault: str) -> None:
        os.write(self._file, f"{fault}\n".encode())
