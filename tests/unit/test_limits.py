"""Limits: the frame rate of a client, and the connections of an account and of a process."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from notifications.hub import limits
from notifications.hub.connection import _shared
from notifications.hub.consumer import NotificationConsumer
from notifications.hub.limits import BURST_SECONDS, FLOOD_SECONDS, Capacity, FrameRate, surplus
from notifications.servers.base import Treatment


def test_a_client_within_the_rate_is_never_too_early() -> None:
    rate = FrameRate()

    early = [rate.take(1000 + n / 10) for n in range(10_000)]

    assert max(early) < 0.2


def test_a_burst_of_ten_seconds_worth_is_allowed_and_twice_that_is_a_flood(settings: Any) -> None:
    settings.NOTIFICATIONS_MAX_FRAMES_PER_SECOND = 4
    rate = FrameRate()

    early = [rate.take(1000) for _ in range(81)]

    assert next(n for n, seconds in enumerate(early, 1) if seconds > BURST_SECONDS) == 41
    assert [n for n, seconds in enumerate(early, 1) if seconds > FLOOD_SECONDS] == [81]


def test_silence_restores_the_burst_but_does_not_accumulate() -> None:
    rate = FrameRate()
    for _ in range(100):
        rate.take(1000)

    assert rate.take(1005) == pytest.approx(5.1)
    assert rate.take(9000) == pytest.approx(0.1)


def test_a_client_slightly_too_fast_for_long_is_cut_off_too() -> None:
    rate = FrameRate()

    early = [rate.take(1000 + n / 12) for n in range(1500)]  # two minutes

    assert next(n for n, seconds in enumerate(early) if seconds > FLOOD_SECONDS) < 1300


def test_without_a_limit_no_frame_is_too_early(settings: Any) -> None:
    settings.NOTIFICATIONS_MAX_FRAMES_PER_SECOND = None
    rate = FrameRate()

    assert {rate.take(1000) for _ in range(10_000)} == {0}


def test_capacity_admits_only_as_many_connections_as_configured(settings: Any) -> None:
    settings.NOTIFICATIONS_MAX_SOCKETS_PER_WORKER = 2
    capacity = Capacity()

    assert [capacity.enter() for _ in range(4)] == [True, True, False, False]
    capacity.leave()
    assert [capacity.enter() for _ in range(2)] == [True, False]
    settings.NOTIFICATIONS_MAX_SOCKETS_PER_WORKER = None
    assert capacity.enter()


def test_an_accounts_newest_connections_stay(settings: Any) -> None:
    settings.NOTIFICATIONS_MAX_SOCKETS_PER_ACCOUNT = 2
    now = datetime(2026, 1, 1)
    connections: Any = [SimpleNamespace(opened_at=now - timedelta(seconds=n)) for n in (3, 0, 2, 1)]

    assert surplus(connections) == [connections[0], connections[2]]
    assert surplus(connections[1:3]) == []
    settings.NOTIFICATIONS_MAX_SOCKETS_PER_ACCOUNT = None
    assert surplus(connections) == []


def test_clients_refused_for_capacity_return_at_different_times() -> None:
    delays = [limits.delay() for _ in range(100)]

    assert 5 <= min(delays) < max(delays) <= 15
    assert len(set(delays)) > 90


# --- Frames that only the server sees


def consumer_of(connection: Any) -> NotificationConsumer:
    consumer = NotificationConsumer()
    consumer.connection = connection
    consumer.frame_rate = FrameRate()
    return consumer


def test_a_client_that_does_not_read_gets_no_pongs() -> None:
    connection = SimpleNamespace(is_full=False)
    consumer = consumer_of(connection)

    assert consumer.count_frame() is Treatment.ANSWER
    connection.is_full = True
    assert consumer.count_frame() is Treatment.IGNORE


def test_frames_after_the_end_of_a_connection_are_not_read() -> None:
    assert consumer_of(None).count_frame() is Treatment.STOP


# --- Strings that connections share


def test_few_user_agents_are_shared_and_many_are_not_kept() -> None:
    agents = [f"Browser {n}" for n in range(200_000)]
    first = _shared("Browser 0")

    assert _shared(agents[0]) is first
    for agent in agents:
        assert _shared(agent) == agent

    assert _shared.cache_info().currsize <= 1000
    assert _shared(agents[0]) is not first
