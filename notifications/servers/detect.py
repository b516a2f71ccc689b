"""Detects the server of a connection, and opens the fastest writer for it."""

from __future__ import annotations

import logging
from functools import cache

from notifications.conf import conf

from .asgi import AsgiWriter
from .base import FrameCounter, Send, ServerTransport, Writer
from .daphne import DaphneTransport
from .uvicorn import UvicornTransport

logger = logging.getLogger(__name__)


def open_writer(send: Send, counter: FrameCounter | None = None) -> Writer:
    """
    Return the fastest tested way to write to the connection that this ASGI `send` belongs to.

    Frames that ASGI doesn't report are counted by `counter`, with servers that allow it.
    """
    transport = _find(DaphneTransport, send) or _find(UvicornTransport, send)
    if transport:
        transport.limit(counter)
    if conf.DIRECT_WRITES:
        if transport and (writer := transport.direct(send)):
            return writer
        _log_once("Frames are sent through ASGI: no direct way was tested with this server.")
    return AsgiWriter(send, transport)


def _find(
    kind: type[DaphneTransport] | type[UvicornTransport], send: Send
) -> ServerTransport | None:
    try:
        return kind.of(send)
    except Exception as error:
        kind.adapter.note(error)
        return None


@cache
def _log_once(text: str) -> None:
    logger.info(text)
