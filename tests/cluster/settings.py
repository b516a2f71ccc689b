from tests.settings import *  # noqa: F403

# A command beside the servers takes a second to start, and clients here say nothing meanwhile.
NOTIFICATIONS_HEARTBEAT_TIMEOUT = 6
