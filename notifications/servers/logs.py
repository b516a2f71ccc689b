"""
What servers log of their clients: of nonsense a line, where they print a traceback, and of what
is said to a socket nothing, where they print all of it while debugging, cookies too.

Anybody can send nonsense, as often as they like, and it tells nothing of a fault here.
"""

from __future__ import annotations

import logging


def shorten() -> None:
    """Shorten the log lines of this process; a second call does nothing."""
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn.addFilter(_without_undecodable)
    uvicorn.addFilter(_is_no_traffic)
    logging.getLogger("daphne.ws_protocol").addFilter(_last_line)


def _without_undecodable(record: logging.LogRecord) -> bool:
    # uvicorn: a text frame that is not UTF-8.
    if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
        record.exc_info = record.exc_text = None
    return True


def _is_no_traffic(record: logging.LogRecord) -> bool:
    # The websockets library, at level DEBUG: headers of handshakes and frames, one by one.
    return not str(record.msg).startswith(("< ", "> "))


def _last_line(record: logging.LogRecord) -> bool:
    # Daphne: a header of a handshake that can't be decoded.
    message = record.getMessage()
    if message.startswith("Traceback "):
        reason = message.rstrip().rpartition("\n")[2]
        record.msg, record.args = "A handshake could not be read: %s", (reason,)
    return True
