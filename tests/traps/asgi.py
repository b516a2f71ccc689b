"""Plain Channels: the tutorial's consumer, and two that close or stop when they receive a frame."""

from __future__ import annotations

from typing import Any

from harness.benchmarks.plain_channels.asgi import application as tutorial

from channels.exceptions import StopConsumer  # isort: skip  # needs the apps loaded
from channels.generic.websocket import AsyncWebsocketConsumer  # isort: skip
from channels.routing import ProtocolTypeRouter, URLRouter  # isort: skip
from django.urls import path, re_path  # isort: skip


class ClosingConsumer(AsyncWebsocketConsumer):
    """Closes with the code that it receives."""

    async def receive(self, text_data: Any = None, bytes_data: Any = None) -> None:
        await self.close(int(text_data))


class StoppingConsumer(AsyncWebsocketConsumer):
    async def receive(self, text_data: Any = None, bytes_data: Any = None) -> None:
        raise StopConsumer


application = ProtocolTypeRouter(
    {
        "http": tutorial.application_mapping["http"],
        "websocket": URLRouter(
            [
                path("ws/closing/", ClosingConsumer.as_asgi()),
                path("ws/stopping/", StoppingConsumer.as_asgi()),
                re_path("", tutorial.application_mapping["websocket"]),
            ]
        ),
    }
)
