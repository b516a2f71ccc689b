"""How a hub writes presence: its worker's lease, and its connections' rows in batches."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import time
from collections.abc import Callable, Iterable
from typing import Final
from uuid import UUID

from django.db import DatabaseError

from notifications import presence
from notifications.channel_layer import hub_commands
from notifications.conf import conf
from notifications.db.thread import DatabaseThread
from notifications.models import Connection, Worker
from notifications.protocol import CloseCode

from .connection import LiveConnection

logger = logging.getLogger(__name__)

BATCH_SECONDS: Final = 0.2  # for which opened and closed connections are collected
END_SECONDS: Final = 2.0  # for the database to delete the rows
LAST_SEEN_SECONDS: Final = 60.0  # between two updates of `last_seen`


class Registration:
    def __init__(
        self, database: DatabaseThread, connections: Callable[[], Iterable[LiveConnection]]
    ) -> None:
        self._database = database
        self._connections = connections
        self._worker = Worker(host=platform.node(), pid=os.getpid())
        self._opened: list[LiveConnection] = []
        self._closed: list[LiveConnection] = []
        self._renew_at = 0.0  # both in monotonic seconds
        self._seen_from = time.monotonic()
        self._changed = asyncio.Event()

    def opened(self, connection: LiveConnection) -> None:
        self._opened.append(connection)
        self._changed.set()

    def closed(self, connection: LiveConnection) -> None:
        self._closed.append(connection)
        self._changed.set()

    async def step(self) -> None:
        """Wait for a change, or until the lease has to be renewed, and write both."""
        try:
            async with asyncio.timeout(max(0.0, self._renew_at - time.monotonic())):
                await self._changed.wait()
                await asyncio.sleep(BATCH_SECONDS)
        except TimeoutError:
            pass
        await self._write()

    async def end(self) -> None:
        """Delete the rows of this worker and its connections."""
        try:
            async with asyncio.timeout(END_SECONDS):
                await self._database.run(presence.retire, self._worker)
        except (DatabaseError, TimeoutError) as error:
            logger.warning(
                "Could not delete this worker's presence, which lasts until its lease ends: %s",
                type(error).__name__,
            )

    async def _write(self) -> None:
        self._changed.clear()
        opened, self._opened = self._opened, []
        closed, self._closed = self._closed, []
        now = time.monotonic()
        seen = []
        if now >= self._seen_from + LAST_SEEN_SECONDS:
            seen = [
                connection.id
                for connection in self._connections()
                if connection.heard_at > self._seen_from
            ]
            self._seen_from = now
        try:
            if now >= self._renew_at:
                connections = list(self._connections())
                rows = map(self._row, connections)
                await self._database.run(presence.renew_lease, self._worker, rows)
                self._renew_at = now + conf.HEARTBEAT_INTERVAL
            if opened or closed or seen:
                opened_rows = [self._row(connection) for connection in opened]
                closed_rows = [self._row(connection) for connection in closed]
                await self._database.run(presence.record, opened_rows, closed_rows, seen)
            if opened:
                accounts = {connection.recipient.account_id for connection in opened}
                # Those of other workers: this one has closed its own already.
                if surplus := await self._database.run(presence.surplus, accounts):
                    hub_commands.close_connections(surplus, CloseCode.EVICTED)
        except Exception:
            # This worker's row may have been reaped: the next renewal inserts it again.
            self._opened = opened + self._opened
            self._closed = closed + self._closed
            self._renew_at = 0.0
            self._changed.set()
            raise

    def _row(self, connection: LiveConnection) -> Connection:
        return Connection(
            id=UUID(connection.id),
            worker=self._worker,
            account_id=connection.recipient.account_id,
            opened_at=connection.opened_at,
            user_agent=connection.user_agent,
            address=connection.address,
        )
