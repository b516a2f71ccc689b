"""The demo site as the browser tests run it: checks often, but lets a busy machine be slow."""

from tests.settings import *  # noqa: F403
from tests.settings import LANGUAGES

NOTIFICATIONS_HEARTBEAT_INTERVAL = 1
NOTIFICATIONS_HEARTBEAT_TIMEOUT = 10
LANGUAGES = [*LANGUAGES, ("ar", "العربية")]  # without a catalog of ours, but from right to left
