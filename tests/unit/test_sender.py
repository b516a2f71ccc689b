"""Sending to the channel layer: failures take little time and raise no errors."""

from __future__ import annotations

import asyncio
import json
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
from django.db import OperationalError
from django.test import Client
from redis import Redis

from harness.services import RedisServer, redis_server
from notifications import notify_accounts
from notifications.channel_layer import background_loop, sender, site
from notifications.channel_layer.addressing import for_accounts
from notifications.channel_layer.envelopes import (
    AccountFrame,
    AccountFrames,
    EndSessions,
)
from notifications.channel_layer.sender import PROBE_PAUSE_SECONDS, Breaker, breaker, publish
from notifications.channel_layer.site import Site, SiteReader
from notifications.channel_layer.subscriptions import Subscriptions
from notifications.protocol import CloseCode

CONTENT = EndSessions(["a"], CloseCode.NORMAL)
MESSAGE = ("group", CONTENT)
SENT = ("group", {"type": CONTENT.TYPE, **CONTENT.head()})


def opened(message: dict[str, Any]) -> dict[str, Any]:
    """Return what an envelope says, without its frames and the time."""
    if "signed" not in message:
        return message
    head = json.loads(message["signed"].partition("\n")[0])
    del head["sent_at"]
    return {"type": message["type"], **head}


class TestLayer(BaseChannelLayer):
    """A site's own layer that can freeze or fail."""

    __test__ = False

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.state = "works"
        self.down: set[str] = set()  # groups
        self.calls = 0
        self.concurrent = self.max_concurrent = 0
        self.sent: list[tuple[str, Any]] = []

    async def group_send(self, group: str, message: Any) -> None:
        self.calls += 1
        self.concurrent += 1
        self.max_concurrent = max(self.max_concurrent, self.concurrent)
        try:
            while self.state == "frozen":
                await asyncio.sleep(0.001)
            if self.state == "down" or group in self.down:
                raise ConnectionRefusedError(f"not sent: {message}")
            await asyncio.sleep(0)
            self.sent.append((group, opened(message)))
        finally:
            self.concurrent -= 1


@pytest.fixture
def own_layer(settings: Any) -> Iterator[TestLayer]:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.TestLayer"}}
    found = get_channel_layer()
    assert isinstance(found, TestLayer)
    yield found
    found.state = "works"
    settle()  # messages still being sent would hold up those of the next test
    breaker.succeeded()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Stop the breaker's clock; return a function that moves it on by some seconds."""
    now = time.monotonic()

    def move_on(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(sender, "time", SimpleNamespace(monotonic=lambda: now))
    return move_on


def set_timeouts(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(sender, "TIMEOUT_SECONDS", seconds)
    monkeypatch.setattr(sender, "PROBE_TIMEOUT_SECONDS", seconds)


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up on a layer quickly."""
    set_timeouts(monkeypatch, 0.05)


@pytest.fixture
def long_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up on no layer, even on a busy machine."""
    set_timeouts(monkeypatch, 30)


def wait_until(condition: Callable[[], Any]) -> None:
    """Wait until the background has done something."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.005)


def settle() -> None:
    """Wait until all published messages are sent or given up."""
    background_loop.run(asyncio.sleep(0), timeout=30)
    wait_until(lambda: not background_loop._started)


# --- A working layer


def test_messages_are_sent_in_the_order_of_the_calls(own_layer: TestLayer) -> None:
    messages = [(f"group{n}", CONTENT) for n in range(100)]

    for start in range(0, 100, 5):
        publish(messages[start : start + 5])

    wait_until(lambda: len(own_layer.sent) == 100)
    assert own_layer.sent == [(f"group{n}", SENT[1]) for n in range(100)]


def test_at_most_fifty_calls_run_at_a_time(own_layer: TestLayer) -> None:
    publish([MESSAGE] * 120)
    publish([MESSAGE] * 120)

    wait_until(lambda: len(own_layer.sent) == 240)
    assert (own_layer.calls, own_layer.max_concurrent) == (240, 50)


def test_without_a_database_nothing_is_sent_and_nothing_fails(
    own_layer: TestLayer, monkeypatch: pytest.MonkeyPatch, known_site: Site
) -> None:
    def fail() -> Site:
        raise OperationalError

    reader = SiteReader()
    monkeypatch.setattr(site, "reader", reader)
    monkeypatch.setattr(site, "read", fail)

    publish([MESSAGE])
    settle()
    assert own_layer.sent == []
    assert not breaker.is_open

    reader.learn(known_site)
    publish([MESSAGE])
    wait_until(lambda: own_layer.sent == [SENT])


def test_an_empty_list_of_messages_makes_no_call(own_layer: TestLayer) -> None:
    publish([])
    publish([MESSAGE])

    wait_until(lambda: own_layer.sent)
    assert own_layer.calls == 1


def test_a_message_is_sent_after_the_callers_event_loop_has_ended(own_layer: TestLayer) -> None:
    async def publish_and_end() -> None:
        await sync_to_async(publish)([MESSAGE])

    asyncio.run(publish_and_end())

    wait_until(lambda: own_layer.sent == [SENT])


def test_the_in_memory_layer_is_recognised(settings: Any, own_layer: TestLayer) -> None:
    assert not sender.is_in_memory()

    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    assert isinstance(get_channel_layer(), InMemoryChannelLayer)
    assert sender.is_in_memory()


# --- A failing layer


@pytest.mark.usefixtures("long_timeouts")
def test_publishing_does_not_wait_for_a_frozen_layer(own_layer: TestLayer) -> None:
    own_layer.state = "frozen"

    for _ in range(100):
        publish([MESSAGE])

    # All calls have returned, and the first message is still being sent.
    wait_until(lambda: own_layer.concurrent == 1)
    assert not breaker.is_open


@pytest.mark.usefixtures("clock", "short_timeouts")
@pytest.mark.parametrize("state", ["frozen", "down"])
def test_a_failing_layer_is_given_up_and_logged_once(
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
    assert own_layer.concurrent == 0
    # Without the message: it may be confidential.
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("notifications.channel_layer.sender", logging.WARNING)
    assert record.getMessage().startswith("Channel layer unavailable (")
    assert "not sent" not in caplog.text


@pytest.mark.usefixtures("long_timeouts")
def test_messages_published_during_a_send_are_sent_together(own_layer: TestLayer) -> None:
    own_layer.state = "frozen"
    publish([MESSAGE])
    wait_until(lambda: own_layer.concurrent == 1)
    accounts = [str(n) for n in range(100)]

    for account in accounts:
        publish(for_accounts(AccountFrames, [AccountFrame(account, "{}")]))
    own_layer.state = "works"

    settle()
    (_, (group, message)) = own_layer.sent
    assert group == "notifications.hubs"
    assert [account for (account,) in message["entries"]] == accounts


def test_messages_behind_a_frozen_one_are_given_up_with_it(own_layer: TestLayer) -> None:
    own_layer.state = "frozen"
    publish([MESSAGE])
    wait_until(lambda: own_layer.concurrent == 1)

    for _ in range(100):
        publish([MESSAGE])

    settle()
    assert not own_layer.sent


def test_probes_run_one_at_a_time_until_the_layer_answers_again(
    own_layer: TestLayer, clock: Callable[[float], None]
) -> None:
    def publish_five() -> None:
        for _ in range(5):
            publish([MESSAGE])
        settle()

    own_layer.state = "down"
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


def test_one_unreachable_server_does_not_hold_up_the_others(own_layer: TestLayer) -> None:
    own_layer.down = {"elsewhere"}

    publish([("elsewhere", CONTENT), MESSAGE])

    wait_until(lambda: breaker.is_open)
    assert own_layer.sent == [SENT]


@pytest.mark.usefixtures("short_timeouts")
def test_a_successful_probe_closes_the_breaker(
    own_layer: TestLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_layer.state = "frozen"
    publish([MESSAGE])
    wait_until(lambda: breaker.is_open)
    assert not sender.answers()
    assert breaker.is_open

    own_layer.state = "works"
    set_timeouts(monkeypatch, 30)

    assert sender.answers()
    publish([MESSAGE])
    wait_until(lambda: own_layer.sent[-1] == SENT)


@pytest.mark.parametrize("layers", [{}, {"default": {"BACKEND": "no.such.Layer"}}])
def test_a_missing_layer_raises_no_error(
    settings: Any, layers: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    settings.CHANNEL_LAYERS = layers

    publish([MESSAGE])

    wait_until(lambda: breaker.is_open)
    assert len(caplog.records) == 1
    assert not sender.answers()


# --- Notifying without a working layer


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.parametrize("state", ["frozen", "down"])
@pytest.mark.django_db(transaction=True)
def test_notifying_succeeds_and_stores_the_row_without_a_working_layer(
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


@pytest.mark.usefixtures("short_timeouts")
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

    set_timeouts(monkeypatch, 30)
    clock(PROBE_PAUSE_SECONDS)
    publish([MESSAGE])

    wait_until(lambda: not breaker.is_open)


def test_a_process_sends_all_messages_on_one_loop(monkeypatch: pytest.MonkeyPatch) -> None:
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
    """Return a function that returns the loop that a call is sent on."""
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
async def test_a_layer_not_known_to_be_safe_elsewhere_is_used_on_the_hubs_loop(
    settings: Any, sending_loop: Any, backend: str, call: Any
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    subscriptions = Subscriptions(lambda envelope: None)
    try:
        assert await sending_loop(call) is asyncio.get_running_loop()
    finally:
        await subscriptions.close()


async def test_a_redis_layer_is_used_on_the_background_loop(
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
async def test_without_a_hub_any_layer_is_used_on_the_background_loop(
    settings: Any, sending_loop: Any, backend: str
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    await Subscriptions(lambda envelope: None).close()

    assert await sending_loop(from_a_view) is background_loop._background_thread().loop


@pytest.mark.parametrize("backend", IN_PROCESS)
def test_a_subclass_of_the_in_memory_layer_is_recognised(settings: Any, backend: str) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}

    assert sender.is_in_memory()


def test_a_layer_that_cannot_be_created_is_not_in_memory(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "no.such.Layer"}}

    assert not sender.is_in_memory()


FORKING_PROGRAM = """
import asyncio, json, os, django
django.setup()
from channels.layers import get_channel_layer
from notifications.channel_layer import site
from notifications.channel_layer.envelopes import EndSessions
from notifications.channel_layer.sender import answers, publish
from notifications.channel_layer.subscriptions import Subscriptions
from notifications.protocol import CloseCode

async def group_send(group, message):
    if "signed" in message:
        print("sent", json.loads(message["signed"])["sessions"], flush=True)

def send(name):
    publish([("group", EndSessions([name], CloseCode.NORMAL))])
    assert answers()  # after the message

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

site.read = lambda: site.Site("a", 0)
get_channel_layer().group_send = group_send
send("before a hub")
asyncio.run(serve())
"""


def test_a_forked_process_sends_on_its_own_loop() -> None:
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
import asyncio, json, django
django.setup()
from channels.layers import get_channel_layer
from notifications.channel_layer import site
from notifications.channel_layer.envelopes import EndSessions
from notifications.channel_layer.sender import publish
from notifications.protocol import CloseCode

async def group_send(group, message):
    await asyncio.sleep({seconds})
    print("sent", *json.loads(message["signed"])["sessions"], flush=True)

site.read = lambda: site.Site("a", 0)
get_channel_layer().group_send = group_send
for n in range(3):
    publish([("group", EndSessions([str(n)], CloseCode.NORMAL))])
"""


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param(0.1, ["sent 0", "sent 1", "sent 2"], marks=pytest.mark.realtime),
        (3600, []),
    ],
)
def test_an_exiting_process_sends_what_it_can_within_two_seconds(
    seconds: float, expected: list[str]
) -> None:
    program = PROGRAM.format(seconds=seconds)

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert ended.stdout.splitlines() == expected
    assert "Traceback" not in ended.stderr
    assert "destroyed" not in ended.stderr
    assert ended.returncode == 0


def test_the_last_thing_that_a_process_does_is_sent_though_it_knows_no_site_yet() -> None:
    slow = "(time.sleep(0.3), site.Site('a', 0))[1]"
    program = PROGRAM.format(seconds=0).replace('site.Site("a", 0)', slow)

    ended = subprocess.run(
        [sys.executable, "-c", f"import time{program}"], capture_output=True, text=True
    )

    assert ended.stdout.splitlines() == ["sent 0", "sent 1", "sent 2"]
    assert "Traceback" not in ended.stderr


def test_the_last_thing_that_a_process_does_reaches_a_redis_that_is_given_by_name() -> None:
    by_name = """
from django.conf import settings
settings.CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": ["redis://localhost:PORT"]},
    }
}
from notifications.channel_layer import site
from notifications.channel_layer.envelopes import EndSessions
from notifications.channel_layer.sender import publish
from notifications.protocol import CloseCode

site.read = lambda: site.Site("a", 0)
publish([("group", EndSessions(["last words"], CloseCode.NORMAL))])
"""
    with redis_server() as server, Redis(port=server.port).pubsub() as listener:
        listener.psubscribe("*")
        assert listener.get_message(timeout=10)["type"] == "psubscribe"

        program = "import django\ndjango.setup()" + by_name.replace("PORT", str(server.port))
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

        assert b"last words" in listener.get_message(timeout=10)["data"]
    assert ended.stderr == ""
