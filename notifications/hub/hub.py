"""
The hub: all sockets of this process and event loop, and how far each has been written.

A pushed change that is a socket's next is written, an older one skipped, and a
later one leaves the socket *behind*: what it lacks is then read from the
database, for all sockets behind at once (catch_up.py). A new socket is behind from its start.
So connecting with an old cursor, a lost push, a layer outage, a slow reader and
a crash between commit and push are one case, healed in one place.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Iterable
from itertools import takewhile
from typing import Any, Final
from weakref import WeakKeyDictionary

from django.db import DatabaseError, router

from notifications import maintenance, protocol
from notifications.channel_layer import envelopes, sender
from notifications.channel_layer.subscriptions import Subscriptions
from notifications.conf import conf
from notifications.db.bulk import is_one_of
from notifications.db.thread import Batched, DatabaseThread
from notifications.inbox import pages
from notifications.lifecycle import numbering
from notifications.models import BroadcastSequence, Notification
from notifications.protocol import CloseCode
from notifications.servers.base import EncodedFrame
from notifications.sessions.authentication import authenticate

from . import limits
from .catch_up import CatchUp
from .connection import LiveConnection
from .drain import Drain
from .fan_out import FanOut, by_turns
from .registration import Registration
from .session_check import SessionCheck

logger = logging.getLogger(__name__)

PUBLISH_GRACE_SECONDS: Final = (
    0.5  # seconds that a push may take, before a look at the database tells
)
RETRY_SECONDS: Final = 1.0  # seconds until a failed reading is tried again
MAX_RECENT_IDS: Final = 10_000  # message ids, against duplicates
ACCOUNTS_PER_QUERY: Final = 2000

_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def get_hub() -> Hub:
    """Return the running event loop's hub; the first call makes and starts it."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]


async def stop_hub() -> None:
    """Close the running loop's sockets, if it has a hub, with the code to come back soon."""
    loop = asyncio.get_running_loop()
    if hub := _hubs.get(loop):
        await hub.stop()
        # Only now: a socket that arrived meanwhile must be refused, not make another hub.
        _hubs.pop(loop, None)


def is_draining() -> bool:
    """Whether this process lets no more sockets in, because it is about to end."""
    return any(hub.drain.has_begun for hub in list(_hubs.values()))


class Hub:
    def __init__(self) -> None:
        self.database = DatabaseThread("notifications-hub")
        self.authenticate = Batched(self.database, authenticate)
        self.capacity = limits.Capacity()
        self._connections: dict[str, LiveConnection] = {}  # by connection id
        self._accounts: defaultdict[str, set[LiveConnection]] = defaultdict(set)
        self.drain = Drain(self._connections, self.close)
        self._by_silence: OrderedDict[LiveConnection, None] = OrderedDict()  # longest silent first
        self._fan_out = FanOut(self._connections, self._fall_behind)
        self._recent_ids: OrderedDict[str, None] = OrderedDict()
        self._catch_up = CatchUp(self.database)
        self._session_check = SessionCheck(self.database, self.close, self._fall_behind)
        self._subscriptions = Subscriptions(self._receive)
        self._registration = Registration(self.database, lambda: self._connections.values())
        self._tasks = [
            asyncio.create_task(_repeat(step))
            for step in (
                self._catch_up.step,
                self._watch,
                self._check,
                self._subscriptions.step,
                self._session_check.step,
                self._session_check.follow,
                self._registration.step,
            )
        ]
        if conf.MAINTENANCE == "server":
            self._tasks.append(asyncio.create_task(maintenance.run_forever()))
        self._opened = asyncio.create_task(self._subscriptions.open())

    # --- Sockets come and go

    async def join(self, connection: LiveConnection) -> None:
        """
        Take in an accepted socket: it gets `register`, then what it missed, then lives.

        Returns when `register` is written, so that what the client says meanwhile is answered
        behind it.
        """
        await asyncio.shield(self._opened)
        if self.drain.has_begun:
            return self.drain.refuse(connection)
        if code := self._session_check.refusal(connection.session):
            connection.close(code)
            return
        self._accounts[connection.account].add(connection)
        self._connections[connection.id] = connection
        self._by_silence[connection] = None
        self._registration.opened(connection)
        self._session_check.opened(connection)
        for oldest in limits.surplus(self._accounts[connection.account]):
            self.close(oldest, CloseCode.EVICTED)
        # Also for a second one: the first may still be about it.
        await self._subscriptions.join(connection.account)
        # Read for it only now: what is pushed after the reading has to reach this hub.
        if connection.id in self._connections:
            self._catch_up.begin(connection)
        await connection.wait_registered()

    def leave(self, connection: LiveConnection) -> None:
        """Forget a socket that has ended; a second call does nothing."""
        if self._connections.pop(connection.id, None) is None:
            return
        self._by_silence.pop(connection, None)
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
        """Tell the client why and when to come back, close its socket and forget it."""
        connection.close(code, delay)
        self.leave(connection)

    def heard(self, connection: LiveConnection) -> None:
        """Any frame of the client is a sign of life."""
        connection.heard_at = time.monotonic()
        connection.pinged = False
        if connection in self._by_silence:
            self._by_silence.move_to_end(connection)

    def answer(self, connection: LiveConnection) -> None:
        """Answer a heartbeat; a client that does not read its answers is left behind."""
        if not connection.answer_heartbeat():
            self._fall_behind(connection)

    async def stop(self) -> None:
        """Close all sockets with the restart code and take this worker out of the registry."""
        self.drain.at_once(0)
        tasks = [*self._tasks, self._opened]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._fan_out.stop()
        await self._subscriptions.close()
        await self._registration.end()
        await self.database.close()

    async def _leave_group(self, account: str) -> None:
        if account not in self._accounts:  # nobody came meanwhile
            await self._subscriptions.leave(account)

    # --- Messages from the channel layer

    def _receive(self, account: str | None, message: envelopes.Envelope) -> None:
        """Take a message of the group of `account`, or of all hubs (None)."""
        message_id = message.get("id")
        if message_id is not None:
            if message_id in self._recent_ids:
                return
            self._recent_ids[message_id] = None
            if len(self._recent_ids) > MAX_RECENT_IDS:
                self._recent_ids.popitem(last=False)
        match message:
            case {"type": "notifications.push", "entries": entries}:
                for entry in entries:
                    if connections := self._accounts.get(entry["account"]):
                        self._push(connections, entry)
            case {"type": "notifications.broadcast"}:
                self._fan_out.push(message)
            case {"type": "notifications.frames", "entries": entries}:
                for entry in entries:
                    if connections := self._accounts.get(entry["account"]):
                        self._write_unnumbered(connections, entry["text"])
            case {"type": "notifications.frame", "frame": {"type": str()} as frame} if account:
                if connections := self._accounts.get(account):
                    self._write_unnumbered(connections, protocol.encode(frame))
            case {"type": "notifications.end", "sessions": names, "code": code}:
                self._session_check.end(names, CloseCode(code))
            case {"type": "notifications.look", "entries": entries}:
                for entry in entries:
                    self._session_check.doubt(self._accounts.get(entry["account"], ()))
            case {"type": "notifications.close", "connections": connections, "code": code}:
                for connection in connections:
                    if closing := self._connections.get(connection):
                        self.close(closing, CloseCode(code))
            case _:
                logger.warning("Ignored a channel layer message: %.200r", message.get("type"))

    def _push(self, connections: Iterable[LiveConnection], entry: dict[str, Any]) -> None:
        first, seq, counted_at = entry["first"], entry["seq"], entry["counted_at"]
        message = EncodedFrame(entry["text"])
        for connection in connections:
            if connection.behind:
                connection.missed(seq=seq)
            elif seq > connection.seq:
                is_next = first == connection.seq + 1
                is_counted = counted_at in {None, connection.broadcast_seq}
                if is_next and is_counted and connection.write(message):
                    connection.seq = seq
                    connection.count(entry["unread"], entry["unread_broadcasts"])
                else:
                    self._fall_behind(connection)

    def _write_unnumbered(self, connections: Iterable[LiveConnection], text: str) -> None:
        message = EncodedFrame(text)
        for connection in connections:
            if connection.registered:
                connection.write(message)

    def _fall_behind(self, connection: LiveConnection) -> None:
        if connection.id in self._connections:
            self._catch_up.fall_behind(connection)

    # --- What happens at intervals

    async def _watch(self) -> None:
        """Ping the sockets silent for an interval, close those silent for the timeout."""
        await asyncio.sleep(min(1.0, conf.HEARTBEAT_INTERVAL / 2))
        now = time.monotonic()
        ping = EncodedFrame(protocol.encode(protocol.frame("ping")))
        while self._by_silence:
            connection = next(iter(self._by_silence))
            if now - connection.heard_at <= conf.HEARTBEAT_TIMEOUT:
                break
            self.close(connection, CloseCode.HEARTBEAT_LOST)
        for connection in self._catch_up.stalled():
            self.close(connection, CloseCode.HEARTBEAT_LOST)
        silent = takewhile(
            lambda connection: now - connection.heard_at >= conf.HEARTBEAT_INTERVAL,
            self._by_silence,
        )
        due = [
            connection for connection in silent if connection.registered and not connection.pinged
        ]
        async for some in by_turns(due):
            for connection in some:
                connection.pinged = True
                connection.write(ping)

    async def _check(self) -> None:
        """Compare all sockets with the database, and wait for an interval."""
        latest: dict[str, int] = {}
        broadcasts = None
        for keys in self._account_ids():
            seqs, broadcasts = await self.database.run(_look, keys)
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
                # Of another epoch, its cursor means nothing: reading from it gives `resync`.
                if is_late or broadcasts.epoch != connection.epoch:
                    self._fall_behind(connection)
        # Last: a check that fails is tried again without it.
        # Without a shared layer, other processes are heard through the database only.
        interval = min(1.0, conf.HEARTBEAT_INTERVAL) if sender.is_in_memory() else None
        await asyncio.sleep(interval or conf.HEARTBEAT_INTERVAL)

    def _account_ids(self) -> list[list[Any]]:
        """Return the accounts that have sockets here, as many at a time as one query takes."""
        keys = [
            next(iter(connections)).recipient.account_id for connections in self._accounts.values()
        ]
        return [
            keys[start : start + ACCOUNTS_PER_QUERY]
            for start in range(0, len(keys), ACCOUNTS_PER_QUERY)
        ]


async def _repeat(step: Callable[[], Awaitable[None]]) -> None:
    """Run a step again and again; a failure is logged and harms no later one."""
    while True:
        try:
            await step()
        except DatabaseError as error:
            logger.warning("The database is away (%s), trying again", type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
        except Exception:
            logger.exception("The hub failed at %s", step.__name__)
            await asyncio.sleep(RETRY_SECONDS)


def _look(account_ids: list[Any]) -> tuple[dict[Any, int], BroadcastSequence]:
    """Number what a crash left of these accounts, and return where they stand."""
    using = router.db_for_write(Notification)
    account = Notification._meta.get_field("account")
    local = is_one_of("account_id", account_ids, account, using)
    left_over = Notification.objects.using(using).unnumbered().filter(local)
    if keys := set(left_over.values_list("account_id", flat=True)):
        numbering.number_and_publish(keys, using)
    numbering.number_broadcasts(using)
    return pages.latest_seqs(account_ids)
