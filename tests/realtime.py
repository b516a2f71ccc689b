"""
The tests that measure fractions of a second, or set a browser against a clock.

    python -m tests.realtime

runs them one by one, with nothing beside them. One that fails is run once more, alone, after all
others; both results are printed and counted. Nothing else has a second try.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pytest import ExitCode

MAX_SHARE: Final = 0.03  # of all tests

# Each with its reason; tests/conftest.py refuses a marked one that is not here.
REASONS: Final = {
    "tests/cluster/test_blocked_database.py::"
    "test_everybodys_heartbeats_are_answered_at_once_while_the_database_does_not": (
        "an answer within 0.2 s, while the database stands still"
    ),
    "tests/cluster/test_slow_peers.py::"
    "test_who_never_reads_is_cut_off_with_bounded_memory_and_harms_no_neighbour": (
        "a neighbour is answered within 0.2 s, while others never read"
    ),
    "tests/cluster/test_sessions.py::"
    "test_a_logout_closes_the_sessions_sockets_on_all_servers_within_a_second": (
        "one second, as C3 has it"
    ),
    "tests/cluster/test_cluster.py::TestDefaultNumbers::"
    "test_a_silent_client_is_closed_within_29_seconds": (
        "29 seconds, as C1 has it: a timeout of 20, and a check after 9"
    ),
    "tests/cluster/test_cluster.py::TestDefaultNumbers::"
    "test_a_shell_beside_one_server_rings_within_three_seconds": (
        "a check each second and two seconds more, as D1 has it"
    ),
    "tests/cluster/test_cluster.py::TestDefaultNumbers::"
    "test_without_a_push_the_check_brings_it_within_an_interval_and_two_seconds": (
        "an interval of 9 seconds and two more, as D1 has it"
    ),
    "tests/cluster/test_rolling.py::"
    "test_a_rolling_restart_behind_nginx_loses_nothing_and_overwhelms_nobody": (
        "how many come back in the busiest half second"
    ),
    "tests/cluster/test_deploys.py::"
    "test_sigterm_sends_the_sockets_away_over_the_window_in_random_order": (
        "a quarter of the sockets in each quarter of three seconds"
    ),
    "tests/cluster/test_deploys.py::test_while_it_drains_nobody_new_is_let_in": (
        "who comes, comes within the three seconds in which the server drains"
    ),
    "tests/sockets/test_layers.py::"
    "test_new_tabs_do_not_wait_for_a_redis_that_is_known_to_be_frozen": (
        "one second: a tab that waited for Redis takes two or more"
    ),
    "tests/sockets/test_layers.py::test_the_check_does_not_wait_for_a_frozen_redis": (
        "a check interval of one second and two more, as D1 has it"
    ),
    "tests/sockets/test_hub.py::"
    "test_a_push_on_its_way_is_waited_for_and_not_read_from_the_database": (
        "a layer that is slow by 0.2 s, beside a hub that waits for a moment only"
    ),
    "tests/sockets/test_hub.py::test_a_silent_client_is_pinged_then_closed": (
        "a ping must come before the heartbeat's timeout of 1.5 s"
    ),
    "tests/sockets/test_hub.py::test_a_client_that_answers_pings_stays": (
        "a heartbeat's timeout of 1.5 s, in which the answer must come"
    ),
    "tests/unit/test_sender.py::test_a_process_that_ends_sends_what_it_can": (
        "three messages of 0.1 s must go within the two seconds that a process gives them"
    ),
    "tests/sockets/test_limits.py::"
    "test_who_talks_too_fast_is_told_once_and_heard_again_when_it_has_slowed_down": (
        "600 frames must be sent faster than 50 a second"
    ),
    "tests/browser/test_hidden_tabs.py::"
    "test_a_hidden_tab_with_throttled_timers_keeps_its_connection": (
        "a hidden tab stays for 15 s of Chromium's throttled timers"
    ),
    "tests/browser/test_many.py::test_a_thousand_notifications_in_a_second_are_a_number_and_no_long_task": (
        "a thousand frames within 3 s, and no task of the page longer than people notice"
    ),
    "tests/browser/test_many.py::"
    "test_ten_thousand_items_are_loaded_scrolled_and_marked_without_delay": (
        "no task of the page longer than people notice"
    ),
}

# Browser tests keep a loop of Playwright's, which no other test may have in its process.
GROUPS: Final = [["tests/unit", "tests/sockets", "tests/cluster"], ["tests/browser"]]


# Always in the same order, as all tests.
PYTEST: Final = [sys.executable, "-m", "pytest", "--quiet", "--randomly-seed", "1"]


def run(*arguments: str, cache: Path) -> set[str]:
    """Run tests; return the ids of those that failed."""
    command = [*PYTEST, "-o", f"cache_dir={cache}", *arguments]
    code = subprocess.run(command).returncode
    last_failed = cache / "v/cache/lastfailed"
    failed = set(json.loads(last_failed.read_text())) if last_failed.exists() else set()
    # Interrupted, it would leave some out.
    if code not in {ExitCode.OK, ExitCode.TESTS_FAILED} or (code and not failed):
        raise RuntimeError(f"{' '.join(command)} ended with {code}")
    return failed


def collected(*arguments: str) -> set[str]:
    """Return the ids of the tests, none if there are none."""
    command = [*PYTEST, "--collect-only", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode not in {ExitCode.OK, ExitCode.NO_TESTS_COLLECTED}:
        sys.exit(f"{done.stdout}\n{' '.join(command)} ended with {done.returncode}")
    return {line for line in done.stdout.splitlines() if "::" in line}


def complaints(marked: set[str], total: int) -> Iterator[str]:
    """What is wrong with the list or with the number of these tests."""
    for name in REASONS.keys() - {without_parameters(test) for test in marked}:
        yield f"tests/realtime.py names {name}, which is no test with that marker"
    share = len(marked) / total
    print(f"Real time: {len(marked)} of {total} tests ({share:.1%}; at most {MAX_SHARE:.0%})")
    if share > MAX_SHARE:
        yield "these are too many tests that measure time"


def without_parameters(test: str) -> str:
    return test.partition("[")[0]


def main() -> int:
    marked: set[str] = set()
    failed: set[str] = set()
    with TemporaryDirectory() as directory:
        for group in GROUPS:
            if found := collected("-m", "realtime", *group):
                marked |= found
                failed |= run(
                    "-m", "realtime", "-p", "no:xdist", *group, cache=Path(directory, group[-1])
                )
        failed_twice = set()
        for position, test in enumerate(sorted(failed)):
            print(f"Once more, alone: {test}", flush=True)
            if run(test, cache=Path(directory, str(position))):
                failed_twice.add(test)
    wrong = [
        *complaints(marked, len(collected("tests"))),
        *(f"failed twice: {test}" for test in failed_twice),
    ]
    for test in sorted(failed - failed_twice):
        print(f"Real time: failed at first, passed alone: {test}")
    for complaint in wrong:
        print(f"Real time: {complaint}")
    print(
        f"Real time: {len(marked) - len(failed)} passed at once, "
        f"{len(failed) - len(failed_twice)} when run alone, {len(failed_twice)} failed twice"
    )
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
