"""
The path of the WebSocket.

A site with other WebSockets routes them together, in a ProtocolTypeRouter of its own:
`"websocket": WebSocketRouter([*websocket_urlpatterns, path("ws/chat/", Chat.as_asgi())])`.
"""

from __future__ import annotations

from typing import Any

from channels.routing import URLRouter
from django.urls import path, re_path

from .hub.consumer import NotificationConsumer
from .root_path import at_root_path, at_socket_route, socket_route


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    """Refuse a WebSocket before it is accepted: HTTP 403."""
    await receive()
    await send({"type": "websocket.close"})


# The stubs of path() only accept views.
_consumer: Any = NotificationConsumer.as_asgi()
_refuse: Any = refuse
websocket_urlpatterns: list[Any] = [path(socket_route(), _consumer)]


class WebSocketRouter(URLRouter):
    """
    A URLRouter at the site's root path: it accepts paths with and without it.

    It refuses a path that has no route, where URLRouter would raise.
    """

    def __init__(self, routes: list[Any]) -> None:
        super().__init__([*routes, re_path("", _refuse)])

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        here: Any = at_socket_route(at_root_path(scope))
        await super().__call__(here, receive, send)


# For a site that has no other WebSockets.
websocket_application = WebSocketRouter(websocket_urlpatterns)
