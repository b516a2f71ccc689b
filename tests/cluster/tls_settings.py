"""For a server that ends TLS itself: Daphne tells the application nothing of it."""

import os

from tests.cluster.settings import *  # noqa: F403

CSRF_TRUSTED_ORIGINS = [os.environ["TLS_ORIGIN"]]
