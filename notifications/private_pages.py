"""Pages with an account's configuration: no cache that several visitors share may keep them."""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpRequest

from .servers.base import Send

KEY: Final = "notifications.private"


def make_private(request: HttpRequest) -> None:
    """Note that the page for this request has an account's configuration."""
    scope = getattr(request, "scope", None)  # None under WSGI
    if scope is not None and KEY in scope:
        scope[KEY].append(True)


def with_private_pages(scope: dict[str, Any], send: Send) -> Send:
    """Return a `send` that adds `Cache-Control: private` to such pages, if they have none."""
    # A list, because middleware may pass on a copy of the scope.
    notes: list[bool] = []
    scope[KEY] = notes

    async def send_privately(event: dict[str, Any]) -> None:
        if event["type"] == "http.response.start" and notes:
            headers = [*event.get("headers", ())]
            if "cache-control" not in {name.decode("latin-1").lower() for name, _ in headers}:
                event = {**event, "headers": [*headers, (b"Cache-Control", b"private")]}
        await send(event)

    return send_privately
