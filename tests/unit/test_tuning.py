"""What the hub sets for its process, tried in processes of their own."""

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
    """Return what a process that was started with these limits has then, and what it says."""
    code = CODE.format(soft=soft, hard=hard)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return result.stdout.strip(), result.stderr.strip()


def test_a_process_opens_as_many_files_as_it_may() -> None:
    assert limits_after_tuning(1024, 4096) == ("4096 4096", "")


def test_it_warns_when_that_is_not_enough_for_many_sockets() -> None:
    limits, said = limits_after_tuning(256, 1024)

    assert limits == "1024 1024"
    assert said.startswith("This process may open 1024 files, and each socket is one")
