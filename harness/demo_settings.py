"""The demo site for browser tests: frequent checks, and time for a busy machine."""

import harness.debugging  # noqa: F401
from notify_site.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

NOTIFICATIONS_HEARTBEAT_INTERVAL = 1
NOTIFICATIONS_HEARTBEAT_TIMEOUT = 10
NOTIFICATIONS_MAINTENANCE = "external"
