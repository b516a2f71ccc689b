"""
What this app knows of Django's inside: how its session engines and ModelBackend read their rows.

It is used to read the sessions and accounts of many connections at once. With a version of Django
that was not tested, each is loaded by itself instead, the way Django's own middleware does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.core.checks import CheckMessage

from notifications.adapters import Adapter, Versions

ADAPTER: Final = Adapter(
    Versions("Django", "5.2", "6.1"),
    off="Sessions and their accounts are read one by one, which takes more queries.",
    check_id="notifications.W030",
)


def check_django(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    return ADAPTER.check()


def overridden(subclass: type, base: type) -> set[str]:
    """Return the names of `base` that its subclass, or a class in between, defines anew."""
    own = subclass.__mro__[: subclass.__mro__.index(base)]
    defined = {name for each in own for name in vars(each)}
    # Every class has these, such as __module__.
    return {
        name
        for name in defined
        if hasattr(base, name) and (name == "__init__" or not name.startswith("__"))
    }
