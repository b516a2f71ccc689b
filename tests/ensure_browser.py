"""Make sure of a Chromium for the browser tests: `python -m tests.ensure_browser`."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys

from .services import chromium_executable


def has_chromium() -> bool:
    try:
        chromium_executable()
    except LookupError:
        return False
    return True


def install_chromium() -> bool:
    playwright = f"{shlex.quote(sys.executable)} -m playwright install"
    attempts = [f"{playwright} chromium"]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        attempts += [
            "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y chromium",
            f"{playwright} --with-deps chromium",
        ]
    for command in attempts:
        print(f"No browser found; trying: {command}", flush=True)
        subprocess.run(command, shell=True, stdin=subprocess.DEVNULL, capture_output=True)
        if has_chromium():
            return True
    return False


if __name__ == "__main__":
    if not has_chromium() and not install_chromium():
        sys.exit("The browser tests need Chromium: install it, or set CHROMIUM to its path.")
