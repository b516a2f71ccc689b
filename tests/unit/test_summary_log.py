"""Frequent events take one log line an interval."""

from __future__ import annotations

import asyncio

import pytest

from notifications.channel_layer import summary_log
from notifications.channel_layer.summary_log import MAX_KINDS, SummaryLog


async def wait_for_lines(caplog: pytest.LogCaptureFixture, count: int) -> None:
    async with asyncio.timeout(30):
        while len(caplog.messages) < count:
            await asyncio.sleep(0.001)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> SummaryLog:
    monkeypatch.setattr(summary_log, "INTERVAL_SECONDS", 0.01)
    return SummaryLog("Dropped")


async def test_the_first_event_is_logged_at_once_and_later_ones_once_an_interval(
    log: SummaryLog, caplog: pytest.LogCaptureFixture
) -> None:
    for kind in ("cups", "cups", "plates", "cups"):
        log.add(kind)
    assert caplog.messages == ["Dropped: 1 × cups"]

    await wait_for_lines(caplog, 2)
    assert caplog.messages[1:] == ["Dropped: 2 × cups, 1 × plates"]


async def test_after_a_quiet_interval_the_next_event_is_logged_at_once(
    log: SummaryLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.add("cups")
    while log._timer:
        await asyncio.sleep(0.001)

    log.add("cups")

    assert caplog.messages == ["Dropped: 1 × cups"] * 2


async def test_counted_events_are_logged_at_the_end(
    log: SummaryLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.close()
    log.add("cups")
    log.add("plates")

    log.close()

    assert caplog.messages == ["Dropped: 1 × cups", "Dropped: 1 × plates"]


async def test_the_line_stays_short_with_many_kinds(
    log: SummaryLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.add("first")
    for number in range(1000):
        log.add(f"kind{number}")

    log.close()

    assert "990 × others" in caplog.messages[1]
    assert caplog.messages[1].count("×") == MAX_KINDS + 1
