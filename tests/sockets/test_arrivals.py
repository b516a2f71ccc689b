"""Envelopes of other releases and malformed ones: what tabs receive of them."""

from __future__ import annotations

import json
import logging

import pytest
from channels.layers import get_channel_layer

from notifications import anotify_accounts, protocol
from notifications.channel_layer import summary_log
from notifications.channel_layer.envelopes import AccountFrames, EndSessions, LiveUpdates, dump
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


async def send(message, group=protocol.HUBS_GROUP):
    await get_channel_layer().group_send(group, message)


@pytest.mark.parametrize("spoilt", [[], [5], [[SECRET]], SECRET, None])
@pytest.mark.parametrize("kind", [LiveUpdates, AccountFrames])
async def test_entries_beside_a_malformed_one_arrive(
    tab, alice, caplog, monkeypatch, known_site, kind, spoilt
):
    text = json.dumps({"type": "typing", "content": {"body": SECRET, "meta_data": ""}})
    account = str(alice.pk)
    entry = (account, 1, 1, 1, None, None) if kind is LiveUpdates else (account,)
    monkeypatch.setattr(kind, "head", lambda self: {"entries": [spoilt, entry, [account, spoilt]]})
    monkeypatch.setattr(kind, "frames", lambda self: [text, text])

    await send(dump(kind([]), known_site))

    assert (await tab.receive_frame())["type"] == "typing"
    assert await tab.receive_rest() == []
    (line,) = (record.getMessage() for record in caplog.records)
    assert line == f"Ignored on the channel layer: 1 × {kind.TYPE} (malformed)"


async def test_an_envelope_of_a_release_that_did_not_sign_is_ignored(
    tab, alice, caplog, monkeypatch
):
    text = json.dumps({"type": "hello", "content": {"body": SECRET, "meta_data": ""}, "seq": 1})
    entry = {"account": str(alice.pk), "first": 1, "seq": 1, "text": text, "counted_at": None}
    older = {"type": "notifications.push", "v": 1, "id": "a", "entries": [entry]}
    await send(older)
    assert await tab.receive_rest() == []
    assert "1 × notifications.push (unsigned)" in caplog.text


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


async def test_an_internal_error_is_logged_without_any_content(
    tab, alice, caplog, monkeypatch, known_site
):
    def fail(self, names, code):
        raise ZeroDivisionError(names)

    monkeypatch.setattr(SessionCheck, "end", fail)

    await send(dump(EndSessions([SECRET], CloseCode.NORMAL), known_site))
    await anotify_accounts(alice, "hello", "the next one")

    assert await tab.receive("hello")
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "Failed to handle notifications.end: ZeroDivisionError" in record.getMessage()
    assert "in _end_sessions" in record.getMessage()
    assert SECRET not in caplog.text
