"""
WebSocket clients that reconnect, resume and record what they receive, many in one process.

As docs/protocol.md asks, each reconnects to any server with the position of its
last frame, after a random delay that grows with failures.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from harness.accounts import session_key
from harness.chaos.inbox import RequestFailed, mark, read_list
from harness.chaos.second import Second
from harness.chaos.tab import ClientState, Frame, Tab
from harness.frames import reset_when_closed
from harness.session import connect_arguments, cookie

OPEN_TIMEOUT_SECONDS: Final = 10.0
FIRST_RECONNECT_DELAY_SECONDS: Final = 0.2  # doubles with each failure
MAX_RECONNECT_DELAY_SECONDS: Final = 3.0
RECONNECT_CODES: Final = {1000, 1005, 1006, 1012, 4012, 4408, 4429, 4503}
MAX_MARKED_IDS: Final = 5
CONCURRENT_MARKS: Final = 4


class Client:
    def __init__(self, name: int, account: int, clients: Clients) -> None:
        self.account = account
        self.tab = Tab()
        self.refusal: int | None = None  # a close code after which it must not reconnect
        self._name = name
        self._clients = clients
        self._rng = random.Random(f"{clients.seed} client {name}")
        self._connection: ClientConnection | None = None
        self._ready_at = 0.0  # since when it has been connected with its list loaded
        self._away_until = 0.0
        self._failures = 0

    @property
    def position(self) -> Frame | None:
        """The client's position; None while it isn't connected or its list is outdated."""
        return None if self._connection is None or self.tab.is_outdated else self.tab.position

    async def run(self) -> None:
        while self.refusal is None:
            await asyncio.sleep(self._reconnect_delay())
            port = self._rng.choice(self._clients.ports)
            try:
                if self.tab.is_outdated:
                    await self.load_list(port, is_restart=True)
                await self._stay_connected(port)
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                if code not in RECONNECT_CODES:
                    self.refusal = code
                self._failures += code == 4503
            except (OSError, WebSocketException, RequestFailed, TimeoutError):
                self._failures += 1
            finally:
                self._connection = None

    def cut(self, min_seconds_away: float) -> bool:
        """Reset the connection; stay away for at least `min_seconds_away`."""
        self._away_until = time.monotonic() + min_seconds_away
        if self._connection is None or self._connection.transport.is_closing():
            return False
        reset_when_closed(self._connection.transport.get_extra_info("socket"))
        self._connection.transport.abort()
        return True

    async def load_list(self, port: int, is_restart: bool) -> bool:
        """
        Load the list; return whether a new connection has to start at its position.

        is_restart: there is no open connection, so the next one starts at the list's position.
        """
        self._clients.counts["lists loaded"] += 1
        items, latest = await asyncio.to_thread(read_list, port, self.account)
        # An open connection can't continue with another epoch or other audiences.
        is_restart |= (latest["epoch"], latest["scope"]) != (self.tab.epoch, self.tab.scope)
        self._ready_at = time.monotonic()
        self.tab.load(items, latest, self._ready_at, is_restart)
        return is_restart

    async def mark_something(self) -> None:
        """Mark some or all items, or undo the last mark."""
        content = self._draw_mark()
        if content is None:
            return
        port = self._rng.choice(self._clients.ports)
        try:
            response = await asyncio.to_thread(mark, port, self.account, content)
        except RequestFailed:
            self._clients.counts["failed marks"] += 1
        else:
            self._clients.counts["marks"] += 1
            if response["range"] and "undo" not in content:
                self._clients.undoable[self.account] = response["range"]

    def _draw_mark(self) -> Frame | None:
        ids = list(self.tab.items)
        if not ids:
            return None
        draw = self._rng.random()
        if draw < 0.1 and self.account in self._clients.undoable:
            return {"undo": self._clients.undoable.pop(self.account)}
        if draw < 0.2:
            upto = {"seq": self.tab.seq, "broadcast_seq": self.tab.broadcast_seq}
            return {"upto": upto, "as": self._rng.choices(["read", "archived"], [9, 1])[0]}
        newest = ids[-50:]
        some = self._rng.sample(newest, min(len(newest), self._rng.randint(1, MAX_MARKED_IDS)))
        return {
            "ids": some,
            "as": self._rng.choice(["read", "read", "unread", "archived", "inbox"]),
        }

    def state(self) -> ClientState:
        return ClientState(
            self.account,
            self.tab.states(),
            {wire_id: item.body for wire_id, item in self.tab.items.items()},
            self.tab.shown,
            self.tab.unread,
            self.tab.unread_broadcasts,
            self.tab.duplicated,
            self.tab.out_of_order,
        )

    def _reconnect_delay(self) -> float:
        max_seconds = min(
            FIRST_RECONNECT_DELAY_SECONDS * 2**self._failures, MAX_RECONNECT_DELAY_SECONDS
        )
        return max(self._away_until - time.monotonic(), 0) + self._rng.uniform(0, max_seconds)

    async def _stay_connected(self, port: int) -> None:
        """Connect, and handle frames until the connection ends."""
        own_cookie = cookie(session_key(self.account))
        async with connect(
            **connect_arguments(f"http://127.0.0.1:{port}", own_cookie, self.tab.position),
            open_timeout=OPEN_TIMEOUT_SECONDS,
            close_timeout=1,
        ) as connection:
            self._clients.counts["connections"] += 1
            async with asyncio.timeout(OPEN_TIMEOUT_SECONDS):
                text = str(await connection.recv())
            self._handle(text, port)
            register = json.loads(text)
            if register["type"] != "register":
                return  # a refusal; the close code follows
            self._ready_at = time.monotonic()
            self._connection = connection
            self._failures = 0
            beating = asyncio.create_task(self._beat(connection, register["heartbeat"]["interval"]))
            try:
                await self._listen(connection, port, register["heartbeat"]["timeout"])
            finally:
                beating.cancel()

    async def _listen(self, connection: ClientConnection, port: int, timeout: float) -> None:
        while True:
            async with asyncio.timeout(timeout):
                text = str(await connection.recv())
            frame = self._handle(text, port)
            if frame["type"] == "ping":
                await connection.send('{"type":"heartbeat"}')
            elif frame["type"] == "resync":
                self._clients.counts["resyncs"] += 1
            is_heartbeat = frame["type"] == "heartbeat"
            if self.tab.is_outdated or (is_heartbeat and self.tab.lacks_items):
                has_restarted = await self.load_list(port, is_restart=False)
                if has_restarted:
                    return  # to reconnect at its position

    def _handle(self, text: str, port: int) -> Frame:
        now = time.monotonic()
        self._clients.record(self._name, now, text)
        frame: Frame = json.loads(text)
        self.tab.apply(frame, now, self._ready_at, port)
        return frame

    async def _beat(self, connection: ClientConnection, interval: float) -> None:
        try:
            while True:
                await asyncio.sleep(interval)
                await connection.send('{"type":"heartbeat"}')
        except ConnectionClosed:
            pass  # _listen() raises it too


class Clients:
    """All clients, on an event loop in a thread; runs in a process of its own by `Remote`."""

    def __init__(
        self,
        ports: list[int],
        accounts: int,
        per_account: int,
        seed: int,
        frames: Path,
        has_second: bool = False,
    ) -> None:
        """
        frames: a gzip file for every received frame, with its client and time.
        has_second: the last connection of each account is the second client's.
        """
        self.ports = ports
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.undoable: dict[int, Frame] = {}  # by account
        self._frames = gzip.open(frames, "wt", compresslevel=1)  # noqa: SIM115  closed by `end`
        self._rng = random.Random(f"{seed} clients")
        seconds_from = accounts * (per_account - has_second)
        self._clients: list[Client | Second] = [
            Client(name, 1 + name % accounts, self) for name in range(seconds_from)
        ]
        self._clients += [
            self._second(name, 1 + name % accounts)
            for name in range(seconds_from, accounts * per_account)
        ]
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._runs = [self._start(client.run()) for client in self._clients]
        self._marking: Any = None

    def record(self, client: int, at: float, text: str) -> None:
        self.counts["frames"] += 1
        self._frames.write(f"{client} {at:.4f} {text}\n")

    def _second(self, name: int, account: int) -> Second:
        def record(text: str) -> None:
            self.record(name, time.monotonic(), text)

        rng = random.Random(f"{self.seed} client {name}")
        return Second(account, self.ports, rng, record)

    # --- Called by the run

    def mark(self, per_second: float) -> None:
        """Start marking items at random moments, at this rate; 0 stops it."""
        if self._marking and not self._marking.cancel():
            self._marking.result()  # raises the error that ended it
        if per_second:
            self._marking = self._start(self._keep_marking(per_second / CONCURRENT_MARKS))

    def cut(self, share: float, min_seconds_away: float) -> int:
        """Disconnect this share of the clients; return how many were connected."""
        return int(self._wait(self._cut(share, min_seconds_away)))

    def positions(self) -> list[tuple[int, Frame | None]]:
        """Return each client's account and position."""
        return [(client.account, client.position) for client in self._clients]

    def refusals(self) -> list[int]:
        """Return the close codes after which clients gave up. Raises a client's other errors."""
        for run in self._runs:
            if run.done():
                run.result()
        return [client.refusal for client in self._clients if client.refusal]

    def states(self) -> list[ClientState]:
        """Return each client's state."""
        return list(self._wait(self._states()))

    def end(self) -> dict[str, int]:
        """Disconnect all; return the counts of what happened, by name."""
        for run in self._runs:
            run.cancel()
        self._wait(self._close_frames())
        return dict(self.counts)

    # --- On the loop

    async def _close_frames(self) -> None:
        self._frames.close()

    async def _keep_marking(self, per_second: float) -> None:
        async def mark_one_by_one() -> None:
            while True:
                await asyncio.sleep(self._rng.expovariate(per_second))
                await self._rng.choice(self._clients).mark_something()

        await asyncio.gather(*(mark_one_by_one() for _ in range(CONCURRENT_MARKS)))

    async def _cut(self, share: float, min_seconds_away: float) -> int:
        some = self._rng.sample(self._clients, round(share * len(self._clients)))
        return sum(client.cut(min_seconds_away) for client in some)

    async def _states(self) -> list[ClientState]:
        return [client.state() for client in self._clients]

    def _start(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._start(coroutine).result(30)
