"""The demo site in real server processes, with ways to run code in them or beside them."""

from __future__ import annotations

import http.client
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.demo_data import make_demo_data
from harness.services import SiteServer, free_port, manage, site_server

SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.browser.settings"}
KEY = "TESTS_KEY"
SHELL = """
from django.contrib.auth import get_user_model
from notifications import broadcast, notify_accounts
from notifications.models import Broadcast, Notification
from notifications.lifecycle import numbering
alice, bob, carol = (get_user_model().objects.get(username=n) for n in ("alice", "bob", "carol"))
"""


class Site:
    """The demo site in one or more server processes."""

    def __init__(self, env: dict[str, str], *servers: SiteServer) -> None:
        self.env = env
        self.servers = servers

    @property
    def server(self) -> SiteServer:
        return self.servers[0]

    @property
    def url(self) -> str:
        return self.server.url

    def shell(self, code: str) -> str:
        """Run code in the (first) server's process; return what it prints."""
        return self._run(f"{SHELL}{code}")

    def shell_beside(self, code: str) -> str:
        """Run code in another process: `manage.py shell` beside the server, or without it."""
        return manage("shell", "--no-imports", "-c", f"{SHELL}{code}", env=self.env)

    def begin_anew(self) -> None:
        """Reset the site: new accounts, and nothing else."""
        self._run("from tests.browser.inside import begin_anew; begin_anew()")

    def log_in(self, name: str) -> str:
        """Log an account in without the form; return its session's key."""
        return self._run(
            f"from tests.browser.inside import log_in; print(log_in({name!r}))"
        ).strip()

    def _run(self, code: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=120)
        try:
            connection.request("POST", "/tests/run/", code.encode(), {"X-Tests-Key": self.env[KEY]})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{code} failed:\n{text}")
        return text


def settings_of(database_url: str, **more: str) -> dict[str, str]:
    """Return the environment of a site that runs code of the tests."""
    return {**SETTINGS, "DATABASE_URL": database_url, KEY: secrets.token_urlsafe(), **more}


@contextmanager
def running_site(directory: Path, **more: str) -> Iterator[Site]:
    """One process, SQLite and the in-memory layer: what `make run` starts."""
    env = settings_of(f"sqlite:///{directory}/site.sqlite3", **more)
    make_demo_data(env)
    with site_server(free_port(), env) as server:
        yield Site(env, server)
