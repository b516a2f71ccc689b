"""
The settings of a small site that any release of the app can run with.

It uses what is documented only, and nothing of the demo, which changes with the app.
"""

import os

import dj_database_url

SECRET_KEY = "the same for all releases, as in a rolling deploy"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "notifications",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
ROOT_URLCONF = "release_urls"
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"])}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        # By default, redis-py 8 closes idle subscriptions after 5 s.
        "CONFIG": {"hosts": [{"address": os.environ["REDIS_URL"], "socket_timeout": None}]},
    }
    if "REDIS_URL" in os.environ
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
}
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# So long that a test fails if a change has to wait for the hub's check.
NOTIFICATIONS_HEARTBEAT_INTERVAL = 300
NOTIFICATIONS_HEARTBEAT_TIMEOUT = 900
NOTIFICATIONS_DRAIN_SECONDS = 0
NOTIFICATIONS_MAINTENANCE = "external"
