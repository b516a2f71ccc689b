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

from .base import Send

OPTION: Final = "notifications.root_path"
UVICORN: Final = "uvicorn.protocols."


def with_option(scope: dict[str, Any], root_path: str) -> dict[str, Any]:
    """Return the scope with the root path of the runner's option, whatever the client sent."""
    return {**scope, "root_path": root_path, OPTION: root_path}


def server_root_path(scope: dict[str, Any]) -> str:
    """Return the server's root path, "" with plain Daphne, where it could be the client's."""
    if OPTION in scope:
        return str(scope[OPTION])
    return "" if _is_daphne() else scope.get("root_path") or ""


def received_path(scope: dict[str, Any], send: Send) -> str:
    """Return the path that the client or the proxy sent: uvicorn puts its root path before it."""
    path: str = scope["path"]
    server = type(getattr(send, "__self__", None)).__module__
    return path.removeprefix(scope["root_path"]) if server.startswith(UVICORN) else path


def _is_daphne() -> bool:
    # With "daphne" in INSTALLED_APPS, Twisted is imported under any server. Daphne alone runs it.
    return bool(getattr(sys.modules.get("twisted.internet.reactor"), "running", False))
