"""The ways to write to a connection, with the servers' own objects."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

from daphne.ws_protocol import WebSocketProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.tcp import Server
from twisted.python.failure import Failure

from notifications.conf import conf
from notifications.servers.asgi import ASGI_BUFFER_FACTOR
from notifications.servers.base import EncodedFrame
from notifications.servers.detect import open_writer


async def test_a_connection_lost_while_its_account_was_looked_up_takes_frames_silently():
    ours, theirs = socket.socketpair()
    protocol = WebSocketProtocol()
    protocol.transport = Server(ours, protocol, ("", 0), None, 0, SelectReactor())
    protocol.state = protocol.STATE_CLOSED
    protocol.send_queue = []
    protocol.connectionLost = lambda reason: None
    protocol.transport.connectionLost(Failure(ConnectionDone()))

    transport = open_writer(partial(send, protocol))

    assert type(transport).__name__ == "DaphneWriter"
    assert transport.write(EncodedFrame("{}"))
    assert theirs.recv(1) == b""
    theirs.close()


async def send(protocol, event):
    raise AssertionError(f"nothing is said to {protocol}")


async def test_to_a_peer_that_never_reads_no_more_than_the_bound_waits():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    protocol = WebSocketProtocol()
    protocol.transport = Server(ours, protocol, ("", 0), None, 0, SelectReactor())
    protocol.state = protocol.STATE_OPEN
    protocol.send_queue = []
    protocol.sendData = protocol.transport.write
    transport = open_writer(partial(send, protocol))

    written = fill(transport)

    assert type(transport).__name__ == "DaphneWriter"
    assert transport.is_full
    kernels = 2 * 1024 * 1024  # more than it takes for a pair of sockets
    assert written < conf.MAX_UNSENT + len(LONG.wire) + kernels
    ours.close()
    theirs.close()


async def test_no_more_than_the_bound_waits_where_only_asgi_is_known():
    transport = open_writer(send_to_nobody)

    written = fill(transport)

    assert type(transport).__name__ == "AsgiWriter"
    assert transport.is_full
    assert written <= ASGI_BUFFER_FACTOR * conf.MAX_UNSENT + len(LONG.wire)


LONG = EncodedFrame("x" * 16_000)


def fill(transport):
    """Write until no more is taken; return how many bytes were."""
    written = 0
    while written < 16 * 1024 * 1024 and transport.write(LONG):
        written += len(LONG.wire)
    return written


async def send_to_nobody(event):
    await asyncio.Future()
