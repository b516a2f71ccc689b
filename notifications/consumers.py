"""One socket is one consumer: it lets the client in, hands the socket to the hub and listens."""

from __future__ import annotations

import logging
from typing import Any, cast

from channels.consumer import get_handler_name
from channels.exceptions import DenyConnection, StopConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.db import DatabaseError
from django.http import QueryDict

from . import protocol
from .audiences import Reader
from .authentication import Visitor, handshake_request, is_own_origin
from .hub import get_hub
from .protocol import ClientError, CloseCode
from .sockets import Socket, parse_start
from .transports import Send, open_transport

logger = logging.getLogger(__name__)


class NotificationConsumer(AsyncJsonWebsocketConsumer):
    """
    `/ws/notifications/`: what happens in the account's inbox, live.

    The client may only say `heartbeat`. Anything else is answered by an
    `error` frame; MAX_ERRORS_IN_A_ROW of them close the socket.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        # Not the base class's: it has a channel and two tasks for each socket,
        # and skips `disconnect` on some ways out. The hub has one channel for all.
        self.scope = scope
        self.base_send = send
        self.hub = get_hub()
        self.socket: Socket | None = None
        self.errors_in_a_row = 0
        try:
            while True:
                await self.dispatch(await receive())
        except StopConsumer:
            pass
        finally:
            if self.socket:
                self.hub.leave(self.socket)

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
        try:
            visitor = await self.hub.authenticate(request)
        except DatabaseError:
            logger.warning("The database is away: a socket was sent back")
            visitor = Visitor(None, CloseCode.OVERLOADED)
        query = QueryDict(self.scope["query_string"])
        if visitor.reader and not _is_for(visitor.reader, query):
            visitor = Visitor(None)
        # A browser learns the code of a close only after an accept.
        await self.accept()
        if visitor.reader is None:
            await self.send(text_data=protocol.encode(protocol.bye(visitor.refusal)))
            await self.close(int(visitor.refusal))
            return
        self.socket = Socket(
            visitor.reader,
            open_transport(cast(Send, self.base_send)),
            parse_start(query),
            user_agent=request.headers.get("User-Agent", "")[:200],
            address=request.META.get("REMOTE_ADDR"),
        )
        await self.hub.join(self.socket)

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        if self.socket is None:
            return
        self.hub.heard(self.socket)
        try:
            protocol.parse_client_frame(text_data)
        except ClientError as error:
            self.errors_in_a_row += 1
            self.socket.write_frame(protocol.error(error.code, str(error)))
            if self.errors_in_a_row >= protocol.MAX_ERRORS_IN_A_ROW:
                self.hub.close(self.socket, CloseCode.PROTOCOL_ABUSE)
        else:
            self.errors_in_a_row = 0
            self.socket.answer_heartbeat()


def _is_for(reader: Reader, query: QueryDict) -> bool:
    """Whether the page that connects, if it tells its account, shows the one logged in now."""
    own = str(reader.account_id)
    return query.get("account", own) == own
