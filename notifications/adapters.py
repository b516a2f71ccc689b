"""
Private parts of other projects, used only in tested versions.

An `Adapter` represents one such use. With an untested version, or once a part differs from the
tested ones, it is *off* for the rest of the process, and the caller uses the project's public API
instead. One log line and one system check report that, and what it costs.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from django.core.checks import CheckMessage, Warning

logger = logging.getLogger(__name__)


class Versions(NamedTuple):
    """
    The versions of a project that the tests ran with, from `oldest` to `newest`.

    A bound covers all releases that begin with it: "4.2" includes 4.2.3, but not 4.20.
    """

    project: str  # its name on PyPI
    oldest: str
    newest: str

    def includes(self, version: str) -> bool:
        numbers, newest = _numbers(version), _numbers(self.newest)
        return _numbers(self.oldest) <= numbers and numbers[: len(newest)] <= newest

    def __str__(self) -> str:
        first = "" if self.oldest == self.newest else f"{self.oldest} to "
        return f"{self.project} {first}{self.newest}.x"


class Adapter:
    """One use of private parts, which is on or off in the whole process."""

    def __init__(self, *tested: Versions, off: str, check_id: str) -> None:
        """
        tested: the projects: first the main one, then those that are installed with it.
        off: a sentence on the effect and the cost of being off.
        check_id: the id of its system check, such as "notifications.W028".
        """
        self.tested = tested
        self.off = off
        self.check_id = check_id
        self._reason: str | None = None
        self._fitting: set[tuple[type, ...]] = set()

    @property
    def is_on(self) -> bool:
        """Whether the private parts may be used. The first False logs the warning."""
        if self._reason is None:
            if reason := self._untested():
                self.turn_off(reason)
            else:
                self._reason = ""
        return not self._reason

    def fits(self, *things: object, differences: Callable[[], list[str]]) -> bool:
        """
        Whether things of these types are as expected; if not, turn off.

        differences: looks at the things, see below; called once for all things of their types.
        """
        types = tuple(map(type, things))
        if types not in self._fitting:
            if found := differences():
                self.turn_off(", ".join(found))
                return False
            self._fitting.add(types)
        return True

    def turn_off(self, reason: str) -> None:
        """
        Stop using private parts, in all threads; only the first call logs.

        reason: what was found, without a full stop, as in "Server.buffer is missing".
        """
        if not self._reason:
            self._reason = reason
            logger.warning("%s (%s)", self._describe(reason), self.check_id)

    def note(self, error: Exception) -> None:
        """
        Turn off after an error that means that a part is not what it was.

        Others, such as OSError and RuntimeError, are those of one connection that was lost.
        """
        if isinstance(error, AttributeError | LookupError | TypeError):
            self.turn_off(repr(error))

    def check(self) -> list[CheckMessage]:
        """Return the system check's warning, if there is one."""
        if installed_version(self.tested[0].project) is None:
            return []
        reason = self._reason or self._untested()
        if not reason:
            return []
        hint = f"Nothing is lost. Tested: {', '.join(map(str, self.tested))}."
        return [Warning(self._describe(reason), hint=hint, id=self.check_id)]

    def _untested(self) -> str:
        """Return the untested versions, as text. Only the main project has to be installed."""
        main = self.tested[0].project
        untested = [
            f"{each.project} {version or '(not installed)'}"
            for each in self.tested
            if (version := installed_version(each.project) or "") or each.project == main
            if not each.includes(version)
        ]
        return f"not tested with {' and '.join(untested)}" if untested else ""

    def _describe(self, reason: str) -> str:
        project = self.tested[0].project
        installed = installed_version(project) or "(not installed)"
        return f"Private parts of {project} {installed} are not used: {reason}. {self.off}"


def differences(thing: object, **expected: Any) -> list[str]:
    """
    Return which attributes of `thing` are missing or of another type, as text.

    expected: a type, or a tuple of them, for each attribute's name.
    """
    found = []
    name = type(thing).__name__
    for attribute, kind in expected.items():
        try:
            value = getattr(thing, attribute)
        except Exception:  # a property may raise anything
            found.append(f"{name}.{attribute} is missing")
        else:
            if not isinstance(value, kind):
                found.append(f"{name}.{attribute} is of type {type(value).__name__}")
    return found


@cache
def installed_version(project: str) -> str | None:
    """Return the version of a project, None if it is not installed."""
    try:
        return version(project)
    except PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with, without a pre-release suffix."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in match[0].split(".")) if match else ()
