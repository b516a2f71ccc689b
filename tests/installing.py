"""Install what tests need besides Python packages, if the machine allows it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable


def apt_install(*arguments: str) -> list[str]:
    """Return the command that installs Debian packages, or none without root or apt-get."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return []
    install = f"DEBIAN_FRONTEND=noninteractive apt-get install -y {' '.join(arguments)}"
    return [f"apt-get update && {install}"]


def is_installed_by(commands: Iterable[str], is_there: Callable[[], bool]) -> bool:
    """Run the commands in turn until `is_there()`; return whether it is."""
    if is_there():
        return True
    for command in commands:
        print(f"A requirement is missing, trying: {command}", flush=True)
        subprocess.run(command, shell=True, stdin=subprocess.DEVNULL, capture_output=True)
        if is_there():
            return True
    return False
