"""Which server a socket came by, and the best way to write to it."""

from __future__ import annotations

from notifications.conf import conf

from .asgi import AsgiTransport
from .base import Connection, Send, Transport, log_once
from .daphne import DaphneConnection
from .uvicorn import UvicornConnection


def open_transport(send: Send) -> Transport:
    """Return the fastest tested way to the socket that this ASGI `send` belongs to."""
    connection: Connection | None = DaphneConnection.of(send) or UvicornConnection.of(send)
    if connection:
        connection.limit()
    if conf.DIRECT_WRITES:
        if connection and (transport := connection.direct(send)):
            return transport
        log_once("Frames are written by ASGI send: this server's transport is not known.")
    return AsgiTransport(send, connection)
