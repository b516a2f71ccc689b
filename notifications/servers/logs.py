"""
Logging filters that keep clients' input out of the servers' logs.

Anybody may send malformed bytes, as often as they like, and the site is not at fault: that gets one
line, not a traceback. Frames and headers, including cookies, don't belong in a log either: uvicorn
logs all of them at the level DEBUG.
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
