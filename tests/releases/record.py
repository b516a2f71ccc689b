"""
Record this version, as the previous release of the next one: `python -m tests.releases.record`.

A version is recorded once, when it is cut: its wheel, an envelope of each type, and a
database of each kind with a little of everything in it, with the items of the inboxes as this
version shows them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness.services import ROOT, postgres_server
from tests.releases import ENVELOPES, HERE, ITEMS, POSTGRESQL, SQLITE
from tests.releases.databases import dump_postgresql, dump_sqlite
from tests.releases.release import CURRENT

ACCOUNTS = (1, 2, 3)


def main() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    directory = HERE / version
    directory.mkdir()  # never twice
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", directory, ROOT],
        check=True,
    )
    shutil.copy(CURRENT.envelopes_script, directory)
    envelopes = json.loads(CURRENT.envelopes("dump"))
    envelopes["contents"] = json.loads(CURRENT.envelopes("parse", json.dumps(envelopes)))
    write(directory / ENVELOPES, envelopes)
    items = {}
    with TemporaryDirectory() as temporary, postgres_server() as postgres:
        path = Path(temporary) / "db.sqlite3"
        items[SQLITE] = fill(f"sqlite:///{path}")
        (directory / SQLITE).write_text(dump_sqlite(path))
        url = postgres.create_database("recorded")
        items[POSTGRESQL] = fill(url)
        (directory / POSTGRESQL).write_text(dump_postgresql(url))
    write(directory / ITEMS, items)


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def fill(url: str) -> list[Any]:
    """Fill an empty database; return the answers of `items/` for each account."""
    services = {"DATABASE_URL": url}
    CURRENT.manage(services, "migrate", "-v", "0")
    CURRENT.run(services, str(ROOT / "harness/accounts.py"), str(len(ACCOUNTS)))
    CURRENT.act(services, "notify", "1", "One, with a link and meta data")
    CURRENT.act(services, "notify", "1", "\u4e00, to be read")
    CURRENT.act(services, "notify", "1", "One, to be archived")
    CURRENT.act(services, "notify_many", "To all three")
    CURRENT.act(services, "notify_many", "Taken back")
    CURRENT.act(services, "replace", "2", "Replaced")
    CURRENT.act(services, "replace", "2", "The latest")
    CURRENT.act(services, "tell_all", "A broadcast")
    CURRENT.act(services, "tell_all", "A broadcast, to be read by account 3")
    CURRENT.act(services, "tell_all", "A broadcast, taken back")
    CURRENT.act(services, "take_back", "Taken back")
    CURRENT.act(services, "take_back", "A broadcast, taken back")
    with CURRENT.inboxes(services) as inboxes:
        ids = {
            item["content"]["body"]: item["id"]
            for account in ACCOUNTS
            for item in inboxes.items(account)["items"]
        }
        inboxes.mark(1, ids=[ids["\u4e00, to be read"]], **{"as": "read"})
        inboxes.mark(1, ids=[ids["One, to be archived"]], **{"as": "archived"})
        inboxes.mark(3, ids=[ids["A broadcast, to be read by account 3"]], **{"as": "read"})
        return [inboxes.items(account) for account in ACCOUNTS]


if __name__ == "__main__":
    main()
