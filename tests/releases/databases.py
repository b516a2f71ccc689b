"""Databases as text: written when a release is recorded, and read back to be migrated."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from harness.services import postgres_binaries


def dump_sqlite(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump()) + "\n"


def load_sqlite(path: Path, dumped: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(dumped)


def dump_postgresql(url: str) -> str:
    command = [postgres_binaries() / "pg_dump", "--no-owner", "--inserts", url]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def load_postgresql(url: str, dumped: str) -> None:
    command = [postgres_binaries() / "psql", "--quiet", "--set=ON_ERROR_STOP=1", url]
    subprocess.run(command, check=True, input=dumped, capture_output=True, text=True)
