"""What the demo does not start with, under any server; and whom it answers while debugging."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.demo_data import PRIVATE_PASSWORD, make_demo_data
from harness.services import (
    ROOT,
    PostgresServer,
    free_port,
    manage,
    site_environment,
    site_server,
)

PRODUCTION = {
    "DJANGO_DEBUG": "0",
    "DJANGO_SECRET_KEY": "known to the test",
    "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
    "DJANGO_SETTINGS_MODULE": "tests.cluster.production_settings",
}


def start(options: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a server that should not start."""
    return subprocess.run(
        [sys.executable, "-m", *options.split(), "notify_site.asgi:application"],
        cwd=ROOT,
        env=site_environment(env),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"DATABASE_URL": f"sqlite:///{tmp_path}/site.sqlite3", "STATIC_ROOT": str(tmp_path)}


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ("notifications.server -b 0.0.0.0 -p {port}", "0.0.0.0"),
        ("notifications.server --bind=:: -p {port}", "::"),
        ("notifications.server -b 198.18.0.1 -p {port}", "198.18.0.1"),
        ("notifications.server -e tcp:port={port}", "all addresses"),
        ("daphne -e tcp:{port}:interface=0.0.0.0", "0.0.0.0"),
        ("uvicorn --host 0.0.0.0 --port {port}", "0.0.0.0"),
    ],
)
def test_while_debugging_other_machines_are_not_served(
    env: dict[str, str], options: str, address: str
) -> None:
    ended = start(options.format(port=free_port()), env)

    assert ended.returncode == 3
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"Not listening on {address}. With DJANGO_DEBUG=1 ")
    assert "set DJANGO_DEBUG=0, DJANGO_SECRET_KEY and DJANGO_ALLOWED_HOSTS" in line


@pytest.mark.parametrize("address", ["0.0.0.0:8000", "[::]:8000", "198.18.0.1:8000"])
def test_runserver_does_not_serve_other_machines_either(env: dict[str, str], address: str) -> None:
    with pytest.raises(RuntimeError, match="Not listening on .* set DJANGO_DEBUG=0"):
        manage("runserver", "--noreload", address, env=env)


def test_make_run_refuses_before_it_makes_a_database(env: dict[str, str], tmp_path: Path) -> None:
    command = ["make", "run", "--old-file", ".venv/run", "HOST=0.0.0.0", f"PY={sys.executable}"]
    ended = subprocess.run(
        command, cwd=ROOT, env=site_environment(env), capture_output=True, text=True, timeout=60
    )

    assert "Not listening on 0.0.0.0. With DJANGO_DEBUG=1 " in ended.stderr
    assert not list(tmp_path.glob("site.sqlite3*"))


@pytest.mark.parametrize("server", ["notifications.server", "uvicorn"])
def test_in_production_no_account_has_the_public_password(env: dict[str, str], server: str) -> None:
    make_demo_data(env)
    env |= PRODUCTION

    ended = start(f"{server} --port {free_port()}", env)

    assert ended.returncode == 3
    (line,) = ended.stderr.splitlines()
    assert "public password: alice, bob, carol, operator. " in line
    assert "changepassword" in line
    with pytest.raises(RuntimeError, match="notify_site.E051"):
        manage("check", "--deploy", env=env)


def test_in_production_it_starts_with_other_passwords_or_none(env: dict[str, str]) -> None:
    make_demo_data(env, PRIVATE_PASSWORD)
    env |= PRODUCTION

    with site_server(free_port(), env):
        pass
    assert "E051" not in manage("check", "--deploy", env=env)


def test_in_production_it_starts_without_a_database(env: dict[str, str]) -> None:
    nobody = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}

    with site_server(free_port(), {**env, **PRODUCTION, **nobody}) as server:
        assert "Traceback" not in server.output()


# Prints how many other connections its database has once the site was imported.
CONNECTIONS = """
import os, psycopg
import notify_site.asgi
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    for _ in range(50):
        others = connection.execute(count).fetchone()[0] - 1
        if not others:
            break
        connection.execute("SELECT pg_sleep(0.1)")
        connection.commit()  # or the statistics stay the same
print(others)
"""


def test_a_server_that_forks_after_the_import_inherits_no_connection(
    env: dict[str, str], postgres: PostgresServer
) -> None:
    """Two processes that write to one connection would read each other's rows."""
    env |= {"DATABASE_URL": postgres.create_database("forks")}
    make_demo_data(env, PRIVATE_PASSWORD)
    env |= PRODUCTION

    command = [sys.executable, "-c", CONNECTIONS]
    found = subprocess.check_output(command, cwd=ROOT, env=site_environment(env), text=True)

    assert found == "0\n"


def test_the_secret_key_is_required(env: dict[str, str]) -> None:
    ended = start("notifications.server", {**env, "DJANGO_DEBUG": "", "DJANGO_SECRET_KEY": ""})

    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert "DJANGO_SECRET_KEY is not set. Set it to " in last
    assert "or set DJANGO_DEBUG=1 to try the demo on this machine" in last


def modes(files: Sequence[Path]) -> dict[str, str]:
    return {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in files}


def test_the_files_of_the_database_are_private(env: dict[str, str], tmp_path: Path) -> None:
    database = tmp_path / "site.sqlite3"
    make_demo_data(env)
    for suffix in ("", "-wal", "-shm"):  # as they were made before
        Path(f"{database}{suffix}").touch()
        Path(f"{database}{suffix}").chmod(0o644)

    with site_server(free_port(), env):
        found = modes(list(tmp_path.glob("site.sqlite3*")))

    assert found == {f"site.sqlite3{suffix}": "0o600" for suffix in ("", "-wal", "-shm")}
