"""
The root path as the server's operator chose it, and the path as the client sent it.

ASGI has both in the scope. But Daphne replaces its option `--root-path` by the header
Daphne-Root-Path, which any client may send, and the scope does not tell which of them it has. So
Daphne's value counts only with the app's own runner, which ignores the header and passes the option
on under a key of its own.
"""

from __future__ import annotations

import sys
from typing import Any, Final

OPTION: Final = "notifications.root_path"


def with_option(scope: dict[str, Any], root_path: str) -> dict[str, Any]:
    """Return the scope with the root path of the runner's option, whatever the client sent."""
    return {**scope, "root_path": root_path, OPTION: root_path}


def server_root_path(scope: dict[str, Any]) -> str:
    """Return the server's root path, "" with plain Daphne, where it could be the client's."""
    if OPTION in scope:
        return str(scope[OPTION])
    return "" if _is_daphne() else scope.get("root_path") or ""


def received_path(scope: dict[str, Any]) -> str:
    """Return the path that the client or the proxy sent: uvicorn puts its root path before it."""
    path: str = scope["path"]
    is_whole = OPTION in scope or not _is_uvicorn()
    return path if is_whole else path.removeprefix(scope.get("root_path") or "")


def _is_uvicorn() -> bool:
    # Not by `send`, which other ASGI middleware may wrap.
    return "uvicorn.server" in sys.modules and not _is_daphne()


def _is_daphne() -> bool:
    # With "daphne" in INSTALLED_APPS, Twisted is imported under any server. Daphne alone runs it.
    return bool(getattr(sys.modules.get("twisted.internet.reactor"), "running", False))
