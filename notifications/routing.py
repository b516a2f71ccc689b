"""Where the socket is; a site adds it to its ProtocolTypeRouter."""

from __future__ import annotations

from typing import Any

from channels.routing import URLRouter
from django.urls import path, re_path

from .hub.consumer import NotificationConsumer


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    """Answer 403 to a socket of any other path, where URLRouter would raise."""
    await receive()
    await send({"type": "websocket.close"})


class SocketRouter(URLRouter):
    """A URLRouter that refuses what it has no route for, instead of raising."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        # Daphne takes a root path from a header of any client.
        if scope["path"].startswith(scope.get("root_path", "")):
            await super().__call__(scope, receive, send)
        else:
            await refuse(scope, receive, send)


# The stubs know path() with views only.
_consumer: Any = NotificationConsumer.as_asgi()
_refuse: Any = refuse
websocket_urlpatterns: list[Any] = [path("ws/notifications/", _consumer)]

# The whole socket side of a site that has no other sockets.
websocket_application = SocketRouter([*websocket_urlpatterns, re_path("", _refuse)])
