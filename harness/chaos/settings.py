"""The demo site's settings for servers and producers, with a faulty channel layer."""

import harness.debugging  # noqa: F401
from notify_site.settings import *  # noqa: F403
from notify_site.settings import CHANNEL_LAYERS

DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
CHANNEL_LAYERS["default"]["BACKEND"] = "harness.chaos.layer.FaultyLayer"

# Short, so that a run has many checks, leases and lost heartbeats. Clients read them in `register`.
NOTIFICATIONS_HEARTBEAT_INTERVAL = 2
NOTIFICATIONS_HEARTBEAT_TIMEOUT = 6
NOTIFICATIONS_DRAIN_SECONDS = 2
