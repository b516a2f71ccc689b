"""Envelopes of other releases and malformed ones: what tabs receive of them."""

from __future__ import annotations

import json
import logging

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer

from notifications import anotify_accounts, broadcast, protocol
from notifications.channel_layer import sender, summary_log
from notifications.channel_layer.addressing import for_hubs
from notifications.channel_layer.envelopes import EndSessions, dump
from notifications.hub.hub import stop_hub
from notifications.hub.session_check import SessionCheck
from notifications.protocol import CloseCode

SECRET = "for alice's eyes only"


@pytest.fixture
async def tab(connect, alice, settings):
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = 3600  # the check sends nothing
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    return tab


@pytest.fixture
def changed_messages(monkeypatch):
    """Return a function that has every message changed before it is sent."""

    def change_by(change):
        monkeypatch.setattr(sender.envelopes, "dump", lambda envelope: change(dump(envelope)))

    return change_by


async def send(message):
    await get_channel_layer().group_send(protocol.HUBS_GROUP, message)


@pytest.mark.parametrize("missing", ["first", "unread", "unread_broadcasts", "counted_at"])
async def test_a_live_update_of_an_older_release_arrives(tab, alice, changed_messages, missing):
    def change(message):
        for entry in message["entries"]:
            del entry[missing]
        return message

    changed_messages(change)

    await anotify_accounts(alice, "hello", SECRET)

    assert (await tab.receive("hello"))["seq"] == 1
    await tab.send_to(text_data='{"type":"heartbeat"}')
    assert (await tab.receive("heartbeat"))["unread"] == 1


async def test_a_live_update_of_a_newer_release_arrives(tab, alice, changed_messages):
    changed_messages(lambda message: {**message, "site": "shop", "sent_at": 12})

    await anotify_accounts(alice, "hello", SECRET)
    await sync_to_async(broadcast)("news", "for all")

    assert {(await tab.receive_frame())["type"] for _ in range(2)} == {"hello", "news"}


@pytest.mark.parametrize("kind", ["notifications.push", "notifications.frames"])
@pytest.mark.parametrize(
    "malformed",
    [
        {"account": None},
        {"account": [SECRET]},
        {"text": None},
        {"text": f"{SECRET}\ud800"},
        {"text": SECRET.encode()},
    ],
)
async def test_entries_beside_a_malformed_one_arrive(tab, alice, caplog, kind, malformed):
    text = json.dumps({"type": "typing", "content": {"body": SECRET, "meta_data": ""}})
    entry = {"account": str(alice.pk), "text": text, "first": 1, "seq": 1}
    entry |= {"unread": 1, "unread_broadcasts": None, "counted_at": None}

    await send({"type": kind, "entries": [SECRET, {**entry, **malformed}, entry]})

    assert (await tab.receive_frame())["type"] == "typing"
    assert await tab.receive_rest() == []
    assert [record.getMessage() for record in caplog.records] == [
        f"Ignored on the channel layer: 1 × {kind} (malformed)"
    ]


@pytest.mark.parametrize(
    "message",
    [
        {"type": "notifications.push"},
        {"type": "notifications.push", "entries": SECRET},
        {"type": "notifications.push", "entries": [], "id": [SECRET], "v": SECRET},
        {"type": "notifications.frames", "entries": {SECRET: 1}},
        {"type": "notifications.frame", "frame": SECRET},
        {"type": "notifications.look", "entries": 5},
        {"type": "notifications.broadcast", "text": SECRET},
        {"type": "notifications.broadcast", "seq": 1, "audience": [], "created_at": SECRET},
        {"type": "notifications.end", "sessions": None, "code": SECRET},
        {"type": "notifications.close", "connections": [SECRET], "code": SECRET},
        {"type": SECRET},
        {"type": [SECRET]},
        {SECRET: SECRET},
    ],
)
async def test_malformed_envelopes_are_ignored_and_not_quoted(tab, alice, caplog, message):
    await send(message)
    await anotify_accounts(alice, "hello", "the next one")

    assert (await tab.receive_frame())["content"]["body"] == "the next one"
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.name == summary_log.__name__
    assert SECRET not in caplog.text


async def test_thousands_of_unknown_envelopes_are_logged_once_a_minute(tab, caplog):
    for number in range(1000):
        await send({"type": "shop.hello", "body": SECRET})
        await send({"type": f"shop.hello{number}"})
    await stop_hub()  # before the minute is over

    first, second = (record.getMessage() for record in caplog.records)
    assert first == "Ignored on the channel layer: 1 × shop.hello (unknown)"
    assert "999 × shop.hello (unknown), 991 × others, 1 × shop.hello0 (unknown)" in second


async def test_an_internal_error_is_logged_without_any_content(tab, alice, caplog, monkeypatch):
    def fail(self, names, code):
        raise ZeroDivisionError(names)

    monkeypatch.setattr(SessionCheck, "end", fail)

    await send(dump(for_hubs(EndSessions([SECRET], CloseCode.NORMAL))[1]))
    await anotify_accounts(alice, "hello", "the next one")

    assert await tab.receive("hello")
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "Failed to handle notifications.end: ZeroDivisionError" in record.getMessage()
    assert "in _end_sessions" in record.getMessage()
    assert SECRET not in caplog.text
