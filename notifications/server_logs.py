"""
What servers log of a client's nonsense: a line, where they print a traceback.

Anybody can send it, as often as they like, and it tells nothing of a fault here.
"""

from __future__ import annotations

import logging


def shorten() -> None:
    """Shorten the log lines of this process; a second call does nothing."""
    logging.getLogger("uvicorn.error").addFilter(_without_undecodable)
    logging.getLogger("daphne.ws_protocol").addFilter(_last_line)


def _without_undecodable(record: logging.LogRecord) -> bool:
    # uvicorn: a text frame that is not UTF-8.
    if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
        record.exc_info = record.exc_text = None
    return True


def _last_line(record: logging.LogRecord) -> bool:
    # Daphne: a header of a handshake that can't be decoded.
    message = record.getMessage()
    if message.startswith("Traceback "):
        reason = message.rstrip().rpartition("\n")[2]
        record.msg, record.args = "A handshake could not be read: %s", (reason,)
    return True
