"""Frames that are larger than a connection takes, and states of very many items."""

from __future__ import annotations

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer

from notifications import anotify_accounts, broadcast, protocol
from notifications.audiences import Recipient
from notifications.conf import conf
from notifications.inbox import marks
from notifications.inbox.pages import read_latest
from notifications.lifecycle import numbering
from notifications.lifecycle.publishing import IDS_PER_FRAME
from notifications.models import Broadcast, Notification

LONG = "x" * 2**20


def write_long_notification(account):
    Notification.objects.create(account=account, type="hello", body=LONG)
    numbering.number_and_publish([account.pk], "default")


def write_long_broadcast(account):
    Broadcast.objects.create(type="news", body=LONG)
    numbering.number_broadcasts("default")


@pytest.mark.parametrize("write_long", [write_long_notification, write_long_broadcast])
async def test_a_frame_above_the_limit_reaches_open_tabs_as_a_resync(connect, alice, write_long):
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    await sync_to_async(write_long)(alice)

    resync = await tab.receive("resync")
    latest = await sync_to_async(lambda: read_latest(Recipient.of(alice)))()
    assert {**resync, **latest.position.as_dict()} == resync
    await anotify_accounts(alice, "hello", "Short")
    await sync_to_async(broadcast)("news", "Short as well")
    assert (await tab.receive("hello"))["content"]["body"] == "Short"
    assert (await tab.receive("news"))["content"]["body"] == "Short as well"


@pytest.mark.parametrize("write_long", [write_long_notification, write_long_broadcast])
async def test_a_tab_that_comes_back_to_a_frame_above_the_limit_continues_after_it(
    connect, alice, write_long
):
    start = await sync_to_async(lambda: read_latest(Recipient.of(alice)))()
    await anotify_accounts(alice, "hello", "Before")
    await sync_to_async(write_long)(alice)
    await anotify_accounts(alice, "hello", "After")

    tab = await connect(alice, **start.position.as_dict())
    frames = await tab.receive_until_caught_up()

    assert [frame["type"] for frame in frames] == ["register", "resync", "heartbeat"]
    assert frames[-1]["unread"] + frames[-1]["unread_broadcasts"] == 3
    await anotify_accounts(alice, "hello", "Live")
    assert (await tab.receive("hello"))["content"]["body"] == "Live"


async def test_no_connection_takes_a_frame_above_the_limit_from_the_channel_layer(connect, alice):
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    for body in (LONG, "Short"):
        message = protocol.account_message(protocol.frame("progress", body))
        await get_channel_layer().group_send(protocol.account_group(alice.pk), message)

    assert (await tab.receive("progress"))["content"]["body"] == "Short"


async def test_marks_of_many_items_reach_open_tabs_in_small_frames(connect, alice):
    count = 2 * IDS_PER_FRAME + 1
    rows = [Notification(account=alice, type="hello", body="x") for _ in range(count)]
    await Notification.objects.abulk_create(rows)
    await sync_to_async(numbering.number_and_publish)([alice.pk], "default")
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    recipient = await sync_to_async(Recipient.of)(alice)

    await sync_to_async(marks.mark_all)(recipient, "read", count, 0)
    seqs = []
    while seqs[-1:] != [2 * count]:
        state = await tab.receive("state")
        seqs.append(state["seq"])
    await sync_to_async(marks.undo)(recipient, marks.ChangeRange("read", 0, 2**62))
    ids = []
    while seqs[-1] != 3 * count:
        state = await tab.receive("state")
        seqs.append(state["seq"])
        ids += state["ids"]
        assert protocol.size(protocol.encode(state)) < conf.MAX_UNSENT / 16

    assert seqs == sorted(set(seqs))
    assert ids == [row.wire_id for row in rows]
    assert (state["as"], state["unread"]) == ("unread", count)
    assert [frame["type"] for frame in await tab.receive_rest()] == []
