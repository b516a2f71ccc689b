"""Stays connected to a site, over its WebSocket and HTTP, as docs/protocol.md describes it."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from .inbox import Frame, Inbox
from .reconnecting import Reconnecting

HEARTBEAT: Final = '{"type":"heartbeat"}'
OPENING_SECONDS: Final = 20.0  # until `register`
REQUEST_SECONDS: Final = 20.0
PAGE_SIZE: Final = 100
NO_CLOSE_CODE: Final = 1006


class Refused(Exception):
    """The site refused a request for good: nobody is logged in, or the request is malformed."""


class SecondClient:
    """
    One client of one account.

        client = SecondClient("http://127.0.0.1:8000", {"sessionid": …, "csrftoken": …})
        task = asyncio.create_task(client.run())

    base_url: may be set to another server of the site while the client runs; the next connection
        and request go there.
    cookies: by name. Marks need `csrftoken`.
    on_shown: called once for each message that arrives, with its frame; one that is not stored has
        no `id`. What is in the list when it is loaded has not arrived.
    on_frame: called with each frame, before the client takes it.
    """

    def __init__(
        self,
        base_url: str,
        cookies: Mapping[str, str],
        on_shown: Callable[[Frame], None] = lambda frame: None,
        on_frame: Callable[[Frame], None] = lambda frame: None,
    ) -> None:
        self.base_url = base_url
        self.close_code: int | None = None  # after which `run` ended
        self._cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
        self._csrf_token = cookies.get("csrftoken", "")
        self._on_shown = on_shown
        self._on_frame = on_frame
        self._inbox = Inbox()
        self._reconnecting = Reconnecting()

    # --- What it knows

    @property
    def items(self) -> dict[str, str]:
        """The states (`unread`, `read`) of what is in the inbox, by id, in the order of numbers."""
        return self._inbox.items

    @property
    def counts(self) -> tuple[int, int]:
        """The numbers of unread notifications and unread broadcasts."""
        return self._inbox.counts

    @property
    def position(self) -> Frame | None:
        """`seq`, `broadcast_seq`, `epoch` and `scope`; None before the first list."""
        return None if self._inbox.position is None else dict(self._inbox.position)

    @property
    def is_up_to_date(self) -> bool:
        """Whether it is connected, and has caught up with nothing left to load."""
        return self._inbox.is_up_to_date and not self._inbox.needs_list

    # --- What it does

    async def run(self) -> None:
        """Stay connected until the server refuses the client for good, or the task is cancelled."""
        while self.close_code is None:
            if self._inbox.position is None:
                await self._load_list()
            delay = await self._connect_once()
            if delay is not None:
                await asyncio.sleep(delay)

    async def mark(self, ids: list[str], as_: str) -> Any:
        """Mark items. The change arrives as a `state` frame, as on all other devices."""
        return await self._request("POST", "mark/", {"ids": ids, "as": as_})

    async def mark_all(self, as_: str) -> Any:
        """Mark everything up to the position."""
        position = self._inbox.position or {"seq": 0, "broadcast_seq": 0}
        upto = {name: position[name] for name in ("seq", "broadcast_seq")}
        return await self._request("POST", "mark/", {"upto": upto, "as": as_})

    async def undo(self, change_range: Frame) -> Any:
        """Reverse a mark; `change_range` is the `range` of its answer."""
        return await self._request("POST", "mark/", {"undo": change_range})

    # --- The connection

    async def _connect_once(self) -> float | None:
        """Stay connected as long as possible; return the seconds to wait before the next time."""
        self._bye: Frame | None = None
        code = NO_CLOSE_CODE
        try:
            async with connect(
                self._socket_url(),
                origin=_origin(self.base_url),  # type: ignore[arg-type]
                additional_headers={"Cookie": self._cookie},
                open_timeout=OPENING_SECONDS,
                close_timeout=1,
                ping_interval=None,
                proxy=None,
            ) as connection:
                if await self._stay(connection):
                    return 0.0  # to connect anew, at the position of the list
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else NO_CLOSE_CODE
        except Refused:
            code = 4401
        except (OSError, WebSocketException, TimeoutError):
            pass  # refused, cut, or silent
        finally:
            self._inbox.is_up_to_date = False
        delay = self._reconnecting.delay(code, self._bye)
        if delay is None:
            self.close_code = code
        return delay

    async def _stay(self, connection: ClientConnection) -> bool:
        """Handle frames; return True to connect anew, raise what ends the connection."""
        loading: asyncio.Task[None] | None = None
        beating: asyncio.Task[None] | None = None
        timeout = OPENING_SECONDS
        receiving = asyncio.ensure_future(connection.recv())
        try:
            while True:
                waiting = {receiving, loading} if loading else {receiving}
                done, _ = await asyncio.wait(
                    waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    raise TimeoutError("The server is silent.")
                if loading in done:
                    loading.result()
                    loading = None
                if receiving in done:
                    frame: Frame = json.loads(receiving.result())
                    receiving = asyncio.ensure_future(connection.recv())
                    self._take(frame)
                    if frame["type"] == "register":
                        timeout = frame["heartbeat"]["timeout"]
                        beating = asyncio.create_task(
                            _beat(connection, frame["heartbeat"]["interval"])
                        )
                    elif frame["type"] == "ping":
                        await connection.send(HEARTBEAT)
                if self._inbox.must_reconnect:
                    return True
                if self._inbox.needs_list and loading is None:
                    loading = asyncio.create_task(self._load_list())
        finally:
            for task in (receiving, loading, beating):
                if task:
                    task.cancel()
                    with suppress(asyncio.CancelledError, Exception):
                        await task

    def _take(self, frame: Frame) -> None:
        self._on_frame(frame)
        if frame["type"] == "bye":
            self._bye = frame
        if self._inbox.receive(frame):
            self._on_shown(frame)
        if self._inbox.is_up_to_date:
            self._reconnecting.succeeded()

    def _socket_url(self) -> str:
        base = self.base_url.replace("http", "ws", 1)
        return f"{base}/ws/notifications/?{urlencode(self._inbox.connects())}"

    # --- HTTP

    async def _load_list(self) -> None:
        """Load the whole list; try until it succeeds. Raises Refused."""
        waits = Reconnecting()
        while not self._inbox.must_reconnect:
            try:
                if await self._load_pages():
                    return
            except (OSError, http.client.HTTPException):
                await asyncio.sleep(waits.back_off())

    async def _load_pages(self) -> bool:
        generation = self._inbox.begin_list()
        query = {"limit": str(PAGE_SIZE)}
        while True:
            page = await self._request("GET", f"items/?{urlencode(query)}")
            if not self._inbox.add_page(page, generation, is_first="before" not in query):
                return False
            generation = self._inbox.generation
            if page["next"] is None:
                return True
            query["before"] = page["next"]

    async def _request(self, method: str, path: str, content: Any = None) -> Any:
        """Return the answer. Raises Refused, OSError or HTTPException."""
        while True:
            status, retry_after, body = await asyncio.to_thread(
                self._send_request, method, f"/notifications/{path}", content
            )
            if status == 200:
                return json.loads(body)
            if status in {400, 401, 403}:
                raise Refused(f"{status}: {body[:200]!r}")
            if status != 503 or retry_after is None:
                raise OSError(f"{status}: {body[:200]!r}")
            await asyncio.sleep(retry_after)

    def _send_request(
        self, method: str, path: str, content: Any
    ) -> tuple[int, float | None, bytes]:
        parts = urlsplit(self.base_url)
        factory = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        connection = factory(parts.netloc, timeout=REQUEST_SECONDS)
        headers = {
            "Cookie": self._cookie,
            "X-CSRFToken": self._csrf_token,
            "Referer": f"{_origin(self.base_url)}/",
            "Content-Type": "application/json",
        }
        body = None if content is None else json.dumps(content)
        try:
            connection.request(method, parts.path + path, body, headers)
            response = connection.getresponse()
            retry_after = response.headers.get("Retry-After")
            return response.status, float(retry_after) if retry_after else None, response.read()
        finally:
            connection.close()


async def _beat(connection: ClientConnection, interval: float) -> None:
    with suppress(ConnectionClosed):
        while True:
            await asyncio.sleep(interval)
            await connection.send(HEARTBEAT)


def _origin(base_url: str) -> str:
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc}"
