"""A client of the site whose session is known: requests and sockets without a log-in."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

CSRF_TOKEN: Final = "c" * 32


def cookie(session: str) -> str:
    return f"sessionid={session}; csrftoken={CSRF_TOKEN}"


def ask(
    port: int, session: str, method: str, path: str, content: Any = None, *, timeout: float
) -> tuple[int, bytes]:
    """Return the answer's status and body; a POST sends its content as JSON."""
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
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def handshake(site: str, cookie: str, position: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with which `websockets.connect` opens a tab of the site."""
    return {
        "uri": f"{site.replace('http', 'ws', 1)}/ws/notifications/?{urlencode(position)}",
        "origin": site,
        "additional_headers": {"Cookie": cookie},
        "compression": None,
    }
