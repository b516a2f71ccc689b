"""Firefox by Marionette, its own protocol: no driver of it is packaged for Debian."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tests.services import Service, free_port

from .engine import Engine

EXECUTABLES: Final = ("firefox-esr", "firefox")


def executable() -> str | None:
    return next(filter(None, map(shutil.which, EXECUTABLES)), None)


class FirefoxProcess(Service):
    def __init__(self, directory: Path, port: int) -> None:
        self.port = port
        profile = directory / "profile"
        profile.mkdir()
        (profile / "user.js").write_text(f'user_pref("marionette.port", {port});\n')
        path = executable()
        assert path, "no Firefox: python -m tests.engines.ensure"
        command = [path, "--marionette", "--headless", "--no-remote", "--profile", profile]
        super().__init__(command, directory, env={**os.environ, "HOME": str(directory)})

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=5):
            return True


class Firefox(Engine):
    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._file = self._socket.makefile("rb")
        self._ids = itertools.count(1)
        self._receive()  # who it is
        self._do("NewSession", capabilities={})

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def visit(self, url: str) -> None:
        self._do("Navigate", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        return self._do("ExecuteScript", script=script, args=arguments)["value"]

    def click(self, selector: str) -> None:
        self._do("ElementClick", id=self._find(selector))

    def act(self, actions: list[dict[str, Any]]) -> None:
        self._do("PerformActions", actions=actions)

    def write(self, selector: str, text: str) -> None:
        self._do("ElementSendKeys", id=self._find(selector), text=text)

    def open_tab(self) -> str:
        tab = str(self._do("NewWindow", type="tab", focus=True)["handle"])
        self.show(tab)
        return tab

    def show(self, tab: str) -> None:
        self._do("SwitchToWindow", handle=tab, focus=True)

    def close_tab(self) -> None:
        self._do("CloseWindow")

    @property
    def tabs(self) -> list[str]:
        tabs: list[str] = self._do("GetWindowHandles")
        return tabs

    def delete_cookies(self) -> None:
        self._do("DeleteAllCookies")

    def _find(self, selector: str) -> str:
        found = self._do("FindElement", using="css selector", value=selector)["value"]
        (element,) = found.values()
        return str(element)

    def _do(self, command: str, **parameters: Any) -> Any:
        message = json.dumps([0, next(self._ids), f"WebDriver:{command}", parameters]).encode()
        self._socket.sendall(b"%d:%b" % (len(message), message))
        _, _, error, result = self._receive()
        assert error is None, error
        return result

    def _receive(self) -> Any:
        length = b""
        while (character := self._file.read(1)) != b":":
            length += character
        return json.loads(self._file.read(int(length)))


@contextmanager
def firefox() -> Iterator[Engine]:
    with TemporaryDirectory(prefix="firefox-", ignore_cleanup_errors=True) as directory:
        process = FirefoxProcess(Path(directory), free_port())
        process.start()
        engine = Firefox(process.port)
        try:
            yield engine
        finally:
            engine.close()
            process.kill()
