import os

from tests.settings import *  # noqa: F403

# A command beside the servers takes a second to start, and clients here say nothing meanwhile.
NOTIFICATIONS_HEARTBEAT_TIMEOUT = int(os.environ.get("NOTIFICATIONS_HEARTBEAT_TIMEOUT", "6"))
NOTIFICATIONS_DIRECT_WRITES = os.environ.get("NOTIFICATIONS_DIRECT_WRITES", "1") == "1"
