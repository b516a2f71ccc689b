"""
Plain WebSocket clients, many in one process: they stay connected, resume and keep count.

Each goes to any server that takes it, with the cursor of its last frame, after
a random pause that grows with failures, as docs/protocol.md says.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from harness.accounts import session_key
from harness.chaos.inbox import Unanswered, mark, read_list
from harness.chaos.tab import Frame, Shown, Tab
from harness.frames import reset_when_closed
from harness.session import cookie, handshake

OPEN_TIMEOUT: Final = 10.0  # seconds
FIRST_PAUSE: Final = 0.2  # seconds; doubles with each failure
LONGEST_PAUSE: Final = 3.0  # seconds
COMES_BACK: Final = {1000, 1005, 1006, 1012, 4012, 4408, 4429, 4503}  # close codes
MOST_MARKED: Final = 5  # ids at once
MARKERS: Final = 4  # marks at a time


@dataclass(frozen=True)
class Known:
    """What one client has at the end."""

    account: int
    states: dict[str, str]
    bodies: dict[str, str]
    shown: dict[str, Shown]
    unread: int
    unread_broadcasts: int
    twice: list[str]
    out_of_order: list[str]


class Client:
    def __init__(self, name: int, account: int, clients: Clients) -> None:
        self.account = account
        self.tab = Tab()
        self.refused: int | None = None  # the close code that told it to stay away
        self._name = name
        self._clients = clients
        self._chance = random.Random(f"{clients.seed} client {name}")
        self._socket: ClientConnection | None = None
        self._ready_at = 0.0  # to be told something: connected, and with its list loaded
        self._away_until = 0.0
        self._failures = 0

    @property
    def position(self) -> Frame | None:
        """The cursor where it stands, None while it isn't connected."""
        return None if self._socket is None or self.tab.is_outdated else self.tab.cursor

    async def run(self) -> None:
        while self.refused is None:
            await asyncio.sleep(self._pause())
            port = self._chance.choice(self._clients.ports)
            try:
                if self.tab.is_outdated:
                    await self.load_list(port, is_restart=True)
                await self._visit(port)
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                if code not in COMES_BACK:
                    self.refused = code
                self._failures += code == 4503
            except (OSError, WebSocketException, Unanswered, TimeoutError):
                self._failures += 1
            finally:
                self._socket = None

    def cut(self, away: float) -> bool:
        """Reset the connection, and come back after so many seconds at least."""
        self._away_until = time.monotonic() + away
        if self._socket is None or self._socket.transport.is_closing():
            return False
        reset_when_closed(self._socket.transport.get_extra_info("socket"))
        self._socket.transport.abort()
        return True

    async def load_list(self, port: int, is_restart: bool) -> bool:
        """
        Load it, and return whether the next socket has to start where it stands.

        is_restart: for a socket that is to start where the list stands, not for an open one.
        """
        self._clients.counts["lists loaded"] += 1
        items, head = await asyncio.to_thread(read_list, port, self.account)
        # An open socket can't go on from a list of other numbers or of other broadcasts.
        is_restart |= (head["epoch"], head["scope"]) != (self.tab.epoch, self.tab.scope)
        self._ready_at = time.monotonic()
        self.tab.load(items, head, self._ready_at, is_restart)
        return is_restart

    async def mark_something(self) -> None:
        """Mark some items as their reader would, or all, or take back the mark before."""
        told = self._draw_mark()
        if told is None:
            return
        port = self._chance.choice(self._clients.ports)
        try:
            answer = await asyncio.to_thread(mark, port, self.account, told)
        except Unanswered:
            self._clients.counts["marks unanswered"] += 1
        else:
            self._clients.counts["marks"] += 1
            if answer["range"] and "undo" not in told:
                self._clients.undoable[self.account] = answer["range"]

    def _draw_mark(self) -> Frame | None:
        ids = list(self.tab.items)
        if not ids:
            return None
        chance = self._chance.random()
        if chance < 0.1 and self.account in self._clients.undoable:
            return {"undo": self._clients.undoable.pop(self.account)}
        if chance < 0.2:
            upto = {"seq": self.tab.seq, "broadcast_seq": self.tab.broadcast_seq}
            return {"upto": upto, "as": self._chance.choices(["read", "archived"], [9, 1])[0]}
        newest = ids[-50:]
        some = self._chance.sample(newest, min(len(newest), self._chance.randint(1, MOST_MARKED)))
        return {
            "ids": some,
            "as": self._chance.choice(["read", "read", "unread", "archived", "inbox"]),
        }

    def _pause(self) -> float:
        longest = min(FIRST_PAUSE * 2**self._failures, LONGEST_PAUSE)
        return max(self._away_until - time.monotonic(), 0) + self._chance.uniform(0, longest)

    async def _visit(self, port: int) -> None:
        """Connect, and take frames until the connection ends."""
        own_cookie = cookie(session_key(self.account))
        async with connect(
            **handshake(f"http://127.0.0.1:{port}", own_cookie, self.tab.cursor),
            ping_interval=None,
            open_timeout=OPEN_TIMEOUT,
            close_timeout=1,
        ) as connection:
            self._clients.counts["connections"] += 1
            async with asyncio.timeout(OPEN_TIMEOUT):
                text = str(await connection.recv())
            self._take(text, port)
            register = json.loads(text)
            if register["type"] != "register":
                return  # a refusal: its close code follows
            self._ready_at = time.monotonic()
            self._socket = connection
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
            frame = self._take(text, port)
            if frame["type"] == "ping":
                await connection.send('{"type":"heartbeat"}')
            elif frame["type"] == "resync":
                self._clients.counts["resyncs"] += 1
            is_heartbeat = frame["type"] == "heartbeat"
            if self.tab.is_outdated or (is_heartbeat and self.tab.lacks_items):
                has_restarted = await self.load_list(port, is_restart=False)
                if has_restarted:
                    return  # and connect with its cursor

    def _take(self, text: str, port: int) -> Frame:
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
            pass  # the listener sees it as well


class Clients:
    """All clients, on an event loop in a thread of this process; made for `Remote`."""

    def __init__(
        self, ports: list[int], accounts: int, per_account: int, seed: int, frames: Path
    ) -> None:
        """frames: a gzipped file, where every frame goes, with its client and time."""
        self.ports = ports
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.undoable: dict[int, Frame] = {}  # by account
        self._frames = gzip.open(frames, "wt", compresslevel=1)  # noqa: SIM115  until `end`
        self._chance = random.Random(f"{seed} clients")
        self._clients = [
            Client(name, 1 + name % accounts, self) for name in range(accounts * per_account)
        ]
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._visits = [self._start(client.run()) for client in self._clients]
        self._marking: Any = None

    def record(self, client: int, at: float, text: str) -> None:
        self.counts["frames"] += 1
        self._frames.write(f"{client} {at:.4f} {text}\n")

    # --- Called by the run

    def mark(self, per_second: float) -> None:
        """Let the clients mark items from now on, at random moments; 0: no more."""
        if self._marking and not self._marking.cancel():
            self._marking.result()  # raises what ended it
        if per_second:
            self._marking = self._start(self._keep_marking(per_second / MARKERS))

    def cut(self, share: float, away: float) -> int:
        """Cut this share of the clients off; return how many were connected."""
        return int(self._wait(self._cut(share, away)))

    def positions(self) -> list[tuple[int, Frame | None]]:
        """Return each client's account and cursor."""
        return [(client.account, client.position) for client in self._clients]

    def refusals(self) -> list[int]:
        """Return the codes that told clients to stay away; raises what else made one give up."""
        for visit in self._visits:
            if visit.done():
                visit.result()
        return [client.refused for client in self._clients if client.refused]

    def known(self) -> list[Known]:
        """Return what each client knows now."""
        return list(self._wait(self._known()))

    def end(self) -> dict[str, int]:
        """Leave, and return what all did, by name."""
        for visit in self._visits:
            visit.cancel()
        self._loop.call_soon_threadsafe(self._frames.close)
        return dict(self.counts)

    # --- On the loop

    async def _keep_marking(self, per_second: float) -> None:
        async def mark_one_by_one() -> None:
            while True:
                await asyncio.sleep(self._chance.expovariate(per_second))
                await self._chance.choice(self._clients).mark_something()

        await asyncio.gather(*(mark_one_by_one() for _ in range(MARKERS)))

    async def _cut(self, share: float, away: float) -> int:
        some = self._chance.sample(self._clients, round(share * len(self._clients)))
        return sum(client.cut(away) for client in some)

    async def _known(self) -> list[Known]:
        return [
            Known(
                client.account,
                client.tab.states(),
                {wire_id: item.body for wire_id, item in client.tab.items.items()},
                client.tab.shown,
                client.tab.unread,
                client.tab.unread_broadcasts,
                client.tab.twice,
                client.tab.out_of_order,
            )
            for client in self._clients
        ]

    def _start(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._start(coroutine).result(30)
