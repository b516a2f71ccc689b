"""The entry points: what `notify_accounts` and `broadcast` accept, refuse and write."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, Group, User
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import AsyncClient, Client
from django.urls import path
from django.utils.functional import SimpleLazyObject

import notifications
from notifications import NotifyResult, anotify_accounts, broadcast, notify_accounts, retract
from notifications.models import Broadcast, Inbox, Notification

from .conftest import Published

pytestmark = pytest.mark.django_db

Commit = Callable[[], AbstractContextManager[Any]]


@pytest.fixture
def commit(django_capture_on_commit_callbacks: Any) -> Commit:
    """Run the on_commit hooks, as a commit would."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def recipients() -> list[str]:
    return sorted(Notification.objects.values_list("account__username", flat=True))


# --- Ways to name accounts


@pytest.mark.parametrize(
    "named",
    [
        lambda alice: alice,
        lambda alice: alice.pk,
        lambda alice: str(alice.pk),
        lambda alice: SimpleLazyObject(lambda: alice),
        lambda alice: [alice],
        lambda alice: (alice.pk,),
        lambda alice: {alice, alice.pk, str(alice.pk)},
        lambda alice: {alice.pk: "a dictionary stands for its keys"},
        lambda alice: (account for account in [alice, alice.pk, alice]),
        lambda alice: iter([SimpleLazyObject(lambda: alice)]),
        lambda alice: User.objects.filter(pk=alice.pk),
        lambda alice: User.objects.filter(pk=alice.pk).only("username"),
        lambda alice: User.objects.filter(pk=alice.pk).values_list("pk", flat=True),
        lambda alice: User.objects.order_by("username")[:1],
        lambda alice: User.objects.filter(pk=alice.pk).union(User.objects.filter(pk=alice.pk)),
        lambda alice: Group.objects.filter(user=alice).values_list("user", flat=True),
    ],
)
def test_an_account_can_be_given_in_many_ways(
    alice: User, bob: User, named: Callable[[User], Any]
) -> None:
    alice.groups.add(Group.objects.create(name="One"), Group.objects.create(name="Two"))

    result = notify_accounts(named(alice), "hello", "Hello")

    assert recipients() == ["alice"]
    assert result == NotifyResult(created=1, skipped=0, ids=[Notification.objects.get().pk])


def test_request_user_is_an_account(alice: User, settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    browser = Client()
    browser.force_login(alice)

    assert browser.get("/sync/").json() == {"created": 1}
    assert recipients() == ["alice"]


def test_a_queryset_of_another_column_gives_the_columns_values(
    alice: User, bob: User, carol: User
) -> None:
    # As in users.values_list("supervisor"): the supervisors, not the users.
    bob.first_name = str(alice.pk)
    bob.save()

    notify_accounts(
        User.objects.filter(pk=bob.pk).values_list("first_name", flat=True), "hello", "Hello"
    )

    assert recipients() == ["alice"]


def test_many_accounts_get_one_each_and_ids_are_ascending(
    alice: User, bob: User, carol: User
) -> None:
    result = notify_accounts([carol, alice, bob, alice.pk], "hello", "Hello")

    assert recipients() == ["alice", "bob", "carol"]
    assert result.created == 3
    assert result.ids == sorted(Notification.objects.values_list("pk", flat=True))


def test_many_accounts_are_split_into_several_statements(
    alice: User, bob: User, carol: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.notify.ROWS_PER_STATEMENT", 2)
    monkeypatch.setattr("notifications.accounts.KEYS_PER_QUERY", 2)

    result = notify_accounts(User.objects.all(), "hello", "Hello")

    assert recipients() == ["alice", "bob", "carol"]
    assert len(result.ids) == 3
    with pytest.raises(ValueError, match="primary key 999"):
        notify_accounts([alice, bob, carol, 999], "hello", "Hello")


@pytest.mark.parametrize("accounts", [[], (), User.objects.none, iter([])])
def test_no_accounts_create_nothing(accounts: Any) -> None:
    assert notify_accounts(accounts() if callable(accounts) else accounts, "hello", "Hello") == (
        NotifyResult()
    )
    assert not Notification.objects.exists()


def test_the_number_of_queries_does_not_depend_on_the_accounts(
    alice: User, bob: User, carol: User, django_assert_num_queries: Any
) -> None:
    for accounts in ([alice, bob], [alice, bob, carol]):
        # One query checks that they exist, one inserts.
        with django_assert_num_queries(2):
            notify_accounts(accounts, "hello", "Hello")


def test_deactivated_accounts_have_inboxes_too(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)

    assert notify_accounts(alice.pk, "hello", "Hello").created == 1


class ReplicaRouter:
    """Reads go to a lagging replica, which has no accounts yet."""

    def db_for_read(self, model: type, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: type, **hints: Any) -> str:
        return "default"


def test_an_account_missing_on_a_lagging_replica_is_found(alice: User, settings: Any) -> None:
    # The replica doesn't exist, so reading from it would fail.
    settings.DATABASE_ROUTERS = [ReplicaRouter()]

    assert notify_accounts(alice.pk, "hello", "Hello").created == 1


# --- Refused arguments


@pytest.fixture
def nothing_written(db: None) -> Iterator[None]:
    yield
    # These queries also prove that the transaction is still usable.
    assert not Notification.objects.exists()
    assert not Broadcast.objects.exists()
    assert not Inbox.objects.exists()


BAD_MESSAGES = [
    ({"type": ""}, "type must be a lowercase letter", "''"),
    ({"type": "Order paid"}, "at most 64 characters", "'Order paid'"),
    ({"type": "a" * 65}, "at most 64 characters", "'aaaa"),
    ({"type": None}, "type must be", "None"),
    ({"type": "register"}, "none of .*heartbeat, ping, register, resync", "'register'"),
    ({"type": "heartbeat"}, "none of .*heartbeat, ping, register, resync", "'heartbeat'"),
    ({"body": None}, "body must be text", "None"),
    ({"body": b"Hello"}, "body must be text", "b'Hello'"),
    ({"body": "a\x00b"}, "body must be text without NUL", r"a\\x00b"),
    ({"body": "\ud800"}, "body must be text without NUL or surrogates", r"\\ud800"),
    ({"meta_data": object()}, "meta_data must be a JSON value", "object"),
    ({"meta_data": {1, 2}}, "meta_data must be a JSON value", "set"),
    ({"meta_data": {"price": Decimal("1.5")}}, "meta_data must be a JSON value", "Decimal"),
    ({"meta_data": {(1, 2): 3}}, "meta_data must be a JSON value", "tuple"),
    ({"meta_data": math.nan}, "meta_data must be a JSON value", "Out of range"),
    ({"meta_data": [math.inf]}, "meta_data must be a JSON value", "Out of range"),
    ({"meta_data": 10**5000}, "meta_data must be a JSON value", "digits"),
    ({"meta_data": "a\x00b"}, "meta_data must not contain the character NUL", ""),
    ({"meta_data": ["\\\x00"]}, "meta_data must not contain the character NUL", ""),
    ({"meta_data": {"a\x00": 1}}, "meta_data must not contain the character NUL", ""),
    ({"meta_data": {"a": "\ud800"}}, "meta_data must be a JSON value", "surrogates"),
    ({"meta_data": "a" * 20 * 1024}, "meta_data must have at most 16384 bytes of JSON", "20482"),
    ({"meta_data": "ä" * 8192}, "meta_data must have at most 16384 bytes of JSON", "16386"),
    ({"url": "javascript:alert(1)"}, "url must be empty, an http", "javascript:alert"),
    ({"url": "//evil.example"}, "single “/”", "//evil.example"),
    ({"url": "/\\evil.example"}, "backslashes", "evil.example"),
    ({"url": "/\t/evil.example"}, "control characters", "evil.example"),
    ({"url": "/\ud800"}, "url must be", r"\\ud800"),
    ({"url": "/" + "a" * 2000}, "at most 2000 characters", "'/aaaa"),
    ({"url": None}, "url must be", "None"),
    ({"level": "critical"}, "level must be one of info, success, warning, error", "'critical'"),
    ({"level": None}, "level must be one of info, success, warning, error", "None"),
    ({"level": ["info"]}, "level must be one of info, success, warning, error", r"\['info'\]"),
    ({"expires_at": datetime(2030, 1, 1)}, "expires_at must be an aware datetime", "2030"),
    ({"expires_at": "2030-01-01T00:00Z"}, "expires_at must be an aware datetime", "'2030-"),
    ({"expires_at": timedelta(hours=1)}, "expires_at must be an aware datetime", "timedelta"),
    (
        {"expires_at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))},
        "expires_at must be an aware datetime",
        "9999",
    ),
]


@pytest.mark.parametrize(("wrong", "allowed", "value"), BAD_MESSAGES)
def test_the_error_for_a_bad_message_names_the_argument(
    nothing_written: None, alice: User, wrong: dict[str, Any], allowed: str, value: str
) -> None:
    message = {"type": "hello", "body": "Hello", **wrong}

    with transaction.atomic():  # still usable after the error
        for persist in (True, False):
            with pytest.raises(ValueError, match=f"(?s){allowed}.*{value}") as refused:
                notify_accounts(alice, **message, persist=persist)
            assert len(str(refused.value)) < 500
        with pytest.raises(ValueError, match=f"(?s){allowed}.*{value}"):
            broadcast(**message)
        assert User.objects.exists()


def test_deeply_nested_meta_data_is_refused(nothing_written: None, alice: User) -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]

    with pytest.raises(ValueError, match="meta_data must be a JSON value"):
        notify_accounts(alice, "hello", "Hello", meta_data=nested)


@pytest.mark.parametrize("name", ["idempotency_key", "replace_key"])
@pytest.mark.parametrize("key", ["", "a" * 201, 12, b"key", "a\x00", "\ud800", ["a"]])
def test_the_error_for_a_bad_key_names_the_argument(
    nothing_written: None, alice: User, name: str, key: Any
) -> None:
    with pytest.raises(ValueError, match=f"{name} must be None or text of 1 to 200 characters"):
        notify_accounts(alice, "hello", "Hello", **{name: key})


@pytest.mark.parametrize(
    "needs_row",
    [{"idempotency_key": "a"}, {"replace_key": "a"}, {"expires_at": datetime.now(UTC)}],
)
def test_options_that_need_a_row_are_refused_without_one(
    nothing_written: None, alice: User, needs_row: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="persist=False.*idempotency_key, replace_key and exp"):
        notify_accounts(alice, "hello", "Hello", persist=False, **needs_row)


@pytest.mark.parametrize("persist", [True, False])
@pytest.mark.parametrize("unknown", [999_999, -1, 2**31, 2**63 - 1, -(2**63) + 1, "999999"])
def test_the_error_for_an_unknown_account_names_its_key(
    nothing_written: None, alice: User, unknown: Any, persist: bool
) -> None:
    with pytest.raises(ValueError, match=f"accounts must exist.*primary key {unknown}"):
        notify_accounts([alice, unknown], "hello", "Hello", persist=persist)


def test_the_error_names_the_first_five_unknown_accounts(nothing_written: None) -> None:
    with pytest.raises(ValueError, match="999001, 999002, 999003, 999004, 999005 and 2 more"):
        notify_accounts(range(999_001, 999_008), "hello", "Hello")


@pytest.mark.parametrize(
    ("accounts", "value"),
    [
        (None, "None"),
        (True, "True"),
        ("alice", "'alice'"),
        ("", "''"),
        (2**63, "9223372036854775808"),
        (-(10**30), "-1000"),
        ([None], "None"),
        ([[1]], r"\[1\]"),
        (1.5, "1.5"),
        (math.inf, "inf"),
        (Decimal("1.5"), "1.5"),
        (b"\x01", r"b'\\x01'"),
        pytest.param(object(), "object object", id="object"),
        (AnonymousUser(), "AnonymousUser"),
        (SimpleLazyObject(AnonymousUser), "AnonymousUser"),
        (User(username="unsaved"), "User: unsaved"),
        (Group(pk=1, name="Customers"), "Group: Customers"),
        ([{"pk": 1}], "{'pk': 1}"),
    ],
)
def test_a_value_that_is_not_an_account_is_refused(
    nothing_written: None, alice: User, accounts: Any, value: str
) -> None:
    with pytest.raises(ValueError, match=f"accounts must be accounts or their.*{value}"):
        notify_accounts(accounts, "hello", "Hello")


@pytest.mark.parametrize(
    ("audience", "value"),
    [
        ("all", "'all'"),
        ("group:1", "'group:1'"),
        (None, "None"),
        (["everyone"], "everyone"),
        (Group(name="Unsaved"), "Unsaved"),
        ("a" * 1000, "aaa"),
    ],
)
def test_a_bad_audience_is_refused(nothing_written: None, audience: Any, value: str) -> None:
    with transaction.atomic():
        with pytest.raises(
            ValueError, match=f'audience must be "everyone", "staff" or a saved Group.*{value}'
        ) as refused:
            broadcast("news", "Hello", audience=audience)
        assert len(str(refused.value)) < 500
        assert not User.objects.exists()  # the transaction is still usable


@pytest.mark.parametrize("sent_by", [AnonymousUser(), User(username="unsaved"), "alice", 1])
def test_a_broadcast_is_sent_by_an_account_or_nobody(nothing_written: None, sent_by: Any) -> None:
    with transaction.atomic():
        with pytest.raises(ValueError, match="sent_by must be None or a saved account"):
            broadcast("news", "Hello", sent_by=sent_by)
        assert not User.objects.exists()


# --- Stored rows


def test_all_arguments_are_stored(alice: User) -> None:
    expires_at = datetime(2030, 1, 1, 13, tzinfo=timezone(timedelta(hours=1)))
    notify_accounts(
        alice,
        "order_paid",
        "Order 12 is paid, 100 % 😀",
        meta_data={"order_id": 12, "lines": [1.5, None, True]},
        url="/orders/12/?a=100%",
        level="success",
        idempotency_key="paid:12",
        replace_key="order:12",
        expires_at=expires_at,
    )

    row = Notification.objects.get()
    assert (row.account_id, row.type, row.level) == (alice.pk, "order_paid", "success")
    assert (row.body, row.url) == ("Order 12 is paid, 100 % 😀", "/orders/12/?a=100%")
    assert row.meta_data == {"order_id": 12, "lines": [1.5, None, True]}
    assert (row.idempotency_key, row.replace_key) == ("paid:12", "order:12")
    assert row.expires_at == expires_at
    assert datetime.now(UTC) - row.created_at < timedelta(minutes=1)
    assert (row.number, row.seq, row.read_at, row.archived_at, row.removed_at) == (None,) * 5


@pytest.mark.parametrize(
    "meta_data",
    ["", None, True, 0, 1.5, "text", [], {}, [None], {"a": {"b": ["ä😀", "\\u0000", "\u2028"]}}]
    + ["a" * (16 * 1024 - 2), 10**400],
    ids=lambda value: f"{value!r:.20}",
)
def test_any_json_value_is_stored_unchanged(
    alice: User, commit: Commit, meta_data: Any, django_capture_on_commit_callbacks: Any
) -> None:
    with commit():
        notify_accounts(alice, "hello", "Hello", meta_data=meta_data)
        row = broadcast("hello", "Hello", meta_data=meta_data)

    assert row.meta_data == meta_data
    for stored in (Notification.objects.get(), Broadcast.objects.get()):
        assert stored.meta_data == meta_data
        assert stored.frame()["content"]["meta_data"] == meta_data
        assert stored.seq == 1


def test_without_a_row_nothing_is_stored_or_counted(alice: User, commit: Commit) -> None:
    with commit():
        result = notify_accounts(alice, "typing", "bob is typing", persist=False)

    assert result == NotifyResult()
    assert not Notification.objects.exists()
    assert not Inbox.objects.exists()


def test_a_broadcast_is_one_row(operator: User, alice: User, commit: Commit) -> None:
    group = Group.objects.create(name="Customers")
    with commit():
        row = broadcast(
            "news",
            "Hello",
            audience=group,
            level="warning",
            url="https://example.com/",
            sent_by=SimpleLazyObject(lambda: operator),
        )

    stored = Broadcast.objects.get()
    assert (stored.pk, stored.audience, stored.seq) == (row.pk, f"group:{group.pk}", 1)
    assert (stored.level, stored.url) == ("warning", "https://example.com/")
    assert stored.sent_by == operator


@pytest.mark.parametrize("audience", ["everyone", "staff"])
def test_a_broadcast_stores_its_audience(audience: str) -> None:
    assert broadcast("news", "Hello", audience=audience).audience == audience


# --- Keys


def test_the_same_key_creates_nothing_new(alice: User, bob: User) -> None:
    first = notify_accounts(alice, "hello", "First", idempotency_key="a")
    second = notify_accounts([alice, bob], "hello", "Second", idempotency_key="a")

    assert (second.created, second.skipped) == (1, 1)
    assert not set(first.ids) & set(second.ids)
    assert sorted(Notification.objects.values_list("account__username", "body")) == [
        ("alice", "First"),
        ("bob", "Second"),
    ]


def test_a_different_key_or_none_creates_another(alice: User) -> None:
    for key in ("a", "b", None, None):
        assert notify_accounts(alice, "hello", "Hello", idempotency_key=key).created == 1


def test_a_key_can_be_reused_after_a_rollback(alice: User) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        notify_accounts(alice, "hello", "Hello", idempotency_key="a")
        raise RuntimeError

    assert notify_accounts(alice, "hello", "Hello", idempotency_key="a").created == 1


@pytest.mark.django_db(transaction=True)
def test_concurrent_calls_with_the_same_key_create_one_and_do_not_fail(
    alice: User, bob: User, carol: User
) -> None:
    accounts = [alice.pk, bob.pk, carol.pk]
    together = threading.Barrier(2)

    def notify(named: list[Any]) -> NotifyResult:
        try:
            together.wait(30)
            with transaction.atomic():
                return notify_accounts(named, "hello", "Hello", idempotency_key="a")
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(notify, [accounts, accounts[::-1]]))

    assert sorted((result.created, result.skipped) for result in results) == [(0, 3), (3, 0)]
    assert Notification.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_a_second_call_with_the_same_key_waits_for_the_first_to_commit(alice: User) -> None:
    second_begins, ended = threading.Event(), threading.Event()

    def second() -> NotifyResult:
        try:
            second_begins.set()
            return notify_accounts(alice.pk, "hello", "Second", idempotency_key="a")
        finally:
            ended.set()
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            notify_accounts(alice.pk, "hello", "First", idempotency_key="a")
            result = pool.submit(second)
            assert second_begins.wait(30)
            assert not ended.wait(0.2)
        assert (result.result(30).created, result.result().skipped) == (0, 1)

    assert Notification.objects.get().body == "First"


# --- Event loops


async def test_the_error_in_an_event_loop_names_the_async_function(alice: User) -> None:
    with pytest.raises(RuntimeError, match=r"use await anotify_accounts\(\.\.\.\)"):
        notify_accounts(alice, "hello", "Hello")
    with pytest.raises(RuntimeError, match=r"broadcast\(\).*database_sync_to_async"):
        broadcast("news", "Hello")


@pytest.mark.django_db(transaction=True)
def test_where_django_allows_queries_in_an_event_loop_so_do_we(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def in_a_loop() -> int:
        (pk,) = notify_accounts(alice, "hello", "Hello").ids
        retracted = retract([Notification.objects.get(pk=pk), broadcast("news", "Hello")])
        connection.close()  # the loop has one of its own
        return retracted

    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    assert asyncio.run(in_a_loop()) == 2
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "")
    with pytest.raises(RuntimeError, match="event loop"):
        asyncio.run(in_a_loop())


@pytest.mark.django_db(transaction=True)
async def test_anotify_accounts_does_the_same_in_an_event_loop(alice: User) -> None:
    result = await anotify_accounts([alice], "hello", "Hello", idempotency_key="a", level="error")

    row = await Notification.objects.aget()
    assert (result.ids, row.level, row.seq) == ([row.pk], "error", 1)
    with pytest.raises(ValueError, match="level must be one of"):
        await anotify_accounts([alice], "hello", "Hello", level="critical")


@pytest.mark.django_db(transaction=True)
def test_an_async_view_can_notify_its_user(alice: User, settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    browser = AsyncClient()
    browser.force_login(alice)

    answer = async_to_sync(browser.get)("/async/")

    assert answer.json() == {"created": 1}
    assert Notification.objects.get().seq == 1


@pytest.mark.django_db(transaction=True)
def test_a_failing_view_with_atomic_requests_notifies_nobody(
    alice: User, settings: Any, monkeypatch: pytest.MonkeyPatch, published: Published
) -> None:
    settings.ROOT_URLCONF = __name__
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    browser = Client(raise_request_exception=False)
    browser.force_login(alice)

    assert browser.get("/failing/").status_code == 500

    assert not published
    assert not Notification.objects.exists()
    assert browser.get("/sync/").json() == {"created": 1}
    assert [frame["seq"] for frame in published.frames] == [1]


def sync_view(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"created": notify_accounts(request.user, "hello", "Hello").created})


def failing_view(request: HttpRequest) -> HttpResponse:
    notify_accounts(request.user, "hello", "Never")
    notify_accounts(request.user, "typing", "Never", persist=False)
    broadcast("news", "Never")
    raise RuntimeError("too late")


async def async_view(request: HttpRequest) -> HttpResponse:
    # request.user is lazy, so its query runs in the thread.
    result = await anotify_accounts(request.user, "hello", "Hello")
    return JsonResponse({"created": result.created})


urlpatterns = [
    path("sync/", sync_view),
    path("failing/", failing_view),
    path("async/", async_view),
]


# --- The package


def test_all_exported_names_exist() -> None:
    for name in notifications.__all__:
        assert callable(getattr(notifications, name))
    with pytest.raises(AttributeError, match="'notifications' has no attribute 'notfy'"):
        notifications.notfy  # noqa: B018
