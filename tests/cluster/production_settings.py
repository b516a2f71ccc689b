"""The demo site as it is deployed, with its collected files elsewhere."""

import os

from notify_site.settings import *  # noqa: F403

STATIC_ROOT = os.environ["STATIC_ROOT"]
