"""Firefox by Marionette, its own protocol: Debian has no package of its driver."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from harness.services import Service, free_port

from .engine import Engine

EXECUTABLES: Final = ("firefox-esr", "firefox")


def executable() -> str | None:
    return next(filter(None, map(shutil.which, EXECUTABLES)), None)


def is_installed() -> bool:
    return bool(executable())


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
        self._receive()  # its greeting
        self.do("NewSession", capabilities={})

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def do(self, command: str, **parameters: Any) -> Any:
        message = json.dumps([0, next(self._ids), f"WebDriver:{command}", parameters]).encode()
        self._socket.sendall(b"%d:%b" % (len(message), message))
        _, _, error, result = self._receive()
        assert error is None, error
        return result["value"] if isinstance(result, dict) and "value" in result else result

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
        try:
            with closing(Firefox(process.port)) as engine:
                yield engine
        finally:
            process.kill()
