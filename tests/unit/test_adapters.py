"""Private parts of other projects are used in tested versions only."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from django.core.checks import run_checks

from notifications import adapters
from notifications.adapters import Adapter, Versions, differences
from notifications.servers.daphne import DAPHNE
from notifications.servers.uvicorn import UVICORN

OFF = "Frames are sent as carrier pigeons, which is slower."


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch):
    """Return a function that makes projects look installed, by their versions."""

    def install(**versions: str) -> None:
        monkeypatch.setattr(adapters, "installed_version", versions.get)

    return install


def pigeons(*more: Versions) -> Adapter:
    return Adapter(Versions("pigeon", "4.1", "4.2"), *more, off=OFF, check_id="notifications.W999")


@pytest.mark.parametrize("version", ["4.1", "4.1.0", "4.1.7", "4.2", "4.2.3", "4.2.10", "4.2rc1"])
def test_versions_within_the_bounds_were_tested(version: str) -> None:
    assert Versions("pigeon", "4.1", "4.2").includes(version)


@pytest.mark.parametrize("version", ["4.0.9", "4.3", "4.20", "4.10", "5", "41", "3.99", "", "dev"])
def test_versions_outside_the_bounds_were_not_tested(version: str) -> None:
    assert not Versions("pigeon", "4.1", "4.2").includes(version)


def test_a_tested_version_is_used_and_nothing_is_logged(install, caplog) -> None:
    install(pigeon="4.2.3")
    adapter = pigeons()

    assert adapter.is_on
    assert adapter.check() == []
    assert caplog.records == []


def test_an_untested_version_is_not_used_and_one_warning_names_it(install, caplog) -> None:
    install(pigeon="4.20")
    adapter = pigeons()

    assert not adapter.is_on
    assert not adapter.is_on
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "Private parts of pigeon 4.20 are not used: not tested with pigeon 4.20. "
        f"{OFF} (notifications.W999)"
    )


def test_a_tested_version_beside_an_untested_project_is_not_used(install) -> None:
    install(pigeon="4.2", wing="7")

    assert not pigeons(Versions("wing", "6", "6")).is_on


def test_a_second_project_need_not_be_installed(install) -> None:
    install(pigeon="4.2")

    assert pigeons(Versions("wing", "6", "6")).is_on


def test_the_first_project_must_be_installed(install, caplog) -> None:
    install()

    assert not pigeons().is_on
    assert "not tested with pigeon (not installed)" in caplog.text


def test_the_check_reports_an_untested_version_before_any_connection(install) -> None:
    install(pigeon="4.20")

    (warning,) = pigeons().check()

    assert warning.id == "notifications.W999"
    assert "pigeon 4.20" in warning.msg
    assert "Tested: pigeon 4.1 to 4.2.x." in warning.hint


def test_the_check_is_silent_where_the_project_is_not_installed(install) -> None:
    install(wing="7")

    assert pigeons(Versions("wing", "6", "6")).check() == []


def test_a_difference_turns_the_adapter_off_with_one_warning(install, caplog) -> None:
    install(pigeon="4.2")
    adapter = pigeons()
    assert adapter.is_on

    adapter.turn_off("Pigeon.wings is missing")
    adapter.turn_off("Pigeon.beak is missing")

    assert not adapter.is_on
    (record,) = caplog.records
    assert "pigeon 4.2 are not used: Pigeon.wings is missing. " in record.getMessage()
    (warning,) = adapter.check()
    assert "Pigeon.wings is missing" in warning.msg


def test_things_of_one_type_are_looked_at_once(install) -> None:
    install(pigeon="4.2")
    adapter = pigeons()
    seen: list[str] = []

    for _ in range(2):
        assert adapter.fits("Alice", differences=lambda: seen.append("Alice") or [])
    assert not adapter.fits(2, differences=lambda: ["int.beak is missing"])

    assert seen == ["Alice"]
    assert not adapter.is_on


@pytest.mark.parametrize("error", [AttributeError("beak"), KeyError("beak"), TypeError("beak")])
def test_an_error_of_a_changed_part_turns_the_adapter_off(install, error: Exception) -> None:
    install(pigeon="4.2")
    adapter = pigeons()

    adapter.note(error)

    assert not adapter.is_on


@pytest.mark.parametrize("error", [OSError(9, "closed"), RuntimeError("closed")])
def test_an_error_of_a_lost_connection_leaves_the_adapter_on(install, error: Exception) -> None:
    install(pigeon="4.2")
    adapter = pigeons()

    adapter.note(error)

    assert adapter.is_on


def test_missing_failing_and_differently_typed_attributes_are_named() -> None:
    class Pigeon(SimpleNamespace):
        @property
        def nest(self) -> None:
            raise RuntimeError

    thing = Pigeon(wings=2, name="Alice")

    assert differences(thing, wings=int, name=(str, bytes)) == []
    assert differences(thing, wings=str, beak=object, nest=object) == [
        "Pigeon.wings is of type int",
        "Pigeon.beak is missing",
        "Pigeon.nest is missing",
    ]


@pytest.mark.django_db  # from Django 6 on, running the checks queries the version of the database
def test_a_server_of_an_untested_version_is_reported(monkeypatch) -> None:
    monkeypatch.setattr(adapters, "installed_version", {"uvicorn": "0.540"}.get)

    (warning,) = [each for each in run_checks() if each.id == "notifications.W028"]

    assert warning.msg.startswith("Private parts of uvicorn 0.540 are not used: ")


def test_the_servers_of_the_lock_are_tested() -> None:
    assert DAPHNE.is_on
    assert UVICORN.is_on
