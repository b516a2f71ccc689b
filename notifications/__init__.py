"""Site-wide notifications for Django: a durable inbox whose changes reach every open tab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .notify import (
        NotifyResult,
        amove_inbox,
        anotify_accounts,
        aretract,
        broadcast,
        move_inbox,
        notify_accounts,
        retract,
    )
    from .presence import online

__all__ = [
    "NotifyResult",
    "amove_inbox",
    "anotify_accounts",
    "aretract",
    "broadcast",
    "move_inbox",
    "notify_accounts",
    "online",
    "retract",
]


def __getattr__(name: str) -> Any:
    # Models can't be imported before Django's app registry is ready, and this
    # package is imported to build it.
    if name == "online":
        from . import presence

        return presence.online
    if name in __all__:
        from . import notify

        return getattr(notify, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
