"""One socket is one consumer: it lets the client in, hands the socket to the hub and listens."""

from __future__ import annotations

import logging
from typing import Any, cast

from channels.consumer import get_handler_name
from channels.exceptions import DenyConnection, StopConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.db import DatabaseError
from django.http import QueryDict

from notifications import protocol
from notifications.audiences import Recipient
from notifications.conf import conf
from notifications.protocol import ClientError, CloseCode
from notifications.servers.base import Send
from notifications.servers.detect import open_writer
from notifications.sessions.authentication import Admission, Session
from notifications.sessions.handshake import (
    client_address,
    handshake_request,
    is_own_origin,
    user_agent,
)

from . import limits
from .connection import LiveConnection, parse_start, read_query
from .hub import get_hub

logger = logging.getLogger(__name__)


class NotificationConsumer(AsyncJsonWebsocketConsumer):
    """
    `/ws/notifications/`: what happens in the account's inbox, live.

    The client may only say `heartbeat`. Anything else, and whatever comes too
    fast, is answered by an `error` frame; who goes on is cut off.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        # Not the base class's: it has a channel and two tasks for each socket,
        # and skips `disconnect` on some ways out. The hub has one channel for all.
        self.scope = scope
        self.base_send = send
        self.hub = get_hub()
        self.connection: LiveConnection | None = None
        self.has_capacity = False
        self.errors_in_a_row = 0
        self.max_frame_size = conf.MAX_FRAME_SIZE
        self.frame_rate = limits.FrameRate()
        try:
            while True:
                await self.dispatch(await receive())
        except StopConsumer:
            pass
        finally:
            if self.has_capacity:
                self.hub.capacity.leave()
            if self.connection:
                self.hub.leave(self.connection)

    async def dispatch(self, message: dict[str, Any]) -> None:
        # Not the base class's: it hops to a thread for every message. And what a
        # client says, which is nearly all there is, takes the short way.
        if message["type"] == "websocket.receive":
            await self.receive(message.get("text"))
        else:
            await getattr(self, get_handler_name(message))(message)

    async def websocket_disconnect(self, message: Any) -> None:
        # Not the base class's: it hops to a thread. `__call__` cleans up.
        raise StopConsumer

    async def connect(self) -> None:
        request = handshake_request(self.scope)
        if not is_own_origin(request):
            raise DenyConnection  # HTTP 403: only a page of this site is told more
        session = Session.of(request)
        if not session.key:
            # At once: a flood of them costs no query, and no place.
            await self._refuse(CloseCode.NOT_LOGGED_IN)
            return
        self.has_capacity = self.hub.capacity.enter()
        if not self.has_capacity:
            await self._refuse(CloseCode.OVERLOADED)
            return
        try:
            admission = await self.hub.authenticate(session)
        except DatabaseError:
            logger.warning("The database is away: a socket was sent back")
            admission = Admission(None, CloseCode.OVERLOADED)
        query = read_query(self.scope["query_string"])
        if admission.recipient and not _is_for(admission.recipient, query):
            admission = Admission(None)
        if admission.recipient is None:
            await self._refuse(admission.refusal)
            return
        await self.accept()
        self.connection = LiveConnection(
            admission.recipient,
            session,
            open_writer(cast(Send, self.base_send)),
            parse_start(query),
            user_agent=user_agent(request),
            address=client_address(request),
        )
        await self.hub.join(self.connection)

    async def _refuse(self, code: CloseCode) -> None:
        # A browser learns the code of a close only after an accept.
        await self.accept()
        delay = limits.delay() if code == CloseCode.OVERLOADED else 0.0
        await self.send(text_data=protocol.encode(protocol.bye(code, round(delay, 1))))
        await self.close(int(code))

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        connection = self.connection
        if connection is None:
            return
        self.hub.heard(connection)
        early = self.frame_rate.take(connection.heard_at)
        if early > limits.BURST_SECONDS:
            self._refuse_frame(connection, early)
            return
        try:
            protocol.parse_client_frame(text_data, self.max_frame_size)
        except ClientError as error:
            self.errors_in_a_row += 1
            connection.write_frame(protocol.error(error.code, str(error)))
            if self.errors_in_a_row >= protocol.MAX_ERRORS_IN_A_ROW:
                self._cut_off(connection, CloseCode.PROTOCOL_ABUSE)
        else:
            self.errors_in_a_row = 0
            self.hub.answer(connection)

    def _refuse_frame(self, connection: LiveConnection, early: float) -> None:
        if early > limits.FLOOD_SECONDS:
            self._cut_off(connection, CloseCode.TOO_FAST)
        elif early - self.frame_rate.spacing <= limits.BURST_SECONDS:  # the first of them
            most = f"{1 / self.frame_rate.spacing:g} a second"
            connection.write_frame(
                protocol.error("rate_limited", f"Too many frames: {most} at most.")
            )

    def _cut_off(self, connection: LiveConnection, code: CloseCode) -> None:
        """Close the socket of a client that is none of ours; what else it says counts nothing."""
        logger.warning("Cut off a socket of account %s: %s", connection.account, code.name)
        self.hub.close(connection, code)
        self.connection = None


def _is_for(recipient: Recipient, query: QueryDict) -> bool:
    """Whether the page that connects, if it tells its account, shows the one logged in now."""
    own = str(recipient.account_id)
    return query.get("account", own) == own
