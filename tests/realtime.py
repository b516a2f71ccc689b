"""
The tests that measure fractions of a second, or race a browser against a clock.

    python -m tests.realtime

runs them one by one, with nothing in parallel. A test that fails is run once more, alone, after all
others; both results are printed and counted. No other test has a second try.
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

# Each with its reason; tests/conftest.py refuses marked tests that are not listed.
REASONS: Final = {
    "tests/cluster/test_blocked_database.py::"
    "test_heartbeats_are_answered_while_the_database_is_blocked": (
        "an answer within 0.2 s, while the database is blocked"
    ),
    "tests/cluster/test_slow_peers.py::"
    "test_clients_that_never_read_are_cut_off_and_harm_no_others": (
        "another client is answered within 0.2 s"
    ),
    "tests/cluster/test_bodies.py::test_a_large_body_delays_no_other_client": (
        "another client is answered within 0.2 s"
    ),
    "tests/cluster/test_control_frames.py::test_floods_of_frames_delay_no_other_client": (
        "another client is answered within 0.2 s"
    ),
    "tests/cluster/test_sessions.py::"
    "test_a_logout_closes_the_sessions_connections_on_all_servers_within_a_second": (
        "one second, as promised by C3"
    ),
    "tests/cluster/test_cluster.py::TestDefaultNumbers::"
    "test_a_silent_client_is_closed_within_29_seconds": (
        "29 seconds, as promised by C1: a timeout of 20, and a check after 9"
    ),
    "tests/cluster/test_cluster.py::TestDefaultNumbers::"
    "test_a_shell_notification_arrives_within_three_seconds": (
        "a check every second and two more seconds, as promised by D1"
    ),
    "tests/cluster/test_cluster.py::TestDefaultNumbers::"
    "test_without_redis_the_check_delivers_within_an_interval_and_two_seconds": (
        "an interval of 9 seconds and two more, as promised by D1"
    ),
    "tests/cluster/test_rolling.py::"
    "test_a_rolling_restart_behind_nginx_loses_nothing_and_overloads_no_worker": (
        "how many clients reconnect in the busiest half second"
    ),
    "tests/cluster/test_deploys.py::"
    "test_sigterm_closes_connections_over_the_drain_window_in_random_order": (
        "a quarter of the connections in each quarter of three seconds"
    ),
    "tests/cluster/test_deploys.py::test_a_draining_server_accepts_no_new_connections": (
        "the test must connect within the three seconds of the drain"
    ),
    "tests/sockets/test_layers.py::"
    "test_new_tabs_do_not_wait_for_a_redis_that_is_known_to_be_frozen": (
        "one second; a tab that waits for Redis takes two or more"
    ),
    "tests/sockets/test_layers.py::test_the_check_does_not_wait_for_a_frozen_redis": (
        "a check interval of one second and two more, as promised by D1"
    ),
    "tests/sockets/test_hub.py::"
    "test_the_check_waits_for_a_late_live_update_instead_of_reading_the_database": (
        "a layer that is 0.2 s late, and a hub that waits only briefly"
    ),
    "tests/sockets/test_hub.py::test_a_silent_client_is_pinged_then_closed": (
        "a ping must arrive within the heartbeat timeout of 1.5 s"
    ),
    "tests/sockets/test_hub.py::test_a_client_that_answers_pings_stays": (
        "an answer must arrive within the heartbeat timeout of 1.5 s"
    ),
    "tests/unit/test_sender.py::test_an_exiting_process_sends_what_it_can_within_two_seconds": (
        "three messages of 0.1 s must be sent within the two seconds that an exiting process waits"
    ),
    "tests/sockets/test_limits.py::"
    "test_a_client_that_sends_too_fast_gets_one_error_and_is_answered_again_once_it_slows_down": (
        "600 frames must be sent faster than 50 a second"
    ),
    "tests/browser/test_hidden_tabs.py::"
    "test_a_hidden_tab_with_throttled_timers_keeps_its_connection": (
        "15 s of Chromium's throttled timers"
    ),
    "tests/browser/test_many.py::"
    "test_a_thousand_notifications_in_a_second_are_a_number_and_no_long_task": (
        "a thousand frames within 3 s, and no task of the page that people would notice"
    ),
    "tests/browser/test_many.py::"
    "test_ten_thousand_items_are_loaded_scrolled_and_marked_without_delay": (
        "no task of the page that people would notice"
    ),
}

# Browser tests run Playwright's event loop, so other tests need another process.
GROUPS: Final = [["tests/unit", "tests/sockets", "tests/cluster"], ["tests/browser"]]


# In a fixed order, like all tests.
PYTEST: Final = [sys.executable, "-m", "pytest", "--quiet", "--randomly-seed", "1"]


def run(*arguments: str, cache: Path) -> set[str]:
    """Run tests; return the ids of those that failed."""
    command = [*PYTEST, "-o", f"cache_dir={cache}", *arguments]
    code = subprocess.run(command).returncode
    last_failed = cache / "v/cache/lastfailed"
    failed = set(json.loads(last_failed.read_text())) if last_failed.exists() else set()
    # An interrupted run would miss some.
    if code not in {ExitCode.OK, ExitCode.TESTS_FAILED} or (code and not failed):
        raise RuntimeError(f"{' '.join(command)} ended with {code}")
    return failed


def collected(*arguments: str) -> set[str]:
    """Return the ids of the collected tests."""
    command = [*PYTEST, "--collect-only", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode not in {ExitCode.OK, ExitCode.NO_TESTS_COLLECTED}:
        sys.exit(f"{done.stdout}\n{' '.join(command)} ended with {done.returncode}")
    return {line for line in done.stdout.splitlines() if "::" in line}


def complaints(marked: set[str], total: int) -> Iterator[str]:
    """Yield problems with the list or the number of these tests."""
    for name in REASONS.keys() - {without_parameters(test) for test in marked}:
        yield f"tests/realtime.py lists {name}, which is not a realtime test"
    share = len(marked) / total
    print(f"Real time: {len(marked)} of {total} tests ({share:.1%}; at most {MAX_SHARE:.0%})")
    if share > MAX_SHARE:
        yield "too many tests measure time"


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
