"""
Measure how long `make run` takes in a fresh clone: `python -m docs.time_make_run`.

Clones the repository into a temporary directory, runs `make run` there and
prints the seconds until the server answers with the log-in page.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.request import urlopen

from harness.services import free_port

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_SECONDS = 600


def main() -> None:
    port = free_port()
    with TemporaryDirectory() as directory:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), directory], check=True)
        started = time.monotonic()
        process = subprocess.Popen(
            ["make", "run", f"PORT={port}"], cwd=directory, start_new_session=True
        )
        try:
            while not _is_served(f"http://127.0.0.1:{port}/login/"):
                if process.poll() is not None or time.monotonic() - started > TIMEOUT_SECONDS:
                    raise SystemExit("make run did not serve the first page")
                time.sleep(0.05)
            print(f"First page after {time.monotonic() - started:.1f} s")
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def _is_served(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, ConnectionError):
        return False


if __name__ == "__main__":
    main()
