"""
Helpers for the tests of sites: tabs of logged-in accounts, with the real consumer.

    @pytest.fixture
    async def connect(transactional_db):
        async with open_tabs(application) as connect:
            yield connect

    async def test_paying_rings_the_bell(connect, alice):
        tab = await connect(alice)
        await sync_to_async(pay)(order)
        assert (await tab.receive("order_paid"))["content"]["body"] == "Paid"

The test needs `transactional_db`, as the hub reads the database in its own threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlencode

from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.test import Client

from .hub.hub import stop_hub
from .protocol import Frame
from .root_path import socket_path

ORIGIN: Final = "http://testserver"
TIMEOUT_SECONDS: Final = 30.0  # generous, as the machine may be busy


class Tab(WebsocketCommunicator):
    """One open connection; `session` is the value of its session cookie."""

    def __init__(self, application: Any, session: str = "", origin: str = ORIGIN, **position: Any):
        headers = [(b"host", b"testserver"), (b"origin", origin.encode())]
        if session:
            headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={session}".encode()))
        super().__init__(application, f"{socket_path()}?{urlencode(position)}", headers)
        self.session = session

    async def receive_frame(self, timeout: float = TIMEOUT_SECONDS) -> Frame:
        """Return the next frame, skipping pings, which arrive whenever a tab is silent."""
        while True:
            frame: Frame = await self.receive_json_from(timeout)
            if frame["type"] != "ping":
                return frame

    async def receive(self, type: str, timeout: float = TIMEOUT_SECONDS) -> Frame:
        """Return the next frame of this type, skipping others; `timeout` seconds for each."""
        while True:
            frame: Frame = await self.receive_json_from(timeout)
            if frame["type"] == type:
                return frame

    async def receive_until_caught_up(self) -> list[Frame]:
        """Return all frames up to the `heartbeat` that ends catching up, which is the last one."""
        frames: list[Frame] = []
        while not frames or frames[-1]["type"] != "heartbeat":
            frames.append(await self.receive_frame())
        return frames

    async def receive_rest(self, timeout: float = 0.2) -> list[Frame]:
        """Return the frames that arrive within `timeout` seconds, except pings and heartbeats."""
        frames: list[Frame] = []
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while not await self.receive_nothing(timeout=max(0.0, end - loop.time())):
            frame = await self.receive_json_from()
            if frame["type"] not in {"ping", "heartbeat"}:
                frames.append(frame)
        return frames

    async def disconnect(self, code: int = 1000, timeout: float = TIMEOUT_SECONDS) -> None:
        """Close the connection, and wait until the consumer has ended."""
        await super().disconnect(code, timeout)

    async def closed_with(self) -> int:
        """Return the code with which the server closes the connection, skipping frames."""
        while True:
            output = await self.receive_output(TIMEOUT_SECONDS)
            if output["type"] == "websocket.close":
                return int(output.get("code") or 1000)


Connect = Callable[..., Awaitable[Tab]]


def log_in(account: Any) -> str:
    """Log the account in; return the value of its session cookie."""
    client = Client()
    client.force_login(account)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


@asynccontextmanager
async def open_tabs(application: Any) -> AsyncIterator[Connect]:
    """Yield a function that opens a tab of an account (None: anonymous); close all tabs at exit."""
    tabs: list[Tab] = []

    async def connect(account: Any = None, *, session: str = "", **options: Any) -> Tab:
        if account is not None and not session:
            session = await database_sync_to_async(log_in)(account)
        tab = Tab(application, session, **options)
        tabs.append(tab)
        accepted, _ = await tab.connect(TIMEOUT_SECONDS)
        assert accepted, "the handshake was refused"
        return tab

    try:
        yield connect
    finally:
        for tab in tabs:
            await tab.disconnect()
        await stop_hub()
