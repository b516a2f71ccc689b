"""Which tabs a message reaches, and how tabs catch up from the database."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.contrib.auth.models import Group, User
from django.db import connections, transaction
from django.utils import timezone

from notifications import (
    anotify_accounts,
    aretract,
    broadcast,
    notify_accounts,
    protocol,
    retract,
)
from notifications.audiences import Recipient
from notifications.channel_layer import hub_commands, sender
from notifications.channel_layer.envelopes import (
    AccountFrame,
    AccountFrames,
    BroadcastUpdate,
    LiveUpdate,
    LiveUpdates,
    dump,
)
from notifications.channel_layer.subscriptions import Subscriptions
from notifications.conf import conf
from notifications.hub import catch_up, database_check, session_check
from notifications.hub.connection import LiveConnection
from notifications.hub.hub import get_hub, stop_hub
from notifications.inbox import marks, pages
from notifications.inbox.pages import Position
from notifications.lifecycle import numbering, publishing, retraction
from notifications.maintenance import Maintenance, begin_epoch
from notifications.models import Broadcast, Connection, Inbox, Notification, Retraction
from notifications.protocol import CloseCode, account_group, account_message
from notifications.sessions.authentication import Session
from notifications.testing import TIMEOUT_SECONDS, log_in


async def read_position(account):
    latest = await sync_to_async(lambda: pages.read_latest(Recipient.of(account)))()
    return latest.position.as_dict()


async def test_a_notification_reaches_all_tabs_of_its_account_only(connect, alice, bob):
    tabs = [await connect(alice), await connect(alice)]
    bobs_tab = await connect(bob)
    await bobs_tab.receive_until_caught_up()

    await anotify_accounts([alice], "order_paid", "Order 12 is paid", meta_data={"order_id": 12})

    for tab in tabs:
        frame = await tab.receive("order_paid")
        assert frame["content"] == {"body": "Order 12 is paid", "meta_data": {"order_id": 12}}
        assert (frame["seq"], frame["number"], frame["unread"]) == (1, 1, 1)
    assert await bobs_tab.receive_rest() == []


async def test_the_next_heartbeat_counts_a_new_notification(connect, alice):
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    await anotify_accounts(alice, "hello", "one")
    await tab.receive("hello")

    await tab.send_to(text_data='{"type":"heartbeat"}')

    answer = await tab.receive_frame()
    assert (answer["seq"], answer["unread"]) == (1, 1)


async def test_a_hundred_notifications_arrive_in_the_order_of_their_numbers(connect, alice):
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    await asyncio.gather(*(anotify_accounts(alice, "hello", str(n)) for n in range(100)))

    frames = [await tab.receive("hello") for _ in range(100)]
    assert [frame["seq"] for frame in frames] == list(range(1, 101))
    assert len({frame["id"] for frame in frames}) == 100


async def test_a_rolled_back_transaction_sends_nothing_to_tabs(connect, alice):
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    @sync_to_async
    def fail_after_notifying():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            notify_accounts(alice, "order_paid", "never")
            broadcast("maintenance", "never")
            notify_accounts(alice, "typing", "never", persist=False)
            raise ZeroDivisionError

    await fail_after_notifying()
    await anotify_accounts(alice, "order_paid", "the next one")

    frame = await tab.receive_frame()
    assert (frame["content"]["body"], frame["seq"]) == ("the next one", 1)


async def test_a_rolled_back_savepoint_sends_nothing_to_tabs(connect, alice):
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    @sync_to_async
    def roll_back_in_the_middle():
        with transaction.atomic():
            notify_accounts(alice, "hello", "before")
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                notify_accounts(alice, "hello", "never")
                raise ZeroDivisionError
            notify_accounts(alice, "hello", "after")

    await roll_back_in_the_middle()

    bodies = [(await tab.receive("hello"))["content"]["body"] for _ in range(2)]
    assert bodies == ["before", "after"]
    assert await tab.receive_rest() == []


async def test_a_thread_without_a_loop_reaches_the_tab_at_once(connect, alice):
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    def notify() -> None:
        notify_accounts(alice.pk, "hello", "from a thread")
        connections.close_all()

    await asyncio.get_running_loop().run_in_executor(None, notify)

    assert (await tab.receive("hello"))["content"]["body"] == "from a thread"


async def test_an_unstored_notification_reaches_open_tabs_and_leaves_no_row(connect, alice):
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    result = await anotify_accounts(alice, "typing", "bob is typing", persist=False)

    frame = await tab.receive("typing")
    assert "seq" not in frame and "id" not in frame
    assert result.ids == []
    assert not await Notification.objects.aexists()


async def test_other_code_can_send_a_frame_through_the_channel_layer(connect, alice, bob):
    tab, bobs_tab = await connect(alice), await connect(bob)
    await tab.receive_until_caught_up()
    await bobs_tab.receive_until_caught_up()

    frame = {"type": "progress", "content": {"body": "50 %", "meta_data": ""}}
    await get_channel_layer().group_send(account_group(alice.pk), account_message(frame))

    assert (await tab.receive("progress"))["content"]["body"] == "50 %"
    assert await bobs_tab.receive_rest() == []


async def test_an_envelope_that_arrives_twice_is_handled_once(connect, alice, known_site):
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    frames = AccountFrames([AccountFrame(str(alice.pk), '{"type":"typing"}')])
    message = dump(frames, known_site)

    for _ in range(2):
        await get_channel_layer().group_send("notifications.hubs", message)

    assert (await tab.receive_frame())["type"] == "typing"
    assert await tab.receive_rest() == []


# --- Catching up


async def test_the_check_makes_up_for_a_lost_live_update(connect, alice, monkeypatch):
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    monkeypatch.setattr(sender, "publish", lambda messages: None)

    await anotify_accounts(alice, "hello", "lost on the way")

    assert (await tab.receive("hello"))["seq"] == 1
    assert (await tab.receive("heartbeat"))["unread"] == 1


FAR = 10**17
TEXT = '{"type":"lost"}'


@pytest.mark.parametrize("rows", [0, 1])
async def test_the_check_finds_a_connection_that_is_ahead_of_its_inbox(
    connect, alice, known_site, rows
):
    await sync_to_async(make_notifications)(alice, rows)
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    # As from a database that lost its last commits in a crash.
    ahead = LiveUpdate(str(alice.pk), rows + 1, FAR, 1, None, None, TEXT)
    await get_channel_layer().group_send(
        "notifications.hubs", dump(LiveUpdates([ahead]), known_site)
    )
    assert (await tab.receive_frame())["type"] == "lost"

    resync, counts = await tab.receive_until_caught_up()
    assert (resync["type"], resync["seq"], counts["seq"]) == ("resync", rows, rows)

    await anotify_accounts(alice, "hello", "the next one")
    assert (await tab.receive("hello"))["seq"] == rows + 1


@pytest.mark.parametrize("count", [0, 1])
async def test_the_check_finds_a_connection_that_is_ahead_of_the_broadcasts(
    connect, alice, known_site, count
):
    for _ in range(count):
        await sync_to_async(broadcast)("news", "kept")
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    for seq in (count + 1, count + 2):
        lost = BroadcastUpdate(seq, "everyone", timezone.now(), False, TEXT)
        await get_channel_layer().group_send("notifications.hubs", dump(lost, known_site))

    frames = await tab.receive_until_caught_up()
    assert [frame["type"] for frame in frames] == ["lost", "lost", "resync", "heartbeat"]
    assert (frames[2]["broadcast_seq"], frames[3]["broadcast_seq"]) == (count, count)

    await sync_to_async(broadcast)("news", "the next one")
    assert (await tab.receive("news"))["broadcast_seq"] == count + 1


async def test_a_live_update_that_arrives_during_the_check_is_not_ahead(
    connect, alice, monkeypatch
):
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    read, written = database_check._number_and_read, []

    def read_and_notify(account_ids):
        before = read(account_ids)
        if not written:
            written.extend(notify_accounts(alice, "hello", "after it was read").ids)
            broadcast("news", "after it was read")
            # It arrives while the hub waits for the answer.
            while not written[1:]:
                time.sleep(0.001)
        return before

    monkeypatch.setattr(database_check, "_number_and_read", read_and_notify)
    frames = [await tab.receive_frame() for _ in range(2)]
    written.append("arrived")

    assert {frame["type"] for frame in frames} == {"hello", "news"}
    assert await tab.receive_nothing(1)  # it was not read from the database once more


async def test_a_gap_is_filled_in_order_without_duplicates(connect, alice, monkeypatch):
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    publish = sender.publish
    monkeypatch.setattr(sender, "publish", lambda messages: None)
    await anotify_accounts(alice, "hello", "lost")
    monkeypatch.setattr(sender, "publish", publish)

    await anotify_accounts(alice, "hello", "arrived")

    frames = [await tab.receive("hello") for _ in range(2)]
    assert [frame["content"]["body"] for frame in frames] == ["lost", "arrived"]
    await tab.receive("heartbeat")
    assert await tab.receive_rest(0.5) == []


async def test_a_row_left_unnumbered_by_a_crash_reaches_the_tab(connect, alice, monkeypatch):
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    monkeypatch.setattr(numbering, "number_after_commit", lambda keys, using: None)

    await anotify_accounts(alice, "hello", "left over")

    assert (await tab.receive("hello"))["seq"] == 1


async def test_a_reconnecting_tab_gets_missed_notifications_once(connect, alice):
    await anotify_accounts(alice, "hello", "seen")
    position = await read_position(alice)
    await anotify_accounts(alice, "hello", "missed 1")
    await anotify_accounts(alice, "hello", "missed 2")

    tab = await connect(alice, **position)

    register, *missed, counts = await tab.receive_until_caught_up()
    assert (register["type"], register["seq"]) == ("register", 1)
    assert [frame["content"]["body"] for frame in missed] == ["missed 1", "missed 2"]
    assert (counts["seq"], counts["unread"]) == (3, 3)


async def test_a_tab_without_a_position_starts_at_the_latest(connect, alice):
    await anotify_accounts(alice, "hello", "old")

    tab = await connect(alice)

    register, counts = await tab.receive_until_caught_up()
    assert (register["seq"], counts["unread"]) == (1, 1)


async def test_changes_of_several_rounds_arrive_complete_and_in_order(connect, alice):
    position = await read_position(alice)
    await sync_to_async(make_notifications)(alice, 350)

    tab = await connect(alice, **position)

    _, *missed, counts = await tab.receive_until_caught_up()
    assert [frame["seq"] for frame in missed] == list(range(1, 351))
    assert counts["unread"] == 350


async def test_a_tab_more_than_a_thousand_changes_behind_reloads(connect, alice):
    position = await read_position(alice)
    await sync_to_async(make_notifications)(alice, 1001)

    tab = await connect(alice, **position)

    register, resync, counts = await tab.receive_until_caught_up()
    assert resync["type"] == "resync"
    assert register["seq"] == resync["seq"] == counts["seq"] == 1001
    # The connection may be cut before the next frame.
    assert register["resync"] is True


async def test_only_a_register_at_another_position_says_resync(connect, alice):
    position = await read_position(alice)
    await anotify_accounts(alice, "hello", "one")

    for start in (position, {}):
        tab = await connect(alice, **start)
        assert "resync" not in await tab.receive_frame()


@pytest.mark.parametrize(
    "wrong",
    [
        {"epoch": 2},
        {"scope": "another"},
        {"seq": 5},
        {"broadcast_seq": 5},
        {"seq": "-1"},
        {"seq": "x"},
        {"seq": "9" * 30},
    ],
)
async def test_a_tab_at_an_invalid_position_reloads(connect, alice, wrong):
    position = {**(await read_position(alice)), **wrong}

    tab = await connect(alice, **position)

    register, resync, _ = await tab.receive_until_caught_up()
    assert (register["type"], resync["type"]) == ("register", "resync")
    assert resync["epoch"] == register["epoch"] == 1


async def test_a_tab_below_the_retention_floor_reloads(connect, alice):
    await anotify_accounts(alice, "hello", "one")
    await anotify_accounts(alice, "hello", "two")
    await Inbox.objects.filter(pk=alice.pk).aupdate(floor=2)

    tab = await connect(alice, **{**(await read_position(alice)), "seq": 1})

    assert [frame["type"] for frame in await tab.receive_until_caught_up()] == [
        "register",
        "resync",
        "heartbeat",
    ]


async def test_retention_removes_items_from_open_tabs(connect, alice):
    long_ago = timezone.now() - timedelta(days=400)
    await User.objects.aupdate(date_joined=long_ago)  # or they would be another account's
    result = [await anotify_accounts(alice, "hello", body) for body in ("unread", "read")]
    unread, read = (f"n{one.ids[0]}" for one in result)
    before = await read_position(alice)
    await sync_to_async(marks.mark)(await sync_to_async(Recipient.of)(alice), "read", [read])
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    await until_connections_are(1)
    await Notification.objects.aupdate(created_at=long_ago)
    await Notification.objects.filter(pk=read[1:]).aupdate(read_at=long_ago)

    report = await sync_to_async(Maintenance().run)()

    assert (report.removed_by_age, report.notifications_deleted) == (1, 1)
    state = await tab.receive("state")
    assert (state["as"], state["ids"], state["unread"]) == ("gone", [unread], 0)
    # Still connected, and above the floor.
    assert await tab.receive_rest() == [protocol.state("gone", [read])]
    back = await connect(alice, **before)
    register, resync, counts = await back.receive_until_caught_up()
    assert (resync["type"], resync["seq"], counts["unread"]) == ("resync", state["seq"], 0)


# --- A restored database, other audiences


async def test_after_a_restore_open_and_reconnecting_tabs_reload(connect, alice):
    await anotify_accounts(alice, "hello", "one")
    old = await read_position(alice)
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    epoch = await sync_to_async(begin_epoch)()

    resync = await tab.receive("resync")
    assert (resync["epoch"], resync["seq"]) == (epoch, 1)
    back = await connect(alice, **old)
    assert (await back.receive("resync"))["epoch"] == epoch
    # Afterwards nothing reloads again, and new notifications arrive.
    await tab.receive("heartbeat")
    await asyncio.sleep(2 * conf.HEARTBEAT_INTERVAL)
    await anotify_accounts(alice, "hello", "two")
    while (frame := await tab.receive_frame())["type"] == "heartbeat":
        pass
    assert frame["type"] == "hello"
    assert await tab.receive_rest() == []


@pytest.fixture
def quick_audiences(monkeypatch):
    monkeypatch.setattr(session_check, "RECHECK_INTERVALS", 1)


async def test_a_tab_reloads_when_its_account_joins_or_leaves_an_audience(
    connect, alice, bob, quick_audiences
):
    group = await Group.objects.acreate(name="Drivers")
    tab, bobs_tab = await connect(alice), await connect(bob)
    for each in (tab, bobs_tab):
        await each.receive_until_caught_up()

    async def send():
        return await sync_to_async(broadcast)("news", "for drivers", audience=group)

    early = await send()
    await alice.groups.aadd(group)

    joined = await tab.receive("resync")
    assert joined["scope"] == (await read_position(alice))["scope"]
    assert (await tab.receive("heartbeat"))["unread_broadcasts"] == 1
    page = await sync_to_async(pages.read_page)(await sync_to_async(Recipient.of)(alice))
    assert [item["id"] for item in page.items] == [early.wire_id]
    late = await send()
    assert (await tab.receive("news"))["id"] == late.wire_id

    await alice.groups.aremove(group)

    left = await tab.receive("resync")
    assert left["scope"] != joined["scope"]
    assert (await tab.receive("heartbeat"))["unread_broadcasts"] == 0
    await send()
    assert await tab.receive_rest(2 * conf.HEARTBEAT_INTERVAL) == []
    assert await bobs_tab.receive_rest(0) == []


async def test_an_audience_change_while_catching_up_reloads_the_tab(
    connect, alice, quick_audiences, monkeypatch
):
    """Changes read for the old audiences do not bring it up to date."""
    reading, changed = threading.Event(), threading.Event()
    read_changes = catch_up.read_changes_of_many

    def read_slowly(wanted, size):
        changes = read_changes(wanted, size)
        reading.set()
        assert changed.wait(TIMEOUT_SECONDS)
        return changes

    tab = await connect(alice)
    await tab.receive_until_caught_up()
    (connection,) = get_hub()._connections.values()
    monkeypatch.setattr(catch_up, "read_changes_of_many", read_slowly)
    get_hub()._fall_behind(connection)
    assert await sync_to_async(reading.wait)(TIMEOUT_SECONDS)

    await User.objects.filter(pk=alice.pk).aupdate(is_staff=True)
    connection.recipient = await sync_to_async(Recipient.of)(await User.objects.aget(pk=alice.pk))
    changed.set()

    assert (await tab.receive("resync"))["scope"] == connection.recipient.audience_hash


def make_notifications(account, count):
    Notification.objects.bulk_create(
        Notification(account=account, type="hello", body=str(n)) for n in range(count)
    )
    numbering.number_and_publish([account.pk], "default")


@pytest.mark.realtime
async def test_the_check_waits_for_a_late_live_update_instead_of_reading_the_database(
    connect, alice, settings, monkeypatch
):
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = 1
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    publish = sender.publish

    def publish_late(messages):
        time.sleep(0.2)  # a slow layer, but faster than the check waits for
        publish(messages)

    monkeypatch.setattr(sender, "publish", publish_late)

    for number in range(10):
        await anotify_accounts(alice, "hello", str(number))

    types = [frame["type"] for frame in [await tab.receive_frame() for _ in range(10)]]
    assert set(types) == {"hello"}  # catching up would end with a heartbeat


class NarrowWriter:
    """Takes four frames, until they are read."""

    def __init__(self):
        self.frames = asyncio.Queue(maxsize=4)
        self.closed_with = asyncio.Future()

    @property
    def is_full(self):
        return self.frames.full()

    def write(self, message):
        if not self.is_full:
            self.frames.put_nowait(json.loads(message.text))
            return True
        return False

    def close(self, code):
        if not self.closed_with.done():
            self.closed_with.set_result(code)


@pytest.mark.parametrize("count", [3, 10], ids=["the counts", "notifications and the counts"])
async def test_a_slow_client_gets_the_rest_when_it_reads(alice, count):
    start = Position(**(await read_position(alice)))
    await sync_to_async(make_notifications)(alice, count)
    writer = NarrowWriter()
    session = Session(await sync_to_async(log_in)(alice))
    connection = LiveConnection(await sync_to_async(Recipient.of)(alice), session, writer, start)

    await get_hub().join(connection)

    received = []
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while (frame := await writer.frames.get())["type"] != "heartbeat":
            received.append(frame)
    assert [frame["seq"] for frame in received if frame["type"] == "hello"] == [
        *range(1, count + 1)
    ]
    assert frame["unread"] == count


async def test_a_heartbeat_answered_while_behind_has_no_counts(alice):
    await anotify_accounts(alice, "hello", "earlier")
    start = Position(**(await read_position(alice)))
    await sync_to_async(make_notifications)(alice, 4)
    writer = NarrowWriter()
    session = Session(await sync_to_async(log_in)(alice))
    connection = LiveConnection(await sync_to_async(Recipient.of)(alice), session, writer, start)
    await get_hub().join(connection)

    async with asyncio.timeout(TIMEOUT_SECONDS):
        register = await writer.frames.get()
        get_hub().answer(connection)
        received = [await writer.frames.get()]
        while "unread" not in received[-1]:
            received.append(await writer.frames.get())

    answer = next(frame for frame in received if frame["type"] == "heartbeat")
    assert register["seq"] <= answer["seq"] < received[-1]["seq"]
    assert "unread" not in answer and "unread_broadcasts" not in answer
    assert (received[-1]["unread"], received[-1]["unread_broadcasts"]) == (5, 0)


async def test_a_client_that_reads_nothing_for_the_stall_timeout_is_closed(alice, settings):
    settings.NOTIFICATIONS_STALL_TIMEOUT = 1
    start = Position(**(await read_position(alice)))
    await sync_to_async(make_notifications)(alice, 10)
    writer = NarrowWriter()
    session = Session(await sync_to_async(log_in)(alice))
    connection = LiveConnection(await sync_to_async(Recipient.of)(alice), session, writer, start)

    await get_hub().join(connection)

    assert await asyncio.wait_for(writer.closed_with, TIMEOUT_SECONDS) == CloseCode.HEARTBEAT_LOST
    assert str(alice.pk) not in get_hub()._accounts
    assert writer.frames.qsize() == 4


# --- Marks


async def test_a_notification_read_in_one_tab_is_read_in_the_others(connect, alice):
    result = await anotify_accounts(alice, "hello", "one")
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    wire_id = f"n{result.ids[0]}"

    await sync_to_async(lambda: marks.mark(Recipient.of(alice), "read", [wire_id]))()

    state = await tab.receive("state")
    assert (state["as"], state["ids"], state["seq"]) == ("read", [wire_id], 2)
    assert (state["unread"], state["unread_broadcasts"]) == (0, 0)


async def test_a_heartbeat_answered_within_a_change_has_no_counts(connect, alice, monkeypatch):
    """Counts come with the last frame of a change; they are not known at the numbers before it."""
    ids = [f"n{(await anotify_accounts(alice, 'hello', str(n))).ids[0]}" for n in range(2)]
    me = await sync_to_async(Recipient.of)(alice)
    for mark, chosen in (("read", ids[:1]), ("archived", ids)):
        await sync_to_async(marks.mark)(me, mark, chosen)
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    publish = publishing.publish
    monkeypatch.setattr(publishing, "publish", lambda updates: publish(updates[:1]))

    await sync_to_async(marks.mark)(me, "inbox", ids)
    assert (await tab.receive("state"))["ids"] == ids[:1]
    await tab.send_to(text_data='{"type":"heartbeat"}')

    answer = await tab.receive("heartbeat")
    assert "unread" not in answer and "unread_broadcasts" not in answer
    # The check makes up for the rest.
    while "unread" not in (answer := await tab.receive_frame()):
        pass
    assert (answer["seq"], answer["unread"]) == (7, 1)


async def test_a_mark_made_while_disconnected_arrives_as_a_state_frame(connect, alice):
    result = await anotify_accounts(alice, "hello", "known to the client")
    position = await read_position(alice)
    wire_id = f"n{result.ids[0]}"
    await sync_to_async(lambda: marks.mark(Recipient.of(alice), "read", [wire_id]))()

    tab = await connect(alice, **position)

    _, state, counts = await tab.receive_until_caught_up()
    assert (state["type"], state["as"], state["ids"]) == ("state", "read", [wire_id])
    assert counts["unread"] == 0


# --- Broadcasts


async def test_a_broadcast_reaches_its_audience_and_is_one_row(connect, alice, bob, carol):
    group = await Group.objects.acreate(name="Customers")
    await alice.groups.aadd(group)
    bob.is_staff = True
    await bob.asave()
    tabs = {user: await connect(user) for user in (alice, bob, carol)}
    for tab in tabs.values():
        await tab.receive_until_caught_up()

    await sync_to_async(broadcast)("news", "for customers", audience=group)
    await sync_to_async(broadcast)("news", "for staff", audience="staff")
    await sync_to_async(broadcast)("news", "for everyone")

    got = {
        user: [(await tab.receive("news"))["content"]["body"] for _ in range(count)]
        for (user, tab), count in zip(tabs.items(), (2, 2, 1), strict=True)
    }
    assert got == {
        alice: ["for customers", "for everyone"],
        bob: ["for staff", "for everyone"],
        carol: ["for everyone"],
    }
    for tab in tabs.values():
        assert await tab.receive_rest() == []
    assert await Broadcast.objects.acount() == 3


async def test_a_broadcast_to_another_audience_leaves_no_gap(connect, alice):
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    await sync_to_async(broadcast)("news", "for staff", audience="staff")
    await sync_to_async(broadcast)("news", "for everyone")

    assert (await tab.receive_frame())["broadcast_seq"] == 2
    assert await tab.receive_rest(0.5) == []


async def test_an_expired_broadcast_leaves_open_tabs_and_the_count(connect, alice):
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    await sync_to_async(broadcast)("news", "short-lived", expires_at=timezone.now())
    news = await tab.receive("news")

    await sync_to_async(retraction.expire)("default")

    state = await tab.receive("state")
    assert (state["as"], state["ids"]) == ("gone", [news["id"]])
    assert (await tab.receive("heartbeat"))["unread_broadcasts"] == 0


async def test_retracted_messages_leave_open_tabs_and_the_counts(connect, alice, bob):
    await anotify_accounts([alice, bob], "hello", "wrong")
    news = await sync_to_async(broadcast)("news", "wrong")
    tabs = [await connect(alice), await connect(alice)]
    bobs_tab = await connect(bob)
    for tab in [*tabs, bobs_tab]:
        counts = (await tab.receive_until_caught_up())[-1]
        assert (counts["unread"], counts["unread_broadcasts"]) == (1, 1)
    wrong = await Notification.objects.aget(account=alice)

    await aretract(wrong)
    await aretract(news)

    for tab in tabs:
        for message in (wrong, news):
            state = await tab.receive("state")
            assert (state["as"], state["ids"]) == ("gone", [message.wire_id])
        counts = await tab.receive("heartbeat")
        assert (counts["unread"], counts["unread_broadcasts"]) == (0, 0)
    state = await bobs_tab.receive("state")
    assert state["ids"] == [news.wire_id]
    assert (await bobs_tab.receive("heartbeat"))["unread"] == 1


async def test_a_retraction_that_is_rolled_back_reaches_no_tab(connect, alice):
    await anotify_accounts(alice, "hello", "stays")
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    @sync_to_async
    def fail_after_retracting():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            retract(Notification.objects.all())
            raise ZeroDivisionError

    await fail_after_retracting()
    await anotify_accounts(alice, "hello", "the next one")

    assert (await tab.receive_frame())["content"]["body"] == "the next one"


async def test_a_retraction_left_by_a_crash_reaches_the_tab(connect, alice):
    await anotify_accounts(alice, "hello", "wrong")
    news = await sync_to_async(broadcast)("news", "wrong")
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    wrong = await Notification.objects.aget()

    for message in (wrong, news):
        await sync_to_async(Retraction.objects.insert)(
            type(message), [message.pk], timezone.now(), None
        )

    states = [await tab.receive("state") for _ in range(2)]
    assert sorted(state["ids"][0] for state in states) == [news.wire_id, wrong.wire_id]


# --- Silence


@pytest.mark.realtime
async def test_a_silent_client_is_pinged_then_closed(connect, alice, settings):
    settings.NOTIFICATIONS_HEARTBEAT_TIMEOUT = 1.5
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    assert await tab.receive("ping")
    assert (await tab.receive("bye"))["code"] == 4408


async def test_a_silent_client_leaves_nothing_behind(connect, alice, settings):
    tab = await connect(alice)
    await until_connections_are(1)

    settings.NOTIFICATIONS_HEARTBEAT_TIMEOUT = 0.5

    assert (await tab.receive("bye"))["code"] == 4408
    assert await tab.closed_with() == 4408
    assert get_hub()._connections == {} == get_hub()._accounts
    await until_connections_are(0)


async def until_connections_are(count):
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while await Connection.objects.acount() != count:
            await asyncio.sleep(0.02)


@pytest.mark.realtime
async def test_a_client_that_answers_pings_stays(connect, alice, settings):
    settings.NOTIFICATIONS_HEARTBEAT_TIMEOUT = 1.5
    tab = await connect(alice)
    loop = asyncio.get_running_loop()
    end = loop.time() + 2 * settings.NOTIFICATIONS_HEARTBEAT_TIMEOUT

    while loop.time() < end:
        await tab.receive("ping")
        await tab.send_to(text_data='{"type":"heartbeat"}')

    await tab.send_to(text_data='{"type":"heartbeat"}')
    assert await tab.receive("heartbeat")


async def test_an_operator_can_disconnect_a_tab(connect, alice):
    tab, other_tab = await connect(alice), await connect(alice)
    register = await tab.receive("register")
    await other_tab.receive_until_caught_up()

    await sync_to_async(hub_commands.close_connections)([register["connection"]], CloseCode.EVICTED)

    assert await tab.closed_with() == 4409
    assert await other_tab.receive_rest(0.2) == []


async def test_a_stopped_hub_asks_all_clients_to_reconnect(connect, alice):
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    await stop_hub()

    bye = await tab.receive("bye")
    assert (bye["code"], bye["reconnect"]) == (4012, True)
    assert await tab.closed_with() == 4012


async def test_a_draining_hub_serves_connections_that_are_still_open(connect, alice, settings):
    settings.NOTIFICATIONS_DRAIN_SECONDS = 60
    tabs = [await connect(alice) for _ in range(2)]
    for tab in tabs:
        await tab.receive_until_caught_up()

    drain = asyncio.create_task(get_hub().drain.run(60))
    first = await first_to_receive(tabs, "bye")
    await anotify_accounts(alice, "hello", "while it drains")

    (other,) = (tab for tab in tabs if tab is not first)
    assert (await other.receive("hello"))["seq"] == 1
    late = await connect(alice)
    assert 0 < (await late.receive("bye"))["delay"] <= 60
    assert await late.closed_with() == 4012
    assert not drain.done()
    await other.disconnect()
    await asyncio.wait_for(drain, TIMEOUT_SECONDS)  # no connection is left


async def first_to_receive(tabs, type):
    receiving = {asyncio.create_task(tab.receive(type)): tab for tab in tabs}
    done, waiting = await asyncio.wait(receiving, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    return receiving[done.pop()]


async def test_a_tab_does_not_catch_up_before_its_group_is_joined(connect, alice, bob, monkeypatch):
    first = await connect(bob)  # its live updates keep the hub catching up
    await first.receive_until_caught_up()
    joined = asyncio.Event()
    join = Subscriptions.join

    async def join_late(self, account):
        await joined.wait()
        await join(self, account)

    monkeypatch.setattr(Subscriptions, "join", join_late)
    tab = await connect(alice)
    publish = sender.publish
    monkeypatch.setattr(sender, "publish", lambda messages: None)
    await anotify_accounts(bob, "hello", "read from the database")
    await first.receive("hello")
    monkeypatch.setattr(sender, "publish", publish)

    assert await tab.receive_nothing()

    joined.set()
    assert (await tab.receive_frame())["type"] == "register"
