"""The demo site in production mode: debugging off, static files collected."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.demo_data import PRIVATE_PASSWORD, make_demo_data
from harness.services import SiteServer, free_port, manage, site_server


class Deployment:
    """One server process; `upgrade` collects the files in `changed` and restarts it."""

    def __init__(self, directory: Path, database_url: str, **env: str) -> None:
        self.changed = directory / "changed"
        self.changed.mkdir()
        self.env = {
            "DJANGO_SETTINGS_MODULE": "harness.deployment_settings",
            "DJANGO_DEBUG": "0",
            "DJANGO_SECRET_KEY": secrets.token_urlsafe(64),
            "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
            "DATABASE_URL": database_url,
            "STATIC_ROOT": str(directory / "staticfiles"),
            "STATIC_CHANGED": str(self.changed),
            **env,
        }
        make_demo_data({**self.env, "DJANGO_DEBUG": "1"}, PRIVATE_PASSWORD)
        self._collect()

    def _collect(self) -> None:
        manage("collectstatic", "--noinput", "-v", "0", "--ignore", "admin", env=self.env)

    @contextmanager
    def running(self) -> Iterator[SiteServer]:
        with site_server(free_port(), self.env) as server:
            self.server = server
            yield server

    def upgrade(self) -> None:
        self._collect()
        self.server.stop()
        self.server.start()
