"""Writing past ASGI's `send`, straight to a server's transport: what all servers share of it."""

from __future__ import annotations

from notifications.conf import conf

from .asgi import AsgiWriter
from .base import EncodedFrame, Send, ServerTransport


class DirectWriter:
    """
    Writes directly until the connection is closed, or until a private part fails.

    From then on an AsgiWriter takes over: ASGI's `close` knows the state of the handshake, and
    a frame that could not be written directly is sent through ASGI, in order.
    """

    __slots__ = ("_asgi", "_most", "_send", "_server_transport")

    def __init__(self, send: Send, transport: ServerTransport) -> None:
        self._send = send
        self._server_transport = transport
        self._most = conf.MAX_UNSENT
        self._asgi: AsgiWriter | None = None

    @property
    def is_full(self) -> bool:
        if self._asgi:
            return self._asgi.is_full
        return self._server_transport.unsent() > self._most

    def close(self, code: int) -> None:
        self._take_over().close(code)

    def _take_over(self) -> AsgiWriter:
        if self._asgi is None:
            self._asgi = AsgiWriter(self._send, self._server_transport)
        return self._asgi

    def _write_by_asgi(self, message: EncodedFrame, error: Exception) -> bool:
        """Write a frame that a private part failed to write, and all that come after it."""
        self._server_transport.adapter.note(error)
        return self._take_over().write(message)
