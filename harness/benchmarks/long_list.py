"""
Times a long inbox in the browser: `python -m harness.benchmarks.long_list [count …]`.

The demo site runs in one process, and Chromium loads all items on alice's inbox page. For each step
it prints the main thread's longest task, and for loading also the sum of all tasks, in milliseconds
of CPU time, which other processes hardly affect.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from typing import Final

from playwright.sync_api import Browser

from harness.browser import chromium, log_in
from harness.demo_data import make_demo_data
from harness.long_list import STEPS, fill_inbox_code, load_all, remember_ends
from harness.services import free_port, manage, site_server
from harness.tasks import traced

COUNTS: Final = (100, 1_000, 10_000)
ALL_TASKS: Final = "load all, all tasks"


def measure(browser: Browser, count: int) -> dict[str, float]:
    """Return the longest task of each step in ms, and the total for loading this many items."""
    with TemporaryDirectory() as directory, ExitStack() as stack:
        env = {
            "DJANGO_SETTINGS_MODULE": "harness.demo_settings",
            "DATABASE_URL": f"sqlite:///{directory}/site.sqlite3",
        }
        make_demo_data(env)
        site = stack.enter_context(site_server(free_port(), env))
        manage("shell", "--no-imports", "-c", fill_inbox_code(count), env=env)
        context = browser.new_context(base_url=site.url)
        log_in(context, "alice")
        page = context.new_page()
        page.goto("/notifications/")
        with traced(browser, page) as loading:
            load_all(page)
        remember_ends(page)
        times = {"load all": loading.longest}
        for name, step in STEPS.items():
            with traced(browser, page) as tasks:
                step(page)
            times[name] = tasks.longest
        context.close()
    return {**times, ALL_TASKS: loading.total}


def main() -> None:
    counts = [int(argument) for argument in sys.argv[1:]] or COUNTS
    with chromium() as browser:
        results = {count: measure(browser, count) for count in counts}
    print(f"{'longest task, ms, with items':32}" + "".join(f"{count:>8,}" for count in results))
    for name in next(iter(results.values())):
        print(f"{name:32}" + "".join(f"{times[name]:8,.0f}" for times in results.values()))


if __name__ == "__main__":
    main()
