"""A deployment that logs everything and mails full error reports."""

import os

from tests.cluster.production_settings import *  # noqa: F403
from tests.cluster.production_settings import LOGGING

NOTIFICATIONS_HEARTBEAT_INTERVAL = 0.3
NOTIFICATIONS_HEARTBEAT_TIMEOUT = 20
NOTIFICATIONS_DRAIN_SECONDS = 0

ADMINS = [("Admin", "admin@example.com")]
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = os.environ["MAILS"]
LOGGING["handlers"]["mails"] = {
    "class": "django.utils.log.AdminEmailHandler",
    "level": "ERROR",
    "include_html": True,
}
LOGGING["root"] = {"handlers": ["console", "mails"], "level": "DEBUG"}
LOGGING["loggers"] = {
    "channels_redis": {"level": "DEBUG"},
    "django": {"level": "DEBUG"},
    "notifications": {"level": "DEBUG"},
    "uvicorn.error": {"level": 1, "filters": ["uvicorn"]},
    "uvicorn.asgi": {"level": 1},
}
