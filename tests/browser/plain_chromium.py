"""
A Chromium without Playwright, for pages that are hidden, frozen, or in the back/forward cache.

Playwright makes every page visible, and switches the back/forward cache off.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from harness.services import chromium_executable
from harness.visitor import Visitor

from .client import CLIENT

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--remote-debugging-port=0",
]


class PlainChromium:
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)

    def send(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        self._connection.send(json.dumps(message))
        while True:
            answer = json.loads(self._connection.recv(timeout=30))
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                return dict(answer["result"])

    def adopt(self, visitor: Visitor) -> None:
        """Log in with this visitor's session."""
        cookies = [
            {"name": cookie.name, "value": cookie.value, "domain": "127.0.0.1", "path": "/"}
            for cookie in visitor.cookies
        ]
        self.send("Storage.setCookies", cookies=cookies)

    def open(self, url: str) -> PlainTab:
        """Open a tab in front of the others."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = PlainTab(self, target, session)
        tab.go(url)
        return tab


class PlainTab:
    def __init__(self, browser: PlainChromium, target: str, session: str) -> None:
        self.browser = browser
        self.target = target
        self.session = session

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.send(method, self.session, **params)

    def go(self, url: str) -> None:
        self.send("Page.navigate", url=url)
        self.wait_for(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def show(self) -> None:
        self.browser.send("Target.activateTarget", targetId=self.target)
        self.wait_for("document.visibilityState === 'visible'")

    def evaluate(self, expression: str) -> Any:
        answer = self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, condition: str, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not self.evaluate(condition):
            assert time.monotonic() < deadline, f"{condition} did not come"
            time.sleep(0.05)

    def wait_for_status(self, status: str) -> None:
        self.wait_for(f"{CLIENT}?.status === '{status}'")

    @property
    def unread(self) -> int:
        return int(self.evaluate(f"{CLIENT}.unread.total"))

    @property
    def toasts(self) -> list[str]:
        """The texts of the toasts in this tab."""
        return list(
            self.evaluate(
                """[...document.querySelectorAll("notifications-toasts [data-part=toast]")]
                  .map((toast) => toast.querySelector("[data-slot=body]").textContent)"""
            )
        )


@contextmanager
def plain_chromium(directory: Path) -> Iterator[PlainChromium]:
    process = subprocess.Popen(
        [chromium_executable(), *FLAGS, f"--user-data-dir={directory}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr
        addresses = (
            re.search(r"DevTools listening on (ws://\S+)", line) for line in process.stderr
        )
        address = next(found[1] for found in addresses if found)
        with connect(address, max_size=None) as connection:
            yield PlainChromium(connection)
            connection.send('{"id": 0, "method": "Browser.close"}')
            process.wait(20)
    finally:
        process.kill()
        process.communicate()
