"""A site that may be below a path of its host."""

import os

from tests.cluster.settings import *  # noqa: F403

FORCE_SCRIPT_NAME = os.environ.get("FORCE_SCRIPT_NAME")
NOTIFICATIONS_ROOT_PATH = os.environ.get("NOTIFICATIONS_ROOT_PATH", "")
