"""The demo site as it is in production, but over plain http, and with its files elsewhere."""

import os
from pathlib import Path

from harness.demo_settings import *  # noqa: F403
from harness.demo_settings import STATICFILES_DIRS

SECURE_SSL_REDIRECT = False
SECURE_HSTS_SECONDS = 0
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = False

STATIC_ROOT = Path(os.environ["STATIC_ROOT"])
# What is in here takes the place of the file of that name: an upgrade.
STATICFILES_DIRS = [Path(os.environ["STATIC_CHANGED"]), *STATICFILES_DIRS]
