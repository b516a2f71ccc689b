"""The demo site as the browser tests run it: checks often, but lets a busy machine be slow."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import LANGUAGES, TEMPLATES

NOTIFICATIONS_HEARTBEAT_INTERVAL = 1
NOTIFICATIONS_HEARTBEAT_TIMEOUT = int(os.environ.get("HEARTBEAT_TIMEOUT", 10))
LANGUAGES = [*LANGUAGES, ("ar", "العربية")]  # without a catalog of ours, but from right to left
# Templates of a site's own, in place of ours.
if "SITE_TEMPLATES" in os.environ:
    TEMPLATES[0]["DIRS"].insert(0, os.environ["SITE_TEMPLATES"])
# Sites that tests started have a key, by which they are let in.
if TESTS_KEY := os.environ.get("TESTS_KEY"):
    ROOT_URLCONF = "tests.browser.urls"
