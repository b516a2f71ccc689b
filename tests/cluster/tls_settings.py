"""For a server that terminates TLS itself. Daphne does not pass that on to the application."""

import os

from tests.cluster.settings import *  # noqa: F403

CSRF_TRUSTED_ORIGINS = [os.environ["TLS_ORIGIN"]]
