"""What `make matrix`, `oldest`, `servers` and `latest` run, before a version is cut."""

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
SERVER_TESTS: Final = [
    f"tests/cluster/test_{name}.py"
    for name in ("changed_servers", "deploys", "one_process", "other_servers", "transports")
]
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


def oldest_releases() -> list[str]:
    """Return the oldest releases that the package and its extras take, as exact requirements."""
    wanted = [*PROJECT["dependencies"]]
    for extra in ("daphne", "redis", "uvicorn"):
        wanted += EXTRAS[extra]
    return [each.replace(">=", "==") for each in wanted]


@nox.session(python=PYTHONS[0], reuse_venv=True)
def oldest(session: nox.Session) -> None:
    """Unit and socket tests, and those of the servers, with the oldest releases of all."""
    session.install("--requirement", "requirements-dev.txt")
    # The oldest Twisted knows no TLS with later releases of pyOpenSSL.
    session.install(*oldest_releases(), "pyopenssl==24.2.1", "service-identity==24.1.0")
    session.run(*PYTEST, *TESTS)
    session.run(*PYTEST, *SERVER_TESTS)


@nox.session(python=MEASURED[0], reuse_venv=True)
def servers(session: nox.Session) -> None:
    """The tests of servers, with those that sites bring along."""
    session.install("--requirement", "requirements-dev.txt")
    session.install(*EXTRAS["servers"])
    session.run("python", "-m", "pip", "list")
    session.run(*PYTEST, *SERVER_TESTS)


@nox.session(python=PYTHONS[-1], reuse_venv=False)
def latest(session: nox.Session) -> None:
    """
    Unit, socket and cluster tests with the newest release of every dependency.

    All of them are run, whatever fails. Where a release is newer than those that an adapter was
    tested with, the checks of the demo site fail; if nothing else does, its `Versions` may name it.
    """
    wanted = [*PROJECT["dependencies"]]
    for extra in ("daphne", "demo", "dev", "redis", "servers", "uvicorn"):
        wanted += EXTRAS[extra]
    # The demo stays with the LTS release.
    session.install(*(each for each in wanted if not each.startswith("django~=")))
    session.run("python", "-m", "pip", "list")
    failed = []
    for command in (
        [*PYTEST, *TESTS],
        [*ON_POSTGRESQL, *TESTS],
        [*PYTEST, "tests/cluster"],
        ["python", "-m", "tests.realtime"],
    ):
        try:
            session.run(*command)
        except nox.command.CommandFailed:
            failed.append(" ".join(command))
    if failed:
        session.error(f"Failed: {'; '.join(failed)}")
