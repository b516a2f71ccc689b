"""
Daphne with what a notification server needs: `python -m notifications.server`.

It takes all of Daphne's flags, runs the hub, and with it the periodic task,
from its start, and on SIGTERM closes the sockets with the code that brings the
clients back.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

# First: importing it installs Twisted's asyncio reactor.
from daphne.server import Server as DaphneServer  # isort: skip
import autobahn.websocket.protocol
from daphne.cli import CommandLineInterface as DaphneCommandLineInterface
from twisted.internet import defer, reactor

CLOSING: Final = 2.0  # seconds for the closing handshakes
MAX_MESSAGE: Final = 256 * 1024  # bytes; autobahn holds what is sent to it as well


class Server(DaphneServer):  # type: ignore[misc]  # Daphne has no types
    def run(self) -> None:
        # Only now: the models behind it need the application's settings.
        from .hub import get_hub

        # Not callWhenRunning: that is before the event loop runs.
        reactor.callLater(0, get_hub)  # type: ignore[arg-type]  # wrong in Twisted's stubs
        _spare_formatting()
        super().run()

    def kill_all_applications(self) -> Any:
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._end()))

    async def _end(self) -> None:
        from .hub import stop_hub

        await stop_hub()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CLOSING
        while self._has_open_sockets() and loop.time() < deadline:
            await asyncio.sleep(0.02)
        # Daphne looks up the application of each connection, and one whose
        # upgrade came in the last second may have none: KeyError.
        self.connections: dict[Any, Any] = {
            protocol: details
            for protocol, details in self.connections.items()
            if "application_instance" in details
        }
        await super().kill_all_applications().asFuture(loop)

    def _has_open_sockets(self) -> bool:
        return any(
            protocol.application_type == "websocket" and "disconnected" not in details
            for protocol, details in self.connections.items()
        )


class CommandLineInterface(DaphneCommandLineInterface):  # type: ignore[misc]
    description = "Daphne for a site with notifications"
    server_class = Server

    def __init__(self) -> None:
        super().__init__()
        self.parser.prog = "python -m notifications.server"
        self.parser.set_defaults(
            # A socket lives as long as its session, also longer than Daphne's day.
            websocket_timeout=-1,
            websocket_max_message_size=MAX_MESSAGE,
            websocket_max_frame_size=MAX_MESSAGE,
        )


def _spare_formatting() -> None:
    """
    Leave a log line of Autobahn's unformatted that nobody asked for.

    For each connection it prints all options prettily: a tenth of a handshake.
    """
    vars(autobahn.websocket.protocol)["pformat"] = lambda value: value


if __name__ == "__main__":
    CommandLineInterface.entrypoint()
