"""SQLite's files, which hold sessions and hashes of passwords, for this user only."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

PRIVATE = 0o600


class PrivateConnection(sqlite3.Connection):
    """A connection whose database is a file that only its owner can read."""

    def __init__(self, database: str, *args: Any, **options: Any) -> None:
        if not database.startswith((":memory:", "file:")):
            _make_private(database)
        super().__init__(database, *args, **options)


def _make_private(database: str) -> None:
    # Created here, so that it is never readable; SQLite gives the other files the same mode. One
    # that exists must not be opened: closing it would end all locks of this process on it.
    # Where that fails, SQLite says why.
    with suppress(OSError):
        os.close(os.open(database, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE))
    for suffix in ("", "-wal", "-shm", "-journal"):
        path = Path(f"{database}{suffix}")
        # Of another owner, or deleted just now by the last connection that closed.
        with suppress(OSError):
            if path.stat().st_mode & 0o077:
                path.chmod(PRIVATE)
