"""A hub in a process that is not ours to change, such as a site's own tests."""

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


async def test_a_hub_that_is_opened_leaves_its_process_as_it_is(connect, alice):
    before = settings_of_this_process()

    tab = await connect(alice)
    await tab.receive("register")

    assert settings_of_this_process() == before
    assert before["frozen"] == 0  # nor did a hub of an earlier test
