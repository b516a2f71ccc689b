"""The crowd: plain WebSocket clients that come, do what visitors do, and go in every way."""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from harness.frames import reset_when_closed
from harness.session import cookie, handshake
from harness.soak import actions
from notifications.servers.base import CLOSE_SECONDS

LONGEST_PAUSE: Final = 2.0  # seconds, before a client comes back
ASLEEP: Final = 31.0  # seconds; longer than the servers wait for a sign of life
# Seconds for the servers to close a session's sockets, and to wait for the peer's part of that.
LOGGED_OUT: Final = 5.0 + CLOSE_SECONDS
OUTLIVED: Final = "outlived its session"


class Client:
    def __init__(self, account: int, crowd: Crowd) -> None:
        self.account = account
        self.session = ""
        self.position: dict[str, Any] = {}
        self.socket: ClientConnection | None = None
        self._is_asleep = False
        self._crowd = crowd
        self._port = 0

    async def run(self) -> None:
        """Be connected, again and again, until the crowd leaves."""
        crowd = self._crowd
        while not crowd.is_leaving:
            await asyncio.sleep(crowd.chance.uniform(0, LONGEST_PAUSE))
            try:
                self.session = self.session or await crowd.in_thread(actions.log_in, self.account)
                await self._visit(crowd.chance.choice(crowd.ports))
            except ConnectionClosed as closed:
                crowd.counts[f"closed with {closed.rcvd.code if closed.rcvd else 1006}"] += 1
            except (OSError, WebSocketException, TimeoutError) as error:
                crowd.counts[f"failed: {type(error).__name__}"] += 1
            finally:
                self.socket = None

    async def _visit(self, port: int) -> None:
        async with connect(
            **handshake(f"http://127.0.0.1:{port}", cookie(self.session), self.position),
            ping_interval=None,
            open_timeout=60,
            close_timeout=2,
        ) as connection:
            self._port = port
            self._crowd.counts["connections"] += 1
            async for text in connection:
                frame = json.loads(text)
                self._crowd.counts[f"frames: {frame['type']}"] += 1
                if "epoch" in frame:
                    self.position = {key: frame[key] for key in ("epoch", "scope")}
                for key in ("seq", "broadcast_seq"):
                    if key in frame:
                        self.position[key] = frame[key]
                if frame["type"] == "register":
                    self.socket = connection
                elif frame["type"] == "ping":
                    await connection.send('{"type":"heartbeat"}')

    # --- What clients do

    async def close(self) -> None:
        if self.socket:
            await self.socket.close()

    async def cut(self) -> None:
        if self.socket:
            reset_when_closed(self.socket.transport.get_extra_info("socket"))
            self.socket.transport.abort()

    async def fall_asleep(self) -> None:
        """Neither read nor answer, as a laptop that was shut."""
        if sleeping := self.socket:
            sleeping.transport.pause_reading()
            self._is_asleep = True
            await asyncio.sleep(ASLEEP)
            self._is_asleep = False
            sleeping.transport.abort()

    async def log_out(self) -> None:
        if not self.socket or self._is_asleep:  # who would not see that it is closed
            return
        leaving, session = self.socket, self.session
        if await self._crowd.in_thread(actions.log_out, self._port, session):
            self.session = ""
            try:
                async with asyncio.timeout(LOGGED_OUT):
                    await leaving.wait_closed()
            except TimeoutError:
                if not self._is_asleep:  # since the logout began
                    self._crowd.counts[OUTLIVED] += 1
                await leaving.close()

    async def mark_all_read(self) -> None:
        if self.socket:
            cursor = dict(self.position)
            await self._crowd.in_thread(actions.mark_all_read, self._port, self.session, cursor)


class Crowd:
    """All clients, on an event loop in a thread of this process; made for `Remote`."""

    def __init__(
        self, env: Mapping[str, str], ports: Sequence[int], accounts: int, seed: int
    ) -> None:
        os.environ.update(env)
        import django

        django.setup()
        self.ports = ports
        self.chance = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.is_leaving = False
        self._accounts = accounts
        self._clients: list[Client] = []
        self._runs: list[Any] = []
        self._churn: Any = None
        self._loop = asyncio.new_event_loop()
        self._doing: set[asyncio.Task[None]] = set()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    async def in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.to_thread(function, *arguments)

    # --- Called by the run

    def arrive(self, sockets: int, timeout: float) -> None:
        """Let so many clients come; return when all are connected."""
        self.is_leaving = False
        self._clients = [Client(1 + n % self._accounts, self) for n in range(sockets)]
        self._runs = [self._start(client.run()) for client in self._clients]
        deadline = time.monotonic() + timeout
        while self.connected() < sockets:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.connected()} of {sockets} connected: {self.counts}")
            time.sleep(0.1)

    def connected(self) -> int:
        return sum(client.socket is not None for client in self._clients)

    def churn(self, per_second: float) -> None:
        """Let something happen so often from now on, at random moments; 0: nothing more."""
        if self._churn and not self._churn.cancel():
            self._churn.result()  # raises what ended it
        self._churn = self._start(self._keep_churning(per_second)) if per_second else None

    def leave(self, timeout: float) -> None:
        """Let all go, half of them without a word; return when they have."""
        self.is_leaving = True
        deadline = time.monotonic() + timeout
        for number, client in enumerate(self._clients):
            self._start(client.close() if number % 2 else client.cut()).result(timeout)
        for run in self._runs:
            while not run.done():
                if time.monotonic() > deadline:
                    raise TimeoutError("Not all clients could leave")
                time.sleep(0.05)
                # One that was just coming back when the others left.
                for client in self._clients:
                    self._start(client.cut()).result(timeout)
            run.result()
        self._clients, self._runs = [], []

    def happened(self) -> dict[str, int]:
        return dict(sorted(self.counts.items()))

    # --- On the loop

    async def _keep_churning(self, per_second: float) -> None:
        while True:
            await asyncio.sleep(self.chance.expovariate(per_second))
            client = self.chance.choice(self._clients)
            name, act = self.chance.choices(
                [
                    ("closed", client.close),
                    ("cut off", client.cut),
                    ("fell asleep", client.fall_asleep),
                    ("logged out", client.log_out),
                    ("marked all read", client.mark_all_read),
                    ("notified", self._notify),
                    ("told everybody", self._tell_everybody),
                ],
                [30, 30, 5, 10, 15, 30, 1],
            )[0]
            self.counts[name] += 1
            task = asyncio.create_task(self._do(name, act))
            self._doing.add(task)
            task.add_done_callback(self._doing.discard)

    async def _do(self, name: str, act: Callable[[], Awaitable[None]]) -> None:
        try:
            await act()
        except (OSError, WebSocketException) as error:
            self.counts[f"failed to be {name}: {type(error).__name__}"] += 1

    async def _notify(self) -> None:
        chance = random.Random(self.chance.random())
        self.counts["notifications"] += await self.in_thread(actions.notify, self._accounts, chance)

    async def _tell_everybody(self) -> None:
        await self.in_thread(actions.tell_everybody)

    def _start(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
