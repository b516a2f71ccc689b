"""No envelope without numbers is handled twice, however many arrive in between."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.channel_layer import replays as module
from notifications.channel_layer.replays import MAX_AGE_SECONDS, MEMORY_SECONDS, Replays
from notifications.channel_layer.site import Site

SITE = Site("ours", offset=1_800_000_000.0)


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def refusal(replays: Replays, digest: str, sent: float, is_numbered: bool = False) -> str | None:
    return replays.refusal(SITE, digest, sent + SITE.offset, is_numbered)


def test_what_is_numbered_is_not_remembered(clock: Clock) -> None:
    replays = Replays(since=clock.now)

    assert [refusal(replays, "a", clock.now - 5, is_numbered=True) for _ in range(2)] == [None] * 2
    assert not replays._digests


def test_an_envelope_is_remembered_for_as_long_as_it_counts(clock: Clock) -> None:
    replays = Replays(since=-math.inf)
    sent = clock.now + MAX_AGE_SECONDS  # by a process whose estimate is ahead
    assert refusal(replays, "a", sent) is None

    for _ in range(int(2 * MAX_AGE_SECONDS)):
        clock.now += 1
        assert refusal(replays, "a", sent) == "repeated"
        assert refusal(replays, str(clock.now), clock.now) is None
    clock.now += 1
    assert refusal(replays, "a", sent) == "too old"
    clock.now += MEMORY_SECONDS + 1
    assert refusal(replays, "b", clock.now) is None
    assert replays._digests == {"b"}


def test_memory_is_limited_and_what_was_forgotten_is_too_old(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    replays = Replays(since=-math.inf)
    sent = {}
    for number in range(10):
        clock.now += 1
        sent[str(number)] = clock.now
        assert refusal(replays, str(number), clock.now) is None
        assert len(replays._digests) == len(replays._arrivals) <= 3

    refused = [refusal(replays, digest, at) for digest, at in sent.items()]
    assert refused == ["too old"] * 7 + ["repeated"] * 3
    assert refusal(replays, "late", clock.now - 5) == "too old"


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(-80, 80), st.integers(0, 50)), max_size=60)
)
def test_nothing_is_taken_twice(arrivals: list[tuple[int, int, int]]) -> None:
    clock: Any = Clock()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(module, "time", clock)
        monkeypatch.setattr(module, "MAX_REMEMBERED", 4)
        replays = Replays(since=clock.now - 30)
        sent: dict[str, float] = {}
        taken = []
        for name, skew, pause in arrivals:
            clock.now += pause
            digest = str(name)
            at = sent.setdefault(digest, clock.now + skew)
            if refusal(replays, digest, at) is None:
                taken.append(digest)

    assert len(set(taken)) == len(taken)
