"""
Requests for other people's data, at every URL of the site.

URLs, admin actions and marks are discovered rather than listed, so that new
ones are tested too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.http import HttpResponseBase
from django.test import Client, RequestFactory
from django.urls import URLResolver, get_resolver
from django.utils import timezone

from notifications import broadcast, notify_accounts
from notifications.audiences import Recipient
from notifications.inbox.changes import read_changes
from notifications.inbox.marks import MARKS
from notifications.inbox.pages import Position, read_page
from notifications.lifecycle import numbering
from notifications.models import Broadcast, Connection, Inbox, Notification, Worker
from notify_site.shop.models import Order

from .conftest import Commit, Published

pytestmark = pytest.mark.django_db

MARK = "/notifications/mark/"
SECRET = "for-bobs-eyes-only"

FOREIGN_URLS = [
    "https://evil.example/",
    "//evil.example/",
    "///evil.example/",
    "////evil.example",
    "/\\evil.example/",
    "\\\\evil.example/",
    "/\t/evil.example/",
    "http:///evil.example/",
    "https:evil.example",
    "javascript:alert(1)",
    " https://evil.example/",
    "\x08//evil.example/",
    "http://testserver@evil.example/",
    "http://testserver.evil.example/",
    "http://testserver:80@evil.example/",
    "http://evil.example\\@testserver/",
]

HOSTILE_URLS = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " javascript:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "blob:https://example.com/x",
    "file:///etc/passwd",
    "//evil.example",
    "/\\evil.example",
    "/\t/evil.example",
    "https:evil.example",
    "evil.example",
]


@pytest.fixture
def bobs(bob: User, commit: Commit) -> dict[str, Any]:
    """The keys of bob's rows: an order, notifications in each state, a connection."""
    order = Order.objects.create(account=bob, item=SECRET, price=10)
    with commit():
        for _ in range(4):
            notify_accounts(bob, "hello", SECRET, meta_data={"x": SECRET}, url=f"/{SECRET}/")
        broadcast("news", "News for all")
    rows = Notification.objects.filter(account=bob).order_by("pk")
    rows.filter(pk=rows[1].pk).update(read_at=timezone.now())
    archived = timezone.now()
    rows.filter(pk=rows[2].pk).update(read_at=archived, archived_at=archived)
    worker = Worker.objects.create(host="h", pid=1, lease_until="2999-01-01T00:00Z")
    connection = Connection.objects.create(account=bob, worker=worker, user_agent=SECRET)
    return {
        "account": bob.pk,
        "order": order.pk,
        "connection": connection.pk,
        "worker": worker.pk,
        "broadcast": Broadcast.objects.get().pk,
        **{f"notification{n}": row.pk for n, row in enumerate(rows)},
    }


def snapshot(*but: type) -> dict[str, list[Any]]:
    """Return every row of every table, except sessions."""
    return {
        model.__name__: sorted(map(repr, model._base_manager.values_list()))
        for model in apps.get_models(include_auto_created=True)
        if model not in {Session, *but}
    }


def urls(keys: list[Any]) -> list[str]:
    """Return every URL of the site, with each of these keys wherever it takes one."""
    found: dict[str, None] = {}
    for route in routes(get_resolver()):
        for key in keys:
            found[re.sub(r"<[^>]+>", quote(str(key)), route)] = None
    return list(found)


def routes(resolver: URLResolver, prefix: str = "/") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, route)
        elif "(?P<app_label>" in route:  # the admin's pages of each app
            yield from (f"{prefix}{label}/" for label in ("auth", "site_notifications", "shop"))
        elif "(?P<url>" not in route:  # the admin's catch-all
            yield route.removesuffix("\\Z")


def visitor(account: User | None, **options: Any) -> Client:
    browser = Client(raise_request_exception=False, **options)
    if account:
        browser.force_login(account)
    return browser


def is_failure(response: HttpResponseBase, url_path: str) -> bool:
    # Django's own redirect to a row fails for a number if the model has another kind of key.
    # /readyz has a timeout of half a second, which a busy machine may exceed.
    return response.status_code >= 500 and not url_path.startswith(("/admin/r/", "/readyz"))


def test_all_urls_are_found(bobs: dict[str, Any]) -> None:
    found = urls([bobs["order"]])

    for known in (
        "/",
        f"/orders/{bobs['order']}/pay/",
        MARK,
        "/admin/site_notifications/broadcast/add/",
    ):
        assert known in found
    assert len(found) > 50


# --- Safe methods change nothing, others need the CSRF token


@pytest.mark.verify
@pytest.mark.parametrize("who", ["nobody", "bob", "operator"])
def test_safe_methods_change_nothing_at_any_url(
    bobs: dict[str, Any], bob: User, operator: User, who: str
) -> None:
    browser = visitor({"bob": bob, "operator": operator}.get(who))
    before = snapshot()

    for url_path in urls([bobs["order"], bobs["account"], bobs["connection"]]):
        for read in (browser.get, browser.head, browser.options):
            assert not is_failure(read(url_path), url_path)

    assert snapshot() == before


@pytest.mark.verify
def test_every_url_needs_the_csrf_token_for_changes(bobs: dict[str, Any], operator: User) -> None:
    browser = visitor(operator, enforce_csrf_checks=True)
    browser.get("/")  # a foreign form only has the cookie
    before = snapshot()

    for url_path in urls([bobs["order"], bobs["notification0"]]):
        for method in (browser.post, browser.put, browser.patch, browser.delete):
            # The health views, which take no token, have no such method.
            expected = 405 if url_path in ("/healthz", "/readyz") else 403
            assert method(url_path).status_code == expected, url_path

    assert snapshot() == before


# --- Other accounts' data


@pytest.mark.verify
def test_no_url_shows_or_changes_another_accounts_data(bobs: dict[str, Any], alice: User) -> None:
    browser = visitor(alice)
    Inbox.objects.create(account=alice)  # otherwise the first mark creates it
    before = snapshot()

    for url_path in urls(list(bobs.values())):
        if url_path in ("/logout/", "/admin/logout/"):
            continue
        wire_ids = [f"n{key}" for name, key in bobs.items() if name.startswith("notification")]
        for response in (
            browser.get(url_path),
            browser.get(url_path, {"before": "n9b9", "seq": 0, "broadcast_seq": 0, "epoch": 1}),
            browser.post(url_path, {"ids": wire_ids, "as": "read", "next": "/"}),
        ):
            assert not is_failure(response, url_path)
            assert SECRET not in response.content.decode(), url_path

    assert snapshot() == before


@pytest.mark.parametrize("mark", MARKS)
def test_marks_treat_other_accounts_ids_as_unknown(
    bobs: dict[str, Any], alice: User, mark: str, published: Published
) -> None:
    browser = visitor(alice)
    Inbox.objects.create(account=alice)
    before = snapshot()
    theirs = [f"n{key}" for name, key in bobs.items() if name.startswith("notification")]
    nothing = [f"n{key + 10**6}" for name, key in bobs.items() if name.startswith("notification")]

    def mark_as(content: dict[str, Any]) -> tuple[int, Any]:
        response = browser.post(MARK, json.dumps(content), content_type="application/json")
        return response.status_code, response.json()

    assert mark_as({"ids": theirs, "as": mark}) == mark_as({"ids": nothing, "as": mark})
    # The numbers of bob's changes mean nothing for her inbox either.
    latest = Inbox.objects.get(account=bobs["account"]).seq
    for first, last in product(range(latest + 1), repeat=2):
        status, content = mark_as({"undo": {"as": mark, "from": first, "seq": last}})
        assert (status, content["range"], content["ids"]) == (200, None, [])
    mark_as({"upto": {"seq": 10**9, "broadcast_seq": 0}, "as": mark})

    assert snapshot() == before
    assert not any(SECRET in json.dumps(frame) for frame in published.frames)


# --- Admin actions need their permissions

ACTIONS = {
    ("notification", "retract"): "delete_notification",
    ("broadcast", "retract"): "delete_broadcast",
    ("connection", "disconnect"): "delete_connection",
    ("user", "send_notification"): "send_broadcast",
}


def own_actions() -> set[tuple[str, str]]:
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True)
    return {
        (str(model._meta.model_name), action)
        for model, options in admin.site._registry.items()
        for action in options.get_actions(request)
        if action != "delete_selected"
    }


def test_all_admin_actions_are_covered() -> None:
    assert own_actions() == set(ACTIONS)


@pytest.fixture
def act(bobs: dict[str, Any], commit: Commit, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Try every action on bob's rows as this account; return the actions that had an effect."""
    closed: list[Any] = []
    monkeypatch.setattr(
        "notifications.channel_layer.hub_commands.close_connections",
        lambda keys, code: closed.extend(keys),
    )
    keys = {**bobs, "user": bobs["account"], "notification": bobs["notification0"]}

    def act(account: User) -> set[tuple[str, str]]:
        browser = visitor(account)
        done = set()
        for model, action in sorted(own_actions()):
            app = "auth" if model == "user" else "site_notifications"
            before, closed_before = snapshot(), len(closed)
            with commit():
                response = browser.post(
                    f"/admin/{app}/{model}/",
                    {
                        "action": action,
                        "_selected_action": [str(keys[model])],
                        "newest": "1000000",
                        "_send": "1",
                        "type": "message",
                        "body": "From the staff",
                        "level": "info",
                    },
                )
            assert response.status_code < 500
            if snapshot() != before or len(closed) > closed_before:
                done.add((model, action))
        return done

    return act


def staff(make_account: Callable[..., User], name: str, permissions: Any) -> User:
    account = make_account(name, is_staff=True)
    account.user_permissions.set(permissions)
    return account


def test_no_action_is_possible_with_view_add_and_change_permissions_only(
    act: Any, make_account: Callable[..., User]
) -> None:
    ours = Permission.objects.filter(content_type__app_label__in=["site_notifications", "auth"])
    may = ours.exclude(codename__startswith="delete_").exclude(codename="send_broadcast")

    assert act(staff(make_account, "sam", may)) == set()
    assert act(staff(make_account, "kim", [])) == set()


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_needs_its_own_permission_only(
    act: Any, make_account: Callable[..., User], action: tuple[str, str]
) -> None:
    looking = Permission.objects.filter(codename__startswith="view_")
    needed = Permission.objects.get(codename=ACTIONS[action])

    assert act(staff(make_account, "sam", [*looking, needed])) == {action}


@pytest.mark.verify
def test_the_admin_shows_nothing_to_staff_without_permissions(
    bobs: dict[str, Any], make_account: Callable[..., User]
) -> None:
    browser = visitor(staff(make_account, "sam", []))
    before = snapshot()

    for url_path in urls(list(bobs.values())):
        if url_path.startswith("/admin/") and url_path != "/admin/logout/":
            for response in (browser.get(url_path), browser.post(url_path, {"post": "yes"})):
                assert SECRET not in response.content.decode(), url_path

    assert snapshot() == before


# --- No redirect leaves the site


@pytest.mark.verify
@pytest.mark.parametrize("who", ["nobody", "alice", "operator"])
def test_no_url_redirects_to_another_site(
    bobs: dict[str, Any], alice: User, operator: User, who: str
) -> None:
    account = {"alice": alice, "operator": operator}.get(who)
    redirects = 0
    keys = [bobs["order"]]
    for url_path, away in product(urls(keys), FOREIGN_URLS):
        if url_path.startswith("/admin/") and away != FOREIGN_URLS[1]:
            continue  # one is enough, because the admin reads no such field
        browser = visitor(account)
        fields = {"next": away, "ids": ["n1"], "as": "read", "username": "alice"}
        for response in (
            browser.get(url_path, {"next": away}),
            browser.post(url_path, {**fields, "password": "demo"}),
        ):
            if location := response.headers.get("Location"):
                redirects += 1
                assert stays(location), (url_path, away, location)
    assert redirects > 20


@pytest.mark.parametrize(
    "url_path", ["/login/", "/admin/login/", "/logout/", "/admin/logout/", MARK]
)
@pytest.mark.parametrize("away", FOREIGN_URLS)
def test_a_next_parameter_cannot_lead_to_another_site(
    alice: User, url_path: str, away: str
) -> None:
    alice.is_staff = True
    alice.save()
    browser = visitor(None if "login" in url_path else alice)
    fields = {"username": "alice", "password": "demo", "ids": ["n1"], "as": "read"}

    response = browser.post(f"{url_path}?next={quote(away)}", {**fields, "next": away})

    assert response.status_code in (200, 302)
    assert stays(response.headers.get("Location", "/"))


@pytest.mark.parametrize(
    "path", ["//evil.example", "//evil.example/notifications", "/\\\\evil.example"]
)
def test_appending_a_slash_stays_on_the_site(alice: User, path: str) -> None:
    response = visitor(alice).get("/", PATH_INFO=path)

    assert response.status_code in (301, 404)
    assert stays(response.headers.get("Location", "/"))


def stays(location: str) -> bool:
    """Return whether a browser stays on this site."""
    seen_by_browsers = re.sub(r"[\t\r\n]", "", location.strip()).replace("\\", "/")
    parts = urlsplit(urljoin("http://testserver/here/", seen_by_browsers))
    return parts.scheme == "http" and parts.netloc == "testserver"


# --- Links are http(s) or paths


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_a_hostile_link_is_removed_however_it_was_stored(
    alice: User, commit: Commit, published: Published, url: str
) -> None:
    Notification.objects.create(account=alice, type="hello", body="Look", url=url)
    Broadcast.objects.create(type="news", body="Look", url=url)
    numbering.number_and_publish([alice.pk], "default")
    numbering.number_broadcasts("default")
    recipient = Recipient.of(User.objects.get(pk=alice.pk))

    page = read_page(recipient)
    changes = read_changes(
        recipient, Position(0, 0, page.latest.position.epoch, recipient.audience_hash), 10
    )

    assert [item["url"] for item in page.items] == ["", ""]
    assert [frame["url"] for frame in changes.frames] == ["", ""]
    live = [frame for frame in published.frames if "url" in frame]
    assert [frame["url"] for frame in live] == ["", ""]


@pytest.mark.parametrize("url", HOSTILE_URLS)
@pytest.mark.parametrize("model", [Notification, Broadcast])
def test_a_hostile_link_fails_model_validation(alice: User, model: Any, url: str) -> None:
    row = model(type="hello", body="Look", url=url)
    if model is Notification:
        row.account = alice

    with pytest.raises(ValidationError) as error:
        row.full_clean()

    assert list(error.value.message_dict) == ["url"]
    for refused in (notify_accounts, broadcast):
        with pytest.raises(ValueError, match="url must be"):
            refused(*([alice] if refused is notify_accounts else []), "hello", "Look", url=url)
