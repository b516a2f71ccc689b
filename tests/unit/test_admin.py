from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import notifications
from notifications import broadcast, delivery, inbox, notify_accounts, reach
from notifications.admin import BroadcastAdmin
from notifications.admin.connections import browser_name
from notifications.audiences import Reader
from notifications.models import (
    Broadcast,
    BroadcastReceipt,
    Connection,
    Inbox,
    Notification,
    Worker,
)
from notifications.protocol import CloseCode

from .conftest import Commit

COMPOSE = "/admin/notifications/broadcast/add/"
BROADCASTS = "/admin/notifications/broadcast/"
CONNECTIONS = "/admin/notifications/connection/"
NOTIFICATIONS = "/admin/notifications/notification/"
USERS = "/admin/auth/user/"
CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/139.0.0.0 Safari/537.36"
)


@pytest.fixture
def admin(operator: User) -> Client:
    browser = Client()
    browser.force_login(operator)
    return browser


@pytest.fixture
def staff(make_account: Callable[..., User]) -> Callable[..., Client]:
    """Logs in a member of the staff who has just these permissions."""

    def log_in(*permissions: str) -> Client:
        account = make_account("sam", is_staff=True)
        account.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        browser = Client()
        browser.force_login(account)
        return browser

    return log_in


@pytest.fixture
def worker(db: None) -> Worker:
    lease_until = timezone.now() + timedelta(hours=1)
    return Worker.objects.create(host="web-1", pid=4711, lease_until=lease_until)


@pytest.fixture
def connect(worker: Worker) -> Callable[..., Connection]:
    def open_tab(account: User, **fields: Any) -> Connection:
        fields = {"worker": worker, "user_agent": CHROME, "address": "192.0.2.7"} | fields
        return Connection.objects.create(account_id=account.pk, **fields)

    return open_tab


@pytest.fixture
def count_queries(db: None) -> Callable[..., int]:
    def count(action: Callable[[], Any]) -> int:
        with CaptureQueriesContext(connection) as queries:
            action()
        return len(queries)

    return count


def composed(**fields: str) -> dict[str, str]:
    return {
        "audience": "everyone",
        "type": "announcement",
        "body": "Back in five minutes",
        "level": "warning",
        "url": "",
        "expires_at_0": "",
        "expires_at_1": "",
    } | fields


def text(answer: Any) -> str:
    """Return what a page says, in one line, without its tags."""
    shown = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", answer.content.decode(), flags=re.S)
    return " ".join(shown.split())


def row(page: str) -> dict[str, str]:
    """Return the only row of a list, by column."""
    cells = re.findall(r'<t[dh] class="(?:[^"]*)field-(\w+)[^"]*">(.*?)</t[dh]>', page, re.S)
    return {name: " ".join(re.sub("<[^>]+>", "", shown).split()) for name, shown in cells}


# --- Composing


def test_composing_starts_with_an_announcement_to_everyone(admin: Client) -> None:
    page = admin.get(COMPOSE).content.decode()

    assert 'name="type" value="announcement"' in page
    assert '<option value="everyone">Everyone</option>' in page.replace(" selected", "")
    assert 'name="_preview"' in page
    assert 'name="_save"' not in page


def test_groups_can_be_chosen_by_name(admin: Client) -> None:
    group = Group.objects.create(name="Customers")

    page = admin.get(COMPOSE).content.decode()

    assert f'<option value="group:{group.pk}">Customers</option>' in page


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("type", "Not a type", "is not a message type"),
        ("type", "heartbeat", "is not a message type"),
        ("body", "  ", "This field is required"),
        ("body", "x" * 2001, "at most 2000 characters"),
        ("url", "javascript:alert(1)", "must be an http(s) address or a path"),
        ("url", "//evil.example/", "must be an http(s) address or a path"),
        ("level", "fatal", "Select a valid choice"),
        ("audience", "group:99", "Select a valid choice"),
        ("expires_at_0", "2001-01-01", "This time has passed"),
    ],
)
@pytest.mark.parametrize("button", ["_preview", "_send"])
def test_a_mistake_is_told_at_its_field_and_nothing_is_sent(
    admin: Client, field: str, value: str, told: str, button: str
) -> None:
    fields = composed(**{"expires_at_1": "12:00"} if field == "expires_at_0" else {})
    answer = admin.post(COMPOSE, {**fields, field: value, button: "1"})

    errors = answer.context["adminform"].form.errors
    assert list(errors) == [re.sub(r"_\d$", "", field)]
    assert told in text(answer)
    assert not Broadcast.objects.exists()


# --- Previewing


def test_the_preview_shows_the_message_and_whom_it_reaches(
    admin: Client, alice: User, bob: User, connect: Callable[..., Connection]
) -> None:
    connect(alice)
    connect(alice)

    shown = text(admin.post(COMPOSE, composed(url="/orders/7/", _preview="1")))

    assert "Recipients will see this: Back in five minutes" in shown
    assert "Level Warning Link /orders/7/" in shown
    assert "Audience Everyone Accounts 3 Online now 1" in shown


def test_the_preview_stores_nothing(admin: Client) -> None:
    answer = admin.post(COMPOSE, composed(_preview="1"))

    assert 'value="Send to 1 account"' in answer.content.decode()
    assert not Broadcast.objects.exists()
    assert not LogEntry.objects.exists()


def test_the_preview_counts_a_group(admin: Client, alice: User, bob: User, carol: User) -> None:
    group = Group.objects.create(name="Customers")
    group.user_set.set([alice, bob])
    carol.groups.add(group)
    carol.is_active = False
    carol.save()

    answer = admin.post(COMPOSE, composed(audience=f"group:{group.pk}", _preview="1"))

    assert "Audience Customers" in text(answer)
    assert 'value="Send to 2 accounts"' in answer.content.decode()


def test_the_preview_shows_tags_as_text(admin: Client) -> None:
    page = admin.post(COMPOSE, composed(body="<b>bold</b>", _preview="1")).content.decode()

    assert "<b>bold</b>" not in page
    assert "&lt;b&gt;bold" in page


def test_editing_goes_back_with_everything_kept(admin: Client) -> None:
    preview = admin.post(
        COMPOSE,
        composed(
            body="First\r\nsecond",
            url="/orders/7/",
            audience="staff",
            expires_at_0="2100-01-02",
            expires_at_1="03:04:05",
            _preview="1",
        ),
    )
    kept = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', preview.content.decode()))

    page = admin.post(COMPOSE, {**kept, "_edit": "1"}).content.decode()

    assert ">\nFirst\nsecond</textarea>" in page.replace("\r", "")
    assert 'value="/orders/7/"' in page
    assert '<option value="staff" selected>' in page
    assert '<option value="warning" selected>' in page
    assert 'value="2100-01-02"' in page
    assert 'value="03:04:05"' in page
    assert "Please correct" not in page
    assert not Broadcast.objects.exists()


# --- Sending


def test_sending_puts_one_row_into_all_inboxes(
    admin: Client, operator: User, alice: User, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        answer = admin.post(
            COMPOSE, composed(body="One\r\ntwo", url="/orders/7/", _send="1"), follow=True
        )

    sent = Broadcast.objects.get()
    assert (sent.type, sent.body, sent.level) == ("announcement", "One\ntwo", "warning")
    assert (sent.audience, sent.url, sent.sent_by) == ("everyone", "/orders/7/", operator)
    assert sent.number == 1
    assert answer.redirect_chain == [(BROADCASTS, 302)]
    assert "Sent to 2 accounts." in text(answer)


def test_sending_to_a_group_reaches_its_members(admin: Client) -> None:
    group = Group.objects.create(name="Customers")

    admin.post(COMPOSE, composed(audience=f"group:{group.pk}", _send="1"))

    assert Broadcast.objects.get().audience == f"group:{group.pk}"


def test_an_expiry_is_kept(admin: Client) -> None:
    admin.post(COMPOSE, composed(expires_at_0="2100-01-02", expires_at_1="03:04:05", _send="1"))

    assert Broadcast.objects.get().expires_at.isoformat() == "2100-01-02T03:04:05+00:00"


def test_a_second_click_sends_nothing_more(admin: Client) -> None:
    admin.post(COMPOSE, composed(_send="1"))
    answer = admin.post(COMPOSE, composed(_send="1"), follow=True)

    assert Broadcast.objects.count() == 1
    assert "it was not sent again" in text(answer)


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_once_send_one_broadcast(
    operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_have_looked = threading.Barrier(2)
    look = BroadcastAdmin._was_just_sent

    def look_together(*args: Any) -> bool:
        was_sent = look(*args)
        with suppress(threading.BrokenBarrierError):
            both_have_looked.wait(timeout=0.5)
        return was_sent

    def click(browser: Client) -> int:
        try:
            return browser.post(COMPOSE, composed(_send="1")).status_code
        finally:
            connection.close()

    monkeypatch.setattr(BroadcastAdmin, "_was_just_sent", look_together)
    browsers = [Client(), Client()]
    for browser in browsers:
        browser.force_login(operator)
    with ThreadPoolExecutor() as clicks:
        assert list(clicks.map(click, browsers)) == [302, 302]

    assert Broadcast.objects.count() == 1


def test_the_same_message_can_be_sent_again_later(admin: Client) -> None:
    admin.post(COMPOSE, composed(_send="1"))
    Broadcast.objects.update(created_at=timezone.now() - timedelta(minutes=2))

    admin.post(COMPOSE, composed(_send="1"))

    assert Broadcast.objects.count() == 2


def test_who_sent_it_is_recorded(admin: Client, operator: User) -> None:
    admin.post(COMPOSE, composed(_send="1"))

    entry = LogEntry.objects.get()
    assert (entry.user, entry.is_addition()) == (operator, True)
    assert entry.object_id == str(Broadcast.objects.get().pk)


@pytest.mark.parametrize("button", ["_preview", "_edit", "_send"])
def test_without_the_permission_nothing_can_be_composed_or_sent(
    staff: Callable[..., Client], button: str
) -> None:
    browser = staff("view_broadcast", "add_broadcast", "change_broadcast", "delete_broadcast")

    assert browser.get(COMPOSE).status_code == 403
    assert browser.post(COMPOSE, composed(**{button: "1"})).status_code == 403
    assert COMPOSE not in browser.get(BROADCASTS).content.decode()
    assert not Broadcast.objects.exists()


def test_the_permission_to_send_suffices_to_send(staff: Callable[..., Client]) -> None:
    browser = staff("send_broadcast")

    answer = browser.post(COMPOSE, composed(_send="1"), follow=True)

    assert "Sent to 1 account." in text(answer)
    assert browser.get(BROADCASTS).status_code == 403


def test_accounts_that_are_not_staff_are_sent_to_the_log_in_page(
    client: Client, alice: User
) -> None:
    alice.user_permissions.set(Permission.objects.filter(codename="send_broadcast"))
    client.force_login(alice)

    assert client.post(COMPOSE, composed(_send="1")).status_code == 302
    assert not Broadcast.objects.exists()


def test_a_foreign_form_can_not_send(operator: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(operator)

    assert browser.post(COMPOSE, composed(_send="1")).status_code == 403
    assert not Broadcast.objects.exists()


# --- Sent broadcasts


def test_the_list_says_how_many_are_online_and_have_read(
    admin: Client, operator: User, alice: User, bob: User, connect: Callable[..., Connection]
) -> None:
    sent = broadcast("announcement", "Hello", level="success", sent_by=operator)
    connect(alice)
    connect(alice)
    connect(bob)
    BroadcastReceipt.objects.create(broadcast=sent, account=alice, read_at=timezone.now(), seq=1)
    BroadcastReceipt.objects.create(broadcast=sent, account=bob, archived_at=timezone.now(), seq=1)

    shown = row(admin.get(BROADCASTS).content.decode())

    assert shown["summary"] == "Hello"
    assert shown["audience_in_words"] == "Everyone"
    assert shown["level"] == "Success"
    assert shown["sent_by"] == "operator"
    assert shown["online_now"] == "2 of 3"
    assert shown["read_by"] == "1 of 3"


def test_each_audience_has_its_own_numbers(
    operator: User, alice: User, bob: User, carol: User, connect: Callable[..., Connection]
) -> None:
    customers = Group.objects.create(name="Customers")
    customers.user_set.set([alice, bob])
    connect(bob)
    connect(carol)
    sent = {
        audience: broadcast("announcement", "Hello", audience=audience)
        for audience in ("everyone", "staff", customers)
    }

    numbers = reach.of_broadcasts(sent.values())

    assert numbers[sent["everyone"].pk] == reach.Reach(accounts=4, online=2, read=0)
    assert numbers[sent["staff"].pk] == reach.Reach(accounts=1, online=0, read=0)
    assert numbers[sent[customers].pk] == reach.Reach(accounts=2, online=1, read=0)


def test_accounts_that_came_later_do_not_count(
    alice: User, make_account: Callable[..., User]
) -> None:
    sent = broadcast("announcement", "Hello")
    make_account("dave")
    make_account("erin", date_joined=sent.created_at - timedelta(days=1), is_active=False)

    assert reach.of_broadcasts([sent])[sent.pk].accounts == 1


def test_numbers_of_dead_workers_do_not_count(
    alice: User, worker: Worker, connect: Callable[..., Connection]
) -> None:
    connect(alice)
    assert reach.of_audience("everyone").online == 1

    Worker.objects.update(lease_until=timezone.now() - timedelta(seconds=1))

    assert reach.of_audience("everyone").online == 0


def test_a_longer_list_needs_no_more_queries(
    admin: Client, operator: User, count_queries: Callable[..., int]
) -> None:
    groups = [Group.objects.create(name=f"Group {number}") for number in range(6)]
    broadcast("announcement", "First", audience=groups[0], sent_by=operator)
    few = count_queries(lambda: admin.get(BROADCASTS))
    for group in groups:
        broadcast("announcement", "Next", audience=group, sent_by=operator)
    broadcast("announcement", "To staff", audience="staff", sent_by=operator)

    assert count_queries(lambda: admin.get(BROADCASTS)) == few


def test_an_audience_whose_group_is_gone_is_still_told(admin: Client) -> None:
    group = Group.objects.create(name="Customers")
    broadcast("announcement", "Hello", audience=group)
    pk = group.pk
    group.delete()

    shown = row(admin.get(BROADCASTS).content.decode())

    assert shown["audience_in_words"] == f"deleted group {pk}"
    assert shown["read_by"] == "0 of 0"


def test_a_sender_who_is_gone_does_not_break_the_pages(admin: Client, bob: User) -> None:
    sent = broadcast("announcement", "Hello", sent_by=bob)
    bob.delete()

    assert row(admin.get(BROADCASTS).content.decode())["sent_by"] == "-"
    assert admin.get(f"{BROADCASTS}{sent.pk}/change/").status_code == 200


def test_what_is_sent_can_be_looked_at_only(admin: Client, operator: User) -> None:
    sent = broadcast("announcement", "Hello", audience="staff", sent_by=operator)
    address = f"{BROADCASTS}{sent.pk}"

    page = admin.get(f"{address}/change/")

    assert "Audience: Staff" in text(page)
    assert "Read by: 0 of 1" in text(page)
    assert "<textarea" not in page.content.decode()
    assert 'type="submit"' not in page.content.decode().split("content-main")[1]
    assert admin.post(f"{address}/change/", composed(body="Other")).status_code == 403
    assert admin.post(f"{address}/delete/", {"post": "yes"}).status_code == 403
    assert Broadcast.objects.get().body == "Hello"


# --- Notifying chosen accounts


def chosen(*accounts: User, **fields: str) -> dict[str, Any]:
    keys = [account.pk for account in accounts]
    return {"action": "send_notification", "_selected_action": keys, **fields}


def filled_in(**fields: str) -> dict[str, str]:
    told = {"type": "message", "body": "Your parcel is here", "level": "info", "url": ""}
    return {**told, "_send": "1", **fields}


def test_choosing_accounts_asks_what_to_send_them(
    admin: Client, alice: User, bob: User, carol: User
) -> None:
    answer = admin.post(USERS, chosen(alice, bob, index="0"))

    page = answer.content.decode()
    assert "Send a notification" in text(answer)
    assert "To: alice, bob" in text(answer)
    assert 'value="Send to 2 accounts"' in page
    assert 'name="type" value="message"' in page
    assert not Notification.objects.exists()


def test_the_chosen_accounts_get_it(
    admin: Client,
    operator: User,
    alice: User,
    bob: User,
    carol: User,
    django_capture_on_commit_callbacks: Any,
) -> None:
    told = filled_in(level="success", url="/orders/7/")

    with django_capture_on_commit_callbacks(execute=True):
        answer = admin.post(USERS, chosen(alice, bob, **told), follow=True)

    assert "Sent to 2 accounts." in text(answer)
    rows = Notification.objects.order_by("account_id")
    assert [(row.account, row.number) for row in rows] == [(alice, 1), (bob, 1)]
    assert {(row.type, row.body, row.level, row.url) for row in rows} == {
        ("message", "Your parcel is here", "success", "/orders/7/")
    }
    assert set(Inbox.objects.values_list("unread", flat=True)) == {1}
    assert LogEntry.objects.get().user == operator


@pytest.mark.parametrize(
    ("field", "value"),
    [("type", "ping"), ("body", ""), ("url", "javascript:alert(1)"), ("level", "fatal")],
)
def test_a_mistake_is_told_and_the_choice_kept(
    admin: Client, alice: User, bob: User, field: str, value: str
) -> None:
    answer = admin.post(USERS, chosen(alice, bob, **filled_in(**{field: value})))

    assert list(answer.context["adminform"].form.errors) == [field]
    assert "To: alice, bob" in text(answer)
    assert f'name="_selected_action" value="{bob.pk}"' in answer.content.decode()
    assert not Notification.objects.exists()


def test_all_accounts_of_a_search_can_be_chosen(
    admin: Client, make_account: Callable[..., User], alice: User
) -> None:
    members = [make_account(f"member{number:02}") for number in range(12)]
    address = f"{USERS}?q=member"

    answer = admin.post(address, chosen(members[0], index="0", select_across="1"))

    assert 'value="Send to 12 accounts"' in answer.content.decode()
    assert "member09 and 2 more" in text(answer)
    admin.post(address, chosen(members[0], select_across="1", **filled_in()))
    assert Notification.objects.count() == 12
    assert not Notification.objects.filter(account=alice).exists()


def test_without_the_permission_there_is_no_such_action(
    staff: Callable[..., Client], alice: User
) -> None:
    browser = staff("view_user", "change_user")

    assert "send_notification" not in browser.get(USERS).content.decode()
    browser.post(USERS, chosen(alice, **filled_in()))
    assert not Notification.objects.exists()


# --- Connections


def test_open_connections_are_listed_with_account_and_browser(
    admin: Client, alice: User, connect: Callable[..., Connection]
) -> None:
    connect(alice, last_seen=timezone.now() - timedelta(minutes=3))

    shown = row(admin.get(CONNECTIONS).content.decode())

    assert shown["account_name"] == "alice"
    assert shown["seen"].replace("\xa0", " ") == "3 minutes ago"
    assert shown["browser"] == "Chrome 139, Linux"
    assert shown["address"] == "192.0.2.7"
    assert shown["worker"] == "web-1:4711"


def test_connections_of_dead_workers_are_not_listed(
    admin: Client, alice: User, connect: Callable[..., Connection]
) -> None:
    connect(alice)
    Worker.objects.update(lease_until=timezone.now() - timedelta(seconds=1))

    assert "0 connections" in text(admin.get(CONNECTIONS))


def test_connections_can_be_searched_and_filtered(
    admin: Client, alice: User, bob: User, worker: Worker, connect: Callable[..., Connection]
) -> None:
    other = Worker.objects.create(host="web-2", pid=1, lease_until=worker.lease_until)
    connect(alice)
    connect(bob, worker=other)

    assert row(admin.get(f"{CONNECTIONS}?q=bob").content.decode())["account_name"] == "bob"
    page = admin.get(f"{CONNECTIONS}?worker__id__exact={worker.pk}").content.decode()
    assert row(page)["account_name"] == "alice"
    assert "1 connection" in text(admin.get(f"{CONNECTIONS}?worker__id__exact={worker.pk}"))


def test_the_connection_of_a_deleted_account_is_listed(
    admin: Client, alice: User, connect: Callable[..., Connection]
) -> None:
    orphan = connect(alice)
    pk = alice.pk
    alice.delete()

    shown = row(admin.get(f"{CONNECTIONS}?o=1").content.decode())

    assert shown["account_name"] == f"deleted account {pk}"
    assert admin.get(f"{CONNECTIONS}{orphan.pk}/change/").status_code == 200


def test_more_connections_need_no_more_queries(
    admin: Client,
    make_account: Callable[..., User],
    connect: Callable[..., Connection],
    count_queries: Callable[..., int],
) -> None:
    connect(make_account("member"))
    few = count_queries(lambda: admin.get(CONNECTIONS))
    for number in range(5):
        connect(make_account(f"member{number}"))
    assert count_queries(lambda: admin.get(CONNECTIONS)) == few


def test_disconnecting_asks_the_hubs_to_close_the_chosen_ones(
    admin: Client,
    alice: User,
    bob: User,
    connect: Callable[..., Connection],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed: list[tuple[set[uuid.UUID], CloseCode]] = []
    monkeypatch.setattr(
        delivery, "close_connections", lambda keys, code: closed.append((set(keys), code))
    )
    first, second, _ = connect(alice), connect(alice), connect(bob)

    answer = admin.post(
        CONNECTIONS,
        {"action": "disconnect", "_selected_action": [first.pk, second.pk], "index": "0"},
        follow=True,
    )

    assert closed == [({first.pk, second.pk}, CloseCode.RESTART)]
    assert "2 connections are being closed" in text(answer)


def test_only_who_may_delete_connections_may_disconnect(
    staff: Callable[..., Client],
    alice: User,
    connect: Callable[..., Connection],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "close_connections", lambda *args: pytest.fail("closed"))
    tab = connect(alice)
    browser = staff("view_connection", "change_connection")

    browser.post(CONNECTIONS, {"action": "disconnect", "_selected_action": [tab.pk]})

    assert "disconnect" not in browser.get(CONNECTIONS).content.decode()


@pytest.mark.parametrize(
    ("user_agent", "shown"),
    [
        (CHROME, "Chrome 139, Linux"),
        (f"{CHROME} Edg/138.0.1", "Edge 138, Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; rv:128.0) Gecko/20100101 Firefox/128.0",
            "Firefox 128, Windows",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 "
            "(KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
            "Safari 18, iPhone",
        ),
        ("Python/3.11 websockets/17.4", "Python/3.11 websockets/17.4"),
        ("x" * 200, "x" * 39 + "…"),
        ("", ""),
    ],
)
def test_a_browser_is_shown_by_its_name(user_agent: str, shown: str) -> None:
    assert browser_name(user_agent) == shown


# --- Notifications, workers, and all of them


def test_support_staff_find_an_accounts_notifications(
    staff: Callable[..., Client], alice: User, bob: User
) -> None:
    notify_accounts(alice, "order_paid", "Order 1 is paid")
    notify_accounts(bob, "order_paid", "Order 2 is paid")
    Notification.objects.filter(account=bob).update(read_at=timezone.now())
    browser = staff("view_notification")

    shown = row(browser.get(f"{NOTIFICATIONS}?q=alice").content.decode())
    assert (shown["account_name"], shown["summary"]) == ("alice", "Order 1 is paid")
    assert (shown["type"], shown["state"]) == ("order_paid", "Unread")
    assert row(browser.get(f"{NOTIFICATIONS}?state=read").content.decode())["state"] == "Read"


def test_the_notification_of_a_deleted_account_is_listed(admin: Client, alice: User) -> None:
    notify_accounts(alice, "order_paid", "Order 1 is paid")
    pk = alice.pk
    alice.delete()

    shown = row(admin.get(NOTIFICATIONS).content.decode())
    assert shown["account_name"] == f"deleted account {pk}"
    orphan = Notification.objects.get()
    assert admin.get(f"{NOTIFICATIONS}{orphan.pk}/change/").status_code == 200


@pytest.mark.parametrize(
    ("state", "fields"),
    [
        ("unread", []),
        ("read", ["read_at"]),
        ("archived", ["archived_at"]),
        ("archived", ["read_at", "archived_at"]),
        ("gone", ["gone_at"]),
        ("gone", ["read_at", "archived_at", "gone_at"]),
    ],
)
def test_a_filter_finds_each_state(
    admin: Client, alice: User, state: str, fields: list[str]
) -> None:
    notify_accounts(alice, "order_paid", "Order 1 is paid")
    Notification.objects.update(**dict.fromkeys(fields, timezone.now()))

    for other in ("unread", "read", "archived", "gone"):
        found = "1 notification" in text(admin.get(f"{NOTIFICATIONS}?state={other}"))
        assert found == (other == state)


@pytest.mark.parametrize("address", [CONNECTIONS, NOTIFICATIONS, "/admin/notifications/worker/"])
def test_nothing_can_be_added_or_deleted_here(admin: Client, address: str) -> None:
    assert admin.get(address).status_code == 200
    assert admin.get(f"{address}add/").status_code == 403
    assert "delete_selected" not in admin.get(address).content.decode()


def test_no_admin_page_needs_an_inline_script_or_style() -> None:
    templates = [*Path(notifications.__file__).parent.glob("templates/admin/**/*.html")]

    assert templates
    for template in templates:
        page = template.read_text()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page), template
        assert not re.search(r"<script(?![^>]*\ssrc=)", page), template


# --- Retracting


def retraction(*pks: int, **fields: Any) -> dict[str, Any]:
    """Return what the list posts once these messages are chosen."""
    return {"action": "retract", "_selected_action": pks, **fields}


def agreed(page: Any) -> dict[str, Any]:
    """Return what the page that asks posts, once the operator agrees."""
    shown = page.content.decode()
    fields: dict[str, Any] = {}
    for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', shown):
        fields.setdefault(name, []).append(value)
    return fields


def test_before_retracting_the_admin_asks_and_shows_what(
    admin: Client, alice: User, bob: User, commit: Commit
) -> None:
    with commit():
        everyones = broadcast("news", "Wrong <b>price</b>")
        staffs = broadcast("news", "Wrong time", audience="staff")
        other = broadcast("news", "Right")

    with commit():
        page = admin.post(f"{BROADCASTS}?o=1", retraction(everyones.pk, staffs.pk))

    assert "retract the selected broadcasts?" in text(page)
    assert "Summary Broadcasts: 2" in text(page)
    assert "Wrong time ( Staff, 1 account )" in text(page).replace("(", "( ").replace(")", " )")
    assert "Wrong &lt;b&gt;price&lt;/b&gt; (Everyone, 3 accounts)" in text(page)
    assert "Right" not in text(page)
    assert f'href="{BROADCASTS}?o=1" class="button cancel-link"' in page.content.decode()
    assert {*Broadcast.objects.present()} == {everyones, staffs, other}
    assert not LogEntry.objects.exists()


def test_the_page_that_asks_lists_ten_messages_and_counts_the_others(
    admin: Client, alice: User, commit: Commit
) -> None:
    with commit():
        for number in range(12):
            notify_accounts(alice, "hello", f"Hello {number}.")
    pks = Notification.objects.values_list("pk", flat=True)

    page = admin.post(NOTIFICATIONS, retraction(*pks))

    assert "Notifications: 12" in text(page)
    assert text(page).count("(alice)") == 10
    assert "Hello 11." in text(page)
    assert "Hello 1." not in text(page)
    assert "and 2 more" in text(page)


def test_retracting_a_broadcast_takes_it_out_of_all_inboxes(
    admin: Client, alice: User, operator: User, commit: Commit
) -> None:
    with commit():
        wrong, right = broadcast("news", "Wrong"), broadcast("news", "Right")
    page = admin.post(BROADCASTS, retraction(wrong.pk))

    with commit():
        answer = admin.post(BROADCASTS, agreed(page), follow=True)

    assert "1 message was retracted" in text(answer)
    items = inbox.read_page(Reader.of(alice)).items
    assert [item["id"] for item in items] == [right.wire_id]
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id, entry.change_message) == (
        operator,
        str(wrong.pk),
        "Retracted.",
    )
    page = admin.get(BROADCASTS).content.decode()
    assert page.count('alt="True"') == page.count('alt="False"') == 1


def test_retracting_tells_how_many_were_still_there(
    admin: Client, alice: User, bob: User, commit: Commit
) -> None:
    with commit():
        ids = notify_accounts([alice, bob], "hello", "Hello").ids
        ids += notify_accounts(bob, "hello", "Again").ids
    page = admin.post(NOTIFICATIONS, retraction(*ids))
    with commit():
        admin.post(NOTIFICATIONS, agreed(admin.post(NOTIFICATIONS, retraction(ids[0]))))

    with commit():
        answer = admin.post(NOTIFICATIONS, agreed(page), follow=True)

    assert "2 messages were retracted" in text(answer)
    assert not Notification.objects.present().exists()
    assert set(Inbox.objects.values_list("unread", flat=True)) == {0}
    assert LogEntry.objects.count() == 3
    # A second click.
    assert "has left all inboxes already" in text(
        admin.post(NOTIFICATIONS, agreed(page), follow=True)
    )
    assert LogEntry.objects.count() == 3


def test_all_that_a_search_finds_is_retracted_but_not_what_came_after_the_question(
    admin: Client, alice: User, bob: User, commit: Commit
) -> None:
    with commit():
        (bobs,) = notify_accounts(bob, "hello", "Hello").ids
        notify_accounts(alice, "hello", "Hello")
        (last,) = notify_accounts(alice, "hello", "Again").ids
    address = f"{NOTIFICATIONS}?q=alice"
    page = admin.post(address, retraction(last, select_across="1"))
    assert "Notifications: 2" in text(page)
    with commit():
        (late,) = notify_accounts(alice, "hello", "Later").ids

    with commit():
        admin.post(address, agreed(page))

    left = Notification.objects.present().values_list("pk", flat=True)
    assert {*left} == {bobs, late}


@pytest.mark.parametrize("newest", ["", "x"])
def test_an_answer_that_names_no_message_retracts_none(
    admin: Client, alice: User, commit: Commit, newest: str
) -> None:
    with commit():
        (pk,) = notify_accounts(alice, "hello", "Hello").ids

    with commit():
        answer = admin.post(NOTIFICATIONS, retraction(pk, newest=newest))

    assert "Are you sure" in text(answer)
    assert Notification.objects.present().exists()


@pytest.mark.parametrize("kind", ["notification", "broadcast"])
def test_only_who_may_delete_them_may_retract_messages(
    staff: Callable[..., Client], alice: User, commit: Commit, kind: str
) -> None:
    with commit():
        notify_accounts(alice, "hello", "Hello")
        broadcast("news", "News")
    browser = staff(f"view_{kind}", f"change_{kind}", "send_broadcast")
    model = {"notification": Notification, "broadcast": Broadcast}[kind]
    pk = model.objects.get().pk
    answer = retraction(pk, newest=pk)
    address = f"/admin/notifications/{kind}/"

    with commit():
        browser.post(address, answer)

    assert "retract" not in browser.get(address).content.decode()
    assert model.objects.get().gone_at is None
    User.objects.get(username="sam").user_permissions.add(
        Permission.objects.get(codename=f"delete_{kind}")
    )
    with commit():
        browser.post(address, answer)
    assert model.objects.get().gone_at
