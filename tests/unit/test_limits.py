"""How fast a client may talk, how many sockets an account and a process may have."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from notifications.hub import limits
from notifications.hub.limits import BURST_SECONDS, FLOOD_SECONDS, Capacity, FrameRate, surplus


def test_who_keeps_to_the_rate_is_never_early() -> None:
    rate = FrameRate()

    early = [rate.take(1000 + n / 10) for n in range(10_000)]

    assert max(early) < 0.2


def test_ten_seconds_worth_may_come_at_once_and_as_much_again_is_refused(settings: Any) -> None:
    settings.NOTIFICATIONS_MAX_FRAMES_PER_SECOND = 4
    rate = FrameRate()

    early = [rate.take(1000) for _ in range(81)]

    assert next(n for n, seconds in enumerate(early, 1) if seconds > BURST_SECONDS) == 41
    assert [n for n, seconds in enumerate(early, 1) if seconds > FLOOD_SECONDS] == [81]


def test_silence_makes_room_again_but_saves_nothing_up() -> None:
    rate = FrameRate()
    for _ in range(100):
        rate.take(1000)

    assert rate.take(1005) == pytest.approx(5.1)
    assert rate.take(9000) == pytest.approx(0.1)


def test_who_is_a_little_too_fast_for_long_is_cut_off_as_well() -> None:
    rate = FrameRate()

    early = [rate.take(1000 + n / 12) for n in range(1500)]  # two minutes

    assert next(n for n, seconds in enumerate(early) if seconds > FLOOD_SECONDS) < 1300


def test_without_a_limit_nobody_is_early(settings: Any) -> None:
    settings.NOTIFICATIONS_MAX_FRAMES_PER_SECOND = None
    rate = FrameRate()

    assert {rate.take(1000) for _ in range(10_000)} == {0}


def test_a_room_takes_as_many_as_it_has_places(settings: Any) -> None:
    settings.NOTIFICATIONS_MAX_SOCKETS_PER_WORKER = 2
    room = Capacity()

    assert [room.enter() for _ in range(4)] == [True, True, False, False]
    room.leave()
    assert [room.enter() for _ in range(2)] == [True, False]
    settings.NOTIFICATIONS_MAX_SOCKETS_PER_WORKER = None
    assert room.enter()


def test_the_newest_of_an_account_stay(settings: Any) -> None:
    settings.NOTIFICATIONS_MAX_SOCKETS_PER_ACCOUNT = 2
    now = datetime(2026, 1, 1)
    sockets: Any = [SimpleNamespace(opened_at=now - timedelta(seconds=n)) for n in (3, 0, 2, 1)]

    assert surplus(sockets) == [sockets[0], sockets[2]]
    assert surplus(sockets[1:3]) == []
    settings.NOTIFICATIONS_MAX_SOCKETS_PER_ACCOUNT = None
    assert surplus(sockets) == []


def test_who_finds_no_room_comes_back_some_time_later() -> None:
    delays = [limits.delay() for _ in range(100)]

    assert 5 <= min(delays) < max(delays) <= 15
    assert len(set(delays)) > 90
