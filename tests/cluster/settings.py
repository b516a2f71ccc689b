import os

from tests.settings import *  # noqa: F403

ROOT_URLCONF = "tests.cluster.urls"
if os.environ.get("DEBUG") == "0":
    DEBUG = False
    ALLOWED_HOSTS = ["*"]
NOTIFICATIONS_HEARTBEAT_INTERVAL = float(os.environ.get("NOTIFICATIONS_HEARTBEAT_INTERVAL", "0.3"))
# Clients are silent while a command runs, which takes seconds on a busy machine.
NOTIFICATIONS_HEARTBEAT_TIMEOUT = float(
    os.environ.get("NOTIFICATIONS_HEARTBEAT_TIMEOUT", max(60, 2 * NOTIFICATIONS_HEARTBEAT_INTERVAL))
)
NOTIFICATIONS_DRAIN_SECONDS = float(os.environ.get("NOTIFICATIONS_DRAIN_SECONDS", "0.5"))
NOTIFICATIONS_STALL_TIMEOUT = float(os.environ.get("NOTIFICATIONS_STALL_TIMEOUT", "50"))
NOTIFICATIONS_MAX_UNSENT = int(os.environ.get("NOTIFICATIONS_MAX_UNSENT", 64 * 1024))
NOTIFICATIONS_MAINTENANCE = os.environ.get("NOTIFICATIONS_MAINTENANCE", "external")
NOTIFICATIONS_DIRECT_WRITES = os.environ.get("NOTIFICATIONS_DIRECT_WRITES", "1") == "1"

SESSION_ENGINE = os.environ.get("SESSION_ENGINE", "django.contrib.sessions.backends.db")
SESSION_FILE_PATH = os.environ.get("SESSION_FILE_PATH")
if SESSION_ENGINE.endswith(("cache", "cached_db")):
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": os.environ["REDIS_URL"],
        }
    }
