"""The demo site's production settings, but over plain HTTP and with its own static folders."""

import os
from pathlib import Path

from harness.demo_settings import *  # noqa: F403
from harness.demo_settings import STATICFILES_DIRS

SECURE_SSL_REDIRECT = False
SECURE_HSTS_SECONDS = 0
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = False

STATIC_ROOT = Path(os.environ["STATIC_ROOT"])
# A file in here replaces the one of the same name, as an upgrade does.
STATICFILES_DIRS = [Path(os.environ["STATIC_CHANGED"]), *STATICFILES_DIRS]
