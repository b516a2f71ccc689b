"""Requests and connections with a known session, without logging in."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from notifications.conf import Conf

CSRF_TOKEN: Final = "c" * 32
SOCKET_PATH: Final = f"/{Conf.SOCKET_PATH.default}"


def cookie(session: str) -> str:
    return f"sessionid={session}; csrftoken={CSRF_TOKEN}"


def send_request(
    port: int, session: str, method: str, path: str, content: Any = None, *, timeout: float
) -> tuple[int, bytes]:
    """Return the response's status and body. A POST sends `content` as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    headers = {
        "Cookie": cookie(session),
        "X-CSRFToken": CSRF_TOKEN,
        "Content-Type": "application/json",
        "Connection": "close",
    }
    body = json.dumps(content) if method == "POST" else None
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def connect_arguments(site: str, cookie: str, position: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments for `websockets.connect` that open a tab of the site."""
    return {
        "uri": f"{site.replace('http', 'ws', 1)}{SOCKET_PATH}?{urlencode(position)}",
        "origin": site,
        "additional_headers": {"Cookie": cookie},
        "compression": None,
        # Its own pings would end a connection that a test does not read for a while.
        "ping_interval": None,
    }
