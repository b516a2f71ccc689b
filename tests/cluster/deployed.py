"""The demo site with production settings, and a browser behind its proxy."""

from __future__ import annotations

import http.client
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from urllib.parse import urlencode

from websockets.sync.client import connect

from harness.demo_data import PRIVATE_PASSWORD, make_demo_data
from harness.services import manage
from harness.session import SOCKET_PATH
from harness.visitor import TIMEOUT_SECONDS, OpenTab

FORM = "application/x-www-form-urlencoded"


def deploy(directory: Path, env: dict[str, str]) -> dict[str, str]:
    """Prepare the site as an operator would, with the demo's accounts; return its environment."""
    make_demo_data(env, PRIVATE_PASSWORD)  # while debugging, which the command requires
    env = {
        "DJANGO_SETTINGS_MODULE": "tests.cluster.production_settings",
        "DJANGO_DEBUG": "0",
        "DJANGO_SECRET_KEY": secrets.token_urlsafe(64),
        "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
        "STATIC_ROOT": str(directory / "static"),
        **env,
    }
    manage("collectstatic", "--noinput", "-v", "0", "--ignore", "admin", env=env)
    return env


class Response:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()

    def __str__(self) -> str:
        return f"{self.headers}\n{self.text}"


class Browser:
    """A browser behind the proxy that terminates TLS. Keeps cookies, follows no redirects."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, Morsel[str]] = {}

    def request(
        self,
        path: str,
        form: dict[str, str] | None = None,
        host: str = "127.0.0.1",
        scheme: str = "https",
    ) -> Response:
        if form is None:
            return self.send("GET", path, host=host, scheme=scheme)
        return self.send("POST", path, urlencode(form).encode(), FORM, host, scheme)

    def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        content_type: str | None = None,
        host: str = "127.0.0.1",
        scheme: str = "https",
    ) -> Response:
        headers = self._headers(host, scheme)
        if content_type:
            headers["Content-Type"] = content_type
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        connection.request(method, path, body, headers)
        response = Response(connection.getresponse())
        connection.close()
        for header in response.headers.get_all("Set-Cookie") or []:
            self.cookies.update(SimpleCookie(header))
        return response

    def token(self, page: str) -> str:
        """Return the CSRF token of a form on the page."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.request(page).text)
        assert token
        return token[1]

    def submit(self, page: str, action: str, **fields: str) -> Response:
        """Submit a form of the page."""
        return self.request(action, {**fields, "csrfmiddlewaretoken": self.token(page)})

    def log_in(self, name: str, password: str = PRIVATE_PASSWORD) -> Browser:
        assert self.submit("/login/", "/login/", username=name, password=password).status == 302
        return self

    @contextmanager
    def open_tab(self) -> Iterator[OpenTab]:
        host = f"127.0.0.1:{self.port}"
        headers = self._headers(host, "https")
        origin = f"https://{headers.pop('Host')}"
        with connect(
            f"ws://{host}{SOCKET_PATH}",
            origin=origin,
            additional_headers=headers,
            compression=None,
            ping_interval=None,
        ) as connection:
            yield OpenTab(connection)

    def _headers(self, host: str, scheme: str) -> dict[str, str]:
        return {
            "Host": host,
            "X-Forwarded-Proto": scheme,
            "Referer": f"https://{host}/",
            "Cookie": "; ".join(f"{name}={each.value}" for name, each in self.cookies.items()),
        }
