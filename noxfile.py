"""What `make matrix` and `make latest` run, before a version is cut."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Final

import nox

PROJECT: Final = nox.project.load_toml(Path(__file__).with_name("pyproject.toml"))["project"]
EXTRAS: Final = PROJECT["optional-dependencies"]


def classified(prefix: str) -> list[str]:
    """Return the versions that the classifiers name, oldest first."""
    prefix += " :: "
    named = [c.removeprefix(prefix) for c in PROJECT["classifiers"] if c.startswith(prefix)]
    return [version for version in named if "." in version]


PYTHONS: Final = classified("Programming Language :: Python")
DJANGOS: Final = classified("Framework :: Django")
# What Django does not support.
EXCLUDED: Final = {("3.11", "6.0"), ("3.11", "6.1")}
COMBINATIONS: Final = [pair for pair in itertools.product(PYTHONS, DJANGOS) if pair not in EXCLUDED]
# That of the demo's requirements, with the Python in the middle.
MEASURED: Final = ("3.12", "5.2")

PYTEST: Final = ["python", "-m", "pytest", "--quiet", "-n", "2", "-m", "not realtime"]
TESTS: Final = ["tests/unit", "tests/sockets"]
# The database need not be dropped, as the server goes; threads may still be connected.
ON_POSTGRESQL: Final = ["python", "-m", "tests.with_postgres", *PYTEST, "--reuse-db"]

nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["matrix"]


@nox.session(reuse_venv=True)
@nox.parametrize("python,django", COMBINATIONS)
def matrix(session: nox.Session, django: str) -> None:
    """Unit and socket tests with one Python and one Django, on SQLite and on PostgreSQL."""
    session.install("--requirement", "requirements-dev.txt")
    session.install(f"django~={django}.0")
    session.run(*PYTEST, *TESTS)
    is_measured = (session.python, django) == MEASURED
    session.run(*ON_POSTGRESQL, *TESTS, *(["--cov"] if is_measured else []))


@nox.session(python=PYTHONS[-1], reuse_venv=False)
def latest(session: nox.Session) -> None:
    """Unit, socket and cluster tests with the newest release of every dependency."""
    wanted = [*PROJECT["dependencies"], *EXTRAS["demo"], *EXTRAS["dev"]]
    # The demo stays with the LTS release.
    session.install(*(each for each in wanted if not each.startswith("django~=")))
    session.run("python", "-m", "pip", "list")
    session.run(*PYTEST, *TESTS)
    session.run(*ON_POSTGRESQL, *TESTS)
    session.run(*PYTEST, "tests/cluster")
    session.run("python", "-m", "tests.realtime")
