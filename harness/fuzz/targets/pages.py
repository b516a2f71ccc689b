"""What the targets that request pages share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from asgiref.testing import ApplicationCommunicator

from harness.fuzz.site import Site
from harness.fuzz.targets.base import ANSWER_TIMEOUT_SECONDS, printable

CSRF_TOKEN: Final = "c" * 32


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]  # by their names in lower case
    body: bytes


class Pages:
    """
    Base of the targets that request pages as alice, one at a time, in one event loop.

    The application is called as a server calls it, through ASGI: with WSGI, Django reads other
    parts of a request, and fails for some that no server passes on.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._loop = asyncio.new_event_loop()

    def __call__(self, data: bytes) -> None:
        self._loop.run_until_complete(self._try(data))
        self._site.check_log()
        self._site.check_bob()

    async def _try(self, data: bytes) -> None:
        raise NotImplementedError

    async def request(self, line: bytes, content_type: bytes, body: bytes) -> Answer:
        """Request a page; the line has a method and a path, which may have a query."""
        method, _, target = printable(line).decode("ascii", "ignore").partition(" ")
        path, _, query = target.partition("?")
        cookie = f"sessionid={self._site.session}; csrftoken={CSRF_TOKEN}"
        headers = {
            b"host": b"testserver",
            b"content-type": printable(content_type),
            b"content-length": b"%d" % len(body),
            b"cookie": cookie.encode(),
        }
        if path.startswith("/notifications/"):  # elsewhere it would log out
            headers[b"x-csrftoken"] = CSRF_TOKEN.encode()
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method or "GET",
            "scheme": "http",
            "path": unquote(path),
            "query_string": query.encode(),
            "headers": list(headers.items()),
            "client": ["127.0.0.1", 1],
            "server": ["127.0.0.1", 80],
        }
        untyped: Any = ApplicationCommunicator
        request = untyped(self._site.application, scope)
        await request.send_input({"type": "http.request", "body": body})
        start = await request.receive_output(ANSWER_TIMEOUT_SECONDS)
        parts = []
        is_whole = False
        while not is_whole:
            event = await request.receive_output(ANSWER_TIMEOUT_SECONDS)
            parts.append(event.get("body", b""))
            is_whole = not event.get("more_body")
        await request.wait(ANSWER_TIMEOUT_SECONDS)
        answered = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], answered, b"".join(parts))
