"""What the tests need of any browser."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

TIMEOUT: Final = 15  # seconds
TEXTS: Final = """
return [...document.querySelectorAll(arguments[0])].map(({ textContent }) => textContent.trim())
"""
# WebKit needs one frame more than the others to notice that an element of `content-visibility:
# auto` has come into view. Until then its driver refuses to click it.
IS_DRAWN: Final = """
return document.querySelector(arguments[0])?.checkVisibility({ contentVisibilityAuto: true })
"""
STATUS: Final = "return document.querySelector('notifications-bell')?.dataset.status"


def wait_until(condition: Callable[[], bool], seconds: float = TIMEOUT) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


class Engine(ABC):
    """A browser that is driven by the commands of W3C WebDriver, in one tab at a time."""

    @abstractmethod
    def do(self, command: str, **parameters: Any) -> Any:
        """Perform a command of the standard; return its value."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection to the driver."""

    def visit(self, url: str) -> None:
        self.do("Navigate", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run the body of a function in the page; return its result."""
        return self.do("ExecuteScript", script=script, args=arguments)

    def click(self, selector: str) -> None:
        """Click an element once it is drawn. Fails where another element covers it."""
        wait_until(lambda: bool(self.run(IS_DRAWN, selector)))
        self.do("ElementClick", id=self._find(selector))

    def write(self, selector: str, text: str) -> None:
        self.do("ElementSendKeys", id=self._find(selector), text=text)

    def _find(self, selector: str) -> str:
        (element,) = self.do("FindElement", using="css selector", value=selector).values()
        return str(element)

    def open_tab(self) -> str:
        """Open another tab in front, and continue in it."""
        tab = str(self.do("NewWindow", type="tab")["handle"])
        self.show(tab)
        return tab

    def show(self, tab: str) -> None:
        """Bring a tab to the front, and continue in it."""
        self.do("SwitchToWindow", handle=tab)

    def close_tab(self) -> None:
        """Close the tab; `show` another one next."""
        self.do("CloseWindow")

    @property
    def tabs(self) -> list[str]:
        return list(self.do("GetWindowHandles"))

    def forget(self) -> None:
        """Reset the browser: one tab, no cookies."""
        last, *others = self.tabs
        for tab in others:
            self.show(tab)
            self.close_tab()
        self.show(last)
        self.do("DeleteAllCookies")  # of the page's site
        self.visit("about:blank")

    def expect_texts(self, selector: str, *texts: str) -> None:
        """Wait until the elements that the selector finds have these texts."""
        with suppress(AssertionError):
            wait_until(lambda: bool(self.run(TEXTS, selector) == list(texts)))
        assert self.run(TEXTS, selector) == list(texts)

    def expect_online(self) -> None:
        wait_until(lambda: bool(self.run(STATUS) == "online"))
