"""
The load generator: one process with thousands of WebSocket clients that count messages.

It uses raw sockets, one epoll and no WebSocket library: the inner loop makes
one `read` per ready socket and looks at the frame's header. Frames with MARK in
their first bytes are the benchmark's messages, all others are the server's own.
A message may contain the time it was sent, as `@<nanoseconds>@`.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
import time
from collections.abc import Sequence
from typing import Any, Final

from harness.frames import CLOSE, HEARTBEAT, PING, PONG, TEXT, frame, reset_when_closed

MARK: Final = b"bench"  # the type of the benchmark's messages
MARK_SEARCH_SIZE: Final = 28
READ_SIZE: Final = 16 * 1024
MAX_EVENTS: Final = 2048  # ready sockets per poll
BATCH_SECONDS: Final = 0.0005  # waits for more frames, if only their number matters
SETTLE_SECONDS: Final = 0.15  # waits for duplicates
HEARTBEAT_SECONDS: Final = 6.0  # between heartbeats of idle clients

CONNECTING, SHAKING, OPEN, CLOSED = range(4)
HEARTBEAT_FRAME: Final = frame(HEARTBEAT)


class Client:
    """One connection and its counts."""

    __slots__ = (
        "replies",
        "beat_at",
        "fd",
        "messages",
        "muted",
        "request",
        "rest",
        "socket",
        "started",
        "state",
        "registered",
    )

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reset_when_closed(self.socket)
        self.fd = self.socket.fileno()
        self.state = CONNECTING
        self.rest = b""  # the start of a frame or of the handshake's response
        self.messages = self.replies = 0
        self.muted = self.registered = False
        self.started = self.beat_at = 0.0


class LoadGenerator:
    def __init__(self) -> None:
        _, max_files = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max_files, max_files))
        self._epoll = select.epoll()
        self._by_fd: list[Client] = [None] * max_files  # type: ignore[list-item]  # filled when opened
        self._clients: list[Client] = []
        self._messages = self._replies = self._registered = self._lost = 0
        self._last_at = 0.0  # monotonic seconds, of the last batch with a message
        self._sent_at: list[float] | None = None  # a list while latencies are measured
        self._bytes_read = 0
        self._quiet = False

    # --- Called by the benchmark

    def connect(
        self,
        port_and_requests: Sequence[tuple[int, bytes]],
        window: int = 256,
        timeout: float = 120.0,
        receive_buffer: int = 0,
    ) -> dict[str, Any]:
        """Open these connections, `window` handshakes at a time; each ends with its first frame."""
        started_at = time.monotonic()
        deadline = started_at + timeout
        waiting = list(reversed(port_and_requests))
        wanted, lost = self._registered + len(waiting), self._lost
        opened = self._registered
        while self._registered + (self._lost - lost) < wanted and time.monotonic() < deadline:
            under_way = len(port_and_requests) - len(waiting)
            under_way -= (self._registered - opened) + (self._lost - lost)
            while waiting and under_way < window:
                self._open(*waiting.pop(), receive_buffer)
                under_way += 1
            self._pump(0.05)
        return {
            "seconds": time.monotonic() - started_at,
            "connected": self._registered - opened,
            "refused": self._lost - lost,
        }

    def forget(self) -> None:
        """Reset all counts."""
        self._messages = self._replies = self._bytes_read = 0
        self._last_at = 0.0
        for client in self._clients:
            client.messages = client.replies = 0

    def collect(self, messages: int, timeout: float, timed: bool = False) -> dict[str, Any]:
        """Wait for this many messages, then a little longer for surplus ones; return the counts."""
        self._sent_at = [] if timed else None
        cpu = time.process_time()
        started_at = time.monotonic()
        deadline = started_at + timeout
        while self._messages < messages and time.monotonic() < deadline:
            if self._pump(0.05) < 32 and not timed:
                time.sleep(BATCH_SECONDS)
        spent = (time.process_time() - cpu, time.monotonic() - started_at)
        settled = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < settled:
            self._pump(0.02)
        latencies, self._sent_at = self._sent_at, None
        counts = [client.messages for client in self._clients if not client.muted]
        return {
            "messages": self._messages,
            "min": min(counts, default=0),
            "max": max(counts, default=0),
            "last_at": self._last_at,
            "bytes": self._bytes_read,
            "latencies": latencies,
            "lost": sum(client.state == CLOSED for client in self._clients),
            "cpu": spent[0],
            "seconds": spent[1],
        }

    def beat(self, rounds: int = 1, at_a_time: int = 500, timeout: float = 60.0) -> dict[str, Any]:
        """Send a heartbeat from each client, and wait for the replies."""
        deadline = time.monotonic() + timeout
        live = [client for client in self._clients if client.state == OPEN and not client.muted]
        sent, replies, started_at = 0, self._replies, time.monotonic()
        for _ in range(rounds):
            for start in range(0, len(live), at_a_time):
                for client in live[start : start + at_a_time]:
                    self._send(client, HEARTBEAT_FRAME)
                    client.beat_at = started_at
                    sent += 1
                while self._replies - replies < sent - at_a_time // 2:
                    if time.monotonic() > deadline:
                        return self._beaten(sent, replies, started_at)
                    self._pump(0.01)
        while self._replies - replies < sent and time.monotonic() < deadline:
            self._pump(0.01)
        return self._beaten(sent, replies, started_at)

    def probe(self, seconds: float, interval: float) -> list[tuple[float, float]]:
        """
        Send heartbeats from the clients in turn, one per `interval`.

        Returns when each was sent (monotonic seconds), and how long the reply took.
        """
        latencies: list[tuple[float, float]] = []
        end = time.monotonic() + seconds
        sent: dict[int, float] = {}  # by fd
        due, turn = time.monotonic(), 0
        live = [client for client in self._clients if client.state == OPEN]
        while (now := time.monotonic()) < end or sent:
            if now > end + 2:
                break
            if now >= due and now < end:
                client = live[turn % len(live)]
                turn, due = turn + 1, due + interval
                if client.fd not in sent:
                    client.replies = 0
                    sent[client.fd] = now
                    self._send(client, HEARTBEAT_FRAME)
            self._pump(max(0.0, min(due - time.monotonic(), 0.05)))
            now = time.monotonic()
            for fd in [fd for fd in sent if self._by_fd[fd].replies]:
                at = sent.pop(fd)
                latencies.append((at, now - at))
        return latencies + [(at, now - at) for at in sent.values()]

    def mute(self) -> None:
        """Stop reading from all connections, like a sleeping device."""
        for client in self._clients:
            client.muted = True
            self._epoll.unregister(client.fd)

    def cut(self) -> int:
        """Reset all connections; return how many there were."""
        clients, self._clients = self._clients, []
        for client in clients:
            self._close(client)
        self._registered = self._lost = 0
        return len(clients)

    def be_quiet(self, quiet: bool) -> None:
        """Set whether clients stop sending their periodic heartbeats."""
        self._quiet = quiet

    def idle(self) -> None:
        """Keep the connections alive, as real clients do."""
        while self._pump(0):
            pass
        if self._quiet:
            return
        now = time.monotonic()
        due = [c for c in self._clients if c.state == OPEN and now - c.beat_at > HEARTBEAT_SECONDS]
        # Only a share per call, so that they are spread out.
        for client in due[: len(self._clients) // 20 + 1]:
            client.beat_at = now
            self._send(client, HEARTBEAT_FRAME)

    # --- The loop

    def _pump(self, timeout: float) -> int:
        """Read from up to MAX_EVENTS ready sockets; return how many were ready."""
        events = self._epoll.poll(timeout, MAX_EVENTS)
        now = time.monotonic()
        by_fd, read, messages = self._by_fd, os.read, self._messages
        for fd, _ in events:
            client = by_fd[fd]
            if client.state != OPEN:
                self._shake(client)
                continue
            try:
                data = read(fd, READ_SIZE)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            size = len(data)
            self._bytes_read += size
            if (
                size > 8
                and data[0] == 0x81
                and data[1] == 126
                and size == 4 + (data[2] << 8 | data[3])
                and not client.rest
                and self._sent_at is None
                and data.find(MARK, 4, MARK_SEARCH_SIZE) > 0
            ):
                client.messages += 1
                self._messages += 1
            elif size:
                self._parse(client, data, now)
            else:
                self._end(client)
        if self._messages != messages:
            self._last_at = time.monotonic()
        return len(events)

    def _parse(self, client: Client, data: bytes, now: float) -> None:
        """Handle all complete frames in `data`, and keep the rest."""
        if client.rest:
            data = client.rest + data
        start, size = 0, len(data)
        while size - start >= 2:
            head, length, body = data[start], data[start + 1], start + 2
            if length == 126:
                body += 2
                if body > size:
                    break
                length = data[body - 2] << 8 | data[body - 1]
            elif length == 127:
                body += 8
                if body > size:
                    break
                length = int.from_bytes(data[body - 8 : body], "big")
            end = body + length
            if end > size:
                break
            self._handle(client, head & 0x0F, data, body, end, now)
            start = end
        client.rest = data[start:]

    def _handle(
        self, client: Client, opcode: int, data: bytes, start: int, end: int, now: float
    ) -> None:
        if opcode == TEXT and data.find(MARK, start, min(start + MARK_SEARCH_SIZE, end)) >= 0:
            client.messages += 1
            self._messages += 1
            if self._sent_at is not None:
                at = data.find(b"@", start, end) + 1
                if at:
                    sent = int(data[at : data.index(b"@", at, end)]) / 1e9
                    self._sent_at.append(now - sent)
        elif opcode == TEXT:
            kind = data[start : min(start + MARK_SEARCH_SIZE, end)]
            if b"heartbeat" in kind:
                client.replies += 1
                self._replies += 1
            elif b'"ping"' in kind:
                self._send(client, HEARTBEAT_FRAME)
                client.beat_at = now
            elif not client.registered and b"register" in kind:
                client.registered = True
                client.beat_at = now
                self._registered += 1
        elif opcode == PING:
            self._send(client, frame(data[start:end], PONG))
        elif opcode == CLOSE:
            self._end(client)

    # --- Opening and closing

    def _open(self, port: int, request: bytes, receive_buffer: int) -> None:
        client = Client(request)
        if receive_buffer:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.started = time.monotonic()
        self._by_fd[client.fd] = client
        self._clients.append(client)
        problem = client.socket.connect_ex(("127.0.0.1", port))
        self._epoll.register(client.fd, select.EPOLLOUT)
        if problem not in (0, errno.EINPROGRESS):
            self._end(client)

    def _shake(self, client: Client) -> None:
        if client.state == CONNECTING:
            if client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._end(client)
                return
            client.socket.send(client.request)
            client.state = SHAKING
            self._epoll.modify(client.fd, select.EPOLLIN)
        elif client.state == SHAKING:
            try:
                data = os.read(client.fd, READ_SIZE)
            except OSError:
                data = b""
            response, blank_line, rest = (client.rest + data).partition(b"\r\n\r\n")
            if not data or (blank_line and not response.startswith(b"HTTP/1.1 101")):
                self._end(client)
            elif blank_line:
                client.state = OPEN
                client.rest = b""
                if rest:
                    self._parse(client, rest, time.monotonic())
            else:
                client.rest = response

    def _send(self, client: Client, data: bytes) -> None:
        if client.state == OPEN:
            try:
                client.socket.send(data)
            except OSError:
                self._end(client)

    def _end(self, client: Client) -> None:
        """The server closed the connection."""
        if client.state != CLOSED:
            self._close(client)
            self._lost += 1

    def _close(self, client: Client) -> None:
        client.state = CLOSED
        client.socket.close()  # which also removes it from the epoll

    def _beaten(self, sent: int, replies: int, started_at: float) -> dict[str, Any]:
        return {
            "sent": sent,
            "replied": self._replies - replies,
            "seconds": time.monotonic() - started_at,
        }
