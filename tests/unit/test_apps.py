"""Side effects of installing the app, tested in a separate process."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import logging
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
        "notifications",
    ],
)
django.setup()
from notifications.server import CommandLineInterface
loggers = [logging.root, *map(logging.getLogger, logging.root.manager.loggerDict)]
print([logger.name for logger in loggers if logger.filters])
"""


def test_installing_the_app_adds_no_log_filters() -> None:
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)

    assert result.stdout.strip() == "[]", result.stderr
