"""
No secret may leak, whatever visitors do and whatever fails.

Two servers, with a PostgreSQL and a Redis that need passwords, log as much as
possible; a third logs as in a deployment. All Redis commands are recorded.
"""

from __future__ import annotations

import email
import secrets
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
import redis

from harness.services import (
    PostgresServer,
    RedisServer,
    ServerName,
    SiteServer,
    free_port,
    manage,
    postgres_server,
    redis_server,
    site_server,
)
from tests.cluster.conftest import wait_until
from tests.cluster.deployed import Browser, Response, deploy

pytestmark = pytest.mark.verify(30)

ORDER, NEWS, NONSENSE = (f"{name}-{secrets.token_hex(8)}" for name in ("order", "news", "nonsense"))


SERVERS: tuple[ServerName, ...] = ("daphne", "uvicorn")
ACCOUNTS = "__import__('django').contrib.auth.get_user_model().objects.all()"
BROADCAST = {"audience": "everyone", "level": "info", "type": "news", "_send": "1"}


@dataclass
class Trial:
    """The secrets, and all outputs in which they must not appear."""

    secrets: dict[str, str] = field(default_factory=dict)
    logs: list[str] = field(default_factory=list)
    deployed_log: str = ""
    mails: str = ""
    redis: str = ""
    tables: str = ""
    error_pages: str = ""

    def keep(self, name: str, secret: str) -> str:
        """Remember a secret to search for."""
        self.secrets[secret] = name
        return secret

    def secrets_in(self, text: str) -> set[str]:
        return {name for secret, name in self.secrets.items() if secret in text}


class Deployment:
    def __init__(
        self, trial: Trial, directory: Path, postgres: PostgresServer, redis: RedisServer
    ) -> None:
        self.password = trial.keep("password of the services", secrets.token_urlsafe(16))
        self.account_password = trial.keep("password of the accounts", secrets.token_urlsafe(16))
        self.mails = directory / "mails"
        self.database = postgres.create_database("site")
        redis.set_password(self.password)
        env = {
            "DATABASE_URL": self.database.replace("@", f":{self.password}@", 1),
            "REDIS_URL": f"redis://:{self.password}@127.0.0.1:{redis.port}/0",
            "DJANGO_SECRET_KEY": trial.keep("secret key", secrets.token_urlsafe(64)),
            "MAILS": str(self.mails),
            "UVICORN_LOG_LEVEL": "trace",
        }
        self.env = deploy(directory, env)
        self.deployed_env = {**self.env, "UVICORN_LOG_LEVEL": "info"}
        self.env["DJANGO_SETTINGS_MODULE"] = "tests.cluster.talkative_settings"
        change = f"user.set_password({self.account_password!r}); user.save()"
        manage("shell", "-c", f"for user in {ACCOUNTS}: {change}", env=self.env)
        self.execute("UPDATE shop_order SET item = %s", ORDER)
        for (hash,) in self.execute("SELECT password FROM auth_user"):
            trial.keep("hash of a password", str(hash))

    def execute(self, statement: LiteralString, *values: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def order_of(self, name: str) -> int:
        """Return an unpaid order."""
        rows = self.execute(
            "SELECT min(o.id) FROM shop_order o JOIN auth_user u ON u.id = account_id "
            "WHERE username = %s AND paid_at IS NULL",
            name,
        )
        return int(rows[0][0])

    def tables(self) -> str:
        """Return the contents of the database, except sessions and accounts."""
        names = self.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' "
            "AND tablename NOT IN ('django_session', 'auth_user')"
        )
        with psycopg.connect(self.database) as connection:
            return "\n".join(
                repr(connection.execute(f"SELECT * FROM {name}").fetchall()) for (name,) in names
            )

    @contextmanager
    def without(self, table: str) -> Iterator[None]:
        self.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
        try:
            yield
        finally:
            self.execute(f"ALTER TABLE elsewhere RENAME TO {table}")


@contextmanager
def recording(server: RedisServer, password: str) -> Iterator[list[str]]:
    """Record every command that Redis receives."""
    commands: list[str] = []
    options = {"port": server.port, "password": password, "socket_timeout": None}
    with redis.Redis(**options) as client, client.monitor() as monitor:

        def listen() -> None:
            for command in monitor.listen():
                commands.append(command["command"])
                if commands[-1] == "ECHO end":
                    return

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield commands
        finally:
            client.echo("end")
            thread.join(10)


def mails_in(directory: Path) -> str:
    parts: list[str] = []
    for path in directory.iterdir():
        for text in path.read_text().split("-" * 79):
            message = email.message_from_string(text.lstrip("\n"))
            parts += [
                (part.get_payload(decode=True) or b"").decode()  # type: ignore[union-attr]
                for part in message.walk()
                if not part.is_multipart()
            ]
    return "\n".join(parts)


class Visit:
    """One visitor on one server, whose secrets are remembered."""

    def __init__(self, trial: Trial, site: Deployment, server: SiteServer, name: str) -> None:
        self.trial, self.server, self.name = trial, server, name
        self.browser = Browser(server.port)
        wrong = trial.keep(f"password that {name} mistyped", secrets.token_urlsafe(8))
        self.check(self.browser.submit("/login/", "/login/", username=name, password=wrong), 200)
        self.browser.log_in(name, site.account_password)
        self.check(self.browser.request("/"), 200)

    def get(self, path: str, status: int = 200) -> None:
        self.check(self.browser.request(path), status)

    def post(self, path: str, status: int, **fields: str) -> None:
        token = self.trial.keep(f"token of {self.name}", self.browser.token("/"))
        self.check(self.browser.request(path, {**fields, "csrfmiddlewaretoken": token}), status)

    def check(self, response: Response, status: int) -> None:
        assert response.status == status, response
        if status >= 400:
            self.trial.error_pages += response.text
        for name in ("sessionid", "csrftoken"):
            cookie = self.browser.cookies.get(name)
            if cookie and cookie.value:
                self.trial.keep(f"{name} of {self.name}", cookie.value)


def use(trial: Trial, site: Deployment, server: SiteServer, failing: bool = True) -> None:
    alice, operator = (Visit(trial, site, server, name) for name in ("alice", "operator"))
    with alice.browser.open_tab() as tab:
        tab.receive("heartbeat")
        alice.post(f"/orders/{site.order_of('alice')}/pay/", 302)
        assert ORDER in tab.receive("order_paid")["content"]["body"]
        news = f"{NEWS} {server.port}"  # a repeated broadcast would be refused
        operator.post("/admin/site_notifications/broadcast/add/", 302, body=news, **BROADCAST)
        assert tab.receive("news")["content"]["body"] == news
        trial.tables += site.tables()

        for nonsense in (NONSENSE, f'{{"type": "{NONSENSE}"}}', f'["{NONSENSE}"]'):
            tab.send(nonsense)
            assert tab.receive("error")
        if failing:
            fail(site, server, alice)
        alice.post("/logout/", 302)
        assert tab.receive("bye")["code"] == 4401


def fail(site: Deployment, server: SiteServer, alice: Visit) -> None:
    """Let pages, handshakes and the hub fail."""
    alice.get("/nowhere/", 404)
    alice.check(alice.browser.request("/notifications/mark/", {"as": NONSENSE}), 403)
    for table in ("shop_order", "django_session", "auth_user"):
        with site.without(table):
            alice.get("/", 500)
    pay, token = f"/orders/{site.order_of('alice')}/pay/", alice.browser.token("/")
    form = {"csrfmiddlewaretoken": alice.trial.keep("token of alice", token)}
    before = server.output().count("Database unavailable")
    with site.without("site_notifications_notification"):
        alice.check(alice.browser.request(pay, form), 500)
        alice.check(
            alice.browser.request("/notifications/mark/", {**form, "ids": "n1", "as": "read"}), 500
        )
        alice.get("/notifications/items/", 500)
        wait_until(lambda: server.output().count("Database unavailable") > before)
    with site.without("django_session"), alice.browser.open_tab() as tab:
        assert tab.receive("bye")["code"] == 4503


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    trial = Trial()
    directory = tmp_path_factory.mktemp("deployed")
    with postgres_server() as postgres, redis_server() as redis, ExitStack() as stack:
        site = Deployment(trial, directory, postgres, redis)
        servers = [
            stack.enter_context(site_server(free_port(), site.env, name)) for name in SERVERS
        ]
        with recording(redis, site.password) as commands:
            for server in servers:
                use(trial, site, server)
            with site_server(free_port(), site.deployed_env, "uvicorn") as deployed:
                use(trial, site, deployed, failing=False)
                trial.deployed_log = deployed.output()
            postgres.stop()
            for server in servers:
                trial.error_pages += Browser(server.port).request("/login/").text
                trial.error_pages += Browser(server.port).request("/readyz").text
            for server in servers:
                server.stop()
        trial.redis = "\n".join(commands)
        trial.logs = [server.output() for server in servers]
    trial.mails = mails_in(site.mails)
    return trial


def test_no_log_contains_a_secret_or_a_message(trial: Trial) -> None:
    for log in trial.logs:
        assert "Traceback" in log and "Database unavailable" in log and "DEBUG" in log
        assert trial.secrets_in(log) == set()
        assert [text for text in (ORDER, NEWS, NONSENSE) if text in log] == []


def test_a_deployed_servers_log_has_no_secret_and_no_client_input(trial: Trial) -> None:
    log = trial.deployed_log
    assert "WebSocket /ws/notifications/" in log and "POST /logout/" in log
    assert trial.secrets_in(log) == set()
    unwanted = (ORDER, NEWS, NONSENSE, "Cookie", "Sec-WebSocket-Key", "heartbeat", "DEBUG")
    assert [text for text in unwanted if text.lower() in log.lower()] == []


def test_no_error_page_contains_a_secret(trial: Trial) -> None:
    assert "Something went wrong" in trial.error_pages
    assert trial.secrets_in(trial.error_pages) == set()
    assert ORDER not in trial.error_pages


def test_redis_receives_messages_but_no_secret(trial: Trial) -> None:
    assert ORDER in trial.redis and NEWS in trial.redis
    assert trial.secrets_in(trial.redis) == set()


def test_no_other_table_contains_a_secret(trial: Trial) -> None:
    assert ORDER in trial.tables
    assert trial.secrets_in(trial.tables) == set()


def test_no_error_report_contains_a_secret(trial: Trial) -> None:
    assert "Request Method" in trial.mails
    assert trial.secrets_in(trial.mails) == set()
