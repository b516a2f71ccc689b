import atexit
import shutil
import tempfile

import harness.debugging  # noqa: F401
from notify_site.settings import *  # noqa: F403
from notify_site.settings import DATABASES

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file, as on a real site: connections to an in-memory database do not wait for each
    # other but fail with "database table is locked".
    directory = tempfile.mkdtemp(prefix="notify-site-")
    atexit.register(shutil.rmtree, directory)
    DATABASES["default"]["TEST"] = {"NAME": f"{directory}/test.sqlite3"}

# These tests open connections in threads of their own, which a pool would hold back.
DATABASES["default"].get("OPTIONS", {}).pop("pool", None)

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

NOTIFICATIONS_HEARTBEAT_INTERVAL = 0.3
NOTIFICATIONS_HEARTBEAT_TIMEOUT = 1.5
NOTIFICATIONS_MAINTENANCE = "external"
