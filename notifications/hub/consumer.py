"""One consumer per connection: it admits the client, joins the hub and handles frames."""

from __future__ import annotations

import logging
import time
from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.db import DatabaseError
from django.http import QueryDict

from notifications import protocol
from notifications.audiences import Recipient
from notifications.conf import conf
from notifications.protocol import ClientError, CloseCode
from notifications.servers.base import Treatment
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
    `/ws/notifications/`: the changes in the account's inbox, live.

    The client may only send `heartbeat`. Anything else, or too many frames, is answered by an
    `error` frame; a client that goes on is disconnected.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        # Uses nothing but ASGI. The base class has a channel and two tasks for each connection,
        # switches to a thread for every message, and skips `disconnect` in some cases.
        self.scope = scope
        self.asgi_send = send
        self.hub = get_hub()
        self.connection: LiveConnection | None = None
        self.has_capacity = False
        self.errors_in_a_row = 0
        self.max_frame_size = conf.MAX_FRAME_SIZE
        self.frame_rate = limits.FrameRate()
        try:
            while (message := await receive())["type"] != "websocket.disconnect":
                if message["type"] == "websocket.receive":
                    await self.receive(message.get("text"))
                else:
                    await self.connect()
        finally:
            if self.has_capacity:
                self.hub.capacity.leave()
            if self.connection:
                self.hub.leave(self.connection)
            # The server's object refers to this one, as the counter of its frames. It is freed at
            # once if this one doesn't refer back to it.
            del self.asgi_send
            self.connection = None

    async def connect(self) -> None:
        request = handshake_request(self.scope)
        if not is_own_origin(request):
            await self.asgi_send({"type": "websocket.close"})  # before `accept`: HTTP 403
            return
        session = Session.of(request)
        if not session.key:
            # Checked first, so that a flood of these costs no query and no capacity.
            await self._refuse(CloseCode.NOT_LOGGED_IN)
            return
        self.has_capacity = self.hub.capacity.enter()
        if not self.has_capacity:
            await self._refuse(CloseCode.OVERLOADED)
            return
        try:
            admission = await self.hub.authenticate(session)
        except DatabaseError:
            logger.warning("Database unavailable: a connection was refused")
            admission = Admission(None, CloseCode.OVERLOADED)
        query = read_query(self.scope["query_string"])
        if admission.recipient and not _is_for(admission.recipient, query):
            admission = Admission(None)
        if admission.recipient is None:
            await self._refuse(admission.refusal)
            return
        await self.asgi_send({"type": "websocket.accept"})
        self.connection = LiveConnection(
            admission.recipient,
            session,
            open_writer(self.asgi_send, self),
            parse_start(query),
            user_agent=user_agent(request),
            address=client_address(request),
        )
        await self.hub.join(self.connection)

    async def _refuse(self, code: CloseCode) -> None:
        # Browsers see the close code only after `accept`.
        delay = limits.delay() if code == CloseCode.OVERLOADED else 0.0
        bye = protocol.encode(protocol.bye(code, round(delay, 1)))
        await self.asgi_send({"type": "websocket.accept"})
        await self.asgi_send({"type": "websocket.send", "text": bye})
        await self.asgi_send({"type": "websocket.close", "code": int(code)})

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
                self._disconnect(connection, CloseCode.PROTOCOL_ABUSE)
        else:
            self.errors_in_a_row = 0
            self.hub.answer(connection)

    def count_frame(self) -> Treatment:
        """Count a ping, a pong or a part of a message, which ASGI doesn't report; see servers/."""
        connection = self.connection
        if connection is None:
            return Treatment.STOP
        early = self.frame_rate.take(time.monotonic())
        if early > limits.BURST_SECONDS:
            self._refuse_frame(connection, early)
            return Treatment.IGNORE if self.connection else Treatment.STOP
        return Treatment.IGNORE if connection.is_full else Treatment.ANSWER

    def _refuse_frame(self, connection: LiveConnection, early: float) -> None:
        if early > limits.FLOOD_SECONDS:
            self._disconnect(connection, CloseCode.TOO_FAST)
        elif early - self.frame_rate.spacing <= limits.BURST_SECONDS:  # the first one refused
            rate = f"{1 / self.frame_rate.spacing:g} a second"
            connection.write_frame(
                protocol.error("rate_limited", f"Too many frames: {rate} at most.")
            )

    def _disconnect(self, connection: LiveConnection, code: CloseCode) -> None:
        """Close a misbehaving client's connection; its later frames are ignored."""
        logger.warning("Disconnected a client of account %s: %s", connection.account, code.name)
        self.hub.close(connection, code)
        self.connection = None


def _is_for(recipient: Recipient, query: QueryDict) -> bool:
    """Whether the page shows this account; it may also name none."""
    own = str(recipient.account_id)
    return query.get("account", own) == own
