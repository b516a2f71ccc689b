"""The files of the demo's SQLite database."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from notify_site.sqlite import PrivateConnection


def modes(directory: Path) -> dict[str, str]:
    return {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in directory.iterdir()}


def connect(database: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(str(database), factory=PrivateConnection)
    connection.execute("PRAGMA journal_mode=WAL")
    return connection


@pytest.mark.parametrize("is_old", [False, True])
def test_only_the_owner_can_read_them(tmp_path: Path, is_old: bool) -> None:
    database = tmp_path / "site"
    if is_old:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("CREATE TABLE before (id)")
        database.chmod(0o644)

    with closing(connect(database)) as connection:
        connection.execute("CREATE TABLE item (id)")
        assert modes(tmp_path) == dict.fromkeys(("site", "site-wal", "site-shm"), "0o600")


LOCKED = """
import fcntl, sys
with open(sys.argv[1], "r+") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("locked")
"""


def test_another_connection_keeps_the_locks_of_the_process(tmp_path: Path) -> None:
    """They are the process's: closing any file descriptor of the file ends all of them."""
    database = tmp_path / "site"
    connect(database).close()
    descriptor = os.open(database, os.O_RDWR)
    fcntl.lockf(descriptor, fcntl.LOCK_EX)

    connection = PrivateConnection(str(database))

    command = [sys.executable, "-c", LOCKED, str(database)]
    assert subprocess.check_output(command, text=True) == "locked\n"
    connection.close()
    os.close(descriptor)


def test_databases_in_memory_have_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    for name in (":memory:", "file:site?mode=memory&cache=shared"):
        sqlite3.connect(name, uri=True, factory=PrivateConnection).close()

    assert modes(tmp_path) == {}


def test_what_sqlite_cannot_open_is_its_own_error(tmp_path: Path) -> None:
    for database in (tmp_path / "missing" / "site", tmp_path):
        with pytest.raises(sqlite3.OperationalError, match="unable to open database file"):
            connect(database)


def test_a_file_whose_mode_cannot_be_changed_is_left_to_sqlite() -> None:
    """As one of another owner. This one is the kernel's, which no user may change."""
    database = "/proc/self/comm"
    with pytest.raises(PermissionError):
        Path(database).chmod(0o600)

    PrivateConnection(database).close()
