"""The demo site for a browser: checks often, but lets a busy machine be slow."""

from notify_site.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

NOTIFICATIONS_HEARTBEAT_INTERVAL = 1
NOTIFICATIONS_HEARTBEAT_TIMEOUT = 10
NOTIFICATIONS_MAINTENANCE = "external"
