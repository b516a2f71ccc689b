"""The ways to a socket, with the servers' own objects."""

from __future__ import annotations

import socket
from functools import partial

from daphne.ws_protocol import WebSocketProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.tcp import Server
from twisted.python.failure import Failure

from notifications.servers.base import Message
from notifications.servers.detect import open_transport


async def test_a_connection_lost_while_its_account_was_looked_up_takes_frames_silently():
    ours, theirs = socket.socketpair()
    protocol = WebSocketProtocol()
    protocol.transport = Server(ours, protocol, ("", 0), None, 0, SelectReactor())
    protocol.state = protocol.STATE_CLOSED
    protocol.connectionLost = lambda reason: None
    protocol.transport.connectionLost(Failure(ConnectionDone()))

    transport = open_transport(partial(send, protocol))

    assert type(transport).__name__ == "DaphneTransport"
    assert transport.write(Message("{}"))
    assert theirs.recv(1) == b""
    theirs.close()


async def send(protocol, event):
    raise AssertionError(f"nothing is said to {protocol}")
