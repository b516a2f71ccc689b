"""`{% notifications_bell %}` and the templates, without a browser."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.core.management import call_command
from django.db import connection
from django.http import HttpRequest
from django.template import Context, RequestContext, Template
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext, override_script_prefix
from django.utils import timezone

import notifications
from notifications import broadcast, notify_accounts, protocol
from notifications.templatetags import notifications as tags
from notifications.templatetags.notifications import (
    can_be_marked,
    is_on_site,
    notification_age,
    notification_time,
    notification_url,
)

BELL = "{% load notifications %}{% notifications_bell %}"
DIRECTORY = Path(notifications.__file__).parent / "templates/notifications"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def request_of(rf: RequestFactory) -> Any:
    def request_of(account: User | AnonymousUser) -> HttpRequest:
        request = rf.get("/")
        request.user = account
        return request

    return request_of


def render(request: HttpRequest, source: str = BELL) -> str:
    return Template(source).render(RequestContext(request))


def config(html: str) -> dict[str, Any]:
    found = re.search(r'<script id="notifications-config"[^>]*>(.*?)</script>', html)
    assert found
    return dict(json.loads(found[1]))


def test_the_bell_is_a_link_with_the_count(alice: User, request_of: Any) -> None:
    notify_accounts(alice, "news", "One")
    broadcast("news", "For everyone")

    html = render(request_of(alice))

    assert '<a data-part="bell" href="/notifications/">' in html
    assert re.search(r'<span data-part="badge"[^>]*data-when-unread>2</span>', html)


def test_the_bell_hides_a_count_of_zero(alice: User, request_of: Any) -> None:
    html = render(request_of(alice))

    assert re.search(r'<span data-part="badge"[^>]*hidden>0</span>', html)


def test_a_count_above_99_is_shown_as_99_plus(alice: User, request_of: Any) -> None:
    for _ in range(100):
        notify_accounts(alice, "news", "One")

    assert ">99+</span>" in render(request_of(alice))


PAGE = """{% load notifications %}{% notifications_banner %}{% notifications_bell %}
{% notifications_setup %}{% notifications_config %}{% notifications_bell %}"""


@pytest.mark.parametrize("source", [BELL, PAGE], ids=["a bell", "all tags"])
def test_a_page_takes_two_queries_however_many_tags_it_has(
    alice: User, request_of: Any, django_assert_num_queries: Any, source: str
) -> None:
    """One for the account's groups, one for its position and counts, even before any change."""
    for _ in range(2):
        request = request_of(User.objects.get(pk=alice.pk))
        with django_assert_num_queries(2):
            render(request, source)
        notify_accounts(alice, "news", "One")


def test_a_banner_takes_three_more_queries(
    alice: User, request_of: Any, django_assert_num_queries: Any
) -> None:
    """For its items, as for any page of the inbox."""
    broadcast("outage", "Outage", level="error")

    with django_assert_num_queries(2 + 3):
        assert banners(render(request_of(alice), PAGE)) == ["Outage"]


def test_two_pages_of_a_visitor_share_nothing(alice: User, request_of: Any) -> None:
    notify_accounts(alice, "news", "One")
    first = config(render(request_of(alice)))
    notify_accounts(alice, "news", "Two")

    assert (first["unread"], config(render(request_of(alice)))["unread"]) == (1, 2)


def test_anonymous_visitors_get_nothing(request_of: Any) -> None:
    assert render(request_of(AnonymousUser())).strip() == ""


def test_without_a_request_nothing_is_rendered() -> None:
    assert Template(BELL).render(Context()).strip() == ""


def test_a_request_without_a_user_gets_nothing(rf: RequestFactory) -> None:
    assert render(rf.get("/")).strip() == ""


def test_the_page_has_the_position_and_the_configuration_of_the_script(
    alice: User, request_of: Any
) -> None:
    notify_accounts(alice, "news", "One")
    broadcast("news", "For everyone")

    configuration = config(render(request_of(alice)))

    assert configuration["account"] == str(alice.pk)
    position = configuration["cursor"]
    assert (position["seq"], position["broadcast_seq"]) == (1, 1)
    assert (configuration["unread"], configuration["unread_broadcasts"]) == (1, 1)
    assert configuration["protocol"] == protocol.VERSION
    assert configuration["heartbeat"] == {"interval": 0.3, "timeout": 1.5}
    assert configuration["sound"] == ""
    assert configuration["urls"] == {
        "changes": "/notifications/changes/",
        "items": "/notifications/items/",
        "mark": "/notifications/mark/",
        "inbox": "/notifications/",
        "socket": "/ws/notifications/",
    }


def test_the_token_of_the_page_is_accepted(alice: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    token = config(client.get("/notifications/").content.decode())["csrf_token"]

    answer = client.post(
        "/notifications/mark/",
        {"ids": [], "as": "read"},
        content_type="application/json",
        headers={"X-CSRFToken": token},
    )

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("setting", "prefix", "path"),
    [
        ("ws/notifications/", "/", "/ws/notifications/"),
        ("ws/notifications/", "/shop", "/shop/ws/notifications/"),
        ("live", "/shop", "/shop/live"),
        ("/live/", "/", "/live/"),
        ("/live/", "/shop", "/live/"),
    ],
)
def test_the_path_of_the_websocket_is_below_the_script_prefix_or_the_setting(
    alice: User, request_of: Any, settings: Any, setting: str, prefix: str, path: str
) -> None:
    settings.NOTIFICATIONS_SOCKET_PATH = setting

    with override_script_prefix(prefix):
        assert config(render(request_of(alice)))["urls"]["socket"] == path


def test_two_bells_share_one_setup(alice: User, request_of: Any) -> None:
    html = render(request_of(alice), f"{BELL}{BELL}")

    assert html.count("<notifications-bell>") == 2
    assert html.count('id="notifications-config"') == html.count("<script type=") == 1


def test_a_page_without_our_elements_gets_only_the_configuration(
    alice: User, request_of: Any
) -> None:
    source = "{% load notifications %}{% notifications_config %}{% notifications_config %}"

    html = render(request_of(alice), source)

    assert config(html)["account"] == str(alice.pk)
    assert html.count("<") == 2
    assert render(request_of(AnonymousUser()), source) == ""


@pytest.mark.parametrize("first", ["bell", "config"])
def test_a_page_with_a_bell_has_the_configuration_once(
    alice: User, request_of: Any, first: str
) -> None:
    tags = ["{% notifications_bell %}", "{% notifications_config %}"]
    if first == "config":
        tags.reverse()

    html = render(request_of(alice), "{% load notifications %}" + "".join(tags))

    assert html.count('id="notifications-config"') == html.count("<script type=") == 1


def test_the_sound_is_a_static_file(alice: User, request_of: Any, settings: Any) -> None:
    settings.NOTIFICATIONS_SOUND = "mysite/new.mp3"

    assert config(render(request_of(alice)))["sound"] == "/static/mysite/new.mp3"


BANNER = "{% load notifications %}{% notifications_banner %}"


def banners(html: str) -> list[str]:
    """Return the bodies rendered by the server, not those of the template."""
    shown = html.partition("<notifications-banner>")[2].partition("<template")[0]
    return re.findall(r'data-slot="body">(.*?)</span>', shown)


def test_the_banner_has_the_newest_important_broadcasts(alice: User, request_of: Any) -> None:
    for number in range(4):
        broadcast("outage", f"Outage {number}", level="error")
    broadcast("news", "Only news")
    notify_accounts(alice, "news", "For alice", level="error")

    html = render(request_of(alice), BANNER)

    assert banners(html) == ["Outage 3", "Outage 2", "Outage 1"]
    assert html.count('id="notifications-config"') == 1


def test_a_dismissed_banner_is_not_shown_again(alice: User, bob: User, request_of: Any) -> None:
    broadcast("outage", "Outage", level="warning", url="/status/")
    client = Client()
    client.force_login(alice)
    shown = render(request_of(alice), BANNER)
    assert 'href="/status/"' in shown
    dismissal = dict(re.findall(r'name="(as|ids|next)" value="(.*?)"', shown))

    answer = client.post("/notifications/mark/", dismissal)

    assert answer["Location"] == "/"  # the page with the banner
    assert banners(render(request_of(alice), BANNER)) == []
    assert banners(render(request_of(bob), BANNER)) == ["Outage"]


def test_a_banner_takes_no_query_when_no_broadcast_is_unread(
    alice: User, request_of: Any, django_assert_num_queries: Any
) -> None:
    notify_accounts(alice, "news", "For alice", level="error")
    requests = [request_of(alice), request_of(alice)]
    with CaptureQueriesContext(connection) as queries:
        render(requests[0])

    with django_assert_num_queries(len(queries)):
        assert banners(render(requests[1], BANNER)) == []


def test_anonymous_visitors_see_no_banner(request_of: Any) -> None:
    broadcast("outage", "Outage", level="error")

    assert render(request_of(AnonymousUser()), BANNER).strip() == ""


@pytest.mark.parametrize(
    ("state", "marks"),
    [
        ("unread", ["read", "archived"]),
        ("read", ["unread", "archived"]),
        ("archived", ["inbox"]),
    ],
)
def test_an_item_offers_the_marks_for_its_state(state: str, marks: list[str]) -> None:
    offered = [
        mark
        for mark in ("read", "unread", "archived", "inbox")
        if can_be_marked({"state": state}, mark)
    ]

    assert offered == marks


def test_the_page_has_the_three_folders(alice: User, client: Client) -> None:
    for body in ("Archived", "Read", "Unread"):
        notify_accounts(alice, "news", body)
    client.force_login(alice)
    newest, read, archived = (
        item["id"] for item in client.get("/notifications/items/").json()["items"]
    )
    for wire_id, mark in ((read, "read"), (archived, "archived")):
        client.post("/notifications/mark/", {"ids": wire_id, "as": mark})

    def shown(query: str) -> list[str]:
        html = client.get(f"/notifications/{query}").content.decode()
        assert html.count('aria-current="page"') == 2  # the site's menu, and the folder
        page = html.partition('<notifications-inbox data-part="page"')[2].partition(
            "</notifications-inbox>"
        )[0]
        return re.findall(r'data-id="(.*?)"', page)

    assert shown("") == [newest, read]
    assert shown("?unread=1") == [newest]
    assert shown("?archived=1") == [archived]


def test_the_page_has_no_inline_scripts_or_styles(alice: User, client: Client) -> None:
    notify_accounts(alice, "news", "One", url="/orders/1/")
    client.force_login(alice)

    html = client.get("/notifications/").content.decode()

    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", html)
    for attributes, content in re.findall(r"<script([^>]*)>(.*?)</script>", html, re.DOTALL):
        assert "src=" in attributes or 'type="application/json"' in attributes
        assert not content or 'type="application/json"' in attributes


class HashedModules(ManifestStaticFilesStorage):
    support_js_module_import_aggregation = True


def test_every_module_can_be_hashed(settings: Any, tmp_path: Path) -> None:
    # Django rewrites only imports that end in “;”, and also those in comments.
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": f"{__name__}.{HashedModules.__qualname__}"},
    }

    call_command("collectstatic", interactive=False, verbosity=0)

    names = json.loads((tmp_path / "staticfiles.json").read_text())["paths"]
    modules = [name for name in names if re.fullmatch(r"notifications/.*\.js", name)]
    assert len(modules) > 5
    hashed_names = {Path(names[name]).name for name in modules}
    for name in modules:
        for imported in re.findall(r'from "(.*?)"', (tmp_path / names[name]).read_text()):
            assert Path(imported).name in hashed_names


@pytest.mark.parametrize(
    "body",
    ["</script><b>bold", "</template><img src=x>", "<!--", "{% now 'Y' %}", "'\"><svg onload=x>"],
)
def test_a_body_is_text(alice: User, client: Client, body: str) -> None:
    notify_accounts(alice, "news", body)
    client.force_login(alice)

    html = client.get("/notifications/").content.decode()

    for dangerous in ("<b>bold", "<img src=x>", "<!--", "<svg onload"):
        assert dangerous not in html


@pytest.mark.parametrize(
    ("url", "followed"),
    [
        ("/orders/1/", "/orders/1/"),
        ("https://example.com/?a=1&b=2", "https://example.com/?a=1&b=2"),
        ("javascript:alert(1)", ""),
        ("//evil.example", ""),
        ("/\\evil.example", ""),
        ("/\t/evil.example", ""),
        ("", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_only_safe_urls_are_followed(url: object, followed: str) -> None:
    assert notification_url({"url": url}) == followed


def test_the_template_of_an_item_has_no_url() -> None:
    assert notification_url(None) == notification_url({}) == ""


def test_paths_are_on_the_site() -> None:
    assert is_on_site("/orders/1/")
    assert not is_on_site("https://example.com/")


def test_times_are_read_from_frames() -> None:
    created_at = notification_time("2026-01-01T00:00:00+00:00")
    assert created_at
    assert created_at.year == 2026
    assert notification_age("2020-01-01T00:00:00+00:00").endswith("years")
    assert notification_age(timezone.now().isoformat()) == ""
    assert notification_age("soon") == ""


@pytest.mark.parametrize("name", sorted(path.name for path in DIRECTORY.glob("_*.html")))
def test_a_site_can_replace_each_template_on_its_own(
    alice: User, client: Client, settings: Any, name: str
) -> None:
    own = {f"notifications/{name}": "{# of the site #}Made here"}
    django = "django.template.loaders"
    loaders = [(f"{django}.locmem.Loader", own), f"{django}.filesystem.Loader"]
    options = {
        **settings.TEMPLATES[0]["OPTIONS"],
        "loaders": [*loaders, f"{django}.app_directories.Loader"],
    }
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "APP_DIRS": False, "OPTIONS": options}]
    notify_accounts(alice, "news", "An item")
    broadcast("works", "A banner", level="warning")
    client.force_login(alice)

    html = client.get("/notifications/").content.decode()

    assert "Made here" in html
    assert ("An item" in html) == (name != "_item.html")


@pytest.mark.parametrize(
    ("language", "tag"),
    [("en", "en"), ("zh-hans", "zh-hans"), ("en_US", ""), ("C", ""), ("sr@latin", ""), ("", "")],
)
def test_a_page_of_its_own_has_a_language_that_browsers_know(
    monkeypatch: pytest.MonkeyPatch, language: str, tag: str
) -> None:
    monkeypatch.setattr(tags, "get_language", lambda: language)

    page = render(RequestFactory().get("/"), '{% extends "notifications/standalone.html" %}')

    root = f'<html lang="{tag}">' if tag else "<html>"
    assert page.startswith(f"<!doctype html>\n{root}\n")
