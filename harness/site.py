"""The demo site with one more path, where a server process reports on itself."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from notify_site.asgi import application as site


def site_with_report(path: str, report: Callable[[bytes], Awaitable[dict[str, Any]]]) -> Any:
    """Return the ASGI application; `report` is called with the request's query string."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != path:
            await site(scope, receive, send)
            return
        body = json.dumps(await report(scope["query_string"])).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return application
