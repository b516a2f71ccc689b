from __future__ import annotations

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "notify_site.settings")
http_application: Any = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402  needs the apps loaded
from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.urls import path  # noqa: E402

EVERYONE = "everyone"


class PlainConsumer(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        user: Any = self.scope["user"]
        if not user.is_authenticated:
            await self.close()
            return
        self.own_group = f"account_{user.pk}"
        await self.channel_layer.group_add(EVERYONE, self.channel_name)
        await self.channel_layer.group_add(self.own_group, self.channel_name)
        await self.accept()
        await self.send_json({"type": "register", "content": {"body": "", "meta_data": ""}})

    async def disconnect(self, code: int) -> None:
        user: Any = self.scope["user"]
        if user.is_authenticated:
            await self.channel_layer.group_discard(EVERYONE, self.channel_name)
            await self.channel_layer.group_discard(self.own_group, self.channel_name)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        if content["type"] == "heartbeat":
            await self.send_json({"type": "heartbeat", "content": {"body": "", "meta_data": ""}})

    async def notify(self, event: dict[str, Any]) -> None:
        await self.send_json(event["frame"])


consumer: Any = PlainConsumer.as_asgi()
routes: Any = [path("ws/plain/", consumer)]
application = ProtocolTypeRouter(
    {
        "http": http_application,
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(routes))),
    }
)
