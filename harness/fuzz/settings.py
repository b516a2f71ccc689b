"""The demo site's settings without any periodic activity."""

import harness.debugging  # noqa: F401
from notify_site.settings import *  # noqa: F403

DEBUG = False
ALLOWED_HOSTS = ["testserver"]
# So that each frame gets one reply, a heartbeat or an error: no rate limit, and no pings.
NOTIFICATIONS_MAX_FRAMES_PER_SECOND = None
NOTIFICATIONS_HEARTBEAT_INTERVAL = 100_000
NOTIFICATIONS_HEARTBEAT_TIMEOUT = 1_000_000
NOTIFICATIONS_MAINTENANCE = "external"
LOGGING = {"version": 1, "disable_existing_loggers": False}
