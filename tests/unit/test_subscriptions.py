"""A hub joins, leaves and rejoins its groups, even when the channel layer fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from channels.layers import get_channel_layer

from notifications import protocol
from notifications.channel_layer import site
from notifications.channel_layer import subscriptions as module
from notifications.channel_layer.envelopes import AccountFrame, AccountFrames, Content, dump
from notifications.channel_layer.subscriptions import Subscriptions
from tests.sockets.layers import OwnLayer

LAYERS = [
    "channels.layers.InMemoryChannelLayer",
    "tests.sockets.layers.OwnLayer",
    "tests.sockets.layers.FailingLayer",
    "tests.sockets.layers.SealingInMemoryLayer",
]


class Hub(Subscriptions):
    """Subscriptions that keep what they receive."""

    def __init__(self) -> None:
        super().__init__(self.keep)
        self.texts: list[str] = []

    def keep(self, content: Content) -> None:
        assert isinstance(content, AccountFrames)
        self.texts += [text for _, text in content.entries]

    async def wait_for(self, *texts: str) -> None:
        async with asyncio.timeout(30):
            while len(self.texts) < len(texts):
                await asyncio.sleep(0.001)
        assert sorted(self.texts) == sorted(texts)
        self.texts.clear()


class SlowLayer(OwnLayer):
    """Each call waits while `is_open` is cleared, and fails during an outage."""

    def __init__(self) -> None:
        super().__init__()
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.is_down = False
        self.calls = 0

    async def _wait(self) -> None:
        self.calls += 1
        await self.is_open.wait()
        if self.is_down:
            raise ConnectionRefusedError

    async def new_channel(self) -> str:
        await self._wait()
        return await super().new_channel()

    async def group_add(self, group: str, channel: str) -> None:
        await self._wait()
        await super().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await self._wait()
        await super().group_discard(group, channel)


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest, settings: Any) -> Any:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": request.param}}
    return get_channel_layer()


@pytest.fixture
async def slow_layer(settings: Any) -> SlowLayer:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.SlowLayer"}}
    layer: Any = get_channel_layer()
    return layer


@pytest.fixture
async def open_hub(settings: Any) -> AsyncIterator[Callable[[], Any]]:
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = 0.01
    hubs = []

    async def open_hub() -> Hub:
        hub = Hub()
        hubs.append(hub)
        await hub.open()
        return hub

    yield open_hub
    for hub in hubs:
        await hub.close()


def message(account: str, text: str) -> dict[str, Any]:
    return dump(AccountFrames([AccountFrame(account, text)]), site.reader.known())


def members(layer: Any) -> dict[str, int]:
    """Return the number of channels in each group that has any."""
    return {group: len(channels) for group, channels in layer.groups.items() if channels}


async def test_messages_to_joined_groups_arrive(layer: Any, open_hub: Any) -> None:
    hub = await open_hub()
    for account in ("1", "2"):
        await hub.join(account)

    await layer.group_send("account_1", message("1", "own group"))
    await layer.group_send(protocol.HUBS_GROUP, message("2", "group of all hubs"))
    await layer.group_send("account_3", message("3", "not joined"))
    await layer.group_send(protocol.HUBS_GROUP, message("3", "not here"))
    await layer.group_send("account_2", protocol.account_message({"type": "plain"}))

    await hub.wait_for("own group", "group of all hubs", '{"type":"plain"}')


async def test_a_group_can_be_left_and_joined_again(layer: Any, open_hub: Any) -> None:
    hub = await open_hub()
    await hub.join("1")
    await hub.leave("1")
    assert set(members(layer)) == {protocol.HUBS_GROUP}

    await layer.group_send("account_1", message("1", "left"))
    await hub.join("1")
    await layer.group_send("account_1", message("1", "joined"))

    await hub.wait_for("joined")


async def test_a_closed_hub_leaves_nothing_behind(layer: Any, open_hub: Any) -> None:
    before = asyncio.all_tasks()
    hub = await open_hub()
    for account in range(100):
        await hub.join(str(account))
    assert len(members(layer)) == 101

    await hub.close()

    assert members(layer) == {}
    assert asyncio.all_tasks() == before
    assert getattr(layer, "channels", {}) == {}


async def test_simultaneous_joins_add_an_account_to_its_group_once(
    layer: Any, open_hub: Any
) -> None:
    hub = await open_hub()

    await asyncio.gather(*(hub.join("1") for _ in range(50)))

    assert members(layer) == {protocol.HUBS_GROUP: 1, "account_1": 1}
    await layer.group_send("account_1", protocol.account_message({"type": "a"}))
    await hub.wait_for('{"type":"a"}')


async def test_simultaneous_joins_add_an_account_to_its_group_once_with_a_slow_layer(
    slow_layer: SlowLayer, open_hub: Any
) -> None:
    hub = await open_hub()
    slow_layer.is_open.clear()
    joining = [asyncio.create_task(hub.join("1")) for _ in range(50)]
    await asyncio.sleep(0.01)
    slow_layer.is_open.set()
    await asyncio.gather(*joining)

    assert len(slow_layer.queues) == 2
    assert members(slow_layer) == {protocol.HUBS_GROUP: 1, "account_1": 1}


async def test_thousands_of_accounts_join_concurrently(
    slow_layer: SlowLayer, open_hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 60)  # the machine may be busy
    hub = await open_hub()
    slow_layer.is_open.clear()
    joining = [asyncio.create_task(hub.join(str(account))) for account in range(5000)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert slow_layer.calls >= 5000  # each has called, and none has been answered
    slow_layer.is_open.set()
    await asyncio.gather(*joining)

    for account in range(5000):
        await slow_layer.group_send(f"account_{account}", message(str(account), str(account)))
    await hub.wait_for(*map(str, range(5000)))


async def test_forgotten_groups_are_joined_again(layer: Any, open_hub: Any) -> None:
    hub = await open_hub()
    await hub.join("1")
    layer.groups.clear()

    await hub.step()

    await layer.group_send("account_1", message("1", "again"))
    await hub.wait_for("again")


async def test_a_flushed_in_memory_layer_is_tapped_again(settings: Any, open_hub: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": LAYERS[0]}}
    layer: Any = get_channel_layer()
    hub = await open_hub()
    await hub.join("1")
    await layer.flush()

    await hub.step()

    await layer.group_send("account_1", message("1", "again"))
    await hub.wait_for("again")


async def test_joins_and_leaves_during_an_outage_are_made_up_for(
    slow_layer: SlowLayer, open_hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)
    hub = await open_hub()
    await hub.join("left")
    slow_layer.is_down = True
    await hub.join("first")  # notices the outage
    calls = slow_layer.calls
    await hub.join("second")
    await hub.join("third")
    await hub.leave("third")
    await hub.leave("left")
    assert slow_layer.calls == calls

    await hub.step()
    slow_layer.is_down = False
    await hub.step()

    assert set(members(slow_layer)) == {protocol.HUBS_GROUP, "account_first", "account_second"}


async def test_an_account_that_leaves_while_it_joins_ends_up_in_no_group(
    slow_layer: SlowLayer, open_hub: Any
) -> None:
    hub = await open_hub()
    slow_layer.is_open.clear()
    joining = asyncio.create_task(hub.join("1"))
    await asyncio.sleep(0)
    leaving = asyncio.create_task(hub.leave("1"))
    await asyncio.sleep(0)
    slow_layer.is_open.set()
    await joining
    await leaving

    await hub.step()

    assert set(members(slow_layer)) == {protocol.HUBS_GROUP}


async def test_an_account_that_leaves_and_rejoins_while_it_joins_ends_up_in_its_group(
    slow_layer: SlowLayer, open_hub: Any
) -> None:
    hub = await open_hub()
    slow_layer.is_open.clear()
    calls = [hub.join("1"), hub.leave("1"), hub.join("1")]
    tasks = []
    for call in calls:
        tasks.append(asyncio.create_task(call))
        await asyncio.sleep(0)
    slow_layer.is_open.set()
    await asyncio.gather(*tasks)

    await hub.step()

    assert members(slow_layer) == {protocol.HUBS_GROUP: 1, "account_1": 1}
    await slow_layer.group_send("account_1", message("1", "back"))
    await hub.wait_for("back")


async def test_a_join_that_timed_out_is_tried_again(
    slow_layer: SlowLayer, open_hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.01)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)
    hub = await open_hub()
    slow_layer.is_open.clear()
    await asyncio.gather(hub.join("1"), hub.join("1"))
    slow_layer.is_open.set()

    await hub.step()

    await slow_layer.group_send("account_1", message("1", "joined at last"))
    await hub.wait_for("joined at last")
    assert members(slow_layer)["account_1"] == 1


async def test_a_missing_layer_raises_no_error(
    settings: Any, open_hub: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "no.such.Layer"}}

    hub = await open_hub()
    await hub.join("1")
    await hub.leave("1")

    assert "no.such.Layer" in caplog.text
