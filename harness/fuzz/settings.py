"""The demo site's settings, with nothing that happens by itself while a client is tried."""

from notify_site.settings import *  # noqa: F403

DEBUG = False
ALLOWED_HOSTS = ["testserver"]
# Of a frame, a heartbeat or an error is the only answer: no limit, and no ping in between.
NOTIFICATIONS_MAX_FRAMES_PER_SECOND = None
NOTIFICATIONS_HEARTBEAT_INTERVAL = 100_000
NOTIFICATIONS_HEARTBEAT_TIMEOUT = 1_000_000
NOTIFICATIONS_MAINTENANCE = "external"
LOGGING = {"version": 1, "disable_existing_loggers": False}
