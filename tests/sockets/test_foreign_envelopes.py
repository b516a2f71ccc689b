"""
What a stranger, or another site on the same Redis, sends over the channel layer: it shows nothing,
hides nothing, and closes nothing. Only live updates can arrive here, the check comes too late.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.test import override_settings

from harness.services import redis_server
from notifications import anotify_accounts, broadcast, protocol
from notifications.channel_layer.envelopes import (
    AccountFrame,
    AccountFrames,
    Batch,
    BroadcastUpdate,
    ChangedAccount,
    ChangedAccounts,
    CloseConnections,
    EndSessions,
    LiveUpdate,
    LiveUpdates,
    PlainFrame,
    dump,
)
from notifications.channel_layer.replays import MAX_AGE_SECONDS
from notifications.hub.hub import get_hub, stop_hub
from notifications.protocol import HUBS_GROUP, CloseCode, account_group, account_message

LAYERS = [
    "channels_redis.pubsub.RedisPubSubChannelLayer",
    "channels_redis.core.RedisChannelLayer",
    "channels.layers.InMemoryChannelLayer",
]
FAR = 10**17
TEXT = protocol.encode(protocol.frame("forged", "CLINIC: your result"))


@pytest.fixture(scope="module")
def redis():
    with redis_server() as server:
        yield server


@pytest.fixture(params=LAYERS)
def layer(request, redis, settings):
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = 3600
    settings.NOTIFICATIONS_HEARTBEAT_TIMEOUT = 7200
    config = {} if "InMemory" in request.param else {"hosts": [redis.url]}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": request.param, "CONFIG": config}}
    return get_channel_layer()


@pytest.fixture
async def tab(layer, connect, alice):
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    return tab


def connection():
    """Return the tab's connection as its hub has it."""
    (connection,) = get_hub()._connections.values()
    return connection


def attacks(account):
    """Return what shows, hides or closes something if a hub takes it."""
    now, yesterday = datetime.now(UTC), datetime.now(UTC) - timedelta(days=1)
    return [
        LiveUpdates([LiveUpdate(account, 1, 1, 1, None, None, TEXT)]),
        LiveUpdates([LiveUpdate(account, 1, FAR, 0, None, None, TEXT)]),
        LiveUpdates([LiveUpdate(account, FAR, FAR, 0, None, None, TEXT)]),
        BroadcastUpdate(1, "everyone", now, False, TEXT),
        BroadcastUpdate(1, "everyone", yesterday, False, TEXT),
        BroadcastUpdate(1, "nobody", now, False, TEXT),
        BroadcastUpdate(FAR, "everyone", now, True, TEXT),
        AccountFrames([AccountFrame(account, TEXT)]),
        PlainFrame(TEXT),
        EndSessions(connection().session.names, CloseCode.NOT_LOGGED_IN),
        CloseConnections([connection().id], CloseCode.EVICTED),
        ChangedAccounts([ChangedAccount(account)]),
    ]


def unsigned(content, site):
    """As releases before signatures sent it, and as anybody can."""
    fields = content.head()
    if isinstance(content, Batch):
        fields = {"entries": [entry._asdict() for entry in content.entries]}
    elif isinstance(content, PlainFrame):
        fields = {"frame": {"type": "forged"}}
    elif frames := content.frames():
        fields["text"] = frames[0]
    return {"type": content.TYPE, "v": 1, "id": "a", **fields}


def of_another_site(content, site):
    return dump(content, site._replace(name="the clinic"))


def with_another_key(content, site):
    with override_settings(SECRET_KEY="key of the clinic"):
        return dump(content, site)


def with_another_text(content, site):
    message = dump(content, site)
    return {**message, "signed": message["signed"] + " "}


def recorded(content, site):
    """As it was sent a minute ago."""
    return dump(content, site._replace(offset=site.offset - MAX_AGE_SECONDS - 1))


FORGERIES = [unsigned, of_another_site, with_another_key, with_another_text, recorded]


async def assert_unharmed(tab, alice):
    """The tab got nothing, and what is its own arrives next."""
    await anotify_accounts(alice, "hello", "own")
    await sync_to_async(broadcast)("news", "own")

    frames = [await tab.receive_frame() for _ in range(2)]
    assert sorted(frame["type"] for frame in frames) == ["hello", "news"]
    await tab.send_to(text_data='{"type":"heartbeat"}')
    counts = await tab.receive_frame()
    assert (counts["seq"], counts["broadcast_seq"]) == (1, 1)
    assert (counts["unread"], counts["unread_broadcasts"]) == (1, 1)
    assert await tab.receive_rest() == []


@pytest.mark.parametrize("forge", FORGERIES)
async def test_what_this_site_did_not_send_now_does_nothing(
    tab, layer, alice, forge, known_site, monkeypatch, caplog
):
    rechecked = []
    check = get_hub()._session_check
    monkeypatch.setattr(check, "recheck_soon", lambda found: rechecked.extend(found))

    for content in attacks(str(alice.pk)):
        for group in (HUBS_GROUP, account_group(alice.pk)):
            await layer.group_send(group, forge(content, known_site))

    await assert_unharmed(tab, alice)
    assert rechecked == []
    assert check._ended == {}
    assert "CLINIC" not in caplog.text


async def test_a_replayed_frame_is_shown_once(tab, layer, alice, bob, connect):
    bobs_tab = await connect(bob)
    await bobs_tab.receive_until_caught_up()
    message = account_message({"type": "progress"})

    # To other accounts as well, for whom it never was.
    for account in (alice, alice, bob):
        await layer.group_send(account_group(account.pk), message)

    assert (await tab.receive_frame())["type"] == "progress"
    assert await tab.receive_rest() == []
    assert await bobs_tab.receive_rest() == []


async def test_many_envelopes_in_between_make_no_replay_possible(tab, layer, alice, known_site):
    account = str(alice.pk)
    message = dump(AccountFrames([AccountFrame(account, TEXT)]), known_site)
    await layer.group_send(HUBS_GROUP, message)
    assert (await tab.receive_frame())["type"] == "forged"

    replays = get_hub()._subscriptions._replays
    for number in range(20_000):
        assert replays.refusal(known_site, str(number), known_site.now(), False) is None
    await layer.group_send(HUBS_GROUP, message)

    await assert_unharmed(tab, alice)


async def test_a_command_is_obeyed_once(tab, layer, alice, known_site, monkeypatch):
    rechecked = []
    monkeypatch.setattr(get_hub()._session_check, "recheck_soon", rechecked.append)
    message = dump(ChangedAccounts([ChangedAccount(str(alice.pk))]), known_site)

    for _ in range(3):
        await layer.group_send(HUBS_GROUP, message)

    await assert_unharmed(tab, alice)
    assert len(rechecked) == 1


async def test_a_new_hub_shows_nothing_that_was_sent_to_the_one_before(
    tab, layer, alice, connect, known_site
):
    message = dump(AccountFrames([AccountFrame(str(alice.pk), TEXT)]), known_site)
    await layer.group_send(HUBS_GROUP, message)
    assert (await tab.receive_frame())["type"] == "forged"
    await stop_hub()
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    await layer.group_send(HUBS_GROUP, message)

    await assert_unharmed(tab, alice)


async def test_a_numbered_envelope_that_is_repeated_does_nothing(tab, layer, alice, known_site):
    await anotify_accounts(alice, "hello", "own")
    await sync_to_async(broadcast)("news", "own")
    for _ in range(2):
        await tab.receive_frame()
    now = datetime.now(UTC)

    for content in (
        LiveUpdates([LiveUpdate(str(alice.pk), 1, 1, 1, None, None, TEXT)]),
        BroadcastUpdate(1, "everyone", now, False, TEXT),
    ):
        for _ in range(2):
            await layer.group_send(HUBS_GROUP, dump(content, known_site))

    assert await tab.receive_rest() == []


async def test_a_site_that_rotates_its_secret_key_keeps_its_live_updates(
    tab, layer, alice, known_site, settings
):
    # As a process sends it that has the former key.
    message = dump(AccountFrames([AccountFrame(str(alice.pk), TEXT)]), known_site)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "the new key"

    await layer.group_send(HUBS_GROUP, message)
    await anotify_accounts(alice, "hello", "with the new key")

    assert [(await tab.receive_frame())["type"] for _ in range(2)] == ["forged", "hello"]


@pytest.mark.parametrize("seconds", [-40, 40])
async def test_a_process_whose_estimate_of_the_time_is_wrong_is_heard(
    tab, layer, alice, known_site, seconds, connect
):
    # A hub takes nothing of before it opened, so this one opened earlier.
    get_hub()._subscriptions._replays._complete_since -= MAX_AGE_SECONDS
    sender = known_site._replace(offset=known_site.offset + seconds)

    await layer.group_send(
        HUBS_GROUP, dump(AccountFrames([AccountFrame(str(alice.pk), TEXT)]), sender)
    )

    assert (await tab.receive_frame())["type"] == "forged"


async def test_foreign_envelopes_are_logged_once_a_minute_and_not_quoted(
    tab, layer, alice, known_site, caplog
):
    for _ in range(500):
        for content in (AccountFrames([AccountFrame(str(alice.pk), TEXT)]), PlainFrame(TEXT)):
            await layer.group_send(HUBS_GROUP, of_another_site(content, known_site))
            await layer.group_send(HUBS_GROUP, unsigned(content, known_site))
    await assert_unharmed(tab, alice)
    await stop_hub()

    first, second = [record.getMessage() for record in caplog.records if record.levelno >= 30]
    for count in (
        "notifications.frames (not signed by this site)",
        "notifications.frame (not signed by this site)",
        "notifications.frames (unsigned)",
        "notifications.frame (unsigned: send notifications.protocol.account_message)",
    ):
        assert count in f"{first} {second}"
    assert "CLINIC" not in caplog.text


async def test_plain_frames_are_shown_where_the_site_accepts_them(tab, layer, alice, settings):
    settings.NOTIFICATIONS_ACCEPT_UNSIGNED = True

    await layer.group_send(
        account_group(alice.pk), {"type": "notifications.frame", "frame": {"type": "progress"}}
    )

    assert (await tab.receive_frame())["type"] == "progress"
