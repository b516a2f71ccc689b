"""
How settings are described. All of them are in `conf`.

The checks and docs/settings.md are generated from the descriptions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeGuard, TypeVar, overload

from django.conf import settings

PREFIX: Final = "NOTIFICATIONS_"

T = TypeVar("T")


@dataclass(frozen=True)
class Allowed:
    """The values that a setting may have."""

    text: str  # completes “it must be …”
    test: Callable[[object], bool]

    def or_none(self, meaning: str) -> Allowed:
        return Allowed(
            f"{self.text}, or None {meaning}",
            lambda value: value is None or self.test(value),
        )


@dataclass(eq=False)
class Setting(Generic[T]):
    """
    One setting, as a class attribute. Instances return the site's value, or the default.

    The value is read each time, so that override_settings works.
    """

    default: T
    allowed: Allowed
    check_id: str  # an error's, or a warning's if its number follows a W
    description: str  # Markdown
    hint: Callable[[], str] | None = None
    name: str = field(init=False)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = PREFIX + name

    @overload
    def __get__(self, instance: None, owner: type) -> Setting[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object, owner: type) -> Setting[T] | T:
        if instance is None:
            return self
        value: T = getattr(settings, self.name, self.default)
        return value

    @property
    def is_set(self) -> bool:
        return hasattr(settings, self.name)


# --- What may be allowed


def is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def positive_number(unit: str, maximum: float = math.inf) -> Allowed:
    return Allowed(
        f"a number of {unit} above 0" + (f" and up to {maximum}" if maximum < math.inf else ""),
        lambda value: is_number(value) and 0 < value <= maximum,
    )


def number(unit: str, minimum: float, maximum: float = math.inf) -> Allowed:
    return Allowed(
        f"a number of {unit} {_from_to(minimum, maximum)}",
        lambda value: is_number(value) and minimum <= value <= maximum,
    )


def whole_number(unit: str, minimum: int, maximum: float = math.inf) -> Allowed:
    return Allowed(
        f"a whole number of {unit} {_from_to(minimum, maximum)}",
        lambda value: is_number(value) and isinstance(value, int) and minimum <= value <= maximum,
    )


def _from_to(minimum: float, maximum: float) -> str:
    return f"from {minimum} to {maximum}" if maximum < math.inf else f"from {minimum}"


def one_of(*values: str) -> Allowed:
    return Allowed(" or ".join(f"“{value}”" for value in values), lambda value: value in values)


TRUE_OR_FALSE: Final = Allowed("True or False", lambda value: isinstance(value, bool))
