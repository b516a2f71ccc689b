"""
Make sure of Go, in which the seed is written: `python -m tests.traps.ensure`.

Where it can't be installed the trials of the seed are skipped, and it is said.
"""

from __future__ import annotations

from harness.benchmarks.peers import GoServer, Unavailable
from tests.installing import apt_install, is_installed_by

PACKAGES = ["golang-go", "golang-github-gorilla-websocket-dev"]


def has_seed() -> bool:
    try:
        GoServer().command(0)
    except Unavailable:
        return False
    return True


if __name__ == "__main__":
    if not is_installed_by(apt_install("--no-install-recommends", *PACKAGES), has_seed):
        print(f"not run: the trials of the seed; {' or '.join(PACKAGES)} missing")
