"""A channel layer that drops, doubles and delays messages, on their way to a real Redis."""

from __future__ import annotations

import asyncio
import os
import random
import uuid
from typing import Any, Final

from channels_redis.pubsub import (  # type: ignore[import-untyped]
    RedisPubSubChannelLayer,
)

# Of all messages; the rest goes through as it is.
SHARES: Final = {"dropped": 0.03, "doubled": 0.02, "repeated": 0.03, "delayed": 0.05}
LONGEST_DELAY: Final = 1.0  # seconds; most are overtaken by the next message


class FaultyLayer(RedisPubSubChannelLayer):  # type: ignore[misc]  # it has no types
    """
    `doubled` comes twice with one id, `repeated` with another, also later; a `delayed` one is
    overtaken. What was done is written to the file CHAOS_PUSHES, a line each.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Each process draws for itself, from the seed of the run.
        self._chance = random.Random(os.environ["CHAOS_SEED"])
        self._file = os.open(os.environ["CHAOS_PUSHES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._on_their_way: set[asyncio.Task[None]] = set()

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        (harm,) = self._chance.choices(
            [*SHARES, "sent"], [*SHARES.values(), 1 - sum(SHARES.values())]
        )
        if harm != "sent":
            self._record(harm)
        if harm == "delayed":
            self._send_later(group, message)
        elif harm != "dropped":
            await self._get_layer().group_send(group, message)
        if harm == "doubled":
            await self._get_layer().group_send(group, message)
        if harm == "repeated":
            self._send_later(group, {**message, "id": uuid.uuid4().hex})

    def _send_later(self, group: str, message: dict[str, Any]) -> None:
        async def send() -> None:
            await asyncio.sleep(self._chance.uniform(0, LONGEST_DELAY))
            await self._get_layer().group_send(group, message)

        task = asyncio.create_task(send())
        self._on_their_way.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._on_their_way.discard(task)
        # A late message that Redis doesn't take is one more that is lost.
        if not task.cancelled() and task.exception():
            self._record("dropped")

    def _record(self, harm: str) -> None:
        os.write(self._file, f"{harm}\n".encode())
