"""Sending to the channel layer: however it fails, it costs little and hurts nobody."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import BaseChannelLayer, InMemoryChannelLayer, get_channel_layer
from django.contrib.auth.models import User
from django.test import Client

from notifications import layer, notify_accounts
from notifications.layer import PROBE_AFTER, TIMEOUT, Breaker, breaker, publish
from notifications.models import Notification
from tests.services import RedisServer, redis_server

MESSAGE = ("group", {"type": "hello"})


class TestLayer(BaseChannelLayer):
    """A layer of the site's own, as CHANNEL_LAYERS can name it, that can be out of order."""

    __test__ = False

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.state = "works"
        self.calls = 0
        self.at_once = self.most_at_once = 0
        self.sent: list[tuple[str, Any]] = []

    async def group_send(self, group: str, message: Any) -> None:
        self.calls += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.state == "frozen":
                await asyncio.Event().wait()
            elif self.state == "gone":
                raise ConnectionRefusedError
            await asyncio.sleep(0)
            self.sent.append((group, message))
        finally:
            self.at_once -= 1


@pytest.fixture
def own_layer(settings: Any) -> TestLayer:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.TestLayer"}}
    found = get_channel_layer()
    assert isinstance(found, TestLayer)
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Let the breaker's time pass at once: call with seconds."""
    ahead = 0.0
    real = time.monotonic
    monkeypatch.setattr(layer.time, "monotonic", lambda: real() + ahead)

    def pass_by(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    yield pass_by


def timed(call: Any, *arguments: Any) -> float:
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


# --- A layer that works


def test_messages_go_out_in_order(own_layer: TestLayer) -> None:
    messages = [(f"group{n}", {"type": "hello", "n": n}) for n in range(5)]

    publish(messages)

    assert own_layer.sent == messages


def test_at_most_fifty_calls_run_at_a_time(own_layer: TestLayer) -> None:
    publish([MESSAGE] * 120)

    assert (own_layer.calls, own_layer.most_at_once) == (120, 50)


def test_nothing_to_send_asks_for_nothing(own_layer: TestLayer) -> None:
    own_layer.state = "frozen"

    assert timed(publish, []) < TIMEOUT / 2
    assert own_layer.calls == 0


async def test_a_thread_of_an_event_loop_may_send(own_layer: TestLayer) -> None:
    await sync_to_async(publish)([MESSAGE])

    assert own_layer.sent == [MESSAGE]


def test_it_knows_the_layer_of_one_process(settings: Any, own_layer: TestLayer) -> None:
    assert not layer.is_in_memory()

    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    assert isinstance(get_channel_layer(), InMemoryChannelLayer)
    assert layer.is_in_memory()


# --- A layer that does not


@pytest.mark.parametrize("state", ["frozen", "gone"])
def test_a_layer_out_of_order_costs_one_timeout_once_and_then_nothing(
    own_layer: TestLayer, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    own_layer.state = state

    first = timed(publish, [MESSAGE] * 3)
    rest = timed(lambda: [publish([MESSAGE]) for _ in range(100)])

    assert first < TIMEOUT + 0.3
    assert rest < 0.1
    assert own_layer.calls == 3
    # Said once, and without the message: it may be confidential.
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("notifications.layer", logging.WARNING)
    assert record.getMessage().startswith("Channel layer unavailable (")


def test_a_large_message_to_a_frozen_layer_costs_no_more(own_layer: TestLayer) -> None:
    own_layer.state = "frozen"

    assert timed(publish, [MESSAGE] * 500) < TIMEOUT + 0.5
    assert own_layer.calls == layer.AT_A_TIME


def test_one_probe_at_a_time_until_the_layer_answers_again(
    own_layer: TestLayer, clock: Any
) -> None:
    own_layer.state = "gone"
    publish([MESSAGE])
    for expected in (2, 3):
        clock(PROBE_AFTER)
        for _ in range(5):
            publish([MESSAGE])
        assert own_layer.calls == expected

    own_layer.state = "works"
    publish([MESSAGE])
    assert not own_layer.sent
    clock(PROBE_AFTER)
    for _ in range(5):
        publish([MESSAGE])
    assert len(own_layer.sent) == 5


def test_a_breaker_lets_one_probe_through(clock: Any) -> None:
    breaker = Breaker()
    assert [breaker.allows() for _ in range(3)] == [True] * 3

    breaker.failed()
    assert not breaker.allows()
    clock(PROBE_AFTER)
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    breaker.succeeded()
    assert [breaker.allows() for _ in range(3)] == [True] * 3


def test_asking_whether_it_answers_closes_the_breaker(own_layer: TestLayer) -> None:
    own_layer.state = "frozen"
    publish([MESSAGE])
    assert timed(layer.answers) < TIMEOUT + 0.3
    assert not layer.answers()
    assert not breaker.allows()

    own_layer.state = "works"

    assert layer.answers()
    publish([MESSAGE])
    assert own_layer.sent[-1] == MESSAGE


@pytest.mark.parametrize("layers", [{}, {"default": {"BACKEND": "no.such.Layer"}}])
def test_a_layer_that_is_not_there_harms_nobody(
    settings: Any, layers: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    settings.CHANNEL_LAYERS = layers

    publish([MESSAGE])

    assert len(caplog.records) == 1
    assert not layer.answers()


# --- What a visitor notices


@pytest.mark.parametrize("state", ["frozen", "gone"])
@pytest.mark.django_db(transaction=True)
def test_notifying_neither_fails_nor_waits_and_the_row_is_there(
    own_layer: TestLayer, alice: User, state: str
) -> None:
    own_layer.state = state

    assert timed(notify_accounts, alice, "hello", "Hello") < 1
    assert timed(lambda: [notify_accounts(alice, "hello", "Hello") for _ in range(5)]) < 0.5

    browser = Client()
    browser.force_login(alice)
    assert len(browser.get("/notifications/items/").json()["items"]) == 6


@pytest.fixture
def redis(settings: Any) -> Iterator[RedisServer]:
    with redis_server() as redis:
        settings.CHANNEL_LAYERS = {
            "default": {
                "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
                "CONFIG": {
                    "hosts": [
                        {
                            "address": redis.url,
                            "socket_timeout": None,
                            "socket_connect_timeout": 3,
                            "socket_keepalive": True,
                        }
                    ]
                },
            }
        }
        yield redis


@pytest.mark.django_db(transaction=True)
def test_a_frozen_redis_holds_up_nobody_and_is_used_again_when_it_thaws(
    redis: RedisServer, alice: User, clock: Any
) -> None:
    assert layer.answers()
    redis.freeze()
    try:
        assert timed(notify_accounts, alice, "hello", "Hello") < 1
        assert timed(notify_accounts, alice, "hello", "Hello") < 0.3
        assert not breaker.allows()
    finally:
        redis.thaw()

    clock(PROBE_AFTER)
    notify_accounts(alice, "hello", "Hello")

    assert breaker.allows()
    assert Notification.objects.filter(seq__isnull=False).count() == 3


def test_a_thread_without_a_loop_keeps_one_for_all_its_pushes(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loops = []

    async def group_send(self: Any, group: str, message: Any) -> None:
        loops.append(asyncio.get_running_loop())

    monkeypatch.setattr("channels.layers.InMemoryChannelLayer.group_send", group_send)

    for _ in range(3):
        layer.publish([("account_1", {"type": "notifications.close"})])

    assert len(loops) == 3
    assert len(set(loops)) == 1
