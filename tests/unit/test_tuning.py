"""The limits that the hub sets for its process, tested in separate processes."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import logging, resource
from notifications.servers.tuning import tune_process
logging.basicConfig(format="%(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
tune_process()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def limits_after_tuning(soft: int, hard: int) -> tuple[str, str]:
    """Return the limits of a process started with these limits, and its log."""
    code = CODE.format(soft=soft, hard=hard)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return result.stdout.strip(), result.stderr.strip()


def test_the_limit_of_open_files_is_raised_as_far_as_allowed() -> None:
    assert limits_after_tuning(1024, 4096) == ("4096 4096", "")


def test_a_low_limit_of_open_files_causes_a_warning() -> None:
    limits, log = limits_after_tuning(256, 1024)

    assert limits == "1024 1024"
    assert log.startswith("This process may open 1024 files, and each connection is one")
