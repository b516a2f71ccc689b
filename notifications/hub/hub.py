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
from notifications.models import BroadcastHead, Notification
from notifications.protocol import CloseCode
from notifications.servers.base import Message
from notifications.servers.tuning import tune_process
from notifications.sessions.authentication import authenticate

from . import limits
from .catch_up import Healing
from .connection import Socket
from .drain import Draining
from .fan_out import FanOut, by_turns
from .registration import Enrolment
from .session_check import SessionCheck

logger = logging.getLogger(__name__)

ON_ITS_WAY: Final = 0.5  # seconds that a push may take, before a look at the database tells
RETRY: Final = 1.0  # seconds until a failed reading is tried again
REMEMBERED: Final = 10_000  # message ids, against duplicates
ACCOUNTS_PER_QUERY: Final = 2000

_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def get_hub() -> Hub:
    """Return the running event loop's hub; the first call makes and starts it."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        tune_process()
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
    return any(hub.draining.has_begun for hub in list(_hubs.values()))


class Hub:
    def __init__(self) -> None:
        self.database = DatabaseThread("notifications-hub")
        self.authenticate = Batched(self.database, authenticate)
        self.room = limits.Room()
        self._sockets: dict[str, Socket] = {}  # by connection id
        self._accounts: defaultdict[str, set[Socket]] = defaultdict(set)
        self.draining = Draining(self._sockets, self.close)
        self._by_silence: OrderedDict[Socket, None] = OrderedDict()  # longest silent first
        self._fan_out = FanOut(self._sockets, self._fall_behind)
        self._recent_ids: OrderedDict[str, None] = OrderedDict()
        self._healing = Healing(self.database)
        self._session_check = SessionCheck(self.database, self.close, self._fall_behind)
        self._subscriptions = Subscriptions(self._receive)
        self._enrolment = Enrolment(self.database, lambda: self._sockets.values())
        self._tasks = [
            asyncio.create_task(_repeat(step))
            for step in (
                self._healing.step,
                self._watch,
                self._check,
                self._subscriptions.step,
                self._session_check.step,
                self._session_check.follow,
                self._enrolment.step,
            )
        ]
        if conf.MAINTENANCE == "server":
            self._tasks.append(asyncio.create_task(maintenance.run_forever()))
        self._opened = asyncio.create_task(self._subscriptions.open())

    # --- Sockets come and go

    async def join(self, socket: Socket) -> None:
        """
        Take in an accepted socket: it gets `register`, then what it missed, then lives.

        Returns when `register` is written, so that what the client says meanwhile is answered
        behind it.
        """
        await asyncio.shield(self._opened)
        if self.draining.has_begun:
            return self.draining.refuse(socket)
        if code := self._session_check.refusal(socket.session):
            socket.close(code)
            return
        self._accounts[socket.account].add(socket)
        self._sockets[socket.id] = socket
        self._by_silence[socket] = None
        self._enrolment.opened(socket)
        self._session_check.opened(socket)
        for oldest in limits.surplus(self._accounts[socket.account]):
            self.close(oldest, CloseCode.EVICTED)
        # Also for a second one: the first may still be about it.
        await self._subscriptions.join(socket.account)
        # Read for it only now: what is pushed after the reading has to reach this hub.
        if socket.id in self._sockets:
            self._healing.begin(socket)
        await socket.wait_registered()

    def leave(self, socket: Socket) -> None:
        """Forget a socket that has ended; a second call does nothing."""
        if self._sockets.pop(socket.id, None) is None:
            return
        self._by_silence.pop(socket, None)
        self._healing.forget(socket)
        self._enrolment.closed(socket)
        self._session_check.closed(socket)
        siblings = self._accounts[socket.account]
        siblings.discard(socket)
        if not siblings:
            del self._accounts[socket.account]
            task = asyncio.create_task(self._leave_group(socket.account))
            self._tasks.append(task)
            task.add_done_callback(self._tasks.remove)

    def close(self, socket: Socket, code: CloseCode, delay: float = 0) -> None:
        """Tell the client why and when to come back, close its socket and forget it."""
        socket.close(code, delay)
        self.leave(socket)

    def heard(self, socket: Socket) -> None:
        """Any frame of the client is a sign of life."""
        socket.heard_at = time.monotonic()
        socket.pinged = False
        if socket in self._by_silence:
            self._by_silence.move_to_end(socket)

    def answer(self, socket: Socket) -> None:
        """Answer a heartbeat; a client that does not read its answers is left behind."""
        if not socket.answer_heartbeat():
            self._fall_behind(socket)

    async def stop(self) -> None:
        """Close all sockets with the restart code and take this worker out of the registry."""
        self.draining.at_once(0)
        tasks = [*self._tasks, self._opened]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._fan_out.stop()
        await self._subscriptions.close()
        await self._enrolment.end()
        await self.database.close()

    async def _leave_group(self, account: str) -> None:
        if account not in self._accounts:  # nobody came meanwhile
            await self._subscriptions.leave(account)

    # --- Messages from the channel layer

    def _receive(self, account: str | None, message: envelopes.Message) -> None:
        """Take a message of the group of `account`, or of all hubs (None)."""
        message_id = message.get("id")
        if message_id is not None:
            if message_id in self._recent_ids:
                return
            self._recent_ids[message_id] = None
            if len(self._recent_ids) > REMEMBERED:
                self._recent_ids.popitem(last=False)
        match message:
            case {"type": "notifications.push", "entries": entries}:
                for entry in entries:
                    if sockets := self._accounts.get(entry["account"]):
                        self._push(sockets, entry)
            case {"type": "notifications.broadcast"}:
                self._fan_out.push(message)
            case {"type": "notifications.frames", "entries": entries}:
                for entry in entries:
                    if sockets := self._accounts.get(entry["account"]):
                        self._write_unnumbered(sockets, entry["text"])
            case {"type": "notifications.frame", "frame": {"type": str()} as frame} if account:
                if sockets := self._accounts.get(account):
                    self._write_unnumbered(sockets, protocol.encode(frame))
            case {"type": "notifications.end", "sessions": names, "code": code}:
                self._session_check.end(names, CloseCode(code))
            case {"type": "notifications.look", "entries": entries}:
                for entry in entries:
                    self._session_check.doubt(self._accounts.get(entry["account"], ()))
            case {"type": "notifications.close", "connections": connections, "code": code}:
                for connection in connections:
                    if closing := self._sockets.get(connection):
                        self.close(closing, CloseCode(code))
            case _:
                logger.warning("Ignored a channel layer message: %.200r", message.get("type"))

    def _push(self, sockets: Iterable[Socket], entry: dict[str, Any]) -> None:
        first, seq, counted_at = entry["first"], entry["seq"], entry["counted_at"]
        message = Message(entry["text"])
        for socket in sockets:
            if socket.behind:
                socket.missed(seq=seq)
            elif seq > socket.seq:
                is_next = first == socket.seq + 1 and counted_at in {None, socket.broadcast_seq}
                if is_next and socket.write(message):
                    socket.seq = seq
                    socket.count(entry["unread"], entry["unread_broadcasts"])
                else:
                    self._fall_behind(socket)

    def _write_unnumbered(self, sockets: Iterable[Socket], text: str) -> None:
        message = Message(text)
        for socket in sockets:
            if socket.registered:
                socket.write(message)

    def _fall_behind(self, socket: Socket) -> None:
        if socket.id in self._sockets:
            self._healing.fall_behind(socket)

    # --- What happens at intervals

    async def _watch(self) -> None:
        """Ping the sockets silent for an interval, close those silent for the timeout."""
        await asyncio.sleep(min(1.0, conf.HEARTBEAT_INTERVAL / 2))
        now = time.monotonic()
        ping = Message(protocol.encode(protocol.frame("ping")))
        while self._by_silence:
            socket = next(iter(self._by_silence))
            if now - socket.heard_at <= conf.HEARTBEAT_TIMEOUT:
                break
            self.close(socket, CloseCode.HEARTBEAT_LOST)
        for socket in self._healing.stalled():
            self.close(socket, CloseCode.HEARTBEAT_LOST)
        silent = takewhile(
            lambda socket: now - socket.heard_at >= conf.HEARTBEAT_INTERVAL, self._by_silence
        )
        due = [socket for socket in silent if socket.registered and not socket.pinged]
        async for some in by_turns(due):
            for socket in some:
                socket.pinged = True
                socket.write(ping)

    async def _check(self) -> None:
        """Compare all sockets with the database, and wait for an interval."""
        heads: dict[str, int] = {}
        broadcasts = None
        for keys in self._account_ids():
            seqs, broadcasts = await self.database.run(_look, keys)
            heads.update((str(key), seq) for key, seq in seqs.items())
        await asyncio.sleep(min(ON_ITS_WAY, conf.HEARTBEAT_INTERVAL))
        for account, seq in heads.items():
            for socket in self._accounts.get(account, ()):
                if seq > socket.seq:
                    self._fall_behind(socket)
        if broadcasts:
            for socket in self._sockets.values():
                is_late = broadcasts.seq > socket.broadcast_seq and not self._fan_out.is_under_way
                # Of another epoch, its cursor means nothing: reading from it gives `resync`.
                if is_late or broadcasts.epoch != socket.epoch:
                    self._fall_behind(socket)
        # Last: a check that fails is tried again without it.
        # Without a shared layer, other processes are heard through the database only.
        interval = min(1.0, conf.HEARTBEAT_INTERVAL) if sender.is_in_memory() else None
        await asyncio.sleep(interval or conf.HEARTBEAT_INTERVAL)

    def _account_ids(self) -> list[list[Any]]:
        """Return the accounts that have sockets here, as many at a time as one query takes."""
        keys = [next(iter(sockets)).reader.account_id for sockets in self._accounts.values()]
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
            await asyncio.sleep(RETRY)
        except Exception:
            logger.exception("The hub failed at %s", step.__name__)
            await asyncio.sleep(RETRY)


def _look(account_ids: list[Any]) -> tuple[dict[Any, int], BroadcastHead]:
    """Number what a crash left of these accounts, and return where they stand."""
    using = router.db_for_write(Notification)
    account = Notification._meta.get_field("account")
    local = is_one_of("account_id", account_ids, account, using)
    left_over = Notification.objects.using(using).unnumbered().filter(local)
    if keys := set(left_over.values_list("account_id", flat=True)):
        numbering.deliver(keys, using)
    numbering.deliver_broadcasts(using)
    return pages.newest_seqs(account_ids)
