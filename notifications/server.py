"""
Daphne with what a notification server needs: `python -m notifications.server`.

It takes all of Daphne's flags, and runs the hub, and with it the periodic task,
from its start. On SIGTERM it drains: it takes no more connections, sends its
sockets to other servers, spread over NOTIFICATIONS_DRAIN_SECONDS, and lets
running requests finish. On SIGINT, and on a second SIGTERM, nobody waits for
that; a third signal kills the process.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Any, Final

# First: importing it installs Twisted's asyncio reactor.
from daphne.server import Server as DaphneServer  # isort: skip
import autobahn.websocket.protocol
from daphne.cli import CommandLineInterface as DaphneCommandLineInterface
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import defer, reactor

CLOSE_SECONDS: Final = 2.0  # seconds for the closing handshakes, and for requests beyond the drain
TIMEOUT_CHECK_SECONDS: Final = 2.0  # seconds, as Daphne does
CONNECTIONS_PER_TURN: Final = 1000  # about 2 ms
MAX_MESSAGE_SIZE: Final = 256 * 1024  # bytes; autobahn holds what is sent to it as well


class Server(DaphneServer):  # type: ignore[misc]  # Daphne has no types
    connections: dict[Any, dict[str, Any]]  # by Daphne's protocol object

    def run(self) -> None:
        self._ports: list[Any] = []
        self._draining: asyncio.Task[None] | None = None
        self._give_up_at = 0.0
        # Not callWhenRunning: that is before the event loop runs.
        reactor.callLater(0, self._begin)  # type: ignore[arg-type]  # wrong in Twisted's stubs
        _spare_formatting()
        super().run()

    def listen_success(self, port: Any) -> None:
        self._ports.append(port)
        super().listen_success(port)

    def application_checker(self) -> None:
        """
        Do what Daphne does each second, for those connections of which something has ended.

        A list of all pairs in `connections`, which Daphne makes, is enough for
        the garbage collector to begin: 10,000 sockets held the loop for 50 ms.
        """
        connections = self.connections
        self.connections = {
            protocol: details for protocol, details in connections.items() if _has_ended(details)
        }
        ended = list(self.connections)
        super().application_checker()
        for protocol in ended:
            if protocol not in self.connections:
                del connections[protocol]
                _take_apart(protocol)
        self.connections = connections

    def timeout_checker(self, waiting: list[Any] | None = None) -> None:
        """Do what Daphne does every two seconds, by turns: 10,000 sockets take 20 ms."""
        waiting = list(self.connections) if waiting is None else waiting
        for protocol in waiting[-CONNECTIONS_PER_TURN:]:
            protocol.check_timeouts()
        del waiting[-CONNECTIONS_PER_TURN:]
        if waiting:
            reactor.callLater(0, self.timeout_checker, waiting)  # type: ignore[arg-type]
        else:
            reactor.callLater(TIMEOUT_CHECK_SECONDS, self.timeout_checker)  # type: ignore[arg-type]

    def _begin(self) -> None:
        # Only now: the models behind it need the application's settings.
        from .hub.hub import get_hub

        get_hub()
        # A client whose frames are wrong is told so by a code; Autobahn only drops it.
        self.ws_factory.setProtocolOptions(failByDrop=False)
        if self.signal_handlers:  # in place of Twisted's
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._take_signal)

    def _take_signal(self, number: int, frame: Any) -> None:
        # From here it is like from a thread: the event loop has to be woken.
        reactor.callFromThread(self._end, number)

    def _end(self, number: int) -> None:
        from .conf import conf
        from .hub.hub import get_hub

        is_first = self._draining is None
        window = conf.DRAIN_SECONDS if is_first and number == signal.SIGTERM else 0
        self._give_up_at = asyncio.get_running_loop().time() + window + CLOSE_SECONDS
        if not window:
            # A developer's browser comes back as soon as it can, a crowd does not.
            get_hub().drain.at_once(0 if number == signal.SIGINT else conf.DRAIN_SECONDS)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if is_first:
            self._draining = asyncio.ensure_future(self._drain(window))

    async def _drain(self, seconds: float) -> None:
        from .hub.hub import get_hub

        for port in self._ports:
            port.stopListening()
        await get_hub().drain.run(seconds)
        loop = asyncio.get_running_loop()
        while self._is_busy() and loop.time() < self._give_up_at:
            await asyncio.sleep(0.02)
        self.stop()

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        is_answer = message["type"] == "http.response.start" and protocol.channel
        if self._draining and is_answer:
            # Or a proxy would send the next request, perhaps a socket's, by the same connection.
            protocol.channel.persistent = False
            headers = [*message.get("headers", ()), (b"connection", b"close")]
            message = {**message, "headers": headers}
        await super().handle_reply(protocol, message)

    def kill_all_applications(self) -> Any:
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._kill_all()))

    async def _kill_all(self) -> None:
        from .hub.hub import stop_hub

        await stop_hub()
        # Daphne looks up the application of each connection, and one whose
        # upgrade came in the last second may have none: KeyError.
        self.connections = {
            protocol: details
            for protocol, details in self.connections.items()
            if "application_instance" in details
        }
        await super().kill_all_applications().asFuture(asyncio.get_running_loop())

    def _is_busy(self) -> bool:
        """Whether there are open sockets, or requests without an answer."""
        return any("disconnected" not in details for details in self.connections.values())


class CommandLineInterface(DaphneCommandLineInterface):  # type: ignore[misc]
    description = "Daphne for a site with notifications"
    server_class = Server

    def __init__(self) -> None:
        super().__init__()
        self.parser.prog = "python -m notifications.server"
        self.parser.set_defaults(
            # A socket lives as long as its session, also longer than Daphne's day.
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

    It has lived for long, so that only a full collection would find it; between two of them
    10,000 connections come and go, with 25 KB each.
    """
    if isinstance(protocol, WebSocketProtocol):
        protocol.is_closed.addCallback(lambda _: None)  # its result is the protocol
    elif channel := getattr(protocol, "channel", None):
        channel.requests.clear()  # one that became a socket: others have left it already


def _spare_formatting() -> None:
    """
    Leave a log line of Autobahn's unformatted that nobody asked for.

    For each connection it prints all options prettily: a tenth of a handshake.
    """
    vars(autobahn.websocket.protocol)["pformat"] = lambda value: value


if __name__ == "__main__":
    CommandLineInterface.entrypoint()
