"""Which server a socket came by, and the best way to write to it."""

from __future__ import annotations

from notifications.conf import conf

from .asgi import AsgiWriter
from .base import Send, ServerTransport, Writer, log_once
from .daphne import DaphneTransport
from .uvicorn import UvicornTransport


def open_writer(send: Send) -> Writer:
    """Return the fastest tested way to the socket that this ASGI `send` belongs to."""
    connection: ServerTransport | None = DaphneTransport.of(send) or UvicornTransport.of(send)
    if connection:
        connection.limit()
    if conf.DIRECT_WRITES:
        if connection and (transport := connection.direct(send)):
            return transport
        log_once("Frames are written by ASGI send: this server's transport is not known.")
    return AsgiWriter(send, connection)
