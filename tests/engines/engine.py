"""What the tests ask of a browser, whichever it is."""

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
MIDDLE: Final = """
const { left, top, width, height } = document.querySelector(arguments[0]).getBoundingClientRect()
return [left + width / 2, top + height / 2]
"""
STATUS: Final = "return document.querySelector('notifications-bell')?.dataset.status"


def wait_until(condition: Callable[[], bool], seconds: float = TIMEOUT) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


class Engine(ABC):
    """A browser, driven in one of its tabs at a time by the commands of W3C WebDriver."""

    @abstractmethod
    def visit(self, url: str) -> None: ...

    @abstractmethod
    def run(self, script: str, *arguments: Any) -> Any:
        """Run the body of a function in the page; return what it returns."""

    @abstractmethod
    def click(self, selector: str) -> None:
        """Click as a person does: it fails where something else lies above."""

    @abstractmethod
    def act(self, actions: list[dict[str, Any]]) -> None:
        """Perform what pointers and keys are to do."""

    def click_in_the_middle(self, selector: str) -> None:
        """Click there, whatever lies there."""
        x, y = self.run(MIDDLE, selector)
        moves = [
            {"type": "pointerMove", "x": round(x), "y": round(y)},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        self.act([{"type": "pointer", "id": "mouse", "actions": moves}])

    @abstractmethod
    def write(self, selector: str, text: str) -> None: ...

    @abstractmethod
    def open_tab(self) -> str:
        """Open another tab, in front, and go on in it."""

    @abstractmethod
    def show(self, tab: str) -> None:
        """Bring a tab to the front, and go on in it."""

    @abstractmethod
    def close_tab(self) -> None:
        """Close the tab; `show` another one next."""

    @property
    @abstractmethod
    def tabs(self) -> list[str]: ...

    @abstractmethod
    def delete_cookies(self) -> None:
        """Delete those of the page's site."""

    def forget(self) -> None:
        """Be a fresh browser as far as the site can tell, with one tab."""
        last, *others = self.tabs
        for tab in others:
            self.show(tab)
            self.close_tab()
        self.show(last)
        self.delete_cookies()
        self.visit("about:blank")

    def expect_texts(self, selector: str, *texts: str) -> None:
        """Wait until these are the texts of what the selector finds."""
        with suppress(AssertionError):
            wait_until(lambda: bool(self.run(TEXTS, selector) == list(texts)))
        assert self.run(TEXTS, selector) == list(texts)

    def expect_online(self) -> None:
        wait_until(lambda: bool(self.run(STATUS) == "online"))
