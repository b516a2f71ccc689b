"""Fill a site's database with the demo's accounts and orders."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from harness.services import manage, postgres_binaries

SQLITE = "sqlite:///"
PUBLIC_PASSWORD = "demo"
# The demo does not start with its public one unless it is debugging.
PRIVATE_PASSWORD = "known to the tests"
ACCOUNTS = "from django.contrib.auth.models import User\nfor account in User.objects.all()"

# Keyed by the kind of database, by the settings module, which decides the password hasher, and
# by the password.
_dumps: dict[tuple[bool, str | None, str], bytes] = {}


def make_demo_data(env: Mapping[str, str], password: str = PUBLIC_PASSWORD) -> None:
    """
    Fill a site's empty database.

    The first one is filled by manage.py, as a developer would do it. Later ones in the same
    process are copies of it, which take a tenth of the time.
    """
    url = env["DATABASE_URL"]
    is_sqlite = url.startswith(SQLITE)
    kind = is_sqlite, env.get("DJANGO_SETTINGS_MODULE"), password
    if kind in _dumps:
        (_load_sqlite if is_sqlite else _load_postgres)(url, _dumps[kind])
        return
    manage("migrate", "-v", "0", env=env)
    manage("demo_data", env=env)
    if password != PUBLIC_PASSWORD:
        change = f"account.set_password({password!r}); account.save()"
        manage("shell", "-v", "0", "-c", f"{ACCOUNTS}: {change}", env=env)
    _dumps[kind] = (_dump_sqlite if is_sqlite else _dump_postgres)(url)


def _dump_sqlite(url: str) -> bytes:
    with closing(sqlite3.connect(url.removeprefix(SQLITE))) as database:
        return database.serialize()


def _load_sqlite(url: str, dump: bytes) -> None:
    Path(url.removeprefix(SQLITE)).write_bytes(dump)


def _dump_postgres(url: str) -> bytes:
    command = [f"{postgres_binaries()}/pg_dump", "--no-owner", url]
    return subprocess.run(command, check=True, capture_output=True).stdout


def _load_postgres(url: str, dump: bytes) -> None:
    command = [f"{postgres_binaries()}/psql", "-q", "-v", "ON_ERROR_STOP=1", url]
    subprocess.run(command, check=True, capture_output=True, input=dump)
