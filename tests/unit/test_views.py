"""The inbox over HTTP: JSON and forms, own rows only."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import resolve
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifications import broadcast, delivery, layer, notify_accounts, views, withdrawal
from notifications.maintenance import Maintenance
from notifications.models import BroadcastReceipt, Inbox, Notification

pytestmark = pytest.mark.django_db

ITEMS, CHANGES, MARK = ("/notifications/items/", "/notifications/changes/", "/notifications/mark/")


@pytest.fixture
def browser(alice: User) -> Client:
    browser = Client()
    browser.force_login(alice)
    return browser


@pytest.fixture
def notify(django_capture_on_commit_callbacks: Any) -> Callable[..., str]:
    """Put a notification in an inbox, numbered; return its id on the wire."""

    def notify(account: User, body: str = "Hello", **options: Any) -> str:
        with django_capture_on_commit_callbacks(execute=True):
            (pk,) = notify_accounts(account, "hello", body, **options).ids
        return f"n{pk}"

    return notify


@pytest.fixture
def send(django_capture_on_commit_callbacks: Any) -> Callable[..., str]:
    def send(**options: Any) -> str:
        with django_capture_on_commit_callbacks(execute=True):
            return broadcast("news", "News", **options).wire_id

    return send


def post(browser: Client, body: Any, **options: Any) -> Any:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return browser.post(MARK, text, content_type="application/json", **options)


# --- Who may


@pytest.mark.parametrize("path", [ITEMS, CHANGES])
def test_a_script_without_a_session_is_told_401(client: Client, path: str) -> None:
    answer = client.get(path)

    assert (answer.status_code, answer.json()) == (401, {"error": "Log in first."})
    assert post(client, {"ids": [], "as": "read"}).status_code == 401


def test_the_page_sends_a_visitor_to_the_login(client: Client) -> None:
    answer = client.get("/notifications/")

    assert answer.status_code == 302
    assert answer["Location"] == "/login/?next=/notifications/"


@pytest.mark.parametrize("path", [ITEMS, f"{CHANGES}?seq=0&broadcast_seq=0&epoch=0"])
def test_a_page_of_another_account_is_told_401(browser: Client, bob: User, path: str) -> None:
    """In the same browser, alice has logged in after bob, whose page is still open."""
    answer = browser.get(path, headers={"X-Notifications-Account": str(bob.pk)})

    assert answer.status_code == 401
    assert answer.json() == {"error": "Another account has logged in since: load the page again."}


def test_a_page_of_another_account_marks_nothing(
    browser: Client, alice: User, bob: User, notify: Callable[..., str]
) -> None:
    own = notify(alice)
    everything = {"upto": {"seq": 1, "broadcast_seq": 0}, "as": "read"}

    for body in ({"ids": [own], "as": "read"}, everything):
        answer = post(browser, body, headers={"X-Notifications-Account": str(bob.pk)})
        assert answer.status_code == 401

    assert browser.get(ITEMS).json()["unread"] == 1


def test_a_page_that_tells_its_own_account_is_served(
    browser: Client, alice: User, notify: Callable[..., str]
) -> None:
    own = notify(alice)
    told = {"X-Notifications-Account": str(alice.pk)}

    assert [item["id"] for item in browser.get(ITEMS, headers=told).json()["items"]] == [own]
    assert post(browser, {"ids": [own], "as": "read"}, headers=told).json()["unread"] == 0


def test_a_deactivated_account_is_told_401(browser: Client) -> None:
    User.objects.update(is_active=False)

    assert browser.get(ITEMS).status_code == 401


@pytest.mark.parametrize("body", [{"ids": [], "as": "read"}, {"undo": {}}, "not json"])
def test_changes_need_the_csrf_token(alice: User, body: Any) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    assert post(browser, body).status_code == 403
    assert browser.post(MARK, {"as": "read", "ids": "n1"}).status_code == 403

    browser.get("/notifications/")  # the page has the token
    token = browser.cookies["csrftoken"].value
    answer = post(browser, {"ids": [], "as": "read"}, headers={"X-CSRFToken": token})
    assert answer.status_code == 200
    form = {"as": "read", "ids": "n1", "csrfmiddlewaretoken": token}
    assert browser.post(MARK, form).status_code == 302


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete"])
def test_changes_need_a_post(browser: Client, method: str) -> None:
    assert getattr(browser, method)(MARK).status_code == 405


@pytest.mark.parametrize("path", [ITEMS, CHANGES, "/notifications/", "/healthz", "/readyz"])
def test_reading_takes_no_post(browser: Client, path: str) -> None:
    assert browser.post(path).status_code == 405


@pytest.mark.parametrize("path", [ITEMS, f"{CHANGES}?seq=0&broadcast_seq=0&epoch=1", "/readyz"])
def test_no_answer_is_kept_by_a_cache(browser: Client, path: str) -> None:
    answer = browser.get(path)

    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"] and "private" in answer["Cache-Control"]


def test_marking_is_never_part_of_a_longer_transaction() -> None:
    """On a site with ATOMIC_REQUESTS as well: numbers are given in short ones."""
    assert "default" in resolve(MARK).func._non_atomic_requests


# --- Items


def test_items_are_listed_with_where_the_inbox_stands(
    browser: Client, alice: User, bob: User, notify: Any, send: Any
) -> None:
    notify(bob, "not hers")
    one = notify(alice, "Größe 😀", meta_data={"order_id": 12}, url="/orders/12/")
    news = send()

    answer = browser.get(ITEMS).json()

    assert [item["id"] for item in answer["items"]] == [news, one]
    item = answer["items"][1]
    assert item["content"] == {"body": "Größe 😀", "meta_data": {"order_id": 12}}
    assert (item["type"], item["state"], item["url"]) == ("hello", "unread", "/orders/12/")
    assert answer["next"] is None
    assert (answer["seq"], answer["broadcast_seq"], answer["epoch"]) == (1, 1, 1)
    assert (answer["unread"], answer["unread_broadcasts"]) == (1, 1)
    assert len(answer["scope"]) == 12


def test_pages_follow_one_another(browser: Client, alice: User, notify: Any, send: Any) -> None:
    sent = [make() for _ in range(5) for make in (lambda: notify(alice), send)]
    found: list[str] = []
    before = ""

    while True:
        answer = browser.get(ITEMS, {"limit": "3", "before": before}).json()
        found += [item["id"] for item in answer["items"]]
        assert len(found) <= len(sent)
        if (before := answer["next"]) is None:
            break

    assert found == sent[::-1]


def test_only_unread_items_on_demand(browser: Client, alice: User, notify: Any) -> None:
    read, unread = notify(alice), notify(alice)
    post(browser, {"ids": [read], "as": "read"})

    assert [i["id"] for i in browser.get(ITEMS, {"unread": "1"}).json()["items"]] == [unread]
    assert len(browser.get(ITEMS, {"unread": "0"}).json()["items"]) == 2


def test_archived_items_on_demand(browser: Client, alice: User, notify: Any) -> None:
    archived, kept = notify(alice), notify(alice)
    post(browser, {"ids": [archived], "as": "archived"})

    assert [i["id"] for i in browser.get(ITEMS, {"archived": "1"}).json()["items"]] == [archived]
    assert [i["id"] for i in browser.get(ITEMS).json()["items"]] == [kept]
    assert browser.get(ITEMS, {"important": "1"}).json()["items"] == []


def test_a_page_has_thirty_items_unless_told_otherwise(
    browser: Client, alice: User, notify: Any
) -> None:
    for _ in range(31):
        notify_accounts(alice, "hello", "Hello")
    delivery.deliver([alice.pk], "default")

    assert len(browser.get(ITEMS).json()["items"]) == 30
    assert len(browser.get(ITEMS, {"limit": "100"}).json()["items"]) == 31


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"limit": "0"}, "limit must be a number from 1 to 100, not '0'"),
        ({"limit": "101"}, "limit must be a number from 1 to 100, not '101'"),
        ({"limit": "-1"}, "limit must be a number from 1 to 100, not '-1'"),
        ({"limit": "x"}, "limit must be a number from 1 to 100, not 'x'"),
        ({"limit": "1.5"}, "limit must be a number from 1 to 100, not '1.5'"),
        ({"limit": "٣"}, "limit must be a number from 1 to 100, not '٣'"),
        ({"before": "x"}, "before must be the “next” of another page, not 'x'"),
        ({"before": "n1"}, "before must be the “next” of another page, not 'n1'"),
    ],
)
def test_a_bad_parameter_is_named_with_what_is_allowed(
    browser: Client, query: dict[str, str], message: str
) -> None:
    answer = browser.get(ITEMS, query)

    assert (answer.status_code, answer.json()) == (400, {"error": message})


def test_a_list_takes_as_many_queries_however_long_it_is(
    browser: Client, alice: User, notify: Any, send: Any
) -> None:
    def queries(path: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert browser.get(path).status_code == 200
        return len(queries)

    paths = (ITEMS, f"{CHANGES}?seq=0&broadcast_seq=0&epoch=1&scope={scope(browser)}")
    notify(alice)
    send()
    short = [queries(path) for path in paths]
    for _ in range(5):
        notify(alice)
        send()
    assert [queries(path) for path in paths] == short
    assert max(short) < 13


# --- Changes


def scope(browser: Client) -> str:
    found: str = browser.get(ITEMS).json()["scope"]
    return found


def test_changes_are_told_as_the_socket_would(
    browser: Client, alice: User, bob: User, notify: Any, send: Any
) -> None:
    known = notify(alice)
    head = browser.get(ITEMS).json()
    cursor = {name: head[name] for name in ("seq", "broadcast_seq", "epoch", "scope")}
    new, news = notify(alice), send()
    notify(bob)
    post(browser, {"ids": [known], "as": "read"})

    answer = browser.get(CHANGES, cursor).json()

    assert [frame["type"] for frame in answer["frames"]] == ["hello", "state", "news"]
    assert [answer["frames"][n]["id"] for n in (0, 2)] == [new, news]
    assert answer["frames"][1]["ids"] == [known]
    assert (answer["resync"], answer["more"]) == (False, False)
    assert (answer["seq"], answer["broadcast_seq"], answer["unread"]) == (3, 1, 1)


def test_many_changes_come_in_parts(
    browser: Client, alice: User, notify: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views.inbox, "LARGEST_PAGE", 2)
    sent = [notify(alice) for _ in range(3)]
    cursor = {"seq": 0, "broadcast_seq": 0, "epoch": 1, "scope": scope(browser)}

    first = browser.get(CHANGES, cursor).json()
    second = browser.get(CHANGES, {name: first[name] for name in cursor}).json()

    assert [first["more"], second["more"]] == [True, False]
    assert [frame["id"] for frame in first["frames"] + second["frames"]] == sent


def test_another_scope_is_told_to_reload(browser: Client, alice: User, notify: Any) -> None:
    notify(alice)
    answer = browser.get(CHANGES, {"seq": 0, "broadcast_seq": 0, "epoch": 1, "scope": "x"}).json()

    assert (answer["resync"], answer["frames"], answer["seq"]) == (True, [], 1)
    assert answer["scope"] == scope(browser)


@pytest.mark.parametrize("path", [ITEMS, f"{CHANGES}?seq=0&broadcast_seq=0&epoch=1"])
def test_what_is_read_says_when_that_was(browser: Client, path: str) -> None:
    before = timezone.now()

    answer = browser.get(path).json()

    assert before <= datetime.fromisoformat(answer["now"]) <= timezone.now()


@pytest.mark.parametrize("name", ["seq", "broadcast_seq", "epoch"])
@pytest.mark.parametrize("value", ["", "-1", "x", "1.0", str(2**63), "9" * 5000, "１"])
def test_a_cursor_is_made_of_numbers(browser: Client, name: str, value: str) -> None:
    query = {"seq": "0", "broadcast_seq": "0", "epoch": "1", name: value}

    answer = browser.get(CHANGES, query)

    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"{name} must be a number from 0 to {2**63 - 1}, not")
    assert len(answer.json()["error"]) < 200


# --- Marks


def test_marking_answers_with_what_it_did(
    browser: Client, alice: User, notify: Any, send: Any
) -> None:
    one, two, news = notify(alice), notify(alice), send()

    answer = post(browser, {"ids": [one, news], "as": "read"}).json()

    assert answer == {
        "range": {"as": "read", "from": 3, "seq": 4},
        "ids": [one, news],
        "unread": 1,
        "unread_broadcasts": 0,
    }
    again = post(browser, {"ids": [one], "as": "read"}).json()
    assert (again["range"], again["ids"], again["unread"]) == (None, [], 1)
    undone = post(browser, {"undo": answer["range"]}).json()
    assert (sorted(undone["ids"]), undone["unread"]) == (sorted([one, news]), 2)
    redone = post(browser, {"undo": undone["range"]}).json()
    assert redone["unread"] == 1
    assert Notification.objects.get(pk=two[1:]).state == "unread"


def test_all_up_to_a_cursor_are_marked(browser: Client, alice: User, notify: Any) -> None:
    notify(alice)
    head = browser.get(ITEMS).json()
    later = notify(alice)
    upto = {"seq": head["seq"], "broadcast_seq": head["broadcast_seq"]}

    answer = post(browser, {"upto": upto, "as": "archived"}).json()

    assert (len(answer["ids"]), answer["unread"]) == (1, 1)
    assert [item["id"] for item in browser.get(ITEMS).json()["items"]] == [later]


def test_numbers_beyond_any_are_only_large(browser: Client, alice: User, notify: Any) -> None:
    wire_id = notify(alice)
    huge = {"seq": 10**30, "broadcast_seq": 10**30}
    assert post(browser, {"upto": huge, "as": "read"}).json()["ids"] == [wire_id]

    for first, last, ids in ((0, 10**30, [wire_id]), (10**30, 10**30, []), (5, 1, [])):
        answer = post(browser, {"undo": {"as": "read", "from": first, "seq": last}})
        assert (answer.status_code, answer.json()["ids"]) == (200, ids)


def test_ids_of_others_are_as_if_they_did_not_exist(
    browser: Client, alice: User, bob: User, notify: Any, send: Any
) -> None:
    others = [notify(bob), send(audience="staff")]

    answer = post(browser, {"ids": others, "as": "archived"})

    assert (answer.status_code, answer.json()["ids"]) == (200, [])
    assert Notification.objects.get().state == "unread"
    assert not BroadcastReceipt.objects.exists()
    assert Inbox.objects.get(pk=bob.pk).seq == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{", "The body must be JSON."),
        (b"\xff\xfe\xff", "The body must be JSON."),
        ("[" * 100_000, "The body must be JSON."),
        ('{"ids": ' + "1" * 5000 + "}", "The body must be JSON."),
        ("[]", "The body must be a JSON object."),
        ("null", "The body must be a JSON object."),
        ({}, "The body must have “as” (text) with “ids” (a list)"),
        ({"ids": ["n1"]}, "The body must have “as” (text) with “ids” (a list)"),
        ({"ids": "n1", "as": "read"}, "The body must have “as” (text) with “ids” (a list)"),
        ({"ids": [], "as": ["read"]}, "The body must have “as” (text) with “ids” (a list)"),
        ({"upto": 5, "as": "read"}, "or with “upto” (an object with the numbers “seq”"),
        ({"upto": {"seq": 5}, "as": "read"}, "or with “upto” (an object with the numbers “seq”"),
        ({"upto": {"seq": "5", "broadcast_seq": 1}, "as": "read"}, "or with “upto”"),
        ({"upto": {"seq": 1.0, "broadcast_seq": 1}, "as": "read"}, "or with “upto”"),
        ({"upto": {"seq": -1, "broadcast_seq": 1}, "as": "read"}, "or with “upto”"),
        ({"upto": {"seq": True, "broadcast_seq": 1}, "as": "read"}, "or with “upto”"),
        ({"undo": {"as": "read", "from": -1, "seq": 2}}, "or only “undo” (a range"),
        ({"undo": {"from": 1, "seq": 2}}, "or only “undo” (a range"),
        ({"undo": None}, "or only “undo” (a range"),
        ({"ids": [], "as": "gone"}, "as must be one of read, unread, archived, inbox; not 'gone'"),
        ({"ids": ["x"], "as": "read"}, "ids must hold ids of items, such as “n12”, not 'x'"),
        ({"ids": [["n1"]], "as": "read"}, "ids must hold ids of items"),
        ({"ids": ["\ud800"], "as": "read"}, "ids must hold ids of items"),
        ({"ids": ["n1"] * 1001, "as": "read"}, "1000 ids at most, not 1001 of them"),
        ({"upto": {"seq": 1, "broadcast_seq": 1}, "as": "inbox"}, "as must be one of read, arch"),
        ({"undo": {"as": "x", "from": 1, "seq": 2}}, "as must be one of read, unread, archived"),
    ],
    ids=lambda value: f"{value!r:.40}",
)
def test_a_bad_body_is_refused_with_what_is_allowed(
    browser: Client, body: Any, message: str
) -> None:
    answer = post(browser, body)

    assert answer.status_code == 400
    assert message in answer.json()["error"]


# --- Fuzzing: whatever is sent, never a 500

_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
_number = st.integers() | _json
_bodies = (
    st.fixed_dictionaries(
        {},
        optional={
            "as": st.sampled_from(["read", "unread", "archived", "inbox"]) | _json,
            "ids": st.lists(st.from_regex(r"[nb]\d{1,18}", fullmatch=True) | _json) | _json,
            "upto": st.fixed_dictionaries({"seq": _number, "broadcast_seq": _number}) | _json,
            "undo": st.fixed_dictionaries(
                {"as": st.sampled_from(["read", "inbox"]) | _json, "from": _number, "seq": _number}
            )
            | _json,
        },
    )
    | _json
)
_fuzzing = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@_fuzzing
@given(body=_bodies.map(json.dumps) | st.binary(max_size=50))
def test_no_json_does_more_than_be_refused(browser: Client, body: str | bytes) -> None:
    answer = post(browser, body)

    assert answer.status_code in {200, 400}
    assert ("error" in answer.json()) == (answer.status_code == 400)


_texts = st.text(max_size=30) | st.integers().map(str)


@_fuzzing
@given(
    form=st.dictionaries(
        st.sampled_from(["as", "ids", "seq", "broadcast_seq", "next"]),
        _texts | st.lists(_texts, max_size=3) | st.sampled_from(["read", "n1", "b1"]),
    )
)
def test_no_form_does_more_than_be_refused(browser: Client, form: dict[str, Any]) -> None:
    answer = browser.post(MARK, form)

    assert answer.status_code in {302, 400}
    if answer.status_code == 302:
        assert "//" not in answer["Location"].partition("?")[0] or answer["Location"].startswith(
            "http://testserver/"
        )


@_fuzzing
@given(
    query=st.dictionaries(
        st.sampled_from(
            ["limit", "before", "unread", "seq", "broadcast_seq", "epoch", "scope", "next"]
        ),
        _texts | st.from_regex(r"n\d{1,19}b\d{1,19}", fullmatch=True),
    )
)
def test_no_parameter_does_more_than_be_refused(browser: Client, query: dict[str, str]) -> None:
    assert browser.get(ITEMS, query).status_code in {200, 400}
    assert browser.get(CHANGES, query).status_code in {200, 400}
    assert browser.get("/notifications/", query).status_code in {200, 302}


# --- Forms


def test_a_form_marks_and_goes_back(browser: Client, alice: User, notify: Any, send: Any) -> None:
    one, news = notify(alice), send()

    answer = browser.post(
        MARK, {"ids": [one, news], "as": "read", "next": "/notifications/?unread=1"}
    )

    assert (answer.status_code, answer["Location"]) == (302, "/notifications/?unread=1")
    assert Notification.objects.get().state == "read"
    assert BroadcastReceipt.objects.get().state == "read"


def test_a_form_marks_all_up_to_where_the_page_stood(
    browser: Client, alice: User, notify: Any
) -> None:
    notify(alice)
    notify(alice)

    answer = browser.post(MARK, {"seq": "1", "broadcast_seq": "0", "as": "read"})

    assert (answer.status_code, answer["Location"]) == (302, "/notifications/")
    first, second = Notification.objects.order_by("pk")
    assert (first.state, second.state) == ("read", "unread")


@pytest.mark.parametrize(
    "away",
    [
        "//evil.example",
        "///evil.example",
        "http://evil.example/",
        "https:evil.example",
        "http:///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        " //evil.example",
        "\x08//evil.example",
        "http://testserver@evil.example/",
        "",
    ],
)
def test_a_form_leads_nowhere_else(browser: Client, away: str) -> None:
    answer = browser.post(MARK, {"as": "read", "next": away})

    assert (answer.status_code, answer["Location"]) == (302, "/notifications/")


@pytest.mark.parametrize(
    ("wanted", "location"),
    [
        ("/orders/", "/orders/"),
        ("http://testserver/orders/", "http://testserver/orders/"),
        ("orders", "orders"),  # relative, and not the name of a view
        ("login", "login"),
        ("shop:orders", "/notifications/"),
        ("?unread=1", "?unread=1"),
    ],
)
def test_a_form_may_lead_anywhere_on_the_site(browser: Client, wanted: str, location: str) -> None:
    answer = browser.post(MARK, {"as": "read", "next": wanted})

    assert (answer.status_code, answer["Location"]) == (302, location)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({}, "as must be one of read, unread, archived, inbox; not ''"),
        ({"as": "read", "ids": "x"}, "ids must hold ids of items"),
        ({"as": "read", "seq": "1"}, "broadcast_seq must be a number from 0"),
        ({"as": "read", "seq": "x", "broadcast_seq": "1"}, "seq must be a number from 0"),
        ({"as": "inbox", "seq": "1", "broadcast_seq": "1"}, "as must be one of read, archived"),
    ],
)
def test_a_bad_form_is_refused(browser: Client, form: dict[str, str], message: str) -> None:
    answer = browser.post(MARK, form)

    assert answer.status_code == 400
    assert message in answer.json()["error"]


# --- The page


def test_the_page_shows_own_items_as_text(
    browser: Client, alice: User, bob: User, notify: Any
) -> None:
    notify(alice, "<script>alert(1)</script>")
    notify(bob, "not hers")

    page = browser.get("/notifications/").content.decode()

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert "not hers" not in page


def test_a_made_up_page_leads_to_the_first(browser: Client) -> None:
    answer = browser.get("/notifications/", {"before": "made up"})

    assert (answer.status_code, answer["Location"]) == (302, "/notifications/")


def test_what_has_gone_is_on_no_page(browser: Client, alice: User, notify: Any) -> None:
    notify(alice, "Short-lived", expires_at=timezone.now())
    withdrawal.expire("default")

    assert "Short-lived" not in browser.get("/notifications/").content.decode()
    assert browser.get(ITEMS).json()["items"] == []


# --- Health


def test_a_process_that_answers_is_healthy(client: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert client.get("/healthz").json() == {"status": "ok"}
    assert not len(queries)


def test_a_site_is_ready_and_warns_when_the_periodic_task_is_late(client: Client) -> None:
    late = client.get("/readyz")
    assert (late.status_code, late.json()["status"]) == (200, "ok")
    assert "notification_maintenance" in late.json()["warning"]

    Maintenance().run_in_turn()

    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ok"})


def test_a_site_without_its_layer_is_not_ready(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer, "answers", lambda: False)

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "unavailable": ["channel layer"]}


def test_a_server_that_is_about_to_end_is_not_ready(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "is_draining", lambda: True)

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "unavailable": ["server"]}


def test_a_site_without_its_database_is_not_ready(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OperationalError

    monkeypatch.setattr(views.connection, "cursor", fail)

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "unavailable": ["database"]}
