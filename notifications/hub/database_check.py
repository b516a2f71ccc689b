"""The hub's check: at intervals, all connections are compared with the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from django.db import router

from notifications.channel_layer import sender
from notifications.conf import conf
from notifications.db.bulk import is_one_of
from notifications.db.thread import DatabaseThread
from notifications.inbox import pages
from notifications.lifecycle import numbering
from notifications.models import BroadcastSequence, Notification

from .connection import LiveConnection
from .fan_out import FanOut

PUBLISH_GRACE_SECONDS: Final = 0.5  # for live updates to arrive that the check has read about
IN_MEMORY_INTERVAL_SECONDS: Final = 1.0  # other processes are heard through the database only
ACCOUNTS_PER_QUERY: Final = 2000


class DatabaseCheck:
    def __init__(
        self,
        database: DatabaseThread,
        connections: Mapping[str, LiveConnection],
        accounts: Mapping[str, Collection[LiveConnection]],
        fan_out: FanOut,
        fall_behind: Callable[[LiveConnection], None],
    ) -> None:
        """`connections` by their ids and by account are the hub's, as they come and go."""
        self._database = database
        self._connections = connections
        self._accounts = accounts
        self._fan_out = fan_out
        self._fall_behind = fall_behind

    async def step(self) -> None:
        """Leave behind the connections that lack something, and wait for an interval."""
        latest: dict[str, int] = {}
        broadcasts = None
        for keys in self._account_ids():
            seqs, broadcasts = await self._database.run(_number_and_read, keys)
            latest.update((str(key), seq) for key, seq in seqs.items())
        await asyncio.sleep(min(PUBLISH_GRACE_SECONDS, conf.HEARTBEAT_INTERVAL))
        for account, seq in latest.items():
            for connection in self._accounts.get(account, ()):
                if seq > connection.seq:
                    self._fall_behind(connection)
        if broadcasts:
            for connection in self._connections.values():
                is_late = (
                    broadcasts.seq > connection.broadcast_seq and not self._fan_out.is_under_way
                )
                # In another epoch its position means nothing: catching up ends in `resync`.
                if is_late or broadcasts.epoch != connection.epoch:
                    self._fall_behind(connection)
        # Last, so that a check that failed is repeated without it.
        await asyncio.sleep(
            min(IN_MEMORY_INTERVAL_SECONDS, conf.HEARTBEAT_INTERVAL)
            if sender.is_in_memory()
            else conf.HEARTBEAT_INTERVAL
        )

    def _account_ids(self) -> list[list[Any]]:
        """Return the keys of the local accounts, as many at a time as one query takes."""
        keys = [
            next(iter(connections)).recipient.account_id for connections in self._accounts.values()
        ]
        return [
            keys[start : start + ACCOUNTS_PER_QUERY]
            for start in range(0, len(keys), ACCOUNTS_PER_QUERY)
        ]


def _number_and_read(account_ids: list[Any]) -> tuple[dict[Any, int], BroadcastSequence]:
    """Number what a crash left of these accounts; return their latest change numbers."""
    using = router.db_for_write(Notification)
    account = Notification._meta.get_field("account")
    local = is_one_of("account_id", account_ids, account, using)
    left_over = Notification.objects.using(using).unnumbered().filter(local)
    if keys := set(left_over.values_list("account_id", flat=True)):
        numbering.number_and_publish(keys, using)
    numbering.number_broadcasts(using)
    return pages.latest_seqs(account_ids)
