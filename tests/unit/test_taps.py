"""Known channel layers are tapped; all others are read by their public calls."""

from __future__ import annotations

import logging
from collections import UserDict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer, get_channel_layer

from notifications import adapters
from notifications.channel_layer import taps
from notifications.channel_layer.readers import Readers
from notifications.channel_layer.taps import ADAPTERS, TAPS, check_taps, open_sources

Use = Callable[[str], Any]
OWN = "tests.sockets.layers.OwnLayer"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a new process."""
    for adapter in ADAPTERS.values():
        monkeypatch.setattr(adapter, "_reason", None)
    taps._warn_once.cache_clear()
    yield
    taps._warn_once.cache_clear()


@pytest.fixture
def use(settings: Any) -> Use:
    def use(backend: str) -> Any:
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
        return get_channel_layer()

    return use


def take(account: str | None, message: object) -> None:
    raise AssertionError("nothing is sent here")


async def kind_of_sources(layer: Any) -> type[Any]:
    sources = await open_sources(layer, take)
    await sources.close()
    return type(sources)


@pytest.mark.parametrize("backend", TAPS)
async def test_the_layers_of_channels_and_channels_redis_are_tapped(
    use: Use, caplog: pytest.LogCaptureFixture, backend: str
) -> None:
    assert await kind_of_sources(use(backend)) is TAPS[backend]
    assert "W029" not in caplog.text
    assert check_taps() == []


@pytest.mark.parametrize(
    "name",
    ["OwnLayer", "SealingInMemoryLayer", "SealingCoreLayer", "SealingPubSubLayer"],
)
async def test_any_other_layer_is_read_by_public_calls_and_named_in_one_warning(
    use: Use, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    path = f"tests.sockets.layers.{name}"
    layer = use(path)

    assert await kind_of_sources(layer) is Readers
    assert await kind_of_sources(layer) is Readers
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert path in record.getMessage()
    assert "notifications.W029" in record.getMessage()
    (warning,) = check_taps()
    assert warning.id == "notifications.W029"
    assert path in warning.msg


@pytest.mark.parametrize("backend", TAPS)
@pytest.mark.parametrize("version", ["4.20", "5.0", "4.1", "dev"])
async def test_an_untested_version_is_read_by_public_calls(
    use: Use,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    version: str,
) -> None:
    installed = {"channels": version, "channels_redis": version}
    monkeypatch.setattr(adapters, "installed_version", installed.get)
    layer = use(backend)

    assert await kind_of_sources(layer) is Readers
    assert await kind_of_sources(layer) is Readers
    (record,) = caplog.records
    project = backend.partition(".")[0]
    assert f"{project} {version}" in record.getMessage()
    (warning,) = check_taps()
    assert warning.id == "notifications.W029"
    assert f"{project} {version}" in warning.msg


@pytest.mark.parametrize(
    ("backend", "attribute"),
    [
        ("channels.layers.InMemoryChannelLayer", "channels"),
        ("channels_redis.pubsub.RedisPubSubChannelLayer", "channels"),
        ("channels_redis.core.RedisChannelLayer", "receive_buffer"),
    ],
)
async def test_a_layer_with_different_parts_is_read_by_public_calls(
    use: Use, caplog: pytest.LogCaptureFixture, backend: str, attribute: str
) -> None:
    layer = use(backend)
    setattr(layer, attribute, UserDict())

    assert await kind_of_sources(layer) is Readers
    (record,) = caplog.records
    assert f"{attribute} is of type UserDict" in record.getMessage()


async def test_a_layer_that_raises_an_error_when_inspected_is_read_by_public_calls(
    use: Use, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = use("channels_redis.core.RedisChannelLayer")

    async def new_channel() -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(layer, "new_channel", new_channel)

    assert await kind_of_sources(layer) is Readers
    (record,) = caplog.records
    assert "RedisChannelLayer raises ZeroDivisionError" in record.getMessage()


async def test_data_that_the_layer_did_not_write_is_passed_on_as_none(use: Use) -> None:
    layer = use("channels_redis.pubsub.RedisPubSubChannelLayer")
    taken: list[object] = []
    sources = await open_sources(layer, lambda account, message: taken.append(message))

    sources.take("1", b"\xff not msgpack")  # type: ignore[attr-defined]

    assert taken == [None]


@pytest.mark.parametrize("layers", [{}, {"default": {}}, {"default": {"BACKEND": "no.such.Layer"}}])
def test_the_check_ignores_a_missing_layer(settings: Any, layers: dict[str, Any]) -> None:
    settings.CHANNEL_LAYERS = layers

    assert check_taps() == []


def test_a_layer_created_by_a_function_is_checked_too(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.make_layer"}}

    (warning,) = check_taps()
    assert f"{__name__}.make_layer" in warning.msg


def make_layer() -> InMemoryChannelLayer:
    return InMemoryChannelLayer()
