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
from notifications.sessions.authentication import Admission, Session, recheck

from .connection import LiveConnection

SESSION_RECHECK_SECONDS: Final = 45.0  # seconds, at most, between two looks at all sessions
RECHECK_INTERVALS: Final = 5  # of the hub's check, if that is sooner
SETTLE_SECONDS: Final = (
    1.0  # seconds; a request that changes a password soon renews its own session
)
COOKIE_RENEWAL_SECONDS: Final = (
    2.0  # seconds until a browser has its new cookie, and may come back with it
)
ENDED_SESSION_MEMORY_SECONDS: Final = (
    60.0  # seconds; who had read an ended session by then has opened its socket
)
SESSIONS_PER_BATCH: Final = 500  # about 30 ms of the database thread
BATCH_PAUSE_SECONDS: Final = (
    0.1  # seconds in between, so that who comes and who is behind have their turn
)


class SessionCheck:
    """The sessions of a hub's sockets."""

    def __init__(
        self,
        database: DatabaseThread,
        close: Callable[[LiveConnection, CloseCode, float], None],
        fall_behind: Callable[[LiveConnection], None],
    ) -> None:
        self._database = database
        self._close = close
        self._fall_behind = fall_behind
        self._connections: defaultdict[str, set[LiveConnection]] = defaultdict(
            set
        )  # by their session's names
        self._ended: dict[str, tuple[float, CloseCode]] = {}  # by name, the oldest first
        self._doubtful: set[str] = set()
        self._wake = asyncio.Event()

    def opened(self, connection: LiveConnection) -> None:
        for name in connection.session.names:
            self._connections[name].add(connection)

    def closed(self, connection: LiveConnection) -> None:
        for name in connection.session.names:
            connections = self._connections[name]
            connections.discard(connection)
            if not connections:
                del self._connections[name]

    def end(self, names: Iterable[str], code: CloseCode) -> None:
        """Close the sockets of these sessions, also those that are still on their way."""
        now = time.monotonic()
        for name in names:
            self._ended.pop(name, None)
            self._ended[name] = now, code
            for connection in list(self._connections.get(name, ())):
                self._end(connection, code)
        for name, (ended_at, _) in list(self._ended.items()):
            if now - ended_at < ENDED_SESSION_MEMORY_SECONDS:
                break
            del self._ended[name]

    def refusal(self, session: Session) -> CloseCode | None:
        """Return the code to close a new socket with if its session ended while it was let in."""
        for name in session.names:
            ended_at, code = self._ended.get(name, (0.0, None))
            if code and time.monotonic() - ended_at < ENDED_SESSION_MEMORY_SECONDS:
                return code
        return None

    def doubt(self, connections: Iterable[LiveConnection]) -> None:
        """Look again, soon, at the sessions of these sockets: their account has changed."""
        self._doubtful.update(connection.session.name for connection in connections)
        if self._doubtful:
            self._wake.set()

    async def follow(self) -> None:
        """Wait until sessions are doubtful, and look at them."""
        await self._wake.wait()
        await asyncio.sleep(SETTLE_SECONDS)
        self._wake.clear()
        doubtful, self._doubtful = self._doubtful, set()
        try:
            await self._look(doubtful)
        except Exception:
            self.doubt(chain.from_iterable(self._connections.get(name, ()) for name in doubtful))
            raise

    async def step(self) -> None:
        """Look at all sessions, and wait for an interval."""
        connections = (next(iter(connections)) for connections in self._connections.values())
        await self._look({connection.session.name for connection in connections})
        # Last: a look that fails is tried again without it.
        await asyncio.sleep(
            min(SESSION_RECHECK_SECONDS, RECHECK_INTERVALS * conf.HEARTBEAT_INTERVAL)
        )

    async def _look(self, names: Iterable[str]) -> None:
        names = list(names)
        for start in range(0, len(names), SESSIONS_PER_BATCH):
            if start:
                await asyncio.sleep(BATCH_PAUSE_SECONDS)
            some = names[start : start + SESSIONS_PER_BATCH]
            sessions = [
                next(iter(self._connections[name])).session
                for name in some
                if name in self._connections
            ]
            admissions = await self._database.run(recheck, sessions)
            for session, admission in zip(sessions, admissions, strict=True):
                for connection in list(self._connections.get(session.name, ())):
                    self._judge(connection, admission)

    def _judge(self, connection: LiveConnection, admission: Admission) -> None:
        if admission.recipient is None:
            self._end(connection, admission.refusal)
        elif admission.recipient.account_id != connection.recipient.account_id:
            self._end(connection, CloseCode.SESSION_CHANGED)
        elif admission.recipient != connection.recipient:
            # In other audiences, an account has another inbox.
            connection.recipient = admission.recipient
            self._fall_behind(connection)

    def _end(self, connection: LiveConnection, code: CloseCode) -> None:
        self._close(
            connection, code, COOKIE_RENEWAL_SECONDS if code is CloseCode.SESSION_CHANGED else 0
        )
