"""The versions that the package, the README and `make matrix` name are the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import noxfile
from notifications.adapters import Adapter
from notifications.servers.daphne import DAPHNE
from notifications.servers.uvicorn import UVICORN

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def classified(name: str) -> list[str]:
    """Return the versions of the classifiers, in their order."""
    return re.findall(rf"^{name} :: (\d+\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE)


def test_the_matrix_runs_the_versions_of_the_classifiers() -> None:
    pythons, djangos = zip(*noxfile.COMBINATIONS, strict=True)

    assert set(pythons) == set(classified("Programming Language :: Python"))
    assert set(djangos) == set(classified("Framework :: Django"))


def test_the_matrix_leaves_out_only_combinations_unsupported_by_django() -> None:
    everything = {
        (python, django)
        for python in classified("Programming Language :: Python")
        for django in classified("Framework :: Django")
    }

    # Django 6 needs Python 3.12.
    assert everything - set(noxfile.COMBINATIONS) == {("3.11", "6.0"), ("3.11", "6.1")}


def test_the_oldest_versions_are_those_that_the_package_requires() -> None:
    assert PROJECT["requires-python"] == f">={classified('Programming Language :: Python')[0]}"
    assert f"django>={classified('Framework :: Django')[0]}" in PROJECT["dependencies"]


def test_the_readme_names_the_same_versions() -> None:
    oldest, *_, newest = classified("Programming Language :: Python")

    assert f"Python {oldest}–{newest}, Django 5.2 LTS and 6.x" in (ROOT / "README.md").read_text()
    assert {django for django in classified("Framework :: Django") if django[0] != "6"} == {"5.2"}


@pytest.mark.parametrize("extra", ["daphne", "redis", "uvicorn"])
def test_the_extras_have_minimum_versions_and_no_maximum(
    extra: str,
) -> None:
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]]

    assert all(re.fullmatch(r"[a-z-]+>=[\d.]+", each) for each in wanted)


@pytest.mark.parametrize(("extra", "adapter"), [("daphne", DAPHNE), ("uvicorn", UVICORN)])
def test_adapters_were_tested_from_the_oldest_allowed_release_on(
    extra: str, adapter: Adapter
) -> None:
    oldest = {f"{each.project}>={each.oldest}" for each in adapter.tested}

    assert set(PROJECT["optional-dependencies"][extra]) == oldest


def test_the_oldest_releases_are_tested() -> None:
    assert {"channels==4.3", "daphne==4.2.2", "django==5.2"} < set(noxfile.oldest_releases())


def test_the_deployment_page_names_the_tested_versions() -> None:
    page = (ROOT / "docs/deployment.md").read_text()

    for adapter in (DAPHNE, UVICORN):
        for versions in adapter.tested:
            assert str(versions) in page
