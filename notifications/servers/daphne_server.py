"""
Private parts of Daphne's server process, changed for thousands of connections.

Where they differ from the tested versions, Daphne is left unchanged.
"""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

# First: importing it installs Twisted's asyncio reactor.
from daphne.server import Server as DaphneServer  # isort: skip
import autobahn.websocket.protocol
import daphne.http_protocol
import daphne.server
from daphne.cli import CommandLineInterface as DaphneCommandLineInterface
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import reactor as twisted_reactor

from notifications.adapters import differences
from notifications.addresses import parse_address

from . import daphne_bodies
from .daphne import DAPHNE
from .logs import DaphneFilter

logger = logging.getLogger(__name__)
reactor: Any = twisted_reactor  # its type is wrong in Twisted's stubs

TIMEOUT_CHECK_SECONDS: Final = 2.0  # as Daphne does
CONNECTIONS_PER_TURN: Final = 1000  # about 2 ms
MAX_MESSAGE_SIZE: Final = 256 * 1024  # Autobahn holds as many bytes for each direction
# The keys of Daphne's details of a connection.
DETAILS: Final = {"application_instance", "connected", "disconnected"}


class Request(daphne_bodies.Request):
    """Daphne's request, also that of a WebSocket's handshake, without headers that it misreads."""

    def process(self) -> Any:
        # Daphne would prefer it to its option --root-path, and fail if it is not ASCII.
        self.requestHeaders.removeHeader("Daphne-Root-Path")
        server = self.server  # with --proxy-headers, it has the names of three headers
        self._check(server.proxy_forwarded_address_header, _is_address)
        self._check(server.proxy_forwarded_port_header, _is_port)
        self._check(server.proxy_forwarded_proto_header, {b"http", b"https"}.__contains__)
        return super().process()

    def _check(self, header: str | None, is_allowed: Callable[[bytes], bool]) -> None:
        """Remove the header if its first part is not allowed; Daphne would take any text."""
        values = header and self.requestHeaders.getRawHeaders(header.encode())
        if not values:
            return
        first = values[0].partition(b",")[0].strip()
        if not is_allowed(first):
            self.requestHeaders.removeHeader(header)
        elif header == self.server.proxy_forwarded_proto_header:
            self.requestHeaders.setRawHeaders(header, [first])  # Daphne would take all parts


class RequestFactory(daphne.http_protocol.HTTPFactory):  # type: ignore[misc]
    """Daphne's factory of HTTP connections, whose requests are those above."""

    def buildProtocol(self, address: Any) -> Any:
        protocol = super().buildProtocol(address)
        protocol.requestFactory = Request
        return protocol


class Connection(WebSocketProtocol):  # type: ignore[misc]
    """A WebSocket whose client must wait for the answer to its handshake, as RFC 6455 says."""

    def dataReceived(self, data: bytes) -> None:
        if self.state == self.STATE_CONNECTING and hasattr(self, "request"):
            # Autobahn would keep all of it until the application accepts.
            self.dropConnection(abort=True)
        else:
            super().dataReceived(data)


class Server(DaphneServer):  # type: ignore[misc]  # Daphne has no types
    """Daphne's server, whose periodic work does not hold the event loop for long."""

    connections: dict[Any, dict[str, Any]]  # by Daphne's protocol object

    def __init__(self, *args: Any, max_body: int | None = None, **options: Any) -> None:
        """`max_body` is the size of the longest body of a request, in bytes; None: any."""
        super().__init__(*args, **options)
        self.max_body = max_body

    def run(self) -> None:
        if DAPHNE.is_on:
            if found := daphne_bodies.find_differences():
                DAPHNE.turn_off(", ".join(found))
            else:
                # Daphne makes its factory in `run`, before it listens.
                vars(daphne.server)["HTTPFactory"] = RequestFactory
        if self.max_body is not None and not DAPHNE.is_on:
            logger.warning(
                "--max-body has no effect: private parts of Daphne are not used. Limit the bodies "
                "of requests in the proxy."
            )
        super().run()

    def prepare(self) -> None:
        """Check the private parts once the server runs, and set what Daphne has no option for."""
        for name in ("daphne.http_protocol", "daphne.ws_protocol"):
            logging.getLogger(name).addFilter(DaphneFilter())
        if not DAPHNE.is_on:
            return
        found = differences(self, connections=dict, ws_factory=object)
        found += differences(autobahn.websocket.protocol, pformat=Callable)
        if found:
            DAPHNE.turn_off(", ".join(found))
            return
        self.ws_factory.protocol = Connection
        # Sends a client with malformed frames a close code, where Autobahn would only drop it.
        self.ws_factory.setProtocolOptions(failByDrop=False)
        # For each connection, Autobahn formats all options for a debug line, even if it is not
        # logged. That takes a tenth of a handshake's time.
        vars(autobahn.websocket.protocol)["pformat"] = lambda value: value

    def application_checker(self) -> None:
        """
        Do Daphne's check of each second, but only for connections that have ended.

        Daphne makes a list of all pairs in `connections`. That is enough to start the
        garbage collector, which held the loop for 50 ms with 10,000 connections.
        """
        if not self._has_known_details():
            super().application_checker()
            return
        connections = self.connections
        ended = {
            protocol: details for protocol, details in connections.items() if _has_ended(details)
        }
        self.connections = dict(ended)
        try:
            super().application_checker()
        finally:
            for protocol in ended:
                if protocol not in self.connections:
                    del connections[protocol]
                    _break_cycles(protocol)
            self.connections = connections

    def timeout_checker(self, waiting: list[Any] | None = None) -> None:
        """Do Daphne's check of every two seconds in turns: 10,000 connections take 20 ms."""
        if not self._has_known_details():
            super().timeout_checker()
            return
        waiting = list(self.connections) if waiting is None else waiting
        for protocol in waiting[-CONNECTIONS_PER_TURN:]:
            protocol.check_timeouts()
        del waiting[-CONNECTIONS_PER_TURN:]
        if waiting:
            reactor.callLater(0, self.timeout_checker, waiting)
        else:
            reactor.callLater(TIMEOUT_CHECK_SECONDS, self.timeout_checker)

    def _has_known_details(self) -> bool:
        """Whether Daphne's details of a connection are those of the tested versions."""
        if not DAPHNE.is_on:
            return False
        try:
            protocol, details = next(iter(self.connections.items()))
        except StopIteration:
            return True
        except Exception as error:
            DAPHNE.note(error)
            return False
        found = differences(protocol, check_timeouts=Callable)
        found += [f"Server.connections has {key!r}" for key in set(details) - DETAILS]
        if found:
            DAPHNE.turn_off(", ".join(found))
        return not found


class CommandLineInterface(DaphneCommandLineInterface):  # type: ignore[misc]
    """Daphne's command line, with other defaults and a flag more."""

    server_class: Any

    def __init__(self) -> None:
        super().__init__()
        if found := differences(self, parser=object):
            DAPHNE.turn_off(", ".join(found))
            return
        self.parser.prog = "python -m notifications.server"
        self.parser.set_defaults(
            # A connection lives as long as its session, even beyond Daphne's limit of a day.
            websocket_timeout=-1,
            websocket_max_message_size=MAX_MESSAGE_SIZE,
            websocket_max_frame_size=MAX_MESSAGE_SIZE,
        )
        self.parser.add_argument(
            "--max-body",
            type=_size,
            help="Maximum size of a request's body, in bytes or as 512K, 10M or 1G. A longer one "
            "is answered with 413. By default, there is no limit.",
        )

    def run(self, args: Any) -> None:
        if hasattr(self, "parser"):
            max_body = getattr(self.parser.parse_args(args), "max_body", None)
            self.server_class = partial(self.server_class, max_body=max_body)
        super().run(args)


def _size(text: str) -> int:
    """Return the number of bytes in an option such as 10M."""
    match = re.fullmatch(r"(\d+)([KMG]?)", text.upper(), re.ASCII)
    if not match or not int(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 1000000, 512K, 10M or 1G")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2]]


def _is_address(value: bytes) -> bool:
    return parse_address(value.decode("latin-1")) is not None


def _is_port(value: bytes) -> bool:
    return value.isdigit() and len(value) <= 5


def _has_ended(details: dict[str, Any]) -> bool:
    if "disconnected" in details:
        return True
    application = details.get("application_instance")
    return application is not None and bool(application.done())


def _break_cycles(protocol: Any) -> None:
    """
    Break the reference cycles of a connection that has ended.

    It is old, so that only a full garbage collection would find it. Between two of those, 10,000
    connections come and go, with 25 KB each.
    """
    try:
        if isinstance(protocol, WebSocketProtocol):
            protocol.is_closed.addCallback(lambda _: None)  # its result is the protocol
        elif channel := getattr(protocol, "channel", None):
            channel.requests.clear()  # one that became a WebSocket: others have left it already
    except Exception as error:
        DAPHNE.note(error)
