"""A visitor of a running site without a browser: cookies, forms and WebSocket connections."""

from __future__ import annotations

import json
import re
import time
from contextlib import ExitStack
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from harness import session
from harness.demo_data import PUBLIC_PASSWORD

TIMEOUT_SECONDS = 30  # for what should take no time; the machine may be busy

_CSRF_FIELD = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class OpenTab:
    """A WebSocket client that sends nothing on its own, not even heartbeats."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def receive(self, type: str, timeout: float = TIMEOUT_SECONDS) -> dict[str, Any]:
        """Return the next frame of this type, skipping others. Raises TimeoutError."""
        end = time.monotonic() + timeout
        while True:
            frame: dict[str, Any] = json.loads(
                self.connection.recv(timeout=max(0.0, end - time.monotonic()))
            )
            if frame["type"] == type:
                return frame

    def send(self, text: str | bytes) -> None:
        self.connection.send(text)

    def closed_with(self, timeout: float = TIMEOUT_SECONDS) -> int | None:
        """Wait until the server closes the connection; return the close code, if there is one."""
        end = time.monotonic() + timeout
        try:
            while True:
                self.connection.recv(timeout=max(0.0, end - time.monotonic()))
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None


class Visitor:
    """One browser. As usual, its cookies go to all ports of the host."""

    def __init__(self) -> None:
        self.cookies = CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self.cookies))
        self._tabs = ExitStack()

    @property
    def cookie_header(self) -> str:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)

    def log_in(self, site: str, username: str, password: str = PUBLIC_PASSWORD) -> Visitor:
        self.submit(f"{site}/login/", f"{site}/login/", username=username, password=password)
        if "sessionid" not in {cookie.name for cookie in self.cookies}:
            raise AssertionError(f"{username} could not log in")
        return self

    def get(self, url: str) -> str:
        with self._opener.open(url, timeout=TIMEOUT_SECONDS) as response:
            return str(response.read().decode())

    def get_json(self, url: str) -> Any:
        return json.loads(self.get(url))

    def submit(self, page: str, action: str, **fields: str) -> int:
        """Post the form on `page`; return the status after redirects."""
        if not (token := _CSRF_FIELD.search(self.get(page))):
            raise AssertionError(f"{page} has no form")
        data = urlencode({**fields, "csrfmiddlewaretoken": token[1]}).encode()
        with self._opener.open(Request(action, data), timeout=TIMEOUT_SECONDS) as response:
            return int(response.status)

    def post_json(self, site: str, path: str, content: Any) -> Any:
        token = next(cookie.value for cookie in self.cookies if cookie.name == "csrftoken")
        headers = {"Content-Type": "application/json", "X-CSRFToken": token or ""}
        request = Request(f"{site}{path}", json.dumps(content).encode(), headers)
        with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            return json.load(response)

    def open_tab(self, site: str, **position: Any) -> OpenTab:
        return OpenTab(
            self._tabs.enter_context(connect(**self.connect_arguments(site, **position)))
        )

    def connect_arguments(self, site: str, **position: Any) -> dict[str, Any]:
        """Return the arguments for `websockets.connect` that open a tab of this visitor."""
        return session.connect_arguments(site, self.cookie_header, position)

    def leave(self) -> None:
        """Close all tabs."""
        self._tabs.close()
