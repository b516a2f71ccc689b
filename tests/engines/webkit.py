"""WebKit in its GTK port: MiniBrowser on its own display, by W3C WebDriver."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from harness.services import Service, free_port

from .engine import Engine

DRIVER: Final = "WebKitWebDriver"
DISPLAY: Final = "Xvfb"
REQUESTS: Final = {
    "NewSession": ("POST", "/session"),
    "DeleteSession": ("DELETE", ""),
    "Navigate": ("POST", "/url"),
    "ExecuteScript": ("POST", "/execute/sync"),
    "FindElement": ("POST", "/element"),
    "ElementClick": ("POST", "/element/{id}/click"),
    "ElementSendKeys": ("POST", "/element/{id}/value"),
    "NewWindow": ("POST", "/window/new"),
    "SwitchToWindow": ("POST", "/window"),
    "CloseWindow": ("DELETE", "/window"),
    "GetWindowHandles": ("GET", "/window/handles"),
    "DeleteAllCookies": ("DELETE", "/cookie"),
}


def mini_browser() -> Path | None:
    return next(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"), None)


def is_installed() -> bool:
    return bool(mini_browser() and shutil.which(DRIVER))


def has_display() -> bool:
    return bool(shutil.which(DISPLAY))


class Driver(Service):
    def __init__(self, directory: Path, port: int, display: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        environment = {**os.environ, "DISPLAY": display, "HOME": str(directory)}
        super().__init__([DRIVER, f"--port={port}"], directory, env=environment)

    def answers(self) -> bool:
        with urlopen(f"{self.url}/status", timeout=5) as answer:
            return bool(json.load(answer)["value"]["ready"])


class WebKit(Engine):
    def __init__(self, url: str) -> None:
        browser = mini_browser()
        assert browser, "no WebKit: python -m tests.engines.ensure"
        options = {"binary": str(browser), "args": ["--automation"]}
        capabilities = {"alwaysMatch": {"webkitgtk:browserOptions": options}}
        self._url = url
        session = self.do("NewSession", capabilities=capabilities)
        self._url = f"{url}/session/{session['sessionId']}"

    def close(self) -> None:
        self.do("DeleteSession")

    def do(self, command: str, **parameters: Any) -> Any:
        method, path = REQUESTS[command]
        url = self._url + path.format_map(parameters)
        body = json.dumps(parameters).encode() if method == "POST" else None
        try:
            with urlopen(Request(url, body, method=method), timeout=60) as answer:
                return json.load(answer)["value"]
        except HTTPError as error:
            raise AssertionError(error.read().decode()) from None


@contextmanager
def webkit() -> Iterator[Engine]:
    with (
        display() as name,
        TemporaryDirectory(prefix="webkit-", ignore_cleanup_errors=True) as directory,
    ):
        driver = Driver(Path(directory), free_port(), name)
        driver.start()
        try:
            with closing(WebKit(driver.url)) as engine:
                yield engine
        finally:
            driver.kill()


@contextmanager
def display() -> Iterator[str]:
    command = [DISPLAY, "-displayfd", "1", "-screen", "0", "1280x900x24", "-nolisten", "tcp"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout
        try:
            yield f":{server.stdout.readline().strip()}"
        finally:
            server.terminate()
