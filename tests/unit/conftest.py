from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.contrib.auth.models import User

from notifications import broadcast, notify_accounts, protocol
from notifications.channel_layer import sender
from notifications.channel_layer.addressing import Addressed
from notifications.channel_layer.envelopes import Batch, Content

Commit = Callable[[], AbstractContextManager[Any]]
Message = dict[str, Any]
Make = Callable[..., str]


@pytest.fixture
def commit(django_capture_on_commit_callbacks: Any) -> Commit:
    """Return a context that runs the on_commit hooks at its end, as a commit would."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


@pytest.fixture
def notify(commit: Commit) -> Make:
    """Return a function that creates a numbered notification and returns its wire id."""

    def notify(account: User, body: str = "Hello", **options: Any) -> str:
        with commit():
            (pk,) = notify_accounts(account, "hello", body, **options).ids
        return f"n{pk}"

    return notify


@pytest.fixture
def send(commit: Commit) -> Make:
    """Return a function that sends a numbered broadcast and returns its wire id."""

    def send(body: str = "News", **options: Any) -> str:
        with commit():
            return broadcast("news", body, **options).wire_id

    return send


@pytest.fixture(params=["Asia/Tokyo", "America/New_York"])
def no_zones(request: pytest.FixtureRequest, settings: Any) -> str:
    """A site with `USE_TZ = False`, in a time zone that the fixture returns."""
    settings.USE_TZ, settings.TIME_ZONE = False, request.param
    return str(request.param)


def shown(content: Content) -> Message:
    """Return the content of an envelope as a dict."""
    message = {"type": content.TYPE, **content.head()}
    if isinstance(content, Batch):
        message["entries"] = [entry._asdict() for entry in content.entries]
    elif frames := content.frames():
        (message["text"],) = frames
    return message


class Published(list[tuple[str, Message]]):
    """The envelopes sent to the channel layer, each with its group."""

    def publish(self, messages: list[Addressed]) -> None:
        self.extend((group, shown(content)) for group, content in messages)

    @property
    def frames(self) -> list[protocol.Frame]:
        entries = [
            entry
            for _, message in self
            for entry in message.get("entries", [message] if "text" in message else [])
        ]
        return [json.loads(entry["text"]) for entry in entries]


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Published:
    published = Published()
    monkeypatch.setattr(sender, "publish", published.publish)
    return published
