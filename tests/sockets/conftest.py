from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from notifications.hub.hub import stop_hub
from notifications.routing import websocket_application
from notifications.testing import Connect, open_tabs


@pytest.fixture(autouse=True)
async def stopped_hub(transactional_db: None) -> AsyncIterator[None]:
    """Each test has its own event loop, and so its own hub."""
    yield
    await stop_hub()


@pytest.fixture(autouse=True)
def patient_hub(settings: Any) -> None:
    """Close no silent client, except in the tests of just that."""
    settings.NOTIFICATIONS_HEARTBEAT_TIMEOUT = 60


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    async with open_tabs(websocket_application) as connect:
        yield connect
