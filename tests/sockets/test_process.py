"""A hub in a process whose settings it must not change, such as a site's own tests."""

from __future__ import annotations

import gc
import logging
import sys

if sys.platform != "win32":
    import resource


def settings_of_this_process():
    loggers = [logging.root, *map(logging.getLogger, logging.root.manager.loggerDict)]
    return {
        "gc": gc.get_threshold(),
        "frozen": gc.get_freeze_count(),
        "switch": sys.getswitchinterval(),
        "files": sys.platform != "win32" and resource.getrlimit(resource.RLIMIT_NOFILE),
        "filters": {logger.name: [*logger.filters] for logger in loggers if logger.filters},
    }


async def test_opening_a_hub_changes_no_settings_of_the_process(connect, alice):
    before = settings_of_this_process()

    tab = await connect(alice)
    await tab.receive("register")

    assert settings_of_this_process() == before
    assert before["frozen"] == 0  # no hub of an earlier test changed it either
