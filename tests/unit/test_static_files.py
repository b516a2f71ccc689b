"""
Each of our modules loads once, under its hashed name.

Storages that put hashes into names rewrite imports with regular expressions.
An import that they miss would load a module twice, or an outdated one.
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
    """Collect the static files as a deployment does; return the directory of ours."""
    settings.STATIC_ROOT = directory
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": storage}}
    call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=["admin"])
    return directory / "notifications"


def entry() -> str:
    """Return the collected name of the module that pages load."""
    name: str = staticfiles_storage.url(f"notifications/{ENTRY}")
    return name.removeprefix("/static/notifications/")


def without_hash(name: str) -> str:
    return re.sub(r"\.[0-9a-f]{12}\.js$", ".js", name)


# --- The source


@pytest.mark.parametrize("name", MODULES)
def test_django_rewrites_every_static_import(name: str) -> None:
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
def test_no_comment_looks_like_an_import(name: str) -> None:
    for comment in COMMENT.findall((SOURCE / name).read_text()):
        assert not re.search(r"""\b(import|from)\b\s*\(?["'{*]""", comment), comment


def test_there_are_no_circular_imports() -> None:
    """Modules that import each other can't be named by their contents."""
    for name in MODULES:
        for imported in imports(SOURCE, name):
            assert name not in reached(SOURCE, imported), f"{name} and {imported}"


def test_hashed_names_are_final_within_djangos_passes() -> None:
    """In any order of files; only deeper folders are certain to come first."""

    def settled_in(name: str) -> int:
        """Return the last pass in which an import of this module gets its final name."""
        return max(
            (
                settled_in(imported) + (imported.count("/") <= name.count("/"))
                for imported in imports(SOURCE, name)
            ),
            default=0,
        )

    # The last pass must not change anything.
    assert max(map(settled_in, MODULES)) < stock.HashedFilesMixin.max_post_process_passes


def test_every_module_can_be_reached_from_the_entry() -> None:
    assert sorted(reached(SOURCE, ENTRY)) == MODULES


# --- Collected files


@pytest.mark.parametrize("storage", [PLAIN, MANIFEST, WHITENOISE, DEMO])
def test_each_module_loads_once(settings: Any, tmp_path: Path, storage: str) -> None:
    directory = collect(settings, tmp_path, storage)

    loaded = reached(directory, entry())  # raises if a file is missing

    assert Counter(map(without_hash, loaded)) == Counter(MODULES)


@pytest.mark.parametrize("storage", [MANIFEST, WHITENOISE, DEMO])
def test_loaded_modules_have_hashed_names(settings: Any, tmp_path: Path, storage: str) -> None:
    directory = collect(settings, tmp_path, storage)

    loaded = reached(directory, entry())

    assert all(name != without_hash(name) for name in loaded)
    # A page that imports a module directly gets the same file.
    for name in MODULES:
        url: str = staticfiles_storage.url(f"notifications/{name}")
        assert url.removeprefix("/static/notifications/") in loaded


def test_the_demo_minifies_the_files(settings: Any, tmp_path: Path) -> None:
    directory = collect(settings, tmp_path, DEMO)

    for name in [*reached(directory, entry()), "notifications.css"]:
        collected = (directory / name).read_text()
        assert 0 < len(collected) < len((SOURCE / without_hash(name)).read_text())
        assert COMMENT.findall(collected) == []


def test_a_change_in_a_nested_module_renames_the_entry(settings: Any, tmp_path: Path) -> None:
    collect(settings, tmp_path / "before", DEMO)
    before = entry()
    changed = tmp_path / "changed/notifications/elements/parts/time.js"
    changed.parent.mkdir(parents=True)
    changed.write_text((SOURCE / "elements/parts/time.js").read_text() + "// changed\n")
    settings.STATICFILES_DIRS = [tmp_path / "changed"]

    collect(settings, tmp_path / "after", DEMO)

    assert entry() != before


# --- The system check


def warnings() -> list[str]:
    return [message.id for message in run_checks() if message.id == "notifications.W021"]


@pytest.mark.django_db
@pytest.mark.parametrize("storage", [PLAIN, MANIFEST, WHITENOISE, DEMO])
def test_these_storages_cause_no_warning(settings: Any, storage: str) -> None:
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": storage}}

    assert warnings() == []


@pytest.mark.django_db
def test_a_storage_that_does_not_rewrite_imports_causes_a_warning(
    settings: Any, tmp_path: Path
) -> None:
    directory = collect(settings, tmp_path, MANIFEST_WITHOUT_IMPORTS)

    assert warnings() == ["notifications.W021"]
    # The reason for the warning: browsers would cache this file after an upgrade.
    assert "client.js" in reached(directory, entry())


@pytest.mark.django_db
def test_a_site_without_the_static_files_app_gets_no_warning(settings: Any) -> None:
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": MANIFEST_WITHOUT_IMPORTS}}
    settings.INSTALLED_APPS = [
        app for app in settings.INSTALLED_APPS if app != "django.contrib.staticfiles"
    ]

    assert warnings() == []
