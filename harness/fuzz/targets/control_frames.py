"""Pings, pongs and parts of messages, as a server receives them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final

from websockets.protocol import State
from websockets.server import ServerProtocol

from harness.frames import PING, PONG, frame
from harness.fuzz.site import Site

MAX_FRAMES: Final = 300  # per read


class ControlFrames:
    """
    Each ping, pong and part of a message is counted, and nothing after the limit is read.

    An input is a line for each read of the socket: letters for frames, a digit for as many again.
    """

    seeds: ClassVar = [
        b"p" * 300,
        b"PoOf\nffff\nm9pcp",
        b"m9c9c9c9c9\nt\nt\np9p9p9p9",
        b"tPmec\nef\ncccc",
    ]
    FRAMES: ClassVar = {
        "p": frame(b"", PING),
        "P": frame(b"p" * 125, PING),
        "o": frame(b"", PONG),
        "O": frame(b"o" * 125, PONG),
        "m": frame(b"", fin=False),
        "c": frame(b"", 0, fin=False),
        "f": frame(b" ", 0, fin=False),
        "e": frame(b"", 0),
        "t": frame(b"{}"),
    }
    LIMIT: ClassVar = 20
    # A message that has begun ends with one of these.
    PARTS: ClassVar = {"c", "f", "e"}

    def __init__(self, site: Site) -> None:
        self._site = site

    def __call__(self, data: bytes) -> None:
        from notifications.servers.uvicorn import counting_sans_io

        connection: Any = ServerProtocol()
        connection.state = State.OPEN
        connection.parser = connection.parse()
        next(connection.parser)
        # What the adapter does when a connection is accepted.
        counter = _Counter(self.LIMIT)
        connection.counting = counter, counter
        connection.__class__ = counting_sans_io(ServerProtocol)
        expected, pings, is_open = 0, 0, False
        for line in data.decode("ascii", "ignore").split("\n"):
            names = "".join(_repeated(line))[:MAX_FRAMES]
            valid = []
            for name in names:
                if name in "mt" and is_open or name in self.PARTS and not is_open:
                    continue
                valid.append(name)
                is_open = (is_open or name == "m") and name != "e"
            connection.receive_data(b"".join(self.FRAMES[name] for name in valid))
            assert connection.parser_exc is None, connection.parser_exc
            written = b"".join(connection.data_to_send())
            counted = [name for name in valid if name not in "te"]
            allowed = counted[: max(0, self.LIMIT - expected)]
            expected += len(counted)
            pings = sum(len(self.FRAMES[name]) - 4 for name in allowed if name in "pP")
            assert len(written) == pings, (line, len(written), pings)
            assert counter.is_paused == (expected > self.LIMIT)
            if counter.is_paused:
                assert counter.counted == self.LIMIT + 1  # the rest was dropped unread
                break
        self._site.check_log()


class _Counter:
    """Counts frames, as a consumer does; also the transport whose reading is paused."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.counted = 0
        self.is_paused = False

    def count_frame(self) -> Any:
        from notifications.servers.base import Treatment

        self.counted += 1
        return Treatment.ANSWER if self.counted <= self._limit else Treatment.STOP

    def pause_reading(self) -> None:
        self.is_paused = True


def _repeated(line: str) -> Iterator[str]:
    """Yield the names of frames in a line; a digit repeats the last one."""
    last = ""
    for character in line:
        if character.isdigit():
            yield last * int(character)
        elif character in ControlFrames.FRAMES:
            last = character
            yield last
