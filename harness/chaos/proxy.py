"""TCP proxies between clients and servers that cut connections after a chosen number of frames."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from harness.frames import reset_when_closed
from harness.services import free_port

End = Literal["reset", "close", "no answers", "no requests", "silent"]

# Most cuts fall where a connection begins: around `register`, `resync` and what was missed.
FRAMES: Final = (0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 7, 10, 15, 30)
INSIDE_SHARE: Final = 0.3  # of the cuts are inside the next frame
MAX_BYTES_INSIDE: Final = 60
CUT_SHARE: Final = 0.7  # of the connections, while cuts are on
# Half-open: one direction is silent or both are, and neither side is told. The peers find out.
ENDS: Final[tuple[End, ...]] = ("reset", "reset", "close", "no answers", "no requests", "silent")
HALF_OPEN_SECONDS: Final = 30.0  # at most
NEVER: Final = 2**62  # frames


@dataclass(frozen=True)
class Cut:
    after_frames: int  # of the server, counted from now
    more_bytes: int  # of the next frame
    end: End


class FrameMeter:
    """Finds where the n-th frame ends in a stream of the server's bytes."""

    def __init__(self) -> None:
        self._frames = NEVER
        self._is_open = False  # the headers of the handshake's answer are over
        self._header = b""
        self._rest = 0  # bytes of the frame's payload still to come

    def aim(self, frames: int) -> None:
        """Look for the end of this many frames from now; one that has begun is not counted."""
        has_begun = self._is_open and (self._rest or self._header)
        self._frames = frames + bool(has_begun)

    def find(self, data: bytes) -> int | None:
        """Return how many of these bytes belong to the frames; None: all, and more are to come."""
        at = 0
        while at < len(data) and not self._is_over:
            if self._rest:
                size = min(self._rest, len(data) - at)
                self._rest -= size
                at += size
                self._frames -= not self._rest
                continue
            self._header += data[at : at + 1]
            at += 1
            if not self._is_open:
                if self._header.endswith(b"\r\n\r\n"):
                    self._is_open, self._header = True, b""
            elif (size_or_none := _payload_size(self._header)) is not None:
                self._rest, self._header = size_or_none, b""
                self._frames -= not self._rest
        return at if self._is_over else None

    @property
    def _is_over(self) -> bool:
        return self._frames <= 0 and self._is_open and not self._rest and not self._header


def _payload_size(header: bytes) -> int | None:
    """Return the size in a server's frame header; None: it is not complete."""
    if len(header) < 2:
        return None
    size = header[1] & 0x7F
    wanted = {126: 4, 127: 10}.get(size, 2)
    if len(header) < wanted:
        return None
    return int.from_bytes(header[2:wanted], "big") if wanted > 2 else size


class _Side(asyncio.Protocol):
    """One of the two ends of a proxied connection."""

    def __init__(self, link: _Link, is_server: bool) -> None:
        self._link = link
        self._is_server = is_server
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        (self._link.from_server if self._is_server else self._link.from_client)(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._link.lost()

    def pause_writing(self) -> None:
        self._link.pause(self, True)

    def resume_writing(self) -> None:
        self._link.pause(self, False)

    def close(self, reset: bool = False) -> None:
        if self.transport and not self.transport.is_closing():
            if reset:
                reset_when_closed(self.transport.get_extra_info("socket"))
                self.transport.abort()
            else:
                self.transport.close()


class _Link:
    """A client's connection and the one to the server that it is forwarded to."""

    def __init__(self, proxies: CuttingProxies) -> None:
        self.client, self.server = _Side(self, False), _Side(self, True)
        self._proxies = proxies
        self._cut: Cut | None = None
        self._meter = FrameMeter()
        self._early = b""  # from the client, before the server was connected
        self._drops: frozenset[_Side] = frozenset()  # what these sides send is dropped

    async def connect(self, port: int) -> None:
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: self.server, "127.0.0.1", port
            )
        except OSError:
            self.client.close(reset=True)
            self.lost()
            return
        self._forward(self.server, self._early)

    def arm(self, cut: Cut) -> None:
        self._cut = cut
        self._meter.aim(cut.after_frames)

    def disarm(self) -> None:
        self._cut = None
        self._meter.aim(NEVER)

    def from_client(self, data: bytes) -> None:
        if self.client in self._drops:
            return
        if self.server.transport is None:
            self._early += data
        else:
            self._forward(self.server, data)

    def from_server(self, data: bytes) -> None:
        if self.server in self._drops:
            return
        end = self._meter.find(data)  # always, so that it knows where frames begin
        if self._cut and end is not None:
            cut = self._cut
            # The server's direction goes on if only the client's becomes silent.
            rest = data if cut.end == "no requests" else data[: end + cut.more_bytes]
            self._forward(self.client, rest)
            self._end(cut.end)
            return
        self._forward(self.client, data)

    def pause(self, full: _Side, paused: bool) -> None:
        other = self.server if full is self.client else self.client
        if other.transport and not other.transport.is_closing():
            (other.transport.pause_reading if paused else other.transport.resume_reading)()

    def lost(self) -> None:
        """Pass the end of one side on to the other, unless the connection is half-open."""
        self._proxies.forget(self)
        if not self._drops:
            self.client.close()
            self.server.close()

    def _end(self, end: End) -> None:
        self._cut = None
        self._proxies.ended[end] += 1
        if end in {"reset", "close"}:
            self.client.close(reset=end == "reset")
            self.server.close(reset=end == "reset")
            return
        silent = {"no answers": {self.server}, "no requests": {self.client}}
        self._drops = frozenset(silent.get(end, {self.client, self.server}))
        asyncio.get_running_loop().call_later(HALF_OPEN_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self.client.close(reset=True)
        self.server.close(reset=True)

    @staticmethod
    def _forward(to: _Side, data: bytes) -> None:
        if data and to.transport and not to.transport.is_closing():
            to.transport.write(data)


class CuttingProxies:
    """One proxy for each server, on an event loop in a thread; runs in a process by `Remote`."""

    def __init__(self, servers: list[int], seed: int) -> None:
        """servers: their ports."""
        self.ended: dict[str, int] = dict.fromkeys(dict.fromkeys(ENDS), 0)
        self._rng = random.Random(f"{seed} proxies")
        self._links: set[_Link] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._is_cutting = False
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._ports = [self._run(self._listen([port])) for port in servers]
        self._shared_port = self._run(self._listen(servers))

    def ports(self) -> list[int]:
        """Return the port in front of each server."""
        return self._ports

    def shared_port(self) -> int:
        """Return the port whose connections go to any of the servers, as behind a balancer."""
        return int(self._shared_port)

    def cut(self, seconds: float) -> None:
        """Cut most of the connections that are open or opened within this time."""
        self._run(self._switch(True))
        time.sleep(seconds)
        self._run(self._switch(False))

    def counts(self) -> dict[str, int]:
        """Return how many connections ended in each way."""
        return self.ended

    def forget(self, link: _Link) -> None:
        self._links.discard(link)

    async def _listen(self, servers: list[int]) -> int:
        def accept() -> asyncio.Protocol:
            link = _Link(self)
            self._links.add(link)
            if self._is_cutting:
                self._arm(link)
            task = self._loop.create_task(link.connect(self._rng.choice(servers)))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
            return link.client

        port = free_port()
        await self._loop.create_server(accept, "127.0.0.1", port, backlog=1000)
        return port

    async def _switch(self, is_cutting: bool) -> None:
        self._is_cutting = is_cutting
        for link in list(self._links):
            link.disarm()
            if is_cutting:
                self._arm(link)

    def _arm(self, link: _Link) -> None:
        if self._rng.random() < CUT_SHARE:
            is_inside = self._rng.random() < INSIDE_SHARE
            more = self._rng.randint(1, MAX_BYTES_INSIDE) if is_inside else 0
            end = self._rng.choice(ENDS)
            link.arm(Cut(self._rng.choice(FRAMES), more, end))

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)
