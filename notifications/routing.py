"""The path of the WebSocket; a site adds it to its ProtocolTypeRouter."""

from __future__ import annotations

from typing import Any

from channels.routing import URLRouter
from django.urls import path, re_path

from .hub.consumer import NotificationConsumer


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    """Refuse a WebSocket at any other path with a 403; URLRouter would raise."""
    await receive()
    await send({"type": "websocket.close"})


class WebSocketRouter(URLRouter):
    """A URLRouter that refuses a path without a route, instead of raising."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        # Daphne takes the root path from a header that any client can send.
        if scope["path"].startswith(scope.get("root_path", "")):
            await super().__call__(scope, receive, send)
        else:
            await refuse(scope, receive, send)


# The stubs of path() only accept views.
_consumer: Any = NotificationConsumer.as_asgi()
_refuse: Any = refuse
websocket_urlpatterns: list[Any] = [path("ws/notifications/", _consumer)]

# For a site that has no other WebSockets.
websocket_application = WebSocketRouter([*websocket_urlpatterns, re_path("", _refuse)])
