"""One open connection as the hub sees it: its recipient, and the position written so far."""

from __future__ import annotations

import asyncio
import time
import uuid
from functools import lru_cache
from typing import Any, Final

from django.core.exceptions import SuspiciousOperation
from django.http import QueryDict

from notifications import protocol
from notifications.audiences import Recipient
from notifications.conf import conf
from notifications.db import times
from notifications.inbox.changes import Changes
from notifications.inbox.pages import Position
from notifications.protocol import CloseCode
from notifications.servers.base import EncodedFrame, Writer
from notifications.sessions.authentication import Session

MAX_SCOPE_LENGTH: Final = 64  # characters of a client's `scope` that are kept; ours are shorter


class LiveConnection:
    """
    `seq` and `broadcast_seq` are the connection's position: every change up to
    them that its account can see has been written to it.
    """

    __slots__ = (
        "_missed_broadcast_seq",
        "_missed_seq",
        "_registration",
        "_start",
        "_writer",
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
        writer: Writer,
        start: Position | None,
        user_agent: str = "",
        address: str | None = None,
    ) -> None:
        """`start` is the position that the client gave; None starts at the latest change."""
        self.id = str(uuid.uuid4())
        self.account = str(recipient.account_id)
        self.recipient = recipient
        self.session = session
        self.user_agent = _shared(user_agent)
        self.address = address
        self.opened_at = times.now()
        self.heard_at = time.monotonic()
        self.pinged = False
        self.behind = True
        self._registration: asyncio.Future[None] | None = asyncio.Future()
        self.seq = self.broadcast_seq = self.epoch = 0
        self.scope = ""
        self.unread: int | None = 0  # None: the counts at this position are not known
        self.unread_broadcasts = 0
        self._writer = writer
        # The innermost call of the fan-out, so not wrapped in a method.
        self.write = writer.write
        self._start = start
        self._missed_seq = self._missed_broadcast_seq = 0

    # --- The `register` frame

    @property
    def registered(self) -> bool:
        """Whether `register`, always the first frame, has been written."""
        return self._registration is None

    async def wait_registered(self) -> None:
        """Return when `register` has been written or the connection has been closed."""
        if self._registration:
            await self._registration

    # --- Writing

    @property
    def is_full(self) -> bool:
        """Whether too much waits to be sent for anything to be written now."""
        return self._writer.is_full

    def write_frame(self, frame: protocol.Frame) -> int:
        """Write a frame; return its size in bytes, or 0 if the connection is full."""
        encoded = EncodedFrame(protocol.encode(frame))
        return len(encoded.wire) if self.write(encoded) else 0

    def register(self, changes: Changes) -> None:
        """
        Write `register`, with the position that this connection starts from.

        If it is not the client's, the frame says so itself: the connection may be cut before
        the `resync` frame.
        """
        start = changes.position
        if self._start is not None and not changes.resync:
            start = self._start
        self.set_position(start)
        self._end_waiting()
        register = protocol.frame(
            "register",
            v=protocol.VERSION,
            connection=self.id,
            **start.as_dict(),
            heartbeat={"interval": conf.HEARTBEAT_INTERVAL, "timeout": conf.HEARTBEAT_TIMEOUT},
        )
        if changes.resync:
            register["resync"] = True
        self.write_frame(register)

    def answer_heartbeat(self) -> bool:
        """
        Write the position, and the counts at it; return False if the connection is full.

        The counts of a connection that is behind are those of another position, so it gets none.
        Nor does one that has a part of a change, as counts come with the last part.
        """
        counts = None
        if not self.behind and self.unread is not None:
            counts = (self.unread, self.unread_broadcasts)
        return self.write(EncodedFrame(protocol.heartbeat(self.seq, self.broadcast_seq, counts)))

    def close(self, code: CloseCode, delay: float = 0) -> None:
        """Close the connection; `delay`: seconds that a client should wait before it reconnects."""
        self.write_frame(protocol.bye(code, delay))
        self._writer.close(code)
        self._end_waiting()

    def _end_waiting(self) -> None:
        if self._registration:
            if not self._registration.done():
                self._registration.set_result(None)
            self._registration = None

    # --- The position

    def wanted_position(self) -> Position | None:
        """Return the position to catch up from; None: start at the latest change."""
        if not self.registered:
            return self._start
        return Position(self.seq, self.broadcast_seq, self.epoch, self.scope)

    def set_position(self, position: Position) -> None:
        self.seq, self.broadcast_seq, self.epoch = (
            position.seq,
            position.broadcast_seq,
            position.epoch,
        )
        self.scope = _shared(position.scope)

    def count(self, unread: int | None, unread_broadcasts: int | None) -> None:
        """
        Remember the counts in a frame of a change.

        unread: None if more frames of the same change follow; the last one has the count.
        unread_broadcasts: None if the change leaves it as it is.
        """
        self.unread = unread
        if unread_broadcasts is not None:
            self.unread_broadcasts = unread_broadcasts

    # --- Changes published while it was behind

    def missed(self, seq: int = 0, broadcast_seq: int = 0) -> None:
        self._missed_seq = max(self._missed_seq, seq)
        self._missed_broadcast_seq = max(self._missed_broadcast_seq, broadcast_seq)

    def forget_missed(self) -> None:
        self._missed_seq = self._missed_broadcast_seq = 0

    def has_missed(self) -> bool:
        """Whether changes were published that the last read did not include."""
        return (
            self._missed_seq > self.seq
            or self._missed_broadcast_seq > self.broadcast_seq
            or self.scope != self.recipient.audience_hash
        )


@lru_cache(1000)
def _shared(text: str) -> str:
    """
    Return the same string for equal ones, because connections share few user agents and scopes.

    Unlike `sys.intern`, which keeps every string for ever in Python 3.12, it forgets rare ones.
    """
    return text


def read_query(query_string: bytes) -> QueryDict:
    """Return the query of a connection's URL, empty if Django refuses it as too long."""
    try:
        return QueryDict(query_string)
    except SuspiciousOperation:
        return QueryDict()


def parse_start(values: Any) -> Position | None:
    """
    Return the position in the query of a connection's URL, None if there is none.

    A malformed one becomes an impossible position, so the client gets `resync`.
    """
    if not any(name in values for name in ("seq", "broadcast_seq", "epoch", "scope")):
        return None
    numbers = [
        int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else -1
        for text in (values.get(name, "") for name in ("seq", "broadcast_seq", "epoch"))
    ]
    seq, broadcast_seq, epoch = numbers
    return Position(seq, broadcast_seq, epoch, values.get("scope", "")[:MAX_SCOPE_LENGTH])
