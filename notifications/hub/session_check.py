"""
A socket lives as long as its session.

What ends one is told by a message: a logout at once, a changed account by being looked at. What
nobody tells, an expiry, QuerySet.update() or what a layer that was away did not bring, is found by
looking at all the sessions again, at intervals. So are the account's audiences.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Final

from notifications.conf import conf
from notifications.db.thread import DatabaseThread
from notifications.protocol import CloseCode
from notifications.sessions.authentication import Session, Visitor, look_again

from .connection import Socket

EVERY: Final = 45.0  # seconds, at most, between two looks at all sessions
INTERVALS: Final = 5  # of the hub's check, if that is sooner
SETTLING: Final = 1.0  # seconds; a request that changes a password soon renews its own session
RENEWAL: Final = 2.0  # seconds until a browser has its new cookie, and may come back with it
REMEMBERED: Final = 60.0  # seconds; who had read an ended session by then has opened its socket
SESSIONS_AT_A_TIME: Final = 500  # about 30 ms of the database thread
PAUSE: Final = 0.1  # seconds in between, so that who comes and who is behind have their turn


class SessionCheck:
    """The sessions of a hub's sockets."""

    def __init__(
        self,
        database: DatabaseThread,
        close: Callable[[Socket, CloseCode, float], None],
        fall_behind: Callable[[Socket], None],
    ) -> None:
        self._database = database
        self._close = close
        self._fall_behind = fall_behind
        self._sockets: defaultdict[str, set[Socket]] = defaultdict(set)  # by their session's names
        self._ended: dict[str, tuple[float, CloseCode]] = {}  # by name, the oldest first
        self._doubtful: set[str] = set()
        self._wake = asyncio.Event()

    def opened(self, socket: Socket) -> None:
        for name in socket.session.names:
            self._sockets[name].add(socket)

    def closed(self, socket: Socket) -> None:
        for name in socket.session.names:
            sockets = self._sockets[name]
            sockets.discard(socket)
            if not sockets:
                del self._sockets[name]

    def end(self, names: Iterable[str], code: CloseCode) -> None:
        """Close the sockets of these sessions, also those that are still on their way."""
        now = time.monotonic()
        for name in names:
            self._ended.pop(name, None)
            self._ended[name] = now, code
            for socket in list(self._sockets.get(name, ())):
                self._end(socket, code)
        for name, (ended_at, _) in list(self._ended.items()):
            if now - ended_at < REMEMBERED:
                break
            del self._ended[name]

    def refusal(self, session: Session) -> CloseCode | None:
        """Return the code to close a new socket with if its session ended while it was let in."""
        for name in session.names:
            ended_at, code = self._ended.get(name, (0.0, None))
            if code and time.monotonic() - ended_at < REMEMBERED:
                return code
        return None

    def doubt(self, sockets: Iterable[Socket]) -> None:
        """Look again, soon, at the sessions of these sockets: their account has changed."""
        self._doubtful.update(socket.session.name for socket in sockets)
        if self._doubtful:
            self._wake.set()

    async def follow(self) -> None:
        """Wait until sessions are doubtful, and look at them."""
        await self._wake.wait()
        await asyncio.sleep(SETTLING)
        self._wake.clear()
        doubtful, self._doubtful = self._doubtful, set()
        try:
            await self._look(doubtful)
        except Exception:
            self.doubt(chain.from_iterable(self._sockets.get(name, ()) for name in doubtful))
            raise

    async def step(self) -> None:
        """Look at all sessions, and wait for an interval."""
        sockets = (next(iter(sockets)) for sockets in self._sockets.values())
        await self._look({socket.session.name for socket in sockets})
        # Last: a look that fails is tried again without it.
        await asyncio.sleep(min(EVERY, INTERVALS * conf.HEARTBEAT_INTERVAL))

    async def _look(self, names: Iterable[str]) -> None:
        names = list(names)
        for start in range(0, len(names), SESSIONS_AT_A_TIME):
            if start:
                await asyncio.sleep(PAUSE)
            some = names[start : start + SESSIONS_AT_A_TIME]
            sessions = [
                next(iter(self._sockets[name])).session for name in some if name in self._sockets
            ]
            visitors = await self._database.run(look_again, sessions)
            for session, visitor in zip(sessions, visitors, strict=True):
                for socket in list(self._sockets.get(session.name, ())):
                    self._judge(socket, visitor)

    def _judge(self, socket: Socket, visitor: Visitor) -> None:
        if visitor.reader is None:
            self._end(socket, visitor.refusal)
        elif visitor.reader.account_id != socket.reader.account_id:
            self._end(socket, CloseCode.SESSION_CHANGED)
        elif visitor.reader != socket.reader:
            # In other audiences, an account has another inbox.
            socket.reader = visitor.reader
            self._fall_behind(socket)

    def _end(self, socket: Socket, code: CloseCode) -> None:
        self._close(socket, code, RENEWAL if code is CloseCode.SESSION_CHANGED else 0)
