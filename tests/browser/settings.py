"""The demo site as the browser tests run it: checks often, but lets a busy machine be slow."""

from tests.settings import *  # noqa: F403

NOTIFICATIONS_HEARTBEAT_INTERVAL = 1
NOTIFICATIONS_HEARTBEAT_TIMEOUT = 10
