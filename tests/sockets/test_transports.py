"""The ways to write to a connection, with the servers' own objects."""

from __future__ import annotations

import asyncio
import logging
import socket
from functools import partial
from types import SimpleNamespace

import pytest
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.tcp import Server
from twisted.python.failure import Failure
from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from notifications import adapters
from notifications.conf import conf
from notifications.servers import base
from notifications.servers.asgi import ASGI_BUFFER_FACTOR
from notifications.servers.base import EncodedFrame
from notifications.servers.daphne import DAPHNE
from notifications.servers.detect import open_writer
from notifications.servers.uvicorn import MAX_MESSAGE_SIZE, UVICORN
from notifications.testing import TIMEOUT_SECONDS

HELLO, AGAIN = EncodedFrame('{"type": "hello"}'), EncodedFrame('{"type": "again"}')
LONG = EncodedFrame("x" * 16_000)
KERNEL = 2 * 1024 * 1024  # bytes; more than it buffers for a pair of sockets
CLOSE = {"type": "websocket.close", "code": 4401}


@pytest.fixture(autouse=True)
def adapters_anew(monkeypatch):
    """Turn on all adapters again for each test."""
    for adapter in (DAPHNE, UVICORN):
        monkeypatch.setattr(adapter, "_reason", None)
        monkeypatch.setattr(adapter, "_fitting", set())


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def daphne(pair):
    """Daphne's protocol object of an open connection; `events` are those sent through ASGI."""
    protocol = WebSocketProtocol()
    protocol.transport = Server(pair[0], protocol, ("", 0), None, 0, SelectReactor())
    protocol.state = protocol.STATE_OPEN
    protocol.send_queue = []
    protocol.sendData = protocol.transport.write
    protocol.connectionLost = lambda reason: None
    protocol.events = []

    async def handle_reply(protocol, event):
        protocol.events.append(event)

    protocol.asgi_send = partial(handle_reply, protocol)
    return protocol


@pytest.fixture
async def uvicorn(pair):
    """The same for uvicorn."""

    async def application(scope, receive, send):
        raise AssertionError("is not called")

    class Protocol(WebSocketsSansIOProtocol):
        async def send(self, event):
            self.events.append(event)

    Protocol.__module__, Protocol.__name__ = (
        WebSocketsSansIOProtocol.__module__,
        WebSocketsSansIOProtocol.__name__,
    )
    protocol = Protocol(
        Config(application, ws="websockets-sansio", ws_max_size=2**24), ServerState(), {}
    )
    await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, pair[0])
    protocol.events = []
    protocol.asgi_send = protocol.send
    yield protocol
    protocol.transport.abort()
    await asyncio.sleep(0)


@pytest.fixture(params=["daphne", "uvicorn"])
def protocol(request):
    return request.getfixturevalue(request.param)


async def wait_until(condition):
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def name_of(writer):
    return type(writer).__name__


def warnings_in(caplog):
    return [record for record in caplog.records if record.levelno == logging.WARNING]


async def sent_through_asgi(protocol, count):
    """Return the events sent through ASGI, once there are `count`."""
    await wait_until(lambda: len(protocol.events) == count)
    return protocol.events


def fill(writer):
    """Write until the writer is full; return how many bytes it took."""
    written = 0
    while written < 16 * 1024 * 1024 and writer.write(LONG):
        written += len(LONG.wire)
    return written


# --- Directly


async def test_frames_go_straight_to_the_connection_and_the_close_goes_through_asgi(protocol, pair):
    writer = open_writer(protocol.asgi_send)

    assert name_of(writer) in {"DaphneWriter", "UvicornWriter"}
    assert writer.write(HELLO)
    assert pair[1].recv(1000) == HELLO.wire
    writer.close(4401)
    assert writer.write(AGAIN)
    assert await sent_through_asgi(protocol, 1) == [CLOSE]


async def test_frames_for_a_connection_lost_during_the_handshake_are_dropped_silently(daphne, pair):
    daphne.state = daphne.STATE_CLOSED
    daphne.transport.connectionLost(Failure(ConnectionDone()))

    writer = open_writer(daphne.asgi_send)

    assert name_of(writer) == "DaphneWriter"
    assert writer.write(HELLO)
    assert pair[1].recv(1) == b""
    assert DAPHNE.is_on


async def test_unsent_frames_for_a_peer_that_never_reads_are_limited(protocol):
    writer = open_writer(protocol.asgi_send)

    written = fill(writer)

    assert writer.is_full
    high_water = 64 * 1024  # uvicorn's, in bytes
    assert written < conf.MAX_UNSENT + len(LONG.wire) + KERNEL + high_water
    assert protocol.events == []


async def test_uvicorn_refuses_messages_longer_than_our_limit(uvicorn):
    open_writer(uvicorn.asgi_send)

    assert uvicorn.conn.max_message_size == MAX_MESSAGE_SIZE


async def test_a_lower_limit_of_the_site_is_kept(uvicorn):
    uvicorn.conn.max_message_size = 1000

    open_writer(uvicorn.asgi_send)

    assert uvicorn.conn.max_message_size == 1000


# --- Private parts that differ at the start


@pytest.mark.parametrize("project", ["daphne", "twisted", "autobahn"])
async def test_an_untested_version_of_daphne_is_written_to_through_asgi(
    daphne, project, monkeypatch, caplog
):
    installed = adapters.installed_version
    monkeypatch.setattr(
        adapters, "installed_version", lambda name: "99" if name == project else installed(name)
    )

    writer = open_writer(daphne.asgi_send)
    assert writer.write(HELLO)

    assert name_of(writer) == "AsgiWriter"
    assert await sent_through_asgi(daphne, 1) == [{"type": "websocket.send", "text": HELLO.text}]
    (warning,) = warnings_in(caplog)
    assert f"not tested with {project} 99" in warning.getMessage()


@pytest.mark.parametrize("part", ["dropConnection", "send_queue", "sendData", "state"])
async def test_daphne_with_a_part_missing_is_written_to_through_asgi(
    daphne, part, monkeypatch, caplog
):
    monkeypatch.setattr(WebSocketProtocol, part, None, raising=False)
    vars(daphne).pop(part, None)

    writer = open_writer(daphne.asgi_send)

    assert name_of(writer) == "AsgiWriter"
    assert not DAPHNE.is_on
    assert len(warnings_in(caplog)) == 1


@pytest.mark.parametrize("part", ["_tempDataBuffer", "_tempDataLen", "dataBuffer", "offset"])
async def test_twisted_with_a_part_of_another_type_is_written_to_through_asgi(daphne, part, caplog):
    setattr(daphne.transport, part, SimpleNamespace())

    assert name_of(open_writer(daphne.asgi_send)) == "AsgiWriter"
    (warning,) = warnings_in(caplog)
    assert f"Server.{part} is of type SimpleNamespace" in warning.getMessage()


@pytest.mark.parametrize("part", ["close_sent", "conn", "transport", "writable"])
async def test_uvicorn_with_a_part_missing_is_written_to_through_asgi(uvicorn, part, caplog):
    with_part = vars(uvicorn).pop(part)

    writer = open_writer(uvicorn.asgi_send)

    setattr(uvicorn, part, with_part)
    assert name_of(writer) == "AsgiWriter"
    assert len(warnings_in(caplog)) == 1


async def test_a_connection_without_a_transport_leaves_the_adapter_on(daphne):
    daphne.transport = None

    assert name_of(open_writer(daphne.asgi_send)) == "AsgiWriter"
    assert DAPHNE.is_on


async def test_a_send_whose_attributes_raise_errors_is_still_called():
    class Send:
        def __getattr__(self, name):
            raise RuntimeError

        async def __call__(self, event):
            events.append(event)

    events = []

    assert open_writer(Send()).write(HELLO)

    await wait_until(lambda: events == [{"type": "websocket.send", "text": HELLO.text}])


# --- Private parts that fail later


@pytest.mark.parametrize("part", ["send_queue", "state"])
async def test_a_frame_that_fails_on_daphne_and_all_later_ones_go_through_asgi(
    daphne, pair, part, monkeypatch, caplog
):
    writer = open_writer(daphne.asgi_send)
    writer.write(HELLO)
    monkeypatch.delattr(WebSocketProtocol, part, raising=False)
    del vars(daphne)[part]

    assert writer.write(AGAIN)
    assert writer.write(HELLO)
    writer.close(4401)

    assert pair[1].recv(1000) == HELLO.wire
    texts = [event.get("text", event) for event in await sent_through_asgi(daphne, 3)]
    assert texts == [AGAIN.text, HELLO.text, CLOSE]
    (warning,) = warnings_in(caplog)
    assert "AttributeError" in warning.getMessage()
    assert name_of(open_writer(daphne.asgi_send)) == "AsgiWriter"


async def test_a_frame_that_fails_on_uvicorn_and_all_later_ones_go_through_asgi(
    uvicorn, pair, caplog
):
    writer = open_writer(uvicorn.asgi_send)
    writer.write(HELLO)
    writable = vars(uvicorn).pop("writable")

    assert writer.write(AGAIN)
    writer.close(4401)

    uvicorn.writable = writable
    assert pair[1].recv(1000) == HELLO.wire
    texts = [event.get("text", event) for event in await sent_through_asgi(uvicorn, 2)]
    assert texts == [AGAIN.text, CLOSE]
    assert len(warnings_in(caplog)) == 1


async def test_an_error_of_one_connection_leaves_the_adapter_on(uvicorn):
    class Closed:
        """uvloop raises RuntimeError for a transport that is closed."""

        def is_closing(self):
            return False

        def write(self, data):
            raise RuntimeError("the handler is closed")

        def get_write_buffer_size(self):
            raise RuntimeError("the handler is closed")

        abort = get_write_buffer_size

    writer = open_writer(uvicorn.asgi_send)
    transport, writer._transport = writer._transport, Closed()

    assert writer.write(HELLO)

    texts = [event["text"] for event in await sent_through_asgi(uvicorn, 1)]
    assert texts == [HELLO.text]
    assert UVICORN.is_on
    writer._transport = transport


async def test_a_connection_is_cut_off_after_half_a_frame(daphne, pair, monkeypatch):
    class Busy:
        """A kernel that takes only a part."""

        shutdown = pair[0].shutdown

        def send(self, data):
            return pair[0].send(data[:10])

    def write(data):
        raise AttributeError("write")

    writer = open_writer(daphne.asgi_send)
    monkeypatch.setattr(writer, "_socket", Busy())
    monkeypatch.setattr(daphne.transport, "write", write)

    assert writer.write(HELLO)

    assert not DAPHNE.is_on
    assert pair[1].recv(1000) == HELLO.wire[:10]
    assert pair[1].recv(1000) == b""


async def test_an_unreadable_unsent_size_does_not_stop_writing(daphne):
    writer = open_writer(daphne.asgi_send)
    del daphne.transport._tempDataLen

    assert not writer.is_full
    assert not DAPHNE.is_on


# --- Through ASGI


async def test_unsent_frames_are_limited_through_asgi_as_well():
    writer = open_writer(send_to_nobody)

    written = fill(writer)

    assert name_of(writer) == "AsgiWriter"
    assert writer.is_full
    assert written <= ASGI_BUFFER_FACTOR * conf.MAX_UNSENT + len(LONG.wire)
    writer.close(4408)
    assert writer.is_full


async def test_unsent_frames_are_dropped_soon_after_the_connection_is_closed(monkeypatch):
    monkeypatch.setattr(base, "CLOSE_SECONDS", 0.05)
    writer = open_writer(send_to_nobody)
    fill(writer)

    writer.close(4408)

    await wait_until(lambda: not writer.is_full)


async def send_to_nobody(event):
    await asyncio.Future()
