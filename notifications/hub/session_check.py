"""
Closes a connection when its session ends.

An envelope from the process that ends the session closes it at once; one about a changed account
causes a recheck of its sessions. Changes without an envelope (an expiry, QuerySet.update(), an
outage of the channel layer) are found by rechecking all sessions at intervals. A recheck also
updates the account's audiences.
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

SESSION_RECHECK_SECONDS: Final = 45.0  # at most, between two rechecks of all sessions
RECHECK_INTERVALS: Final = 5  # heartbeat intervals between them, if that is sooner
# A request that changes a password renews its own session a moment later.
SETTLE_SECONDS: Final = 1.0
# A browser has its new cookie by then, and may reconnect.
COOKIE_RENEWAL_SECONDS: Final = 2.0
# A handshake that read the session before it ended has opened its connection by then.
ENDED_SESSION_MEMORY_SECONDS: Final = 60.0
SESSIONS_PER_BATCH: Final = 500  # about 30 ms of the database thread
# Lets handshakes and catching up run between batches.
BATCH_PAUSE_SECONDS: Final = 0.1


class SessionCheck:
    """The sessions of a hub's connections."""

    def __init__(
        self,
        database: DatabaseThread,
        close: Callable[[LiveConnection, CloseCode, float], None],
        fall_behind: Callable[[LiveConnection], None],
    ) -> None:
        self._database = database
        self._close = close
        self._fall_behind = fall_behind
        # By each name of their session.
        self._connections: defaultdict[str, set[LiveConnection]] = defaultdict(set)
        self._ended: dict[str, tuple[float, CloseCode]] = {}  # by name, the oldest first
        self._requested: set[str] = set()
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
        """Close the connections of these sessions, also those whose handshake is under way."""
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
        """Return the close code for a connection whose session ended during the handshake."""
        for name in session.names:
            ended_at, code = self._ended.get(name, (0.0, None))
            if code and time.monotonic() - ended_at < ENDED_SESSION_MEMORY_SECONDS:
                return code
        return None

    def recheck_soon(self, connections: Iterable[LiveConnection]) -> None:
        """Recheck the sessions of these connections soon: their account has changed."""
        self._requested.update(connection.session.name for connection in connections)
        if self._requested:
            self._wake.set()

    async def recheck_requested(self) -> None:
        """Wait for `recheck_soon`, then recheck its sessions."""
        await self._wake.wait()
        await asyncio.sleep(SETTLE_SECONDS)
        self._wake.clear()
        requested, self._requested = self._requested, set()
        try:
            await self._recheck(requested)
        except Exception:
            self.recheck_soon(
                chain.from_iterable(self._connections.get(name, ()) for name in requested)
            )
            raise

    async def step(self) -> None:
        """Recheck all sessions, then wait for the interval."""
        connections = (next(iter(connections)) for connections in self._connections.values())
        await self._recheck({connection.session.name for connection in connections})
        # Last, so that a recheck that fails is retried without this wait.
        await asyncio.sleep(
            min(SESSION_RECHECK_SECONDS, RECHECK_INTERVALS * conf.HEARTBEAT_INTERVAL)
        )

    async def _recheck(self, names: Iterable[str]) -> None:
        names = list(names)
        for start in range(0, len(names), SESSIONS_PER_BATCH):
            if start:
                await asyncio.sleep(BATCH_PAUSE_SECONDS)
            sessions = [
                next(iter(self._connections[name])).session
                for name in names[start : start + SESSIONS_PER_BATCH]
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
            # With other audiences, an account has other broadcasts in its inbox.
            connection.recipient = admission.recipient
            self._fall_behind(connection)

    def _end(self, connection: LiveConnection, code: CloseCode) -> None:
        delay = COOKIE_RENEWAL_SECONDS if code is CloseCode.SESSION_CHANGED else 0
        self._close(connection, code, delay)
