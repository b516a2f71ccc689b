"""
Daphne, adapted to notifications: `python -m notifications.server`.

It accepts all of Daphne's flags, and runs the hub, and with it the periodic task,
from its start. On SIGTERM it drains: it accepts no new connections, moves its
connections to other servers, spread over NOTIFICATIONS_DRAIN_SECONDS, and lets
running requests finish. SIGINT and a second SIGTERM end it without a drain; a third
signal kills the process.

It ends a few seconds after the drain at the latest, also when requests or its own threads wait
for a database that stands still.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

# First: importing it installs Twisted's asyncio reactor.
from .servers.daphne_server import CommandLineInterface as BaseCommandLineInterface  # isort: skip
from .servers.daphne_server import Server as BaseServer  # isort: skip
from .servers.daphne_server import reactor  # isort: skip
from twisted.internet import defer
from twisted.internet.interfaces import IListeningPort

from .servers.base import Send
from .servers.daphne_bodies import body_receiver
from .servers.root_path import with_option
from .servers.tuning import tune_process

logger = logging.getLogger(__name__)

CLOSE_SECONDS: Final = 2.0  # for the closing handshakes, and for requests beyond the drain
CANCEL_SECONDS: Final = 1.0  # for requests that were given up to end
EXIT_SECONDS: Final = 2.0  # for their threads


class Server(BaseServer):
    def __init__(self, application: Any, **options: Any) -> None:
        """`application` is the site's ASGI application; `options` are Daphne's."""
        super().__init__(application=self._run_application, **options)
        self._site = application
        # Connections until they are closed, and requests until they are answered.
        self._running: set[asyncio.Future[None]] = set()
        self._draining: asyncio.Task[None] | None = None
        self._give_up_at = 0.0

    def run(self) -> None:
        # Not callWhenRunning: that is before the event loop runs.
        reactor.callLater(0, self._begin)
        super().run()

    def kill_all_applications(self) -> Any:
        """
        Stop the hub and all running applications; Daphne calls this before it ends.

        Daphne's own method looks up the application of each connection, which one that was
        upgraded in the last second may not have (KeyError).
        """
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._kill_all()))

    def _begin(self) -> None:
        # Imported only now: its models need the application's settings.
        from .hub.hub import get_hub

        tune_process()
        get_hub()
        self.prepare()
        if self.signal_handlers:  # in place of Twisted's
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._take_signal)

    def _run_application(self, scope: dict[str, Any], receive: Any, send: Send) -> Any:
        """Run the site's application for one request or connection, and track it until it ends."""
        scope = with_option(scope, self.root_path)
        if scope["type"] == "http":
            receive = body_receiver(receive, send)
            send = partial(self._answer, scope, send)
        running = asyncio.ensure_future(self._site(scope, receive, send))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return running

    async def _answer(self, scope: dict[str, Any], send: Send, event: dict[str, Any]) -> None:
        is_start = event["type"] == "http.response.start"
        if self._draining and is_start and scope["http_version"] in {"1.0", "1.1"}:
            # Or a proxy would use this connection for another request, perhaps a WebSocket's.
            event = {**event, "headers": [*event.get("headers", ()), (b"connection", b"close")]}
        await send(event)

    def _take_signal(self, number: int, frame: Any) -> None:
        # As from a thread, because the event loop has to be woken.
        reactor.callFromThread(self._end, number)

    def _end(self, number: int) -> None:
        from .conf import conf
        from .hub.hub import get_hub

        is_first = self._draining is None
        window = conf.DRAIN_SECONDS if is_first and number == signal.SIGTERM else 0
        self._give_up_at = asyncio.get_running_loop().time() + window + CLOSE_SECONDS
        if not window:
            # A developer's browser may reconnect at once, a crowd must not.
            get_hub().drain.at_once(0 if number == signal.SIGINT else conf.DRAIN_SECONDS)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if is_first:
            self._draining = asyncio.ensure_future(self._drain(window))

    async def _drain(self, seconds: float) -> None:
        from .hub.hub import get_hub, stop_hub

        for reader in reactor.getReaders():
            if IListeningPort.providedBy(reader):
                reader.stopListening()
        await get_hub().drain.run(seconds)
        loop = asyncio.get_running_loop()
        while self._running and loop.time() < self._give_up_at:
            await asyncio.sleep(0.02)
        await stop_hub()
        self.stop()

    async def _kill_all(self) -> None:
        from .hub.hub import stop_hub

        await stop_hub()  # if no signal did
        running = list(self._running)
        for application in running:
            application.cancel()
        if running:  # one whose thread waits for the database does not end
            await asyncio.wait(running, timeout=CANCEL_SECONDS)


class CommandLineInterface(BaseCommandLineInterface):
    description = "Daphne for a site with notifications"
    server_class = Server

    def run(self, args: Sequence[str]) -> None:
        super().run(args)
        # The interpreter would wait for the threads of all requests.
        timer = threading.Timer(EXIT_SECONDS, _exit)
        timer.daemon = True
        timer.start()


def _exit() -> None:
    logger.warning("Ended while requests were running, which may wait for the database")
    os._exit(0)


if __name__ == "__main__":
    CommandLineInterface.entrypoint()
