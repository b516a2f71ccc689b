"""The previous release's databases, migrated: a new one's schema, and all that was there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from harness.services import PostgresServer, free_port
from tests.releases import ITEMS, POSTGRESQL, RECORDED, SQLITE
from tests.releases.databases import (
    dump_postgresql,
    dump_sqlite,
    load_postgresql,
    load_sqlite,
)
from tests.releases.release import CURRENT


class SQLite:
    dumped = SQLITE

    def __init__(self, path: Path) -> None:
        self.path = path
        self.services = {"DATABASE_URL": f"sqlite:///{path}"}

    def load(self) -> None:
        load_sqlite(self.path, (RECORDED / SQLITE).read_text())

    def schema(self) -> list[str]:
        return sorted(re.findall(r"^CREATE [^;]*", dump_sqlite(self.path), re.MULTILINE))


class PostgreSQL:
    dumped = POSTGRESQL

    def __init__(self, server: PostgresServer) -> None:
        url = server.create_database(f"upgrade{free_port()}")
        self.services = {"DATABASE_URL": url}
        self.url = url

    def load(self) -> None:
        load_postgresql(self.url, (RECORDED / POSTGRESQL).read_text())

    def schema(self) -> list[str]:
        return sorted(
            re.findall(r"^(?:ALTER|CREATE) [^;]*", dump_postgresql(self.url), re.MULTILINE)
        )


MakeDatabase = Callable[[], SQLite | PostgreSQL]


@pytest.fixture(params=["sqlite", "postgresql"])
def make_database(request: pytest.FixtureRequest, tmp_path: Path) -> MakeDatabase:
    def make() -> SQLite | PostgreSQL:
        if request.param == "sqlite":
            return SQLite(tmp_path / f"{free_port()}.sqlite3")
        return PostgreSQL(request.getfixturevalue("postgres"))

    return make


def test_a_migrated_database_has_the_schema_of_a_new_one(make_database: MakeDatabase) -> None:
    migrated, new = make_database(), make_database()
    migrated.load()
    for database in (migrated, new):
        CURRENT.manage(database.services, "migrate", "-v", "0")

    assert migrated.schema() == new.schema()


def test_a_migrated_database_shows_all_that_was_in_the_inboxes(make_database: MakeDatabase) -> None:
    database = make_database()
    database.load()
    CURRENT.manage(database.services, "migrate", "-v", "0")
    CURRENT.act(database.services, "renew_sessions")
    before = json.loads((RECORDED / ITEMS).read_text())[database.dumped]

    with CURRENT.inboxes(database.services) as inboxes:
        for account, old in enumerate(before, start=1):
            new = inboxes.items(account)
            # A later release may add keys.
            for then, now in zip(old["items"], new["items"], strict=True):
                assert {name: now[name] for name in then} == then
            for name in ("seq", "broadcast_seq", "epoch", "unread", "unread_broadcasts"):
                assert new[name] == old[name]

        # The inbox goes on: numbers, marks and broadcasts.
        CURRENT.act(database.services, "notify", "1", "After the upgrade")
        CURRENT.act(database.services, "tell_all", "After the upgrade, to all")
        newest = inboxes.items(1)["items"][:2]
        assert {item["content"]["body"] for item in newest} == {
            "After the upgrade",
            "After the upgrade, to all",
        }
        marked = inboxes.mark(1, ids=[item["id"] for item in newest], **{"as": "read"})
        assert marked["unread"] == before[0]["unread"]


@pytest.mark.parametrize("make_database", ["postgresql"], indirect=True)
def test_an_interrupted_swap_of_an_index_is_repeated(make_database: MakeDatabase) -> None:
    database = make_database()
    database.load()
    CURRENT.manage(database.services, "migrate", "-v", "0")
    schema = database.schema()
    forget = "DELETE FROM django_migrations WHERE name = '0005_once_per_life'"
    # What is left of building an index concurrently if that is interrupted.
    invalidate = (
        "UPDATE pg_index SET indisvalid = false "
        "WHERE indexrelid = 'site_notif_once_per_life'::regclass"
    )
    assert isinstance(database, PostgreSQL)
    with psycopg.connect(database.url, autocommit=True) as connection:
        for interrupted in (forget, f"{forget}; {invalidate}"):
            connection.execute(interrupted)

            CURRENT.manage(database.services, "migrate", "-v", "0")

            assert database.schema() == schema
            invalid = connection.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid")
            assert invalid.fetchone() == (0,)
