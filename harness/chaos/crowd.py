"""More clients than a server has files for."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from harness.accounts import session_key
from harness.frames import reset_when_closed
from harness.raw_client import handshake_request
from harness.session import cookie

CONNECT_TIMEOUT_SECONDS = 1.0


@contextmanager
def crowd(port: int, size: int, accounts: int) -> Iterator[None]:
    """Open this many tabs that read nothing; they are reset on exit. Some may be refused."""
    with ExitStack() as stack:
        for number in range(size):
            tab = stack.enter_context(socket.socket())
            tab.settimeout(CONNECT_TIMEOUT_SECONDS)
            with suppress(OSError):
                tab.connect(("127.0.0.1", port))
                own = cookie(session_key(1 + number % accounts))
                tab.sendall(handshake_request(port, own))
                reset_when_closed(tab)
        yield
