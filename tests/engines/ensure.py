"""Make sure of Firefox and WebKit for the tests in them: `python -m tests.engines.ensure`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from . import firefox, webkit

PACKAGES = "firefox-esr webkit2gtk-driver xvfb"
INSTALL = (
    "apt-get update && DEBIAN_FRONTEND=noninteractive "
    f"apt-get install -y --no-install-recommends {PACKAGES}"
)


def are_installed() -> bool:
    return bool(firefox.executable() and webkit.is_installed())


def install() -> None:
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"No Firefox or no WebKit found; trying: {INSTALL}", flush=True)
        subprocess.run(INSTALL, shell=True, stdin=subprocess.DEVNULL, capture_output=True)


if __name__ == "__main__":
    if not are_installed():
        install()
    if not are_installed():
        sys.exit(f"These tests need what Debian has in the packages {PACKAGES}.")
