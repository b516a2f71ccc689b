"""
Install Go, for the tests of the Go server: `python -m tests.traps.ensure`.

If it can't be installed, it prints that these tests will be skipped.
"""

from __future__ import annotations

from harness.benchmarks.peers import GoServer, Unavailable
from tests.installing import apt_install, is_installed_by

PACKAGES = ["golang-go", "golang-github-gorilla-websocket-dev"]


def has_go() -> bool:
    try:
        GoServer().command(0)
    except Unavailable:
        return False
    return True


if __name__ == "__main__":
    if not is_installed_by(apt_install("--no-install-recommends", *PACKAGES), has_go):
        print(f"not run: the tests of the Go server; {' or '.join(PACKAGES)} missing")
