"""The hub's check: compares all connections with the database at intervals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from django.db import router

from notifications.channel_layer import sender
from notifications.conf import conf
from notifications.db.bulk import is_one_of
from notifications.db.thread import DatabaseThread
from notifications.inbox import pages
from notifications.lifecycle import numbering, retraction
from notifications.models import BroadcastSequence, Notification

from .connection import LiveConnection
from .fan_out import FanOut

PUBLISH_GRACE_SECONDS: Final = (
    0.5  # for live updates to arrive, if the check read their changes first
)
IN_MEMORY_INTERVAL_SECONDS: Final = 1.0  # updates from other processes do not arrive
ACCOUNTS_PER_QUERY: Final = 2000
LATE_INTERVALS: Final = 2


class DatabaseCheck:
    def __init__(
        self,
        database: DatabaseThread,
        connections: Mapping[str, LiveConnection],
        accounts: Mapping[str, Collection[LiveConnection]],
        fan_out: FanOut,
        fall_behind: Callable[[LiveConnection], None],
    ) -> None:
        """`connections` (by id) and `accounts` (their connections) are the hub's own dicts."""
        self._database = database
        self._connections = connections
        self._accounts = accounts
        self._fan_out = fan_out
        self._fall_behind = fall_behind
        self._completed_at = time.monotonic()

    @property
    def is_late(self) -> bool:
        """Whether the last check was more than two intervals ago."""
        # The grace is a part of every check.
        limit = LATE_INTERVALS * conf.HEARTBEAT_INTERVAL + PUBLISH_GRACE_SECONDS
        return time.monotonic() - self._completed_at > limit

    async def step(self) -> None:
        """
        Let connections catch up that missed a change, or that are at a position which does not
        exist; then wait for an interval.
        """
        latest: dict[str, int] = {}
        broadcasts = None
        before = [
            (connection, connection.seq, connection.broadcast_seq)
            for connection in self._connections.values()
        ]
        for keys in self._account_ids():
            seqs, broadcasts = await self._database.run(_number_and_read, keys)
            latest.update((str(key), seq) for key, seq in seqs.items())
        if broadcasts:
            for connection, seq, broadcast_seq in before:
                # Above what the database had later: it lost changes, or a number was wrong.
                if seq > latest.get(connection.account, 0) or broadcast_seq > broadcasts.seq:
                    self._fall_behind(connection)
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
                # A position of another epoch is meaningless: catching up ends in `resync`.
                if is_late or broadcasts.epoch != connection.epoch:
                    self._fall_behind(connection)
        self._completed_at = time.monotonic()
        # Last, so that a failed check is retried without this wait.
        await asyncio.sleep(
            min(IN_MEMORY_INTERVAL_SECONDS, conf.HEARTBEAT_INTERVAL)
            if sender.is_in_memory()
            else conf.HEARTBEAT_INTERVAL
        )

    def _account_ids(self) -> list[list[Any]]:
        """Return the keys of the local accounts, in batches for one query each."""
        keys = [
            next(iter(connections)).recipient.account_id for connections in self._accounts.values()
        ]
        return [
            keys[start : start + ACCOUNTS_PER_QUERY]
            for start in range(0, len(keys), ACCOUNTS_PER_QUERY)
        ]


def _number_and_read(account_ids: list[Any]) -> tuple[dict[Any, int], BroadcastSequence]:
    """
    Number these accounts' rows that a crash left over, and finish retractions; return their
    latest change numbers.
    """
    using = router.db_for_write(Notification)
    account = Notification._meta.get_field("account")
    local = is_one_of("account_id", account_ids, account, using)
    left_over = Notification.objects.using(using).unnumbered().filter(local)
    if keys := set(left_over.values_list("account_id", flat=True)):
        numbering.number_left_overs(keys, using)
    numbering.number_broadcasts(using, waits=False)
    retraction.finish(using, account_ids)
    return pages.latest_seqs(account_ids)
