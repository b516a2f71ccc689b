"""The demo site's production settings, with its own STATIC_ROOT."""

import os

from notify_site.settings import *  # noqa: F403

STATIC_ROOT = os.environ["STATIC_ROOT"]
