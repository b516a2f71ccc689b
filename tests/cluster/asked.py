"""The demo site, which also says how its process is set up."""

from __future__ import annotations

import gc
import resource
import sys
from typing import Any

from harness.site import site_with_report

PATH = "/process/"


async def _process(query: bytes) -> dict[str, Any]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {
        "gc": gc.get_threshold()[0],
        "frozen": gc.get_freeze_count() > 0,
        "switch": sys.getswitchinterval(),
        "files": soft == hard,
    }


application = site_with_report(PATH, _process)
