"""Conflicts with other apps called notifications, and the system checks that report them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.services import site_environment
from notifications.checks.names import DISTRIBUTION, check_names
from notifications.templatetags.notifications import register

ROOT = Path(__file__).resolve().parent.parent.parent
QUICKSTART = (ROOT / "docs/quickstart.md").read_text()
THEIR_URLS = """
from django.http import HttpResponse
from django.urls import path

app_name = "notifications"
urlpatterns = [path("", HttpResponse, name="list")]
"""
Write = Callable[[dict[str, str]], None]
Check = Callable[[], tuple[str, str]]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write files of a project whose apps can be imported."""

    def write(files: dict[str, str]) -> None:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    monkeypatch.syspath_prepend(tmp_path)
    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


@pytest.fixture
def install(write: Write, settings: Any) -> Callable[..., None]:
    """Install an app `shop.notifications` of these files, before ours."""

    def install(files: dict[str, str], *, after: bool = False) -> None:
        packages = {"shop/__init__.py": "", "shop/notifications/__init__.py": ""}
        write({**packages, **{f"shop/notifications/{name}": files[name] for name in files}})
        theirs, ours = ["shop.notifications"], settings.INSTALLED_APPS
        settings.INSTALLED_APPS = [*ours, *theirs] if after else [*theirs, *ours]

    return install


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Run the checks; return id and text of the only message, which the quickstart must quote."""

    def check() -> tuple[str, str]:
        (message,) = check_names()
        text = message.msg.replace(str(tmp_path), "/srv/mysite")
        assert f"({message.id}) {text}\n" in QUICKSTART
        assert f"HINT: {message.hint}\n" in QUICKSTART
        return message.id.removeprefix("notifications."), text

    return check


def test_an_app_of_the_same_name_is_allowed(install: Callable[..., None]) -> None:
    install(
        {
            "templates/notifications/list.html": "",
            "static/notifications/list.js": "",
            "templatetags/__init__.py": "",
            "templatetags/shop_notifications.py": "",
        }
    )

    assert check_names() == []


def test_an_app_labelled_notifications_has_its_own_tables_and_urls(
    install: Callable[..., None], write: Write, tmp_path: Path
) -> None:
    write(
        {
            "settings.py": """
from notify_site.settings import *

INSTALLED_APPS.append("shop.notifications")
""",
            "try_it.py": """
import django

django.setup()

from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.urls import reverse
from notifications import models as ours, notify_accounts
from shop.notifications import models as theirs

call_command("makemigrations", "notifications", verbosity=0)
call_command("migrate", verbosity=0)
call_command("check", fail_level="WARNING")
theirs.Notification.objects.create()
notify_accounts([User.objects.create(username=name) for name in ("alice", "bob")], "news", "Hi")
for model in (theirs.Notification, ours.Notification):
    table = model._meta.db_table
    print(table, model.objects.count(), reverse(f"admin:{table}_changelist"))
print(Permission.objects.filter(codename="view_notification").count())
""",
        }
    )
    install(
        {
            "migrations/__init__.py": "",
            "models.py": """
from django.db import models


class Notification(models.Model):
    id = models.BigAutoField(primary_key=True)
""",
            "admin.py": """
from django.contrib import admin
from .models import Notification

admin.site.register(Notification)
""",
        }
    )
    result = subprocess.run(
        [sys.executable, "try_it.py"],
        cwd=tmp_path,
        env=site_environment(
            {
                "PYTHONPATH": str(ROOT),
                "DJANGO_SETTINGS_MODULE": "settings",
                "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
            }
        ),
        capture_output=True,
        text=True,
    )

    assert result.stdout.splitlines() == [
        "System check identified no issues (0 silenced).",
        "notifications_notification 1 /admin/notifications/notification/",
        "site_notifications_notification 2 /admin/site_notifications/notification/",
        "2",
    ], result.stderr


# --- Distributions


TOP_LEVEL = {"top_level.txt": "notifications\nnotifications_tests\n"}
RECORD = {"RECORD": "hq/a.py,,\nnotifications/__init__.py,sha256=47DE,0\n"}


def distribution(name: str, package: dict[str, str]) -> dict[str, str]:
    metadata = {"METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n"}
    folder = f"{name.replace('-', '_')}-1.dist-info"
    return {f"{folder}/{file}": text for file, text in {**metadata, **package}.items()}


@pytest.mark.parametrize("package", [TOP_LEVEL, RECORD])
def test_the_check_names_another_distribution_with_the_package(
    write: Write, check: Check, package: dict[str, str]
) -> None:
    write(distribution("django-notifications-hq", package))
    write(distribution(DISTRIBUTION, package))

    assert check() == (
        "E023",
        "Another installed distribution has a package “notifications”: django-notifications-hq.",
    )


def test_several_distributions_are_named_in_order(write: Write) -> None:
    write(distribution("Django_Notifs", TOP_LEVEL))
    write(distribution("django-notifications-hq", TOP_LEVEL))

    (message,) = check_names()

    assert message.msg.endswith(": django-notifications-hq django-notifs.")


@pytest.mark.parametrize("spelling", [DISTRIBUTION, "Notify_Site.Notifications"])
def test_our_own_distribution_may_be_installed(write: Write, spelling: str) -> None:
    write(distribution(spelling, TOP_LEVEL))

    assert check_names() == []


@pytest.mark.parametrize(
    "package",
    [
        {"top_level.txt": "notifications_tests\n"},
        {"RECORD": "hq/notifications/__init__.py,,\nnotifications.pth,,\n"},
        {},
    ],
)
def test_a_distribution_may_have_packages_of_other_names(
    write: Write, package: dict[str, str]
) -> None:
    write(distribution("django-notifications-hq", package))

    assert check_names() == []


# --- Templates


def test_the_check_names_templates_that_another_app_hides(
    install: Callable[..., None], check: Check
) -> None:
    install({f"templates/notifications/{name}.html": "" for name in ("inbox", "_item", "list")})

    assert check() == (
        "W024",
        "The app “shop.notifications” has templates that hide ours: "
        "notifications/_item.html, notifications/inbox.html.",
    )


def test_templates_of_a_later_app_hide_nothing(install: Callable[..., None]) -> None:
    install({"templates/notifications/inbox.html": ""}, after=True)

    assert check_names() == []


@pytest.mark.parametrize("is_cached", [True, False])
def test_a_site_replaces_templates_in_its_dirs(
    install: Callable[..., None], write: Write, settings: Any, tmp_path: Path, is_cached: bool
) -> None:
    write({"templates/notifications/inbox.html": ""})
    install({"templates/notifications/inbox.html": ""})
    (template,) = settings.TEMPLATES
    loaders: list[Any] = [
        "django.template.loaders.filesystem.Loader",
        "django.template.loaders.app_directories.Loader",
    ]
    if is_cached:
        loaders = [("django.template.loaders.cached.Loader", loaders)]
    options = {**template["OPTIONS"], "loaders": loaders}
    template = {**template, "APP_DIRS": False, "OPTIONS": options}
    settings.TEMPLATES = [{**template, "DIRS": [tmp_path / "templates"]}]
    assert check_names() == []
    settings.TEMPLATES = [template]
    assert [message.id for message in check_names()] == ["notifications.W024"]


# --- Static files


def test_the_check_names_static_files_that_another_app_hides(
    install: Callable[..., None], check: Check
) -> None:
    install({f"static/notifications/{name}": "" for name in ("index.js", "client.js", "x.css")})

    assert check() == (
        "W025",
        "Static files in /srv/mysite/shop/notifications/static hide ours: "
        "notifications/client.js, notifications/index.js.",
    )


def test_static_files_of_the_site_can_hide_ours_too(
    write: Write, settings: Any, tmp_path: Path
) -> None:
    write({"static/notifications/notifications.css": ""})
    settings.STATICFILES_DIRS = [tmp_path / "static"]

    (message,) = check_names()

    assert message.id == "notifications.W025"
    assert message.msg.startswith(f"Static files in {tmp_path / 'static'} hide ours: ")


def test_static_files_are_not_checked_without_their_app(
    install: Callable[..., None], settings: Any
) -> None:
    install({"static/notifications/index.js": ""})
    settings.INSTALLED_APPS = [
        app for app in settings.INSTALLED_APPS if app != "django.contrib.staticfiles"
    ]

    assert check_names() == []


# --- URL namespace


def include(*included: str) -> str:
    paths = "".join(f"path('{n}/', include({urls})),\n" for n, urls in enumerate(included))
    return f"from django.urls import include, path\nurlpatterns = [{paths}]"


OURS, THEIRS = "'notifications.urls'", "'shop.notifications.urls'"


@pytest.mark.parametrize("included", [[THEIRS], [THEIRS, OURS]])
def test_the_check_names_another_app_with_the_url_namespace(
    install: Callable[..., None], write: Write, check: Check, settings: Any, included: list[str]
) -> None:
    install({"urls.py": THEIR_URLS})
    write({"shop/urls.py": include(*included)})
    settings.ROOT_URLCONF = "shop.urls"

    assert check() == (
        "E026",
        "The URL namespace “notifications” is that of shop.notifications.urls, "
        "which has no changes, inbox, items, mark.",
    )


def test_the_check_names_a_url_list_by_its_path(write: Write, settings: Any) -> None:
    write({"shop/urls.py": include("([], 'notifications')")})
    settings.ROOT_URLCONF = "shop.urls"

    (message,) = check_names()

    assert "is that of the list at “0/”, which has no changes" in message.msg


@pytest.mark.parametrize(
    "included",
    [
        [OURS, THEIRS],
        # An instance with another name is found by the app's namespace.
        ["([], 'shop'), 'notifications'", f"{OURS}, 'alerts'"],
        # Our views in a list of the site.
        ["(__import__('notifications.urls').urls.urlpatterns, 'notifications')"],
        # None at all.
        [],
    ],
)
def test_our_own_urls_may_be_included_in_any_way(
    install: Callable[..., None], write: Write, settings: Any, included: list[str]
) -> None:
    install({"urls.py": THEIR_URLS})
    write({"shop/urls.py": include(*included)})
    settings.ROOT_URLCONF = "shop.urls"

    assert check_names() == []


def test_a_process_without_urls_has_no_namespaces(settings: Any) -> None:
    del settings.ROOT_URLCONF

    assert check_names() == []


# --- Tag library


def library(name: str) -> dict[str, str]:
    return {
        "templatetags/__init__.py": "",
        "templatetags/notifications.py": f"from django import template\nregister = {name}\n",
    }


def test_the_check_names_another_tag_library_of_the_same_name(
    install: Callable[..., None], check: Check
) -> None:
    install(library("template.Library()"), after=True)

    id, text = check()

    assert id == "E027"
    assert text.startswith(
        "The template tag library “notifications” is "
        "shop.notifications.templatetags.notifications, which has no can_be_marked, "
    )
    assert {*register.tags, *register.filters} <= set(text.rstrip(".").replace(",", "").split())


def test_a_tag_library_that_includes_ours_may_replace_it(install: Callable[..., None]) -> None:
    ours = "__import__('notifications.templatetags.notifications').templatetags.notifications"
    install(library(f"{ours}.register"), after=True)

    assert check_names() == []
