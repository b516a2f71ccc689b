import os

from tests.settings import *  # noqa: F403

ROOT_URLCONF = "tests.traps.urls"
NOTIFICATIONS_HEARTBEAT_INTERVAL = 0.3
NOTIFICATIONS_HEARTBEAT_TIMEOUT = 30
NOTIFICATIONS_DRAIN_SECONDS = 0.5

if LAYER := os.environ.get("TRAPS_LAYER"):
    hosts = [os.environ["REDIS_URL"]]
    CHANNEL_LAYERS = {"default": {"BACKEND": LAYER, "CONFIG": {"hosts": hosts}}}
