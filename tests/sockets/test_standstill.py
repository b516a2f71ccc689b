"""What stands still: a call to the database, or the process itself."""

from __future__ import annotations

import asyncio
import threading
import time

from asgiref.sync import sync_to_async

from notifications.hub.hub import get_hub, is_check_late, stop_hub
from notifications.models import Worker
from notifications.sessions.authentication import Session
from notifications.testing import TIMEOUT_SECONDS


async def wait_until(condition):
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not await condition():
            await asyncio.sleep(0.05)


async def test_a_stuck_check_delays_neither_authentication_nor_the_lease(connect, alice, settings):
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = 0.2
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    hub, goes_on = get_hub(), threading.Event()

    async def is_late():
        return is_check_late()

    async def is_renewed():
        return (await Worker.objects.aget()).lease_until > lease_until

    stuck = asyncio.create_task(hub.database.run(goes_on.wait, 60))
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):  # the check is stuck for longer
            (admission,) = await asyncio.gather(hub.authenticate(Session("unknown")))
        assert admission.recipient is None
        lease_until = (await Worker.objects.aget()).lease_until
        await wait_until(is_renewed)
        await wait_until(is_late)
    finally:
        goes_on.set()
        await stuck

    async def is_on_time():
        return not is_check_late()

    await wait_until(is_on_time)


async def test_a_hub_that_waits_for_its_database_stops_all_the_same(connect, alice):
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    hub, goes_on = get_hub(), threading.Event()
    stuck = [
        asyncio.create_task(thread.run(goes_on.wait, 60))
        for thread in (hub.database, hub._admission)
    ]
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await stop_hub()
    finally:
        goes_on.set()
    assert await asyncio.gather(*stuck) == [True, True]
    await sync_to_async(Worker.objects.all().delete)()


async def test_a_process_that_stood_still_asks_its_clients_first(connect, alice, settings):
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL, settings.NOTIFICATIONS_HEARTBEAT_TIMEOUT = 0.5, 1
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    time.sleep(3)  # with the event loop

    await tab.receive("ping")
    await tab.send_to(text_data='{"type":"heartbeat"}')
    await tab.receive("heartbeat")
    # One that does not answer is noticed as ever.
    assert (await tab.receive("bye"))["code"] == 4408
