"""One open socket as the hub keeps it: who it belongs to and how far it has been written."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from typing import Any, Final

from django.core.exceptions import SuspiciousOperation
from django.http import QueryDict
from django.utils import timezone

from notifications import protocol
from notifications.audiences import Recipient
from notifications.conf import conf
from notifications.inbox.changes import Changes
from notifications.inbox.pages import Position
from notifications.protocol import CloseCode
from notifications.servers.base import EncodedFrame, Writer
from notifications.sessions.authentication import Session

MAX_AUDIENCE_HASH_LENGTH: Final = 64  # characters kept of what a client says; ours are shorter


class LiveConnection:
    """
    `seq` and `broadcast_seq` are the socket's cursor: all that is visible to
    its account up to them has been written to it.
    """

    __slots__ = (
        "_missed_broadcast_seq",
        "_missed_seq",
        "_registration",
        "_start",
        "_transport",
        "account",
        "address",
        "behind",
        "broadcast_seq",
        "epoch",
        "heard_at",
        "id",
        "opened_at",
        "pinged",
        "recipient",
        "scope",
        "seq",
        "session",
        "unread",
        "unread_broadcasts",
        "user_agent",
        "write",
    )

    def __init__(
        self,
        recipient: Recipient,
        session: Session,
        transport: Writer,
        start: Position | None,
        user_agent: str = "",
        address: str | None = None,
    ) -> None:
        """`start` is the cursor that the client gave; None starts at the head."""
        self.id = str(uuid.uuid4())
        self.account = str(recipient.account_id)
        self.recipient = recipient
        self.session = session
        # For the registry. There are few kinds of browsers, and many sockets.
        self.user_agent = sys.intern(user_agent)
        self.address = address
        self.opened_at = timezone.now()
        self.heard_at = time.monotonic()
        self.pinged = False
        self.behind = True
        self._registration: asyncio.Future[None] | None = asyncio.Future()
        self.seq = self.broadcast_seq = self.epoch = 0
        self.scope = ""
        self.unread = self.unread_broadcasts = 0
        self._transport = transport
        # The fan-out's innermost call: without a method of its own between.
        self.write = transport.write
        self._start = start
        self._missed_seq = self._missed_broadcast_seq = 0

    # --- Registration

    @property
    def registered(self) -> bool:
        """Whether `register`, the first of all frames, has been written."""
        return self._registration is None

    async def wait_registered(self) -> None:
        """Return when the first frame has been written, or the socket was closed instead."""
        if self._registration:
            await self._registration

    # --- Writing

    @property
    def is_full(self) -> bool:
        """Whether the client reads so slowly that nothing more is written for now."""
        return self._transport.is_full

    def write_frame(self, frame: protocol.Frame) -> int:
        """Write a frame; return how many bytes that was, 0 if the socket is full."""
        message = EncodedFrame(protocol.encode(frame))
        return len(message.wire) if self.write(message) else 0

    def register(self, changes: Changes) -> None:
        """Write the first frame: where this socket starts."""
        start = changes.position
        if self._start is not None and not changes.resync:
            start = self._start
        self.follow(start)
        self._end_waiting()
        self.write_frame(
            protocol.frame(
                "register",
                v=protocol.VERSION,
                connection=self.id,
                **start.as_dict(),
                heartbeat={"interval": conf.HEARTBEAT_INTERVAL, "timeout": conf.HEARTBEAT_TIMEOUT},
            )
        )

    def answer_heartbeat(self) -> bool:
        """Tell the cursor and the counts; False if the socket is full."""
        return self.write(
            EncodedFrame(
                protocol.heartbeat(
                    self.seq, self.broadcast_seq, self.unread, self.unread_broadcasts
                )
            )
        )

    def close(self, code: CloseCode, delay: float = 0) -> None:
        """Close it, and ask a client that may come back to wait for so many seconds before."""
        self.write_frame(protocol.bye(code, delay))
        self._transport.close(code)
        self._end_waiting()

    def _end_waiting(self) -> None:
        if self._registration:
            if not self._registration.done():
                self._registration.set_result(None)
            self._registration = None

    # --- The cursor

    def wanted_position(self) -> Position | None:
        """From where to read what this socket lacks; None: it starts at the head."""
        if not self.registered:
            return self._start
        return Position(self.seq, self.broadcast_seq, self.epoch, self.scope)

    def follow(self, position: Position) -> None:
        self.seq, self.broadcast_seq, self.epoch = (
            position.seq,
            position.broadcast_seq,
            position.epoch,
        )
        self.scope = sys.intern(position.scope)  # there are few, and many sockets

    def count(self, unread: int | None, unread_broadcasts: int | None) -> None:
        """Remember the counts that a frame told; None where it told none."""
        if unread is not None:
            self.unread = unread
        if unread_broadcasts is not None:
            self.unread_broadcasts = unread_broadcasts

    # --- What came while it was behind

    def missed(self, seq: int = 0, broadcast_seq: int = 0) -> None:
        self._missed_seq = max(self._missed_seq, seq)
        self._missed_broadcast_seq = max(self._missed_broadcast_seq, broadcast_seq)

    def missed_nothing(self) -> None:
        self._missed_seq = self._missed_broadcast_seq = 0

    def has_missed(self) -> bool:
        """Whether a push passed by that the last reading did not bring, or was for others."""
        return (
            self._missed_seq > self.seq
            or self._missed_broadcast_seq > self.broadcast_seq
            or self.scope != self.recipient.audience_hash
        )


def read_query(query_string: bytes) -> QueryDict:
    """Return the fields of a socket's URL; none, if there are more than Django takes."""
    try:
        return QueryDict(query_string)
    except SuspiciousOperation:
        return QueryDict()


def parse_start(values: Any) -> Position | None:
    """
    Return the cursor in the query of a socket's URL, None if there is none.

    One that is malformed counts as unknown: it can't be followed, so the client is told `resync`.
    """
    if not any(name in values for name in ("seq", "broadcast_seq", "epoch", "scope")):
        return None
    numbers = [
        int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else -1
        for text in (values.get(name, "") for name in ("seq", "broadcast_seq", "epoch"))
    ]
    seq, broadcast_seq, epoch = numbers
    return Position(seq, broadcast_seq, epoch, values.get("scope", "")[:MAX_AUDIENCE_HASH_LENGTH])
