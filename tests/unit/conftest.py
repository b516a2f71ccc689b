from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from notifications import delivery, protocol

Commit = Callable[[], AbstractContextManager[Any]]
Message = dict[str, Any]


@pytest.fixture
def commit(django_capture_on_commit_callbacks: Any) -> Commit:
    """Run what is scheduled for after the commit, as a commit would."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


class Published(list[tuple[str, Message]]):
    """What was sent to the channel layer: groups and messages."""

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
    monkeypatch.setattr(delivery.layer, "publish", published.extend)
    return published
