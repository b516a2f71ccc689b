"""
Logging filters that keep clients' input out of the servers' logs.

Anybody may send malformed bytes, as often as they like, and the site is not at fault: that gets one
line, not a traceback. Frames and headers, including cookies, don't belong in a log either: uvicorn
logs all of them at the level DEBUG.
"""

from __future__ import annotations

import logging

from notifications.addresses import parse_address


class UvicornFilter(logging.Filter):
    """For the loggers `uvicorn.error` and `uvicorn.access`."""

    def filter(self, record: logging.LogRecord) -> bool:
        # A text frame that is not UTF-8.
        if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
            record.exc_info = record.exc_text = None
        # A line for each request and connection. The client's address may come from a header.
        if str(record.msg).startswith('%s - "') and isinstance(record.args, tuple):
            client, *rest = record.args
            record.args = (_parsed(str(client)), *rest)
        # The websockets library: a line for each header of a handshake, and for each frame.
        return not str(record.msg).startswith(("< ", "> "))


class DaphneFilter(logging.Filter):
    """For the loggers `daphne.http_protocol` and `daphne.ws_protocol`."""

    def filter(self, record: logging.LogRecord) -> bool:
        # A request or a handshake with a header that can't be decoded.
        message = record.getMessage()
        if message.startswith("Traceback "):
            reason = message.rstrip().rpartition("\n")[2]
            record.msg, record.args = "A request could not be read: %s", (reason,)
        return True


def _parsed(client: str) -> str:
    """Return the client's address and port, “-” if it is no IP address."""
    host, _, port = client.rpartition(":")
    address = parse_address(host)
    return f"{address}:{port}" if address else "-"
