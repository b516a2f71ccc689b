"""
Private parts of Daphne's server process: what thousands of connections need.

Where they are not as they were in the tested versions, Daphne's own ways are left as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

# First: importing it installs Twisted's asyncio reactor.
from daphne.server import Server as DaphneServer  # isort: skip
import autobahn.websocket.protocol
from daphne.cli import CommandLineInterface as DaphneCommandLineInterface
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import reactor as twisted_reactor

from notifications.adapters import differences

from .daphne import DAPHNE
from .logs import DaphneFilter

reactor: Any = twisted_reactor  # its type is wrong in Twisted's stubs

TIMEOUT_CHECK_SECONDS: Final = 2.0  # as Daphne does
CONNECTIONS_PER_TURN: Final = 1000  # about 2 ms
MAX_MESSAGE_SIZE: Final = 256 * 1024  # Autobahn holds as many bytes for each direction
# What Daphne knows of a connection.
DETAILS: Final = {"application_instance", "connected", "disconnected"}


class Server(DaphneServer):  # type: ignore[misc]  # Daphne has no types
    """Daphne's server, whose periodic work does not hold the event loop for long."""

    connections: dict[Any, dict[str, Any]]  # by Daphne's protocol object

    def prepare(self) -> None:
        """Look at the private parts once the server runs, and set what Daphne has no option for."""
        logging.getLogger("daphne.ws_protocol").addFilter(DaphneFilter())
        if not DAPHNE.is_on:
            return
        found = differences(self, connections=dict, ws_factory=object) + differences(
            autobahn.websocket.protocol, pformat=Callable
        )
        if found:
            DAPHNE.turn_off(", ".join(found))
            return
        # A client whose frames are malformed gets a close with its code; Autobahn only drops it.
        self.ws_factory.setProtocolOptions(failByDrop=False)
        # For each connection, Autobahn formats all options for a log line that nobody asked for:
        # a tenth of a handshake.
        vars(autobahn.websocket.protocol)["pformat"] = lambda value: value

    def application_checker(self) -> None:
        """
        Do what Daphne does each second, for those connections of which something has ended.

        Daphne makes a list of all pairs in `connections`. That is enough for the
        garbage collector to begin, and with 10,000 connections it held the loop for 50 ms.
        """
        if not self._knows_details():
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
                    _take_apart(protocol)
            self.connections = connections

    def timeout_checker(self, waiting: list[Any] | None = None) -> None:
        """Do what Daphne does every two seconds, in turns: 10,000 connections take 20 ms."""
        if not self._knows_details():
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

    def _knows_details(self) -> bool:
        """Whether Daphne keeps of its connections what it kept in the tested versions."""
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
    """Daphne's command line, with other defaults."""

    def __init__(self) -> None:
        super().__init__()
        if found := differences(self, parser=object):
            DAPHNE.turn_off(", ".join(found))
            return
        self.parser.prog = "python -m notifications.server"
        self.parser.set_defaults(
            # A connection lives as long as its session, also longer than Daphne's day.
            websocket_timeout=-1,
            websocket_max_message_size=MAX_MESSAGE_SIZE,
            websocket_max_frame_size=MAX_MESSAGE_SIZE,
        )


def _has_ended(details: dict[str, Any]) -> bool:
    if "disconnected" in details:
        return True
    application = details.get("application_instance")
    return application is not None and bool(application.done())


def _take_apart(protocol: Any) -> None:
    """
    Free a connection that has ended, which otherwise refers to itself.

    It has lived for long, so that only a full collection would find it. Between two of those,
    10,000 connections come and go, with 25 KB each.
    """
    try:
        if isinstance(protocol, WebSocketProtocol):
            protocol.is_closed.addCallback(lambda _: None)  # its result is the protocol
        elif channel := getattr(protocol, "channel", None):
            channel.requests.clear()  # one that became a WebSocket: others have left it already
    except Exception as error:
        DAPHNE.note(error)
