"""
The targets: how an input is read, what must hold for every input, and the seed inputs.

Inputs are readable text, so that findings explain themselves: a line for each frame; the query and
the headers of a handshake, a line each; a request's first line, perhaps its type, and its body;
a path and headers.
"""

from __future__ import annotations

import asyncio
import io
import json
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol
from urllib.parse import urljoin

from asgiref.testing import ApplicationCommunicator
from websockets.protocol import State
from websockets.server import ServerProtocol

from harness.frames import PING, PONG, frame
from harness.fuzz.site import Site
from harness.session import SOCKET_PATH
from notifications.addresses import parse_address

if TYPE_CHECKING:
    from harness.fuzz.runner import Runner

ANSWER_TIMEOUT_SECONDS: Final = 10.0
CODES: Final = {"bad_json", "bad_frame", "bad_type", "bad_field"}
MAX_ERRORS_IN_A_ROW: Final = 20
MAX_FRAMES: Final = 30  # per input
HEARTBEAT: Final = '{"type":"heartbeat"}'
ORIGIN: Final = "http://testserver"
CSRF_TOKEN: Final = "c" * 32
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
            "path": SOCKET_PATH,
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


class Envelopes:
    """
    Nothing but what is signed is read from the channel layer, and nothing raises an error.

    What is read can be sent to browsers, and arrives once more as it is.
    """

    seeds: ClassVar = [
        b'notifications.push\n{"sent_at":1800000000,"entries":[["1",3,4,5,6,7],["2",1,1,1,null,null]]}'
        b'\n{"type":"state"}\n{"type":"order_paid","seq":1}',
        b'notifications.push\n{"sent_at":1800000000,"entries":[["1",1,100000000000000000,0,0,0]]}\n{}',
        b'notifications.frames\n{"sent_at":1800000000.5,"entries":[["1"],[],5]}\n{"body":"\xc3\xbc"}',
        b'notifications.frame\n{"sent_at":1800000000}\n{"type":"progress"}',
        b'notifications.look\n{"sent_at":1800000000,"entries":[["1"],["2"]]}',
        b'notifications.broadcast\n{"sent_at":1800000000,"seq":9,"audience":"staff",'
        b'"created_at":"2026-01-01T00:00:00+00:00","gone":false}\n{"type":"news"}',
        b'notifications.end\n{"sent_at":1800000000,"sessions":["a",null],"code":4401}',
        b'notifications.close\n{"sent_at":1,"connections":["a"],"code":99999999999999999999}',
        b'notifications.frame\n{"frame":{"type":"progress","content":{"body":"50 %"}}}',
        b'notifications.push\n{"v":2,"signed":"{}","digest":"00","entries":[{"account":"1"}]}',
        b'shop.hello\n{"sent_at":NaN}\n\n\n',
    ]

    def __init__(self, site: Site) -> None:
        from notifications.channel_layer import envelopes, replays, signing
        from notifications.channel_layer.site import Site as ChannelSite

        self._site = site
        self._module: Any = envelopes
        self._sign: Any = signing.digest
        self._make_site: Any = ChannelSite
        self._make_replays: Any = replays.Replays

    def __call__(self, data: bytes) -> None:
        kind, _, text = data.decode(errors="replace").partition("\n")
        version = self._module.VERSION
        sender = self._make_site("fuzzed", 1_800_000_000 - time.monotonic())  # always the same time
        signed = {
            "type": kind,
            "v": version,
            "signed": text,
            "digest": self._sign(sender.name, kind, version, text),
        }
        others = [
            {**signed, "digest": self._sign("another site", kind, version, text)},
            {**signed, "v": 1},
            {**signed, "signed": f"{text}\n"},
            {**_object(text), "type": kind},
        ]
        content = self._parse(signed, sender)
        if content is not None:
            for frame in content.frames():
                frame.encode()
            assert self._parse(self._module.dump(content, sender), sender) == content, content
        for message in others:
            assert self._parse(message, sender) is None, message
        self._site.check_log()

    def _parse(self, message: dict[str, Any], site: Any) -> Any:
        reports: list[str] = []
        replays = self._make_replays(since=-math.inf)
        arrival = self._module.Arrival(
            "1", {"1", "2"}, lambda *report: reports.extend(report), site, replays
        )
        content = self._module.parse(message, arrival)
        assert content is not None or reports or _is_elsewhere(message), message
        return content


class ContentTypes:
    """
    Any Content-Type, on any page, gets an answer with a 4xx status at worst.

    Each has the security headers, no page for an error may be kept by a cache, and our views read
    UTF-8 only.
    """

    seeds: ClassVar = [
        *(
            b"POST /%s\napplication/x-www-form-urlencoded; charset=%s\na=b" % (path, charset)
            for path in (b"login/", b"notifications/mark/", b"nowhere")
            for charset in (b"utf-16", b"hex", b"utf-8", b"no-such-charset")
        ),
        *(
            b"POST /%s\nmultipart/form-data; boundary=x; charset=%s\n--x\r\n"
            b'Content-Disposition: form-data; name="as"\r\n\r\nread\r\n--x--\r\n' % (path, charset)
            for path in (b"language/", b"notifications/mark/")
            for charset in (b"rot13", b"undefined", b"idna")
        ),
        b"POST /notifications/mark/\napplication/json;charset*=utf-16''utf-8\n{}",
        b"GET /notifications/items/?limit=3\ntext/plain; charset=punycode",
        b"GET /?a=%ff\ntext/plain; charset*0*=undefined''%ff; charset*1=x",
        b"PUT /admin/login/\nmultipart/form-data; boundary*=utf-7''+AAA\n",
        b"POST /healthz\nmultipart/form-data\n\x00",
        b"GET /?" + b"&".join([b"a=1"] * 1100) + b"\ntext/plain; charset=utf-8",
    ]

    def __init__(self, site: Site) -> None:
        self._site = site
        self._loop = asyncio.new_event_loop()

    def __call__(self, data: bytes) -> None:
        self._loop.run_until_complete(self._try(data))
        self._site.check_log()
        self._site.check_bob()

    async def _try(self, data: bytes) -> None:
        head, _, rest = data.partition(b"\n")
        content_type, _, body = rest.partition(b"\n")
        method, _, target = _printable(head).decode("ascii", "ignore").partition(" ")
        path, _, query = target.partition("?")
        cookie = f"sessionid={self._site.session}; csrftoken={CSRF_TOKEN}"
        headers = {
            b"host": b"testserver",
            b"content-type": _printable(content_type),
            b"content-length": b"%d" % len(body),
            b"cookie": cookie.encode(),
        }
        if path.startswith("/notifications/"):  # elsewhere it would log out
            headers[b"x-csrftoken"] = CSRF_TOKEN.encode()
        untyped: Any = ApplicationCommunicator
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method or "GET",
            "scheme": "http",
            "path": path,
            "query_string": query.encode(),
            "headers": list(headers.items()),
            "client": ["127.0.0.1", 1],
            "server": ["127.0.0.1", 80],
        }
        request = untyped(self._site.application, scope)
        await request.send_input({"type": "http.request", "body": body})
        start = await request.receive_output(ANSWER_TIMEOUT_SECONDS)
        answer = {name.lower(): value for name, value in start["headers"]}
        assert start["status"] < 500, start
        assert b"content-security-policy" in answer and b"x-frame-options" in answer, start
        if start["status"] in {400, 403, 404}:
            assert b"no-store" in answer[b"cache-control"], start
        event: Any = {"more_body": True}
        while event.get("more_body"):
            event = await request.receive_output(ANSWER_TIMEOUT_SECONDS)
        await request.wait(ANSWER_TIMEOUT_SECONDS)


class Places:
    """
    No header changes where the runner and the site believe the site to be, or who the client is.

    The whole server takes part, without a network: one without a root path, one with `/shop`.
    """

    seeds: ClassVar = [
        b"/\nDaphne-Root-Path: https://evil.example",
        b"/x/admin/\ndaphne-root-path: /x\nDAPHNE-ROOT-PATH: //evil.example",
        b"/orders/1\nDaphne-Root-Path: /%ff\xff\nDaphne_Root_Path: /x",
        b"/shop/orders/1?next=//evil.example\nX-Forwarded-Prefix: /evil\nForwarded: host=evil",
        b"//evil.example/admin\nX-Script-Name: /evil\nScript-Name: /evil\nX-Original-URL: /evil",
        b"/shop/shop/login/\nX-Forwarded-For: \xff\x1b[31m, 1.2.3.4\nX-Forwarded-Port: \xff",
        b"/login/\nX-Forwarded-For: fe80::1%x\nX-Forwarded-Proto: https, evil",
        b"/notifications/\nX-Forwarded-For: 203.0.113.9\nX-Forwarded-Port: 99999999",
    ]
    # Django answers another host with 400, and logs that. The others belong to other targets.
    _skipped = (b"content-length", b"expect", b"host", b"transfer-encoding", b"upgrade")

    def __init__(self, site: Site) -> None:
        from harness.fuzz.runner import Runner

        self._site = site
        self._loop = asyncio.new_event_loop()
        self._runners = [Runner(site.application, root_path) for root_path in ("", "/shop")]

    def __call__(self, data: bytes) -> None:
        for runner in self._runners:
            self._loop.run_until_complete(self._try(runner, data))
        self._site.check_log()

    async def _try(self, runner: Runner, data: bytes) -> None:
        path, *lines = data.translate(None, b"\r").split(b"\n")
        lines = [line for line in lines if not line.lower().startswith(self._skipped)]
        path = path if path.startswith(b"/") else b"/" + path
        head = b"GET %s HTTP/1.1" % path.replace(b" ", b"")
        answer = await runner.answer(b"\r\n".join([head, b"Host: testserver", *lines, b"", b""]))
        if scope := answer.scope:
            assert scope["root_path"] == runner.root_path, scope
            assert scope["scheme"] in {"http", "https"}, scope
            assert parse_address(scope["client"][0]), scope
            assert b"daphne-root-path" not in dict(scope["headers"]), scope
        assert answer.status < 500, answer
        if answer.location:
            here = urljoin(ORIGIN, f"{runner.root_path}/")
            location = urljoin(here, answer.location.replace("\\", "/"))
            assert location.startswith(here), answer
        for line in answer.logged:
            assert parse_address(line.partition(" ")[0].rpartition(":")[0]), line


async def _next_frame(connection: Any) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(
        (await connection.receive_output(ANSWER_TIMEOUT_SECONDS))["text"]
    )
    return frame


def _printable(head: bytes) -> bytes:
    """Return the text without control characters, which servers refuse; keep line feeds."""
    return head.translate(None, bytes({*range(32), 127} - {10}))


def _object(text: str) -> dict[str, Any]:
    """Return the JSON object in the first line, empty if there is none."""
    try:
        found = json.loads(text.partition("\n")[0])
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_elsewhere(message: dict[str, Any]) -> bool:
    """Whether an envelope has entries, which may all be for accounts without connections."""
    return isinstance(_object(str(message.get("signed"))).get("entries"), list)


def _refuse(name: str) -> Any:
    raise AssertionError(f"{name} is not JSON")


TARGETS: Final[dict[str, type[Target]]] = {
    "control": ControlFrames,
    "frames": Frames,
    "handshakes": Handshakes,
    "requests": Requests,
    "envelopes": Envelopes,
    "content-types": ContentTypes,
    "places": Places,
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
    *("entries", "sent_at", "sessions", "connections", "code", "gone", "audience", "frame"),
    *("notifications.push", "notifications.frames", "notifications.broadcast", "1800000000"),
    *("charset=", "charset*=", "utf-8", "utf-16", "hex", "rot13", "undefined", "idna", "boundary="),
    *("Daphne-Root-Path:", "X-Forwarded-For:", "X-Forwarded-Port:", "X-Forwarded-Proto:", "/shop"),
    *("GET ", "POST ", "items/", "changes/", "mark/", "application/json", "multipart/form-data"),
]
