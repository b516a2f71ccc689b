"""
Install Firefox and WebKit for the tests, if they are missing: `python -m tests.engines.ensure`.

Exits with EX_UNAVAILABLE if they are missing and can't be installed.
"""

from __future__ import annotations

import os
import sys

from tests.installing import apt_install, is_installed_by

from . import firefox, webkit

PACKAGES = {
    "firefox-esr": firefox.is_installed,
    "webkit2gtk-driver": webkit.is_installed,
    "xvfb": webkit.has_display,
}


def missing() -> list[str]:
    return [package for package, is_installed in PACKAGES.items() if not is_installed()]


if __name__ == "__main__":
    if not is_installed_by(
        apt_install("--no-install-recommends", *PACKAGES), lambda: not missing()
    ):
        print(f"not run: the tests in Firefox and WebKit; {', '.join(missing())} missing")
        sys.exit(os.EX_UNAVAILABLE)
