"""Find or install Chromium for the browser tests: `python -m tests.ensure_browser`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator

from harness.services import chromium_executable

from .installing import apt_install, is_installed_by


def has_chromium() -> bool:
    try:
        chromium_executable()
    except LookupError:
        return False
    return True


def commands() -> Iterator[str]:
    playwright = f"{shlex.quote(sys.executable)} -m playwright install"
    yield f"{playwright} chromium"
    for command in apt_install("chromium"):
        yield command
        yield f"{playwright} --with-deps chromium"


if __name__ == "__main__":
    if not is_installed_by(commands(), has_chromium):
        sys.exit("The browser tests need Chromium: install it, or set CHROMIUM to its path.")
