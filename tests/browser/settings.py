"""The demo site for browser tests: frequent checks, and time-outs for a busy machine."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import LANGUAGES, MIDDLEWARE, TEMPLATES

NOTIFICATIONS_HEARTBEAT_INTERVAL = 1
NOTIFICATIONS_HEARTBEAT_TIMEOUT = int(os.environ.get("HEARTBEAT_TIMEOUT", 10))
LANGUAGES = [*LANGUAGES, ("ar", "العربية")]  # written from right to left; we have no catalog for it
MIDDLEWARE = [*MIDDLEWARE, "tests.browser.impersonation.impersonation"]
# Templates of a site's own, which replace ours.
if "SITE_TEMPLATES" in os.environ:
    TEMPLATES[0]["DIRS"].insert(0, os.environ["SITE_TEMPLATES"])
# The key for the URL that runs code of the tests.
if TESTS_KEY := os.environ.get("TESTS_KEY"):
    ROOT_URLCONF = "tests.browser.urls"
