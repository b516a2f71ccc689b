"""Writing straight to a server's transport, past ASGI's `send`: the part that servers share."""

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

    __slots__ = ("_asgi", "_max_unsent", "_send", "_server_transport")

    def __init__(self, send: Send, transport: ServerTransport) -> None:
        self._send = send
        self._server_transport = transport
        self._max_unsent = conf.MAX_UNSENT
        self._asgi: AsgiWriter | None = None

    @property
    def is_full(self) -> bool:
        if self._asgi:
            return self._asgi.is_full
        return self._server_transport.unsent() > self._max_unsent

    def close(self, code: int) -> None:
        self._take_over().close(code)

    def _take_over(self) -> AsgiWriter:
        if self._asgi is None:
            self._asgi = AsgiWriter(self._send, self._server_transport)
        return self._asgi

    def _write_through_asgi(self, frame: EncodedFrame, error: Exception) -> bool:
        """Write a frame that a private part failed to write, and all later ones, through ASGI."""
        self._server_transport.adapter.note(error)
        return self._take_over().write(frame)
