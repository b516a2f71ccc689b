"""Processes of one release of the app, with the small site in `site/`."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.accounts import session_key
from harness.services import ROOT, SiteServer, free_port, running, site_environment
from harness.session import send_request
from harness.visitor import TIMEOUT_SECONDS
from tests.releases import ENVELOPES_SCRIPT, RECORDED, SITE

SETTINGS = {"DJANGO_SETTINGS_MODULE": "release_site"}


@dataclass(frozen=True)
class Release:
    directory: Path  # has the package `notifications`
    envelopes_script: Path = SITE / ENVELOPES_SCRIPT

    def environment(self, services: Mapping[str, str]) -> dict[str, str]:
        return {**SETTINGS, "PYTHONPATH": f"{self.directory}:{SITE}", **services}

    def run(self, services: Mapping[str, str], *arguments: str, text: str = "") -> str:
        """Run Python with these arguments and `text` as its input; return what it prints."""
        result = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.directory,
            env=site_environment(self.environment(services)),
            input=text,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    def act(self, services: Mapping[str, str], action: str, *arguments: str) -> None:
        """Run one of release_actions.py in a process of this release."""
        self.run(services, str(SITE / "release_actions.py"), action, *arguments)

    def envelopes(self, action: str, text: str = "") -> str:
        """Run release_envelopes.py, which needs no services, in a process of this release."""
        services = {"DATABASE_URL": "sqlite://:memory:"}
        return self.run(services, str(self.envelopes_script), action, text=text)

    def manage(self, services: Mapping[str, str], *arguments: str) -> str:
        return self.run(services, "-m", "django", *arguments)

    @contextmanager
    def inboxes(self, services: Mapping[str, str]) -> Iterator[Inboxes]:
        with self.server(services) as server:
            yield Inboxes(server.port)

    @contextmanager
    def server(self, services: Mapping[str, str]) -> Iterator[SiteServer]:
        def build(directory: Path) -> SiteServer:
            server = SiteServer(
                directory,
                free_port(),
                self.environment(services),
                "daphne",
                application="release_asgi",
            )
            server.cwd = self.directory
            return server

        with running(build) as server:
            yield server


@dataclass(frozen=True)
class Inboxes:
    """The accounts' inboxes over HTTP."""

    port: int

    def items(self, account: int) -> Any:
        return self.request("GET", account, "items/?limit=100")

    def mark(self, account: int, **content: Any) -> Any:
        return self.request("POST", account, "mark/", content)

    def request(self, method: str, account: int, path: str, content: Any = None) -> Any:
        status, body = send_request(
            self.port,
            session_key(account),
            method,
            f"/notifications/{path}",
            content,
            timeout=TIMEOUT_SECONDS,
        )
        assert status == 200, body
        return json.loads(body)


CURRENT = Release(ROOT)


def unpacked(directory: Path) -> Release:
    """Unpack the previous release's wheel."""
    (wheel,) = RECORDED.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    return Release(directory, RECORDED / ENVELOPES_SCRIPT)
