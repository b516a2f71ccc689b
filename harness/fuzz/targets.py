"""
The targets: how an input is read, what must hold for every input, and the seed inputs.

Inputs are readable text, so that findings explain themselves: a line for each frame; the query and
the headers of a handshake, a line each; a request's first line and its body.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from typing import Any, ClassVar, Final, Protocol
from urllib.parse import urljoin

from asgiref.testing import ApplicationCommunicator
from websockets.protocol import State
from websockets.server import ServerProtocol

from harness.frames import PING, PONG, frame
from harness.fuzz.site import Site

ANSWER_TIMEOUT_SECONDS: Final = 10.0
CODES: Final = {"bad_json", "bad_frame", "bad_type", "bad_field"}
MAX_ERRORS_IN_A_ROW: Final = 20
MAX_FRAMES: Final = 30  # per input
HEARTBEAT: Final = '{"type":"heartbeat"}'
ORIGIN: Final = "http://testserver"
HEADERS: Final = {b"host": b"testserver", b"origin": ORIGIN.encode()}


class Target(Protocol):
    seeds: ClassVar[list[bytes]]

    def __init__(self, site: Site) -> None: ...

    def __call__(self, data: bytes) -> None:
        """Try this input; raise if the result is wrong."""


class _Connections:
    """Base of the targets that open connections, one at a time, in one event loop."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._loop = asyncio.new_event_loop()

    def __call__(self, data: bytes) -> None:
        self._loop.run_until_complete(self._try(data))
        self._site.check_log()

    async def _try(self, data: bytes) -> None:
        raise NotImplementedError

    async def _open(self, query: bytes, headers: dict[bytes, bytes]) -> Any:
        cookie = f"sessionid={self._site.session}".encode()
        scope = {
            "type": "websocket",
            "scheme": "ws",
            "path": "/ws/notifications/",
            "query_string": query,
            "headers": list({**HEADERS, b"cookie": cookie, **headers}.items()),
            "client": ["127.0.0.1", 1],
            "server": ["testserver", 80],
            "subprotocols": [],
        }
        untyped: Any = ApplicationCommunicator
        connection = untyped(self._site.application, scope)
        await connection.send_input({"type": "websocket.connect"})
        return connection


class Frames(_Connections):
    """Each frame gets one reply, and 20 invalid ones in a row close the connection."""

    seeds: ClassVar = [
        b'{"type":"heartbeat"}',
        b'{"type": "heartbeat", "content": {"body": "", "meta_data": ""}}\n{"type":"heartbeat"}',
        b'{}\n[]\nnull\n\n{"type":1}\n{"type":"x"}\n\x00bytes\n{"type":"heartbeat"}',
        b'{"type":"\\ud800"}\n{"type":NaN}\n' + b"[" * 3000 + b"\n" + b"1" * 4000,
        b"{}\n" * 25,
    ]
    _connection: Any = None

    async def _try(self, data: bytes) -> None:
        errors = 0
        for line in data.split(b"\n", MAX_FRAMES):
            connection = self._connection = self._connection or await self._begin()
            if line[:1] == b"\x00":
                await connection.send_input({"type": "websocket.receive", "bytes": line[1:]})
            else:
                # Servers themselves close a connection for invalid UTF-8.
                text = line.decode(errors="replace")
                await connection.send_input({"type": "websocket.receive", "text": text})
            answer = await _next_frame(connection)
            errors = errors + 1 if answer["type"] == "error" else 0
            assert answer["type"] == "heartbeat" or answer["code"] in CODES, answer
            if errors == MAX_ERRORS_IN_A_ROW:
                bye = await _next_frame(connection)
                close = await connection.receive_output(ANSWER_TIMEOUT_SECONDS)
                assert (bye["type"], bye["code"], close["code"]) == ("bye", 4400, 4400)
                await self._end()
                errors = 0
        if errors and self._connection:  # so that the next input starts at zero
            await self._connection.send_input({"type": "websocket.receive", "text": HEARTBEAT})
            await self._connection.receive_output(ANSWER_TIMEOUT_SECONDS)

    async def _begin(self) -> Any:
        connection = await self._open(b"", {})
        assert (await connection.receive_output(ANSWER_TIMEOUT_SECONDS))[
            "type"
        ] == "websocket.accept"
        for type in ("register", "heartbeat"):
            assert (await _next_frame(connection))["type"] == type
        return connection

    async def _end(self) -> None:
        await self._connection.send_input({"type": "websocket.disconnect", "code": 1006})
        await self._connection.wait(ANSWER_TIMEOUT_SECONDS)
        self._connection = None


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
            names = "".join(_repeated(line))[: MAX_FRAMES * 10]
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


class Handshakes(_Connections):
    """A connection registers and catches up, or is refused with 4401 or before the accept."""

    seeds: ClassVar = [
        b"",
        b"seq=1&broadcast_seq=1&epoch=1&scope=everyone",
        b"seq=99999999999999999999&epoch=-1&broadcast_seq=1e9&scope=%ff%00",
        b"account=1\nuser-agent: Mozilla/5.0 (X11) \xff\x01\nx-forwarded-for: <script>",
        b"account=2\norigin: http://testserver.evil.example",
        b"\norigin: null\nhost: testserver:80",
        b'\ncookie: sessionid="\\000"; =;;',
        b"\ncookie: sessionid=abcdefgh\naccept-language: zh-hans;q=9",
    ]

    async def _try(self, data: bytes) -> None:
        query, *lines = _printable(data).split(b"\n")
        named = (line.partition(b":") for line in lines)
        headers = {name.lower().strip(): value.strip() for name, _, value in named}
        connection = await self._open(query.decode("ascii", "ignore").encode(), headers)
        reply = await connection.receive_output(ANSWER_TIMEOUT_SECONDS)
        if reply["type"] == "websocket.accept":
            frame = await _next_frame(connection)
            if frame["type"] == "bye":
                assert frame["code"] == 4401, frame
                assert (await connection.receive_output(ANSWER_TIMEOUT_SECONDS))["code"] == 4401
            else:
                assert frame["type"] == "register", frame
                while frame["type"] != "heartbeat":  # caught up, whatever the position was
                    frame = await _next_frame(connection)
        else:
            assert reply["type"] == "websocket.close", reply
        await connection.send_input({"type": "websocket.disconnect", "code": 1006})
        await connection.wait(ANSWER_TIMEOUT_SECONDS)


class Requests:
    """Each request gets a response, with a 4xx status at worst."""

    seeds: ClassVar = [
        b"GET items/?limit=2&before=n3b1&unread=1 text/plain",
        b"GET items/?archived=1&limit=0 text/plain",
        b"GET changes/?seq=1&broadcast_seq=0&epoch=1&scope=everyone text/plain",
        b"GET ?before=n3b1 text/plain",
        b'POST mark/ application/json\n{"ids": ["n1", "b1", "n7"], "as": "read"}',
        b'POST mark/ application/json\n{"upto": {"seq": 6, "broadcast_seq": 2}, "as": "archived"}',
        b'POST mark/ application/json\n{"undo": {"as": "read", "from": 1, "seq": 9}}',
        b'POST mark/ application/json; charset=utf-16\n{"ids": [1, null], "as": "\\ud800"}',
        b"POST mark/ application/x-www-form-urlencoded\nids=n2&ids=b2&as=read&next=//evil.example/",
        b"POST mark/ application/x-www-form-urlencoded\nseq=6&broadcast_seq=1e2&as=unread",
        b"POST mark/ multipart/form-data; boundary=x\n"
        b'--x\r\nContent-Disposition: form-data; name="as"\r\n\r\nread\r\n--x--\r\n',
        b"PUT mark/ application/json\n{}",
    ]

    def __init__(self, site: Site) -> None:
        from django.test import Client

        self._site = site
        self._client = Client(HTTP_HOST="testserver")  # raises a view's exceptions
        self._client.cookies["sessionid"] = site.session

    def __call__(self, data: bytes) -> None:
        head, _, body = data.partition(b"\n")
        method, path, kind = [*_printable(head).decode("latin-1").split(" ", 2), "", ""][:3]
        path, _, query = path.partition("?")
        answer = self._client.request(
            REQUEST_METHOD=method or "GET",
            PATH_INFO=f"/notifications/{path}",
            QUERY_STRING=query,
            CONTENT_TYPE=kind,
            CONTENT_LENGTH=len(body),
            **{"wsgi.input": io.BytesIO(body)},
        )
        assert answer.status_code < 500, answer
        if answer.status_code == 302:
            # As a browser resolves it.
            location = urljoin(
                f"{ORIGIN}/notifications/mark/", answer["Location"].replace("\\", "/")
            )
            assert location.startswith(f"{ORIGIN}/"), location
        elif answer["Content-Type"] == "application/json":
            json.loads(answer.content, parse_constant=_refuse)
        self._site.check_log()
        self._site.check_bob()


async def _next_frame(connection: Any) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(
        (await connection.receive_output(ANSWER_TIMEOUT_SECONDS))["text"]
    )
    return frame


def _printable(head: bytes) -> bytes:
    """Return the text without control characters, which servers refuse; keep line feeds."""
    return head.translate(None, bytes({*range(32), 127} - {10}))


def _refuse(name: str) -> Any:
    raise AssertionError(f"{name} is not JSON")


TARGETS: Final[dict[str, type[Target]]] = {
    "control": ControlFrames,
    "frames": Frames,
    "handshakes": Handshakes,
    "requests": Requests,
}
# Words that random inputs would hardly ever contain.
WORDS: Final = [
    *("type", "heartbeat", "content", "ids", "as", "read", "unread", "archived", "inbox", "undo"),
    *("upto", "from", "seq", "broadcast_seq", "epoch", "scope", "account", "everyone", "limit"),
    *(
        "before",
        "important",
        "next",
        "n1",
        "b1",
        "true",
        "null",
        "NaN",
        "1e999",
        "9223372036854775808",
    ),
    *("%00", "%ff", "\\\\ud800", "\\\\u0000", "sessionid=", "origin:", "cookie:", "host:"),
    *("GET ", "POST ", "items/", "changes/", "mark/", "application/json", "multipart/form-data"),
]
