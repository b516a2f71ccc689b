"""
Logging filters: servers log less of what clients send them.

Anybody may send malformed bytes, as often as they like, and it is no fault of the site: one line
instead of a traceback. Nor do frames and headers, cookies among them, belong in a log: uvicorn
writes all of them to it at the level DEBUG.
"""

from __future__ import annotations

import logging


class UvicornFilter(logging.Filter):
    """For the logger `uvicorn.error`."""

    def filter(self, record: logging.LogRecord) -> bool:
        # A text frame that is not UTF-8.
        if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
            record.exc_info = record.exc_text = None
        # The websockets library: a line for each header of a handshake, and for each frame.
        return not str(record.msg).startswith(("< ", "> "))


class DaphneFilter(logging.Filter):
    """For the logger `daphne.ws_protocol`."""

    def filter(self, record: logging.LogRecord) -> bool:
        # A handshake with a header that can't be decoded.
        message = record.getMessage()
        if message.startswith("Traceback "):
            reason = message.rstrip().rpartition("\n")[2]
            record.msg, record.args = "A handshake could not be read: %s", (reason,)
        return True
