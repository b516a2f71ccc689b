"""The second client, which was written from docs/protocol.md only, as one of a run's clients."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from typing import Final

from harness.accounts import session_key
from harness.chaos.tab import Appearance, Arrivals, ClientState, Frame
from harness.second_client.client import Refused, SecondClient
from harness.session import CSRF_TOKEN

MOVE_SECONDS: Final = 0.5  # between two looks at whether to try another server


class Second:
    """It has the methods of `clients.Client`."""

    def __init__(
        self, account: int, ports: list[int], rng: random.Random, record: Callable[[str], None]
    ) -> None:
        """record: called with the text of each frame, before the client takes it."""
        self.account = account
        self.refusal: int | None = None
        self._ports = ports
        self._rng = rng
        self._record = record
        self._port = rng.choice(ports)
        self._ready_at = 0.0
        self._away_until = 0.0
        self._arrivals = Arrivals()
        self._shown: dict[str, Appearance] = {}
        self._running: asyncio.Task[None] | None = None
        self._client = SecondClient(
            self._url(),
            {"sessionid": session_key(account), "csrftoken": CSRF_TOKEN},
            on_shown=self._show,
            on_frame=self._take,
        )

    @property
    def position(self) -> Frame | None:
        return self._client.position if self._client.is_up_to_date else None

    async def run(self) -> None:
        """Stay connected, and start again after each `cut`, until the site refuses it for good."""
        moving = asyncio.create_task(self._move())
        try:
            while self.refusal is None:
                await asyncio.sleep(max(self._away_until - time.monotonic(), 0))
                self._running = asyncio.create_task(self._client.run())
                await asyncio.wait([self._running])
                if not self._running.cancelled():
                    self._running.result()
                    self.refusal = self._client.close_code
        finally:
            moving.cancel()
            if self._running:
                self._running.cancel()

    def cut(self, min_seconds_away: float) -> bool:
        """Disconnect; stay away for at least `min_seconds_away`."""
        self._away_until = time.monotonic() + min_seconds_away
        return self._running is not None and self._running.cancel()

    async def mark_something(self) -> None:
        ids = list(self._client.items)[-50:]
        if ids:
            as_ = self._rng.choice(["read", "read", "unread", "archived"])
            with suppress(OSError, HTTPException, Refused):  # it may have been saved or not
                await self._client.mark(self._rng.sample(ids, min(len(ids), 3)), as_)

    def state(self) -> ClientState:
        unread, unread_broadcasts = self._client.counts
        return ClientState(
            self.account,
            self._client.items,
            {},  # it tells bodies only of what arrives
            self._shown,
            unread,
            unread_broadcasts,
            self._arrivals.duplicated,
            self._arrivals.out_of_order,
        )

    def _take(self, frame: Frame) -> None:
        self._record(json.dumps(frame))
        if frame["type"] == "register":
            self._ready_at = time.monotonic()
        if "number" in frame:
            self._arrivals.check(frame)

    def _show(self, frame: Frame) -> None:
        appearance = Appearance(
            frame["content"]["body"], time.monotonic(), self._ready_at, self._port
        )
        self._shown.setdefault(frame["id"], appearance)

    async def _move(self) -> None:
        """Send it to another server while it is not up to date, as a load balancer would."""
        while True:
            await asyncio.sleep(MOVE_SECONDS)
            if not self._client.is_up_to_date:
                self._port = self._rng.choice(self._ports)
                self._client.base_url = self._url()

    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}"
