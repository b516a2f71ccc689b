"""
The load generator: thousands of WebSockets in one process, which counts what they get.

Raw sockets, one epoll and no WebSocket library: in the inner loop there is one
`read` for each ready socket and a look at the frame's header. All frames that
carry MARK in their first bytes are messages of the benchmark, the others are
the server's own. A message may carry the time it was sent, as `@<nanoseconds>@`.
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

MARK: Final = b"bench"  # the type of all messages of the benchmark
MARK_WITHIN: Final = 28  # bytes of a frame
READ: Final = 16 * 1024  # bytes at a time
EVENTS: Final = 2048  # ready sockets at a time
BATCH_SECONDS: Final = 0.0005  # seconds to let frames gather, where only their number counts
SETTLE: Final = 0.15  # seconds in which what comes twice may show
BEAT_EVERY: Final = 6.0  # seconds, for sockets at rest

CONNECTING, SHAKING, OPEN, CLOSED = range(4)
BEAT: Final = frame(HEARTBEAT)


class Client:
    """One socket and what it got."""

    __slots__ = (
        "answers",
        "beat_at",
        "fd",
        "messages",
        "muted",
        "request",
        "rest",
        "socket",
        "started",
        "state",
        "welcomed",
    )

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reset_when_closed(self.socket)
        self.fd = self.socket.fileno()
        self.state = CONNECTING
        self.rest = b""  # the beginning of a frame or of the handshake's answer
        self.messages = self.answers = 0
        self.muted = self.welcomed = False
        self.started = self.beat_at = 0.0


class LoadGenerator:
    def __init__(self) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self._epoll = select.epoll()
        self._by_fd: list[Client] = [None] * most  # type: ignore[list-item]  # filled by use
        self._clients: list[Client] = []
        self._messages = self._answers = self._welcomed = self._lost = 0
        self._last_at = 0.0  # monotonic seconds, of the last batch with a message
        self._sent_at: list[float] | None = None  # latencies are taken while it is a list
        self._read = 0  # bytes
        self._quiet = False

    # --- Called by the benchmark

    def connect(
        self,
        port_and_requests: Sequence[tuple[int, bytes]],
        window: int = 256,
        timeout: float = 120.0,
        receive_buffer: int = 0,
    ) -> dict[str, Any]:
        """Open these sockets, `window` handshakes at a time; each ends with the first frame."""
        began = time.monotonic()
        deadline = began + timeout
        waiting = list(reversed(port_and_requests))
        wanted, lost = self._welcomed + len(waiting), self._lost
        opened = self._welcomed
        while self._welcomed + (self._lost - lost) < wanted and time.monotonic() < deadline:
            under_way = len(port_and_requests) - len(waiting)
            under_way -= (self._welcomed - opened) + (self._lost - lost)
            while waiting and under_way < window:
                self._open(*waiting.pop(), receive_buffer)
                under_way += 1
            self._pump(0.05)
        return {
            "seconds": time.monotonic() - began,
            "connected": self._welcomed - opened,
            "refused": self._lost - lost,
        }

    def forget(self) -> None:
        """Count from zero."""
        self._messages = self._answers = self._read = 0
        self._last_at = 0.0
        for client in self._clients:
            client.messages = client.answers = 0

    def collect(self, messages: int, timeout: float, timed: bool = False) -> dict[str, Any]:
        """Count until so many messages have come, and those that come beyond them."""
        self._sent_at = [] if timed else None
        cpu = time.process_time()
        began = time.monotonic()
        deadline = began + timeout
        while self._messages < messages and time.monotonic() < deadline:
            if self._pump(0.05) < 32 and not timed:
                time.sleep(BATCH_SECONDS)
        spent = (time.process_time() - cpu, time.monotonic() - began)
        settled = time.monotonic() + SETTLE
        while time.monotonic() < settled:
            self._pump(0.02)
        latencies, self._sent_at = self._sent_at, None
        counts = [client.messages for client in self._clients if not client.muted]
        return {
            "messages": self._messages,
            "least": min(counts, default=0),
            "most": max(counts, default=0),
            "last_at": self._last_at,
            "bytes": self._read,
            "latencies": latencies,
            "lost": sum(client.state == CLOSED for client in self._clients),
            "cpu": spent[0],
            "seconds": spent[1],
        }

    def beat(self, rounds: int = 1, at_a_time: int = 500, timeout: float = 60.0) -> dict[str, Any]:
        """Let each socket say `heartbeat`, and wait for the answers."""
        deadline = time.monotonic() + timeout
        live = [client for client in self._clients if client.state == OPEN and not client.muted]
        sent, answers, began = 0, self._answers, time.monotonic()
        for _ in range(rounds):
            for start in range(0, len(live), at_a_time):
                for client in live[start : start + at_a_time]:
                    self._send(client, BEAT)
                    client.beat_at = began
                    sent += 1
                while self._answers - answers < sent - at_a_time // 2:
                    if time.monotonic() > deadline:
                        return self._beaten(sent, answers, began)
                    self._pump(0.01)
        while self._answers - answers < sent and time.monotonic() < deadline:
            self._pump(0.01)
        return self._beaten(sent, answers, began)

    def probe(self, seconds: float, interval: float) -> list[tuple[float, float]]:
        """
        Let the sockets beat in turn, one each `interval`.

        Returns when each was asked (monotonic seconds), and how long the answer took.
        """
        latencies: list[tuple[float, float]] = []
        end = time.monotonic() + seconds
        asked: dict[int, float] = {}  # by fd
        due, turn = time.monotonic(), 0
        live = [client for client in self._clients if client.state == OPEN]
        while (now := time.monotonic()) < end or asked:
            if now > end + 2:
                break
            if now >= due and now < end:
                client = live[turn % len(live)]
                turn, due = turn + 1, due + interval
                if client.fd not in asked:
                    client.answers = 0
                    asked[client.fd] = now
                    self._send(client, BEAT)
            self._pump(max(0.0, min(due - time.monotonic(), 0.05)))
            now = time.monotonic()
            for fd in [fd for fd in asked if self._by_fd[fd].answers]:
                at = asked.pop(fd)
                latencies.append((at, now - at))
        return latencies + [(at, now - at) for at in asked.values()]

    def mute(self) -> None:
        """Stop reading from all sockets, as a device that fell asleep."""
        for client in self._clients:
            client.muted = True
            self._epoll.unregister(client.fd)

    def cut(self) -> int:
        """Reset all connections; return how many there were."""
        clients, self._clients = self._clients, []
        for client in clients:
            self._close(client)
        self._welcomed = self._lost = 0
        return len(clients)

    def be_quiet(self, quiet: bool) -> None:
        """Whether the sockets say nothing by themselves."""
        self._quiet = quiet

    def idle(self) -> None:
        """Keep the sockets alive as their clients do."""
        while self._pump(0):
            pass
        if self._quiet:
            return
        now = time.monotonic()
        due = [c for c in self._clients if c.state == OPEN and now - c.beat_at > BEAT_EVERY]
        # Each call's share of all, so that they spread.
        for client in due[: len(self._clients) // 20 + 1]:
            client.beat_at = now
            self._send(client, BEAT)

    def sockets(self) -> dict[str, int]:
        return {
            "open": sum(client.state == OPEN for client in self._clients),
            "all": len(self._clients),
        }

    # --- The loop

    def _pump(self, timeout: float) -> int:
        """Take what has come for up to EVENTS sockets; return for how many something had."""
        events = self._epoll.poll(timeout, EVENTS)
        now = time.monotonic()
        by_fd, read, messages = self._by_fd, os.read, self._messages
        for fd, _ in events:
            client = by_fd[fd]
            if client.state != OPEN:
                self._shake(client)
                continue
            try:
                data = read(fd, READ)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            size = len(data)
            self._read += size
            if (
                size > 8
                and data[0] == 0x81
                and data[1] == 126
                and size == 4 + (data[2] << 8 | data[3])
                and not client.rest
                and self._sent_at is None
                and data.find(MARK, 4, MARK_WITHIN) > 0
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
        """Take all whole frames of `data`, and keep what is left of it."""
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
            self._take(client, head & 0x0F, data, body, end, now)
            start = end
        client.rest = data[start:]

    def _take(
        self, client: Client, opcode: int, data: bytes, start: int, end: int, now: float
    ) -> None:
        if opcode == TEXT and data.find(MARK, start, min(start + MARK_WITHIN, end)) >= 0:
            client.messages += 1
            self._messages += 1
            if self._sent_at is not None:
                at = data.find(b"@", start, end) + 1
                if at:
                    sent = int(data[at : data.index(b"@", at, end)]) / 1e9
                    self._sent_at.append(now - sent)
        elif opcode == TEXT:
            kind = data[start : min(start + MARK_WITHIN, end)]
            if b"heartbeat" in kind:
                client.answers += 1
                self._answers += 1
            elif b'"ping"' in kind:
                self._send(client, BEAT)
                client.beat_at = now
            elif not client.welcomed and b"register" in kind:
                client.welcomed = True
                client.beat_at = now
                self._welcomed += 1
        elif opcode == PING:
            self._send(client, frame(data[start:end], PONG))
        elif opcode == CLOSE:
            self._end(client)

    # --- A socket's beginning and end

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
                data = os.read(client.fd, READ)
            except OSError:
                data = b""
            answer, blank_line, rest = (client.rest + data).partition(b"\r\n\r\n")
            if not data or (blank_line and not answer.startswith(b"HTTP/1.1 101")):
                self._end(client)
            elif blank_line:
                client.state = OPEN
                client.rest = b""
                if rest:
                    self._parse(client, rest, time.monotonic())
            else:
                client.rest = answer

    def _send(self, client: Client, data: bytes) -> None:
        if client.state == OPEN:
            try:
                client.socket.send(data)
            except OSError:
                self._end(client)

    def _end(self, client: Client) -> None:
        """A socket that ended from the other side."""
        if client.state != CLOSED:
            self._close(client)
            self._lost += 1

    def _close(self, client: Client) -> None:
        client.state = CLOSED
        client.socket.close()  # epoll forgets it by itself

    def _beaten(self, sent: int, answers: int, began: float) -> dict[str, Any]:
        return {
            "sent": sent,
            "answered": self._answers - answers,
            "seconds": time.monotonic() - began,
        }
