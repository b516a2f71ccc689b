"""Rows that other code wrote past our functions, and that no frame can hold."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import OperationalError, connection
from django.test import Client

from notifications import notify_accounts, protocol
from notifications.audiences import Recipient
from notifications.db.rows import read_rows
from notifications.inbox import marks
from notifications.inbox.changes import read_changes
from notifications.inbox.pages import Position, read_latest
from notifications.lifecycle import numbering, retraction
from notifications.lifecycle.publishing import IDS_PER_FRAME
from notifications.maintenance import Maintenance
from notifications.models import Broadcast, Notification

from .conftest import Commit, Make, Published

pytestmark = pytest.mark.django_db

IS_POSTGRESQL = connection.vendor == "postgresql"
CHANGES, ITEMS = "/notifications/changes/", "/notifications/items/"


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


UNSENDABLE = {
    "900 levels": nested(900),
    "33 levels": nested(33),
    "33 levels of objects": '{"a":' * 33 + "1" + "}" * 33,
    "a number of 5,000 digits": "9" * 5000,
    "a megabyte": json.dumps("x" * 2**20),
    "infinity without an exponent": f"[{'1' * 400}.5]",
    **({} if IS_POSTGRESQL else {"infinity": "[1e400]", "half a pair": r'{"a": "\ud800"}'}),
}


@pytest.fixture(params=UNSENDABLE)
def stored(request: pytest.FixtureRequest) -> str:
    return UNSENDABLE[request.param]


def write_meta_data(table: str, pk: Any, stored: str) -> None:
    cast = "::jsonb" if IS_POSTGRESQL else ""
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET meta_data = %s{cast} WHERE id = %s", [stored, pk])


@pytest.fixture
def items(alice: User, notify: Make, send: Make, stored: str) -> list[str]:
    """Two notifications and two broadcasts; the first of each has meta data that can't be sent."""
    found = [notify(alice), notify(alice, "Fine"), send(), send("Fine as well")]
    for model, wire_id in ((Notification, found[0]), (Broadcast, found[2])):
        write_meta_data(model._meta.db_table, int(wire_id[1:]), stored)
    return found


@pytest.fixture
def browser(alice: User) -> Client:
    browser = Client()
    browser.force_login(alice)
    return browser


# --- Meta data


def test_items_are_listed_without_meta_data_that_cannot_be_sent(
    browser: Client, items: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    answer = browser.get(ITEMS)

    assert [item["id"] for item in answer.json()["items"]] == [*items[3:1:-1], *items[1::-1]]
    assert {item["content"]["meta_data"] for item in answer.json()["items"]} == {""}
    assert "NaN" not in answer.text and "Infinity" not in answer.text
    assert browser.get("/notifications/").status_code == 200
    assert "without its meta data, which can't be sent" in caplog.text


def test_changes_arrive_without_meta_data_that_cannot_be_sent(
    browser: Client, alice: User, items: list[str]
) -> None:
    recipient = Recipient.of(User.objects.get(pk=alice.pk))

    changes = read_changes(recipient, Position(0, 0, 1, recipient.audience_hash), 100)

    assert [frame["id"] for frame in changes.frames] == items
    for change in changes.encoded:
        change.text.encode()
        assert json.loads(change.text)["content"]["meta_data"] == ""


def test_rows_without_numbers_get_them_and_are_published(
    alice: User, bob: User, published: Published, stored: str
) -> None:
    rows = [Notification.objects.create(account=who, type="x", body="Hi") for who in (alice, bob)]
    write_meta_data(Notification._meta.db_table, rows[0].pk, stored)

    assert numbering.number_and_publish([alice.pk, bob.pk], "default") == 2

    assert [frame["id"] for frame in published.frames] == [row.wire_id for row in rows]
    assert published.frames[0]["content"]["meta_data"] == ""


@pytest.mark.parametrize("model", ["notification", "broadcast"])
def test_the_admin_shows_such_rows(items: list[str], operator: User, model: str) -> None:
    browser = Client()
    browser.force_login(operator)
    pk = items[0 if model == "notification" else 2][1:]
    address = f"/admin/site_notifications/{model}/"

    assert browser.get(address).status_code == 200
    assert browser.get(f"{address}{pk}/change/").status_code == 200
    retract = {"action": "retract", "_selected_action": [pk], "newest": pk}
    assert browser.post(address, retract).status_code == 302


def test_meta_data_of_32_levels_is_sent(alice: User, notify: Make, browser: Client) -> None:
    for deepest in (json.loads(nested(32)), [[1], {"a": [2]}] * 40, "[" * 5000, "1e400 \\ud800"):
        notify(alice, meta_data=deepest)

        assert browser.get(ITEMS).json()["items"][0]["content"]["meta_data"] == deepest


@pytest.mark.parametrize("levels", [33, 900, 100_000])
def test_deeper_meta_data_is_refused(alice: User, levels: int) -> None:
    deep: list[Any] = []
    for _ in range(levels - 1):
        deep = [deep]

    with pytest.raises(ValueError, match="meta_data must be .* at most 32 levels .* not "):
        notify_accounts(alice, "hello", "Hello", meta_data=deep)
    with pytest.raises(ValidationError) as refused:
        Notification(account=alice, type="hello", body="Hello", meta_data=deep).full_clean()
    assert set(refused.value.message_dict) == {"meta_data"}


# --- Bodies


def test_a_body_of_more_than_5000_characters_is_refused(alice: User) -> None:
    notify_accounts(alice, "hello", "ä" * 5000)
    expected = "body must have at most 5000 characters, not 5001: 'xxx"

    with pytest.raises(ValueError, match=expected) as refused:
        notify_accounts(alice, "hello", "x" * 5001)
    assert len(str(refused.value)) < 200
    for model in (Notification(account=alice, type="hello"), Broadcast(type="hello")):
        model.body = "x" * 5001
        with pytest.raises(ValidationError) as invalid:
            model.full_clean()
        assert set(invalid.value.message_dict) == {"body"}


@pytest.fixture
def recipient(alice: User) -> Recipient:
    return Recipient.of(alice)


def start(recipient: Recipient) -> Position:
    return Position(0, 0, 1, recipient.audience_hash)


LONG = "x" * 2**20


@pytest.mark.parametrize("body", [LONG, "ä" * 40_000], ids=["ASCII", "two bytes each"])
def test_a_frame_above_the_limit_becomes_a_resync(
    recipient: Recipient, alice: User, notify: Make, body: str
) -> None:
    notify(alice)
    Notification.objects.create(account=alice, type="hello", body=body)
    last = notify(alice)

    changes = read_changes(recipient, start(recipient), 10)

    assert (changes.resync, changes.frames, changes.complete) == (True, [], True)
    assert changes.position == read_latest(recipient).position
    assert changes.position.seq == 3
    after = read_changes(recipient, Position(2, 0, 1, recipient.audience_hash), 10)
    assert [frame["id"] for frame in after.frames] == [last]


def test_a_long_broadcast_becomes_a_resync(recipient: Recipient, send: Make) -> None:
    Broadcast.objects.create(type="news", body=LONG)
    news = send()

    assert read_changes(recipient, start(recipient), 10).resync
    after = read_changes(recipient, Position(0, 1, 1, recipient.audience_hash), 10)
    assert [frame["id"] for frame in after.frames] == [news]


def test_a_resync_over_http_moves_the_position_on(
    browser: Client, recipient: Recipient, alice: User
) -> None:
    Notification.objects.create(account=alice, type="hello", body=LONG)
    numbering.number_and_publish([alice.pk], "default")
    position = start(recipient).as_dict()

    answer = browser.get(CHANGES, position).json()

    assert (answer["resync"], answer["more"], answer["frames"]) == (True, False, [])
    again = browser.get(CHANGES, {name: answer[name] for name in position}).json()
    assert (again["resync"], again["more"], again["seq"]) == (False, False, 1)


def test_no_frame_above_the_limit_goes_through_the_channel_layer(
    alice: User, published: Published
) -> None:
    Notification.objects.create(account=alice, type="hello", body=LONG)
    Notification.objects.create(account=alice, type="hello", body="Short")
    Broadcast.objects.create(type="news", body=LONG)
    numbering.number_and_publish([alice.pk], "default")
    numbering.number_broadcasts("default")

    assert [frame["content"]["body"] for frame in published.frames] == ["Short"]


# --- States of many items


def steps(published: Published) -> list[tuple[int, int, int]]:
    """Return the first and last number of each live update, and its number of ids."""
    return [
        (entry["first"], entry["seq"], len(json.loads(entry["text"])["ids"]))
        for _, message in published
        for entry in message["entries"]
    ]


def assert_is_split(published: Published, first: int, count: int) -> None:
    assert sum(ids for _, _, ids in steps(published)) == count
    for step_first, seq, ids in steps(published):
        assert (step_first, seq) == (first, first + ids - 1)
        first = seq + 1
    for frame in published.frames:
        assert protocol.size(protocol.encode(frame)) < 4096
    with_counts = ["unread" in frame for frame in published.frames]
    assert with_counts == [False] * (len(with_counts) - 1) + [True]


MANY = IDS_PER_FRAME + 51  # in one transaction


@pytest.fixture
def many(alice: User) -> list[str]:
    rows = Notification.objects.bulk_create(
        Notification(pk=10**17 + n, account=alice, type="hello", body=f"No. {n}")
        for n in range(MANY)
    )
    numbering.number_and_publish([alice.pk], "default")
    return [row.wire_id for row in rows]


def test_a_mark_of_many_items_is_published_in_several_frames(
    recipient: Recipient, many: list[str], published: Published, commit: Commit
) -> None:
    with commit():
        marked = marks.mark(recipient, "read", many)

    assert_is_split(published, MANY + 1, MANY)
    assert published.frames[-1]["unread"] == 0
    published.clear()
    with commit():
        marks.undo(recipient, marked.change_range)
    assert_is_split(published, 2 * MANY + 1, MANY)
    assert published.frames[-1]["unread"] == MANY


def test_a_removal_of_many_items_is_published_in_several_frames(
    recipient: Recipient, many: list[str], published: Published
) -> None:
    assert retraction.remove_notifications([int(each[1:]) for each in many], "default") == MANY

    assert_is_split(published, MANY + 1, MANY)
    assert published.frames[-1]["unread"] == 0


def test_a_replacement_of_many_items_is_published_in_several_frames(
    recipient: Recipient, alice: User, many: list[str], published: Published, commit: Commit
) -> None:
    Notification.objects.update(replace_key="a")  # as if each had been read before the next came

    with commit():
        notify_accounts(alice, "hello", "New", replace_key="a")

    new = published.frames.pop()
    removals = Published(published)
    assert new["replaces"] == many[-1]
    entries = [entry for _, message in removals for entry in message["entries"]]
    assert [entry["first"] for entry in entries][1:] == [entry["seq"] + 1 for entry in entries][:-1]
    assert all(len(json.loads(entry["text"]).get("ids", [])) <= IDS_PER_FRAME for entry in entries)


# --- Columns that Python can't read


@pytest.fixture
def unreadable(alice: User) -> Callable[[type[Any], str], None]:
    """Return a function that gives a row a time that no Python datetime can hold."""

    def spoil(model: type[Any], wire_id: str) -> None:
        value = "'infinity'" if IS_POSTGRESQL else "CAST(x'ff' AS TEXT)"
        column = "expires_at" if IS_POSTGRESQL else "type"
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {model._meta.db_table} SET {column} = {value} WHERE id = %s",
                [int(wire_id[1:])],
            )

    return spoil


def test_a_row_that_cannot_be_read_keeps_no_other_from_its_number(
    alice: User,
    bob: User,
    unreadable: Callable[[type[Any], str], None],
    published: Published,
    caplog: pytest.LogCaptureFixture,
) -> None:
    accounts = [alice, alice, bob]
    rows = [Notification.objects.create(account=who, type="x", body="Hi") for who in accounts]
    unreadable(Notification, rows[0].wire_id)

    for numbered in (2, 0):
        assert numbering.number_and_publish([alice.pk, bob.pk], "default") == numbered

    assert [frame["id"] for frame in published.frames] == [row.wire_id for row in rows[1:]]
    assert f"Notification {rows[0].pk} can't be read" in caplog.text
    assert Maintenance().run().notifications_numbered == 0


def test_a_broadcast_that_cannot_be_read_keeps_no_other_from_its_number(
    unreadable: Callable[[type[Any], str], None], published: Published
) -> None:
    bad, fine = (Broadcast.objects.create(type="x", body="Hi") for _ in range(2))
    unreadable(Broadcast, bad.wire_id)

    for numbered in (1, 0):
        assert numbering.number_broadcasts("default") == numbered

    assert [frame["id"] for frame in published.frames] == [fine.wire_id]


def test_a_row_that_cannot_be_read_is_left_out(
    browser: Client,
    recipient: Recipient,
    alice: User,
    notify: Make,
    send: Make,
    unreadable: Callable[[type[Any], str], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, bad, three, news, bad_news = notify(alice), notify(alice), notify(alice), send(), send()
    unreadable(Notification, bad)
    unreadable(Broadcast, bad_news)

    with caplog.at_level(logging.ERROR):
        answer = browser.get(ITEMS, {"limit": "2"}).json()

    assert [item["id"] for item in answer["items"]] == [news, three]
    rest = browser.get(ITEMS, {"before": answer["next"]}).json()
    assert [item["id"] for item in rest["items"]] == [one]
    assert f"Notification {bad[1:]} can't be read" in caplog.text
    assert browser.get("/notifications/").status_code == 200
    changes = read_changes(recipient, start(recipient), 10)
    assert [frame["id"] for frame in changes.frames] == [one, three, news]
    assert changes.position == read_latest(recipient).position


class LostConnection:
    """Rows of which the first can't be read, and then the connection is lost."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure

    def __getitem__(self, part: slice) -> Any:
        raise self.failure

    def values_list(self, *names: str, **options: Any) -> list[int]:
        return [1, 2, 3]

    def filter(self, pk: int) -> Any:
        return LostConnection(ValueError("year 20000") if pk == 1 else OperationalError("closed"))

    def __iter__(self) -> Any:
        raise self.failure

    model = Notification


@pytest.mark.parametrize("failure", [OperationalError("closed"), ValueError("year 20000")])
def test_a_lost_connection_leaves_out_no_row(failure: Exception) -> None:
    rows: Any = LostConnection(failure)

    with pytest.raises(OperationalError):
        read_rows(rows)
