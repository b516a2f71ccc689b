"""
Each of our modules loads once, under the name that its contents give it.

Storages that put a hash into names rewrite imports with regular expressions:
what of our source they would not find is loaded a second time, or stale.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import storage as stock
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.checks import run_checks
from django.core.management import call_command
from whitenoise.storage import CompressedManifestStaticFilesStorage

from harness.modules import DYNAMIC, ENTRY, SOURCE, STATIC, imports, reached

PLAIN = "django.contrib.staticfiles.storage.StaticFilesStorage"
MANIFEST = "tests.unit.test_static_files.ManifestStorage"
MANIFEST_WITHOUT_IMPORTS = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
WHITENOISE = "tests.unit.test_static_files.WhiteNoiseStorage"
DEMO = "notify_site.static_files.Storage"
MODULES = sorted(str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.js"))
COMMENT = re.compile(r"/\*.*?\*/|(?<![:\"'`\\/])//[^\n]*", re.DOTALL)


class ManifestStorage(stock.ManifestStaticFilesStorage):
    support_js_module_import_aggregation = True


class WhiteNoiseStorage(CompressedManifestStaticFilesStorage):
    support_js_module_import_aggregation = True


def collect(settings: Any, directory: Path, storage: str) -> Path:
    """Collect the static files as a deployment does; return where ours are."""
    settings.STATIC_ROOT = directory
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": storage}}
    call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=["admin"])
    return directory / "notifications"


def entry() -> str:
    """The name, among our files, of the module that pages load."""
    name: str = staticfiles_storage.url(f"notifications/{ENTRY}")
    return name.removeprefix("/static/notifications/")


def without_hash(name: str) -> str:
    return re.sub(r"\.[0-9a-f]{12}\.js$", ".js", name)


# --- The source


@pytest.mark.parametrize("name", MODULES)
def test_every_static_import_is_one_that_django_rewrites(name: str) -> None:
    source = (SOURCE / name).read_text()
    statements = re.findall(r"^\s*(?:import\b(?!\()|export\b[^\n]*\bfrom\b)[^\n]*", source, re.M)

    assert len(statements) == len(STATIC.findall(source))
    for statement in statements:
        assert re.fullmatch(r"""(?:im|ex)port (?:\S.* from )?"\.{1,2}/[\w/.]+\.js";""", statement)


@pytest.mark.parametrize("name", MODULES)
def test_every_dynamic_import_names_a_file(name: str) -> None:
    source = (SOURCE / name).read_text()

    assert source.count("import(") == len(DYNAMIC.findall(source))
    for url in DYNAMIC.findall(source):
        assert f'import("{url}")' in source
        assert re.fullmatch(r"\.{1,2}/[\w/.]+\.js", url)


@pytest.mark.parametrize("name", MODULES)
def test_no_comment_has_an_import(name: str) -> None:
    for comment in COMMENT.findall((SOURCE / name).read_text()):
        assert not re.search(r"""\b(import|from)\b\s*\(?["'{*]""", comment), comment


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Names by contents can't be given to modules that wait for each other's names."""
    for name in MODULES:
        for imported in imports(SOURCE, name):
            assert name not in reached(SOURCE, imported), f"{name} and {imported}"


def test_names_by_contents_settle_in_the_passes_that_django_makes() -> None:
    """In whatever order the files lie on the disk: of them only deeper folders come first."""

    def settled_in(name: str) -> int:
        """The pass in which all that this one imports has its name, at the latest."""
        return max(
            (
                settled_in(imported) + (imported.count("/") <= name.count("/"))
                for imported in imports(SOURCE, name)
            ),
            default=0,
        )

    # The last pass has to find nothing to change.
    assert max(map(settled_in, MODULES)) < stock.HashedFilesMixin.max_post_process_passes


def test_every_module_is_reached_from_the_entry() -> None:
    assert sorted(reached(SOURCE, ENTRY)) == MODULES


# --- What is collected


@pytest.mark.parametrize("storage", [PLAIN, MANIFEST, WHITENOISE, DEMO])
def test_each_module_loads_once(settings: Any, tmp_path: Path, storage: str) -> None:
    directory = collect(settings, tmp_path, storage)

    loaded = reached(directory, entry())  # raises where there is no such file

    assert Counter(map(without_hash, loaded)) == Counter(MODULES)


@pytest.mark.parametrize("storage", [MANIFEST, WHITENOISE, DEMO])
def test_what_is_loaded_is_named_by_its_contents(
    settings: Any, tmp_path: Path, storage: str
) -> None:
    directory = collect(settings, tmp_path, storage)

    loaded = reached(directory, entry())

    assert all(name != without_hash(name) for name in loaded)
    # A page that imports one of them itself gets the same one.
    for name in MODULES:
        url: str = staticfiles_storage.url(f"notifications/{name}")
        assert url.removeprefix("/static/notifications/") in loaded


def test_the_demo_leaves_out_what_only_people_read(settings: Any, tmp_path: Path) -> None:
    directory = collect(settings, tmp_path, DEMO)

    for name in [*reached(directory, entry()), "notifications.css"]:
        collected = (directory / name).read_text()
        assert 0 < len(collected) < len((SOURCE / without_hash(name)).read_text())
        assert COMMENT.findall(collected) == []


def test_a_change_deep_down_gives_the_entry_another_name(settings: Any, tmp_path: Path) -> None:
    collect(settings, tmp_path / "before", DEMO)
    before = entry()
    changed = tmp_path / "changed/notifications/elements/time.js"
    changed.parent.mkdir(parents=True)
    changed.write_text((SOURCE / "elements/time.js").read_text() + "// changed\n")
    settings.STATICFILES_DIRS = [tmp_path / "changed"]

    collect(settings, tmp_path / "after", DEMO)

    assert entry() != before


# --- The system check


def warnings() -> list[str]:
    return [message.id for message in run_checks() if message.id == "notifications.W021"]


@pytest.mark.django_db
@pytest.mark.parametrize("storage", [PLAIN, MANIFEST, WHITENOISE, DEMO])
def test_these_storages_are_as_they_should_be(settings: Any, storage: str) -> None:
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": storage}}

    assert warnings() == []


@pytest.mark.django_db
def test_a_storage_that_leaves_imports_alone_is_warned_of(settings: Any, tmp_path: Path) -> None:
    directory = collect(settings, tmp_path, MANIFEST_WITHOUT_IMPORTS)

    assert warnings() == ["notifications.W021"]
    # What is warned of: browsers would keep these for as long as they are told to.
    assert "client.js" in reached(directory, entry())


@pytest.mark.django_db
def test_a_site_without_the_static_files_app_is_not_warned(settings: Any) -> None:
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": MANIFEST_WITHOUT_IMPORTS}}
    settings.INSTALLED_APPS = [
        app for app in settings.INSTALLED_APPS if app != "django.contrib.staticfiles"
    ]

    assert warnings() == []
