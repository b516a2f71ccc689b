"""The crowd: WebSocket clients that connect, act like visitors, and leave in every way."""

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
from harness.session import connect_arguments, cookie
from harness.soak import actions
from notifications.servers.base import CLOSE_SECONDS

MAX_RECONNECT_DELAY_SECONDS: Final = 2.0
ASLEEP_SECONDS: Final = 31.0  # longer than the servers' heartbeat timeout
# Time for the servers to close a session's connections, and to wait until the peer has closed too.
LOGOUT_TIMEOUT_SECONDS: Final = 5.0 + CLOSE_SECONDS
OUTLIVED: Final = "outlived its session"


class Client:
    def __init__(self, account: int, crowd: Crowd) -> None:
        self.account = account
        self.session = ""
        self.position: dict[str, Any] = {}
        self.connection: ClientConnection | None = None
        self._is_asleep = False
        self._crowd = crowd
        self._port = 0

    async def run(self) -> None:
        """Connect, again and again, until the crowd leaves."""
        crowd = self._crowd
        while not crowd.is_leaving:
            await asyncio.sleep(crowd.rng.uniform(0, MAX_RECONNECT_DELAY_SECONDS))
            try:
                self.session = self.session or await crowd.in_thread(actions.log_in, self.account)
                await self._stay_connected(crowd.rng.choice(crowd.ports))
            except ConnectionClosed as closed:
                crowd.counts[f"closed with {closed.rcvd.code if closed.rcvd else 1006}"] += 1
            except (OSError, WebSocketException, TimeoutError) as error:
                crowd.counts[f"failed: {type(error).__name__}"] += 1
            finally:
                self.connection = None

    async def _stay_connected(self, port: int) -> None:
        async with connect(
            **connect_arguments(f"http://127.0.0.1:{port}", cookie(self.session), self.position),
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
                    self.connection = connection
                elif frame["type"] == "ping":
                    await connection.send('{"type":"heartbeat"}')

    # --- Actions

    async def close(self) -> None:
        if self.connection:
            await self.connection.close()

    async def cut(self) -> None:
        if self.connection:
            reset_when_closed(self.connection.transport.get_extra_info("socket"))
            self.connection.transport.abort()

    async def fall_asleep(self) -> None:
        """Neither read nor answer, like a closed laptop."""
        if sleeping := self.connection:
            sleeping.transport.pause_reading()
            self._is_asleep = True
            await asyncio.sleep(ASLEEP_SECONDS)
            self._is_asleep = False
            sleeping.transport.abort()

    async def log_out(self) -> None:
        if not self.connection or self._is_asleep:  # asleep, it would not notice the close
            return
        leaving, session = self.connection, self.session
        if await self._crowd.in_thread(actions.log_out, self._port, session):
            self.session = ""
            try:
                async with asyncio.timeout(LOGOUT_TIMEOUT_SECONDS):
                    await leaving.wait_closed()
            except TimeoutError:
                if not self._is_asleep:  # unless it fell asleep during the logout
                    self._crowd.counts[OUTLIVED] += 1
                await leaving.close()

    async def mark_all_read(self) -> None:
        if self.connection:
            position = dict(self.position)
            await self._crowd.in_thread(actions.mark_all_read, self._port, self.session, position)


class Crowd:
    """All clients, on an event loop in a thread; runs in a process of its own by `Remote`."""

    def __init__(
        self, env: Mapping[str, str], ports: Sequence[int], accounts: int, seed: int
    ) -> None:
        os.environ.update(env)
        import django

        django.setup()
        self.ports = ports
        self.rng = random.Random(seed)
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

    def arrive(self, connections: int, timeout: float) -> None:
        """Connect this many clients; return when all are connected."""
        self.is_leaving = False
        self._clients = [Client(1 + n % self._accounts, self) for n in range(connections)]
        self._runs = [self._start(client.run()) for client in self._clients]
        deadline = time.monotonic() + timeout
        while self.connected() < connections:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.connected()} of {connections} connected: {self.counts}")
            time.sleep(0.1)

    def connected(self) -> int:
        return sum(client.connection is not None for client in self._clients)

    def churn(self, per_second: float) -> None:
        """Start random actions at this rate; 0 stops them."""
        if self._churn and not self._churn.cancel():
            self._churn.result()  # raises the error that ended it
        self._churn = self._start(self._keep_churning(per_second)) if per_second else None

    def leave(self, timeout: float) -> None:
        """Disconnect all clients, half of them without a close frame; return when they are gone."""
        self.is_leaving = True
        deadline = time.monotonic() + timeout
        for number, client in enumerate(self._clients):
            self._start(client.close() if number % 2 else client.cut()).result(timeout)
        for run in self._runs:
            while not run.done():
                if time.monotonic() > deadline:
                    raise TimeoutError("Not all clients left in time")
                time.sleep(0.05)
                # A client may have reconnected while the others left.
                for client in self._clients:
                    self._start(client.cut()).result(timeout)
            run.result()
        self._clients, self._runs = [], []

    def action_counts(self) -> dict[str, int]:
        return dict(sorted(self.counts.items()))

    # --- On the loop

    async def _keep_churning(self, per_second: float) -> None:
        while True:
            await asyncio.sleep(self.rng.expovariate(per_second))
            client = self.rng.choice(self._clients)
            name, act = self.rng.choices(
                [
                    ("closed", client.close),
                    ("cut off", client.cut),
                    ("fell asleep", client.fall_asleep),
                    ("logged out", client.log_out),
                    ("marked all read", client.mark_all_read),
                    ("notified", self._notify),
                    ("broadcast", self._send_broadcast),
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
        rng = random.Random(self.rng.random())
        self.counts["notifications"] += await self.in_thread(actions.notify, self._accounts, rng)

    async def _send_broadcast(self) -> None:
        await self.in_thread(actions.send_broadcast)

    def _start(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
