"""
How this app relies on Django's internals: how session engines and ModelBackend read their rows.

That is used to read the sessions and accounts of many connections at once. With an untested version
of Django, each is loaded separately instead, as Django's own middleware does.
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
    """Return the names of `base` that its subclass, or a class in between, overrides."""
    own = subclass.__mro__[: subclass.__mro__.index(base)]
    defined = {name for each in own for name in vars(each)}
    # Without names that every class defines, such as __module__.
    return {
        name
        for name in defined
        if hasattr(base, name) and (name == "__init__" or not name.startswith("__"))
    }
