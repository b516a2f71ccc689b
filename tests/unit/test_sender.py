"""Sending to the channel layer: however it fails, it costs little and hurts nobody."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import BaseChannelLayer, InMemoryChannelLayer, get_channel_layer
from django.contrib.auth.models import User
from django.test import Client

from harness.services import RedisServer, redis_server
from notifications import notify_accounts
from notifications.channel_layer import background_loop, sender
from notifications.channel_layer.addressing import for_accounts
from notifications.channel_layer.envelopes import (
    AccountFrame,
    AccountFrames,
    EndSessions,
    Envelope,
    dump,
)
from notifications.channel_layer.sender import PROBE_PAUSE_SECONDS, Breaker, breaker, publish
from notifications.channel_layer.subscriptions import Subscriptions
from notifications.protocol import CloseCode

ENVELOPE = Envelope(EndSessions(["a"], CloseCode.NORMAL))
MESSAGE = ("group", ENVELOPE)
SENT = ("group", dump(ENVELOPE))


class TestLayer(BaseChannelLayer):
    """A layer of the site's own, as CHANNEL_LAYERS can name it, that can be out of order."""

    __test__ = False

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.state = "works"
        self.away: set[str] = set()  # groups
        self.calls = 0
        self.at_once = self.most_at_once = 0
        self.sent: list[tuple[str, Any]] = []

    async def group_send(self, group: str, message: Any) -> None:
        self.calls += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            while self.state == "frozen":
                await asyncio.sleep(0.001)
            if self.state == "gone" or group in self.away:
                raise ConnectionRefusedError(f"not sent: {message}")
            await asyncio.sleep(0)
            self.sent.append((group, message))
        finally:
            self.at_once -= 1


@pytest.fixture
def own_layer(settings: Any) -> Iterator[TestLayer]:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.TestLayer"}}
    found = get_channel_layer()
    assert isinstance(found, TestLayer)
    yield found
    found.state = "works"
    settle()  # what this test left on its way would keep the next one's waiting
    breaker.succeeded()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let the breaker's time stand still, but for what a call lets pass: call with seconds."""
    now = time.monotonic()

    def pass_by(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(sender, "time", SimpleNamespace(monotonic=lambda: now))
    return pass_by


def wait_for_the_layer(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(sender, "TIMEOUT_SECONDS", seconds)
    monkeypatch.setattr(sender, "PROBE_TIMEOUT_SECONDS", seconds)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a layer up soon: for what happens then."""
    wait_for_the_layer(monkeypatch, 0.05)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give no layer up, however busy the machine is."""
    wait_for_the_layer(monkeypatch, 30)


def wait_until(condition: Callable[[], Any]) -> None:
    """Poll what happens in the background."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def settle() -> None:
    """Wait until all that was published is sent or given up."""
    background_loop.run(asyncio.sleep(0), timeout=30)
    wait_until(lambda: not background_loop._started)


# --- A layer that works


def test_messages_go_out_in_the_order_of_the_calls(own_layer: TestLayer) -> None:
    messages = [(f"group{n}", ENVELOPE) for n in range(100)]

    for start in range(0, 100, 5):
        publish(messages[start : start + 5])

    wait_until(lambda: len(own_layer.sent) == 100)
    assert own_layer.sent == [(f"group{n}", dump(ENVELOPE)) for n in range(100)]


def test_at_most_fifty_calls_run_at_a_time(own_layer: TestLayer) -> None:
    publish([MESSAGE] * 120)
    publish([MESSAGE] * 120)

    wait_until(lambda: len(own_layer.sent) == 240)
    assert (own_layer.calls, own_layer.most_at_once) == (240, 50)


def test_nothing_to_send_asks_for_nothing(own_layer: TestLayer) -> None:
    publish([])
    publish([MESSAGE])

    wait_until(lambda: own_layer.sent)
    assert own_layer.calls == 1


def test_what_is_sent_outlives_the_event_loop_that_it_was_sent_from(own_layer: TestLayer) -> None:
    async def publish_and_end() -> None:
        await sync_to_async(publish)([MESSAGE])

    asyncio.run(publish_and_end())

    wait_until(lambda: own_layer.sent == [SENT])


def test_it_knows_the_layer_of_one_process(settings: Any, own_layer: TestLayer) -> None:
    assert not sender.is_in_memory()

    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    assert isinstance(get_channel_layer(), InMemoryChannelLayer)
    assert sender.is_in_memory()


# --- A layer that does not


@pytest.mark.usefixtures("patient")
def test_nobody_waits_for_a_frozen_layer(own_layer: TestLayer) -> None:
    own_layer.state = "frozen"

    for _ in range(100):
        publish([MESSAGE])

    # All calls have returned, and the first message is still on its way.
    wait_until(lambda: own_layer.at_once == 1)
    assert not breaker.is_open


@pytest.mark.usefixtures("clock", "impatient")
@pytest.mark.parametrize("state", ["frozen", "gone"])
def test_a_layer_out_of_order_is_given_up_and_that_is_said_once(
    own_layer: TestLayer, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    own_layer.state = state

    for _ in range(3):
        publish([MESSAGE] * 500)

    settle()
    assert breaker.is_open
    tried = own_layer.calls
    assert tried <= 3 * sender.MAX_CONCURRENT_CALLS
    for _ in range(100):
        publish([MESSAGE])
    settle()
    assert own_layer.calls == tried
    assert own_layer.at_once == 0
    # Without the message: it may be confidential.
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("notifications.channel_layer.sender", logging.WARNING)
    assert record.getMessage().startswith("Channel layer unavailable (")
    assert "not sent" not in caplog.text


@pytest.mark.usefixtures("patient")
def test_what_many_threads_push_meanwhile_goes_together(own_layer: TestLayer) -> None:
    own_layer.state = "frozen"
    publish([MESSAGE])
    wait_until(lambda: own_layer.at_once == 1)
    accounts = [str(n) for n in range(100)]

    for account in accounts:
        publish(for_accounts(AccountFrames, [AccountFrame(account, "{}")]))
    own_layer.state = "works"

    settle()
    (_, (group, message)) = own_layer.sent
    assert group == "notifications.hubs"
    assert [entry["account"] for entry in message["entries"]] == accounts


def test_what_waits_behind_a_frozen_message_is_given_up_with_it(own_layer: TestLayer) -> None:
    own_layer.state = "frozen"
    publish([MESSAGE])
    wait_until(lambda: own_layer.at_once == 1)

    for _ in range(100):
        publish([MESSAGE])

    settle()
    assert not own_layer.sent


def test_one_probe_at_a_time_until_the_layer_answers_again(
    own_layer: TestLayer, clock: Callable[[float], None]
) -> None:
    def publish_five() -> None:
        for _ in range(5):
            publish([MESSAGE])
        settle()

    own_layer.state = "gone"
    publish([MESSAGE])
    wait_until(lambda: breaker.is_open)
    for expected in (2, 3):
        clock(PROBE_PAUSE_SECONDS)
        publish_five()
        assert own_layer.calls == expected

    own_layer.state = "works"
    publish_five()
    assert not own_layer.sent
    clock(PROBE_PAUSE_SECONDS)
    publish([MESSAGE])
    wait_until(lambda: not breaker.is_open)
    publish_five()
    assert len(own_layer.sent) == 6


def test_a_breaker_lets_one_probe_through(clock: Callable[[float], None]) -> None:
    breaker = Breaker()
    assert [breaker.allows() for _ in range(3)] == [True] * 3

    breaker.failed(TimeoutError())
    assert not breaker.allows()
    clock(PROBE_PAUSE_SECONDS)
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    breaker.succeeded()
    assert [breaker.allows() for _ in range(3)] == [True] * 3


def test_one_server_that_is_away_keeps_nothing_from_the_others(own_layer: TestLayer) -> None:
    own_layer.away = {"elsewhere"}

    publish([("elsewhere", ENVELOPE), MESSAGE])

    wait_until(lambda: breaker.is_open)
    assert own_layer.sent == [SENT]


@pytest.mark.usefixtures("impatient")
def test_asking_whether_it_answers_closes_the_breaker(
    own_layer: TestLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_layer.state = "frozen"
    publish([MESSAGE])
    wait_until(lambda: breaker.is_open)
    assert not sender.answers()
    assert breaker.is_open

    own_layer.state = "works"
    wait_for_the_layer(monkeypatch, 30)

    assert sender.answers()
    publish([MESSAGE])
    wait_until(lambda: own_layer.sent[-1] == SENT)


@pytest.mark.parametrize("layers", [{}, {"default": {"BACKEND": "no.such.Layer"}}])
def test_a_layer_that_is_not_there_harms_nobody(
    settings: Any, layers: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    settings.CHANNEL_LAYERS = layers

    publish([MESSAGE])

    wait_until(lambda: breaker.is_open)
    assert len(caplog.records) == 1
    assert not sender.answers()


# --- What a visitor notices


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("state", ["frozen", "gone"])
@pytest.mark.django_db(transaction=True)
def test_notifying_does_not_fail_and_the_row_is_there(
    own_layer: TestLayer, alice: User, state: str
) -> None:
    own_layer.state = state

    for _ in range(3):
        notify_accounts(alice, "hello", "Hello")
    wait_until(lambda: breaker.is_open)
    for _ in range(3):
        notify_accounts(alice, "hello", "Hello")

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


@pytest.mark.usefixtures("impatient")
def test_a_frozen_redis_is_given_up_and_used_again_when_it_thaws(
    redis: RedisServer, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_until(sender.answers)
    redis.freeze()
    try:
        publish([MESSAGE])
        wait_until(lambda: breaker.is_open)
        assert not sender.answers()
    finally:
        redis.thaw()

    wait_for_the_layer(monkeypatch, 30)
    clock(PROBE_PAUSE_SECONDS)
    publish([MESSAGE])

    wait_until(lambda: not breaker.is_open)


def test_a_process_keeps_one_loop_for_all_its_pushes(monkeypatch: pytest.MonkeyPatch) -> None:
    loops = []

    async def group_send(self: Any, group: str, message: Any) -> None:
        loops.append(asyncio.get_running_loop())

    monkeypatch.setattr("channels.layers.InMemoryChannelLayer.group_send", group_send)

    for _ in range(3):
        publish([MESSAGE])

    wait_until(lambda: len(loops) == 3)
    assert len(set(loops)) == 1


@pytest.fixture
def sending_loop(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """Return a function that gives the loop that a call is sent on."""
    loops: list[asyncio.AbstractEventLoop] = []

    async def group_send(self: Any, group: str, message: Any) -> None:
        loops.append(asyncio.get_running_loop())

    monkeypatch.setattr("channels.layers.InMemoryChannelLayer.group_send", group_send)
    monkeypatch.setattr("channels_redis.core.RedisChannelLayer.group_send", group_send)
    monkeypatch.setattr(TestLayer, "group_send", group_send)

    async def of(call: Any) -> asyncio.AbstractEventLoop:
        await call()
        while not loops:
            await asyncio.sleep(0.005)
        return loops.pop()

    return of


class OwnInMemoryLayer(InMemoryChannelLayer):
    pass


IN_PROCESS = ["channels.layers.InMemoryChannelLayer", f"{__name__}.OwnInMemoryLayer"]
OWN = f"{__name__}.TestLayer"
REDIS_CORE = "channels_redis.core.RedisChannelLayer"


async def from_a_view() -> None:
    await sync_to_async(publish)([MESSAGE])


async def from_a_thread() -> None:
    await asyncio.get_running_loop().run_in_executor(None, publish, [MESSAGE])


@pytest.mark.parametrize("call", [from_a_view, from_a_thread])
@pytest.mark.parametrize("backend", [*IN_PROCESS, OWN])
async def test_a_layer_that_may_share_more_is_used_on_the_loop_of_the_hub(
    settings: Any, sending_loop: Any, backend: str, call: Any
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    subscriptions = Subscriptions(lambda envelope: None)
    try:
        assert await sending_loop(call) is asyncio.get_running_loop()
    finally:
        await subscriptions.close()


async def test_a_redis_layer_is_used_on_the_loop_in_the_background(
    settings: Any, sending_loop: Any
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": REDIS_CORE}}
    subscriptions = Subscriptions(lambda envelope: None)
    try:
        loop = await sending_loop(from_a_view)
        assert loop is background_loop._background_thread().loop
    finally:
        await subscriptions.close()


@pytest.mark.parametrize("backend", [*IN_PROCESS, OWN])
async def test_so_is_any_layer_without_a_hub(
    settings: Any, sending_loop: Any, backend: str
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    await Subscriptions(lambda envelope: None).close()

    assert await sending_loop(from_a_view) is background_loop._background_thread().loop


@pytest.mark.parametrize("backend", IN_PROCESS)
def test_it_knows_a_subclass_of_the_layer_of_one_process(settings: Any, backend: str) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}

    assert sender.is_in_memory()


def test_a_layer_that_cannot_be_made_is_not_of_one_process(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "no.such.Layer"}}

    assert not sender.is_in_memory()


FORKING_PROGRAM = """
import asyncio, os, django
django.setup()
from channels.layers import get_channel_layer
from notifications.channel_layer.envelopes import EndSessions, Envelope
from notifications.channel_layer.sender import answers, publish
from notifications.channel_layer.subscriptions import Subscriptions
from notifications.protocol import CloseCode

async def group_send(group, message):
    if "sessions" in message:
        print("sent", message["sessions"], flush=True)

def send(name):
    publish([("group", Envelope(EndSessions([name], CloseCode.NORMAL)))])
    assert answers()  # behind it

async def serve():
    Subscriptions(lambda envelope: None)
    await asyncio.to_thread(send, "by the parent's hub")
    await asyncio.to_thread(fork)

def fork():
    if os.fork():
        os.wait()
    else:
        send("by the child")
        os._exit(0)

get_channel_layer().group_send = group_send
send("before a hub")
asyncio.run(serve())
"""


def test_a_fork_sends_on_a_loop_of_its_own() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FORKING_PROGRAM], capture_output=True, text=True, timeout=60
    )

    assert ended.stdout.splitlines() == [
        "sent ['before a hub']",
        'sent ["by the parent\'s hub"]',
        "sent ['by the child']",
    ]
    assert ended.returncode == 0


# --- The end of a process

PROGRAM = """
import asyncio, django
django.setup()
from channels.layers import get_channel_layer
from notifications.channel_layer.envelopes import EndSessions, Envelope
from notifications.channel_layer.sender import publish
from notifications.protocol import CloseCode

async def group_send(group, message):
    await asyncio.sleep({seconds})
    print("sent", *message["sessions"], flush=True)

get_channel_layer().group_send = group_send
for n in range(3):
    publish([("group", Envelope(EndSessions([str(n)], CloseCode.NORMAL)))])
"""


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        pytest.param(0.1, ["sent 0", "sent 1", "sent 2"], marks=pytest.mark.realtime),
        (3600, []),
    ],
)
def test_a_process_that_ends_sends_what_it_can(seconds: float, said: list[str]) -> None:
    program = PROGRAM.format(seconds=seconds)

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert ended.stdout.splitlines() == said
    assert "Traceback" not in ended.stderr
    assert "destroyed" not in ended.stderr
    assert ended.returncode == 0
