"""
The hub: all connections of this process and event loop, and how far each has been written.

A connection's next live update is written, an older one skipped, and a later one leaves the
connection *behind*: missed changes are then read from the database, for all connections that are
behind at once (catch_up.py). A new connection starts behind. So connecting with an old position, a
lost live update, a channel-layer outage, a slow reader and a crash between commit and publishing
are one case, handled in one place.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Final
from weakref import WeakKeyDictionary

from django.db import DatabaseError

from notifications import maintenance
from notifications.channel_layer.subscriptions import Subscriptions
from notifications.conf import conf
from notifications.db.thread import Batched, DatabaseThread
from notifications.protocol import CloseCode
from notifications.sessions.authentication import authenticate

from . import limits
from .arrivals import Arrivals
from .catch_up import CatchUp
from .connection import LiveConnection
from .database_check import DatabaseCheck
from .drain import Drain
from .fan_out import FanOut
from .liveness import LivenessCheck
from .registration import Registration
from .session_check import SessionCheck

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0  # until a failed step is retried

_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def get_hub() -> Hub:
    """Return the running event loop's hub; the first call creates and starts it."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]


async def stop_hub() -> None:
    """Stop the running loop's hub, if it has one: clients are asked to reconnect soon."""
    loop = asyncio.get_running_loop()
    if hub := _hubs.get(loop):
        await hub.stop()
        # Not before: a connection that arrives meanwhile must be refused, not create another hub.
        _hubs.pop(loop, None)


def is_draining() -> bool:
    """Whether this process refuses new connections, because it is about to end."""
    return any(hub.drain.has_begun for hub in list(_hubs.values()))


def is_check_late() -> bool:
    """Whether a hub of this process has not compared its connections with the database lately."""
    return any(hub.check.is_late for hub in list(_hubs.values()))


class Hub:
    def __init__(self) -> None:
        self.database = DatabaseThread("notifications-hub")
        # Clients that come, and this worker's lease, do not wait for the check or for reading
        # what others have missed.
        self._admission = DatabaseThread("notifications-admission")
        self.authenticate = Batched(self._admission, authenticate)
        self.capacity = limits.Capacity()
        connections: dict[str, LiveConnection] = {}
        accounts: defaultdict[str, set[LiveConnection]] = defaultdict(set)
        self._connections = connections  # by id
        self._accounts = accounts
        self.drain = Drain(connections, self.close)
        self._catch_up = CatchUp(self.database)
        self._liveness = LivenessCheck(self._catch_up, self.close)
        self._session_check = SessionCheck(self._admission, self.close, self._fall_behind)
        self._registration = Registration(self._admission, connections.values)
        self._fan_out = FanOut(connections, self._fall_behind)
        arrivals = Arrivals(
            connections,
            accounts,
            self._fan_out,
            self._session_check,
            self._fall_behind,
            self.close,
        )
        self._subscriptions = Subscriptions(arrivals.take)
        self.check = DatabaseCheck(
            self.database, connections, accounts, self._fan_out, self._fall_behind
        )
        self._tasks = [
            asyncio.create_task(_repeat(step))
            for step in (
                self._catch_up.step,
                self._liveness.step,
                self.check.step,
                self._subscriptions.step,
                self._session_check.step,
                self._session_check.recheck_requested,
                self._registration.step,
            )
        ]
        if conf.MAINTENANCE == "server":
            self._tasks.append(asyncio.create_task(maintenance.run_forever()))
        self._opened = asyncio.create_task(self._subscriptions.open())

    async def join(self, connection: LiveConnection) -> None:
        """
        Add an accepted connection: it gets `register`, then missed changes, then live updates.

        Returns when `register` is written, so that the client's frames are answered after it.
        """
        await asyncio.shield(self._opened)
        if connection.registered:
            return  # closed meanwhile
        if self.drain.has_begun:
            return self.drain.refuse(connection)
        if code := self._session_check.refusal(connection.session):
            connection.close(code)
            return
        self._accounts[connection.account].add(connection)
        self._connections[connection.id] = connection
        self._liveness.opened(connection)
        self._registration.opened(connection)
        self._session_check.opened(connection)
        for oldest in limits.surplus(self._accounts[connection.account]):
            self.close(oldest, CloseCode.EVICTED)
        # For each connection, because the account's first one may still be joining.
        await self._subscriptions.join(connection.account)
        # Read the database only now, when later live updates reach this hub.
        if connection.id in self._connections:
            self._catch_up.begin(connection)
        await connection.wait_registered()

    def leave(self, connection: LiveConnection) -> None:
        """Forget a connection that has ended; a second call does nothing."""
        if self._connections.pop(connection.id, None) is None:
            return
        self._liveness.closed(connection)
        self._catch_up.forget(connection)
        self._registration.closed(connection)
        self._session_check.closed(connection)
        siblings = self._accounts[connection.account]
        siblings.discard(connection)
        if not siblings:
            del self._accounts[connection.account]
            task = asyncio.create_task(self._leave_group(connection.account))
            self._tasks.append(task)
            task.add_done_callback(self._tasks.remove)

    def close(self, connection: LiveConnection, code: CloseCode, delay: float = 0) -> None:
        """Close a connection and forget it; `delay`: seconds that its client should wait."""
        connection.close(code, delay)
        self.leave(connection)

    def heard(self, connection: LiveConnection) -> None:
        """Record a sign of life, which is any frame from the client."""
        self._liveness.heard(connection)

    def answer(self, connection: LiveConnection) -> None:
        """Answer a heartbeat; the connection of a client that does not read falls behind."""
        if not connection.answer_heartbeat():
            self._fall_behind(connection)

    async def stop(self) -> None:
        """
        Close all connections with the restart code, and delete this worker from presence.

        Takes a few seconds at most, also if the database or the channel layer does not answer.
        """
        self.drain.at_once(0)
        tasks = [*self._tasks, self._opened]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._fan_out.stop()
        await self._subscriptions.close()
        await self._registration.end()
        await asyncio.gather(self.database.close(), self._admission.close())

    async def _leave_group(self, account: str) -> None:
        if account not in self._accounts:  # no new connection meanwhile
            await self._subscriptions.leave(account)

    def _fall_behind(self, connection: LiveConnection) -> None:
        if connection.id in self._connections:
            self._catch_up.fall_behind(connection)


async def _repeat(step: Callable[[], Awaitable[None]]) -> None:
    """Repeat a step until cancelled; failures are logged."""
    while True:
        try:
            await step()
        except DatabaseError as error:
            logger.warning("Database unavailable (%s), retrying", type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
        except Exception:
            logger.exception("The hub's %s failed", step.__name__)
            await asyncio.sleep(RETRY_SECONDS)
