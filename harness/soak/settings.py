"""The demo site's settings for servers and crowd."""

import harness.debugging  # noqa: F401
from notify_site.settings import *  # noqa: F403

DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
