"""WebKit in its GTK port: MiniBrowser on a display of its own, by W3C WebDriver."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.services import Service, free_port

from .engine import Engine

DRIVER: Final = "WebKitWebDriver"
DISPLAY: Final = "Xvfb"


def mini_browser() -> Path | None:
    return next(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"), None)


def is_installed() -> bool:
    return bool(mini_browser() and shutil.which(DRIVER) and shutil.which(DISPLAY))


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
        session = self._do("POST", "/session", capabilities=capabilities)
        self._url = f"{url}/session/{session['sessionId']}"

    def close(self) -> None:
        self._do("DELETE", "")

    def visit(self, url: str) -> None:
        self._do("POST", "/url", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        return self._do("POST", "/execute/sync", script=script, args=arguments)

    def click(self, selector: str) -> None:
        self._do("POST", f"/element/{self._find(selector)}/click")

    def act(self, actions: list[dict[str, Any]]) -> None:
        self._do("POST", "/actions", actions=actions)

    def write(self, selector: str, text: str) -> None:
        self._do("POST", f"/element/{self._find(selector)}/value", text=text)

    def open_tab(self) -> str:
        tab = str(self._do("POST", "/window/new", type="tab")["handle"])
        self.show(tab)
        return tab

    def show(self, tab: str) -> None:
        self._do("POST", "/window", handle=tab)

    def close_tab(self) -> None:
        self._do("DELETE", "/window")

    @property
    def tabs(self) -> list[str]:
        tabs: list[str] = self._do("GET", "/window/handles")
        return tabs

    def delete_cookies(self) -> None:
        self._do("DELETE", "/cookie")

    def _find(self, selector: str) -> str:
        (element,) = self._do("POST", "/element", using="css selector", value=selector).values()
        return str(element)

    def _do(self, method: str, path: str, **parameters: Any) -> Any:
        body = json.dumps(parameters).encode() if method == "POST" else None
        try:
            with urlopen(Request(self._url + path, body, method=method), timeout=60) as answer:
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
        engine = WebKit(driver.url)
        try:
            yield engine
        finally:
            engine.close()
            driver.kill()


@contextmanager
def display() -> Iterator[str]:
    command = [DISPLAY, "-displayfd", "1", "-screen", "0", "1280x900x24", "-nolisten", "tcp"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout
        yield f":{server.stdout.readline().strip()}"
        server.terminate()
