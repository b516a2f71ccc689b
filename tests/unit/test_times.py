"""A site with `USE_TZ = False`: our own times are right, and those of others are taken as meant."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import models
from django.test import Client
from django.utils import timezone

import notifications
from notifications import broadcast, notify_accounts, online
from notifications.admin.audience_size import of_broadcasts
from notifications.audiences import Recipient
from notifications.db import times
from notifications.inbox import marks
from notifications.inbox.pages import read_latest_of_many, read_page
from notifications.lifecycle import retention, retraction
from notifications.maintenance import Maintenance, is_late
from notifications.models import Broadcast, Connection, Notification, Worker
from notifications.presence import record, renew_lease

from .conftest import Make, Published

DATABASE = "default"
HOUR = timedelta(hours=1)


def local_time(time: datetime, zone: str) -> datetime:
    """Return a time without its zone. Sums of naive times are wrong when the clocks change."""
    return time.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def seconds_from_now(value: datetime) -> float:
    return abs((value - datetime.now(UTC)).total_seconds())


def test_times_on_the_wire_are_right_and_have_the_offset_of_the_zone(
    no_zones: str, alice: User, notify: Make, send: Make, published: Published
) -> None:
    notify(alice)
    send()

    live = published.frames
    page = read_page(Recipient.of(alice)).items
    client = Client()
    client.force_login(alice)
    answer = client.get("/notifications/items/").json()
    assert len(live) == len(page) == 2
    for text in [frame["created_at"] for frame in (*live, *page)] + [answer["now"]]:
        time = datetime.fromisoformat(text)
        assert seconds_from_now(time) < 60
        assert time.utcoffset() == datetime.now(ZoneInfo(no_zones)).utcoffset()


@pytest.mark.parametrize("kind", ["naive", "aware"])
def test_messages_expire_at_the_time_that_was_meant(
    no_zones: str, alice: User, notify: Make, send: Make, kind: str
) -> None:
    now = datetime.now(UTC)
    past, future = now - timedelta(minutes=1), now + timedelta(minutes=1)
    if kind == "naive":
        past, future = local_time(past, no_zones), local_time(future, no_zones)
    gone = {notify(alice, expires_at=past), send(expires_at=past)}
    kept = {notify(alice, expires_at=future), send(expires_at=future)}

    assert retraction.expire(DATABASE) == 2

    page = read_page(Recipient.of(alice)).items
    assert {frame["id"] for frame in page} == kept != gone
    for frame in page:
        assert seconds_from_now(datetime.fromisoformat(frame["expires_at"]) - HOUR / 60) < 60


def test_a_naive_expiry_is_refused_with_time_zones(alice: User) -> None:
    with pytest.raises(ValueError, match="^expires_at must be an aware datetime or None"):
        notify_accounts(alice, "news", "Hello", expires_at=datetime(2100, 1, 1))


def test_a_date_is_no_expiry(no_zones: str, alice: User) -> None:
    with pytest.raises(ValueError, match="^expires_at must be a datetime or None"):
        notify_accounts(alice, "news", "Hello", expires_at=timezone.now().date())


@pytest.mark.parametrize("table", [Broadcast, Notification])
def test_the_hour_that_comes_twice_is_stored_and_ordered(
    settings: Any, alice: User, table: Any
) -> None:
    settings.USE_TZ, settings.TIME_ZONE = False, "America/New_York"
    first = datetime(2026, 11, 1, 5, 45, tzinfo=UTC)  # 1:45, before the clock is put back
    fields = {"account": alice} if table is Notification else {}
    for time in (first, first + HOUR / 2):  # 1:15
        table.objects.create(type="news", body="Hello", created_at=time, **fields)

    stored = list(table.objects.order_by("created_at").values_list("created_at", flat=True))

    assert stored == [first, first + HOUR / 2]
    assert stored[0] < stored[1]
    assert stored[1] - stored[0] == HOUR / 2
    assert table.objects.filter(created_at__lte=first).count() == 1
    local = [datetime(2026, 11, 1, 1, 45), datetime(2026, 11, 1, 1, 15, fold=1)]
    assert [times.aware(time) for time in local] == stored
    assert [table.objects.filter(created_at=time).count() for time in local] == [1, 1]


def test_retention_counts_from_the_right_time(
    no_zones: str, alice: User, notify: Make, settings: Any
) -> None:
    settings.NOTIFICATIONS_RETENTION_DAYS_UNREAD = 1
    ids = [int(notify(alice)[1:]) for _ in range(2)]
    for pk, minutes in zip(ids, (-1, 1), strict=True):
        time = datetime.now(UTC) - timedelta(days=1, minutes=minutes)
        Notification.objects.filter(pk=pk).update(created_at=time)

    assert dict(retention.steps(DATABASE)) == {"removed_by_age": 1}
    assert list(Notification.objects.present().values_list("pk", flat=True)) == ids[:1]


def test_marks_and_undoing_them(no_zones: str, alice: User, notify: Make, send: Make) -> None:
    ids = [notify(alice), send()]
    me = Recipient.of(alice)

    for mark in ("archived", "inbox", "read"):
        done = marks.mark(me, mark, ids)
        assert sorted(done.ids) == sorted(ids)
    read_at = Notification.objects.get().read_at
    assert read_at and seconds_from_now(read_at) < 60
    assert done.change_range and marks.undo(me, done.change_range).latest.counts.total == 2


def test_accounts_get_no_broadcasts_sent_before_they_were_created(
    no_zones: str, alice: User, bob: User, send: Make
) -> None:
    news = send()
    noon = datetime(2026, 1, 15, 12, tzinfo=UTC)  # not in the hour that comes twice
    Broadcast.objects.update(created_at=noon)
    sent = Broadcast.objects.get()
    for account, minutes in ((alice, -1), (bob, 1)):
        account.date_joined = local_time(noon + timedelta(minutes=minutes), no_zones)
        account.save()

    early, late = Recipient.of_many(list(User.objects.order_by("username")))

    assert [early.receives("everyone", sent.created_at)] == [True]
    assert [late.receives("everyone", sent.created_at)] == [False]
    assert [frame["id"] for frame in read_page(early).items] == [news]
    assert read_page(late).items == []
    counts = [each.counts.unread_broadcasts for each in read_latest_of_many([early, late])]
    assert counts == [1, 0]
    sent.audience_size = None  # as in an older release: counted now
    assert of_broadcasts([sent])[sent.pk].accounts == 1


def test_connections_and_maintenance(no_zones: str, alice: User) -> None:
    worker = Worker(host="web-1", pid=4711)
    connection = Connection(worker=worker, account_id=alice.pk)
    renew_lease(worker, [])
    record([connection], [], [])

    assert online(alice) == {alice.pk}
    row = Connection.objects.live().get()
    for time in (row.opened_at, row.last_seen, row.worker.started_at):
        assert seconds_from_now(time) < 60
    assert not Connection.objects.overdue().exists()
    assert Maintenance().run_in_turn() is not None
    assert Maintenance().run_in_turn() is None
    assert not is_late()
    Worker.objects.update(lease_until=datetime.now(UTC) - timedelta(minutes=1))
    assert online(alice) == set()
    assert Maintenance().run().workers_reaped == 1


def test_a_broadcast_is_aware_before_it_is_read_again(no_zones: str, db: None) -> None:
    later = local_time(datetime.now(UTC) + HOUR, no_zones)
    row = broadcast("news", "Hello", expires_at=later)

    assert seconds_from_now(row.created_at) < 60
    row.refresh_from_db()
    assert row.expires_at and seconds_from_now(row.expires_at - HOUR) < 60


# --- Our own code has only these times


def test_all_our_fields_with_a_time_convert_it() -> None:
    fields = [
        field
        for model in apps.get_app_config("site_notifications").get_models()
        for field in model._meta.concrete_fields
        if isinstance(field, models.DateField)
    ]

    assert len(fields) > 10
    assert [field for field in fields if not isinstance(field, times.TimeField)] == []


def test_the_present_time_is_read_in_one_place() -> None:
    """But for rows of other apps, which have their times as Django has them."""
    root = Path(notifications.__file__).parent
    reads = re.compile(r"timezone\.now\b|datetime\.(?:now|utcnow|today)\(")
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if path.parent.name != "migrations" and reads.search(path.read_text())
    }

    assert found == {"db/times.py", "sessions/readers.py"}
