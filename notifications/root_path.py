"""
Where the site is: the path of its host below which it is mounted, its *root path*, "" without one.

It comes from the settings or from the server's operator, never from a client. A proxy in front may
remove it from the paths that it passes on, or keep it.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.urls import get_script_prefix

from .conf import conf
from .servers.root_path import received_path, server_root_path


def at_root_path(scope: dict[str, Any]) -> dict[str, Any]:
    """Return the scope with the site's root path, and the whole path below it."""
    root_path = settings_root_path() or _without_slash(server_root_path(scope))
    path = below(root_path, received_path(scope))
    # Django removes its own prefix once more, with the slash that it may end with.
    if not (settings.FORCE_SCRIPT_NAME or "").endswith("/"):
        path = root_path + path
    return {**scope, "root_path": root_path, "path": path}


def settings_root_path() -> str:
    # Django itself prefers FORCE_SCRIPT_NAME to anything else.
    return _without_slash(settings.FORCE_SCRIPT_NAME or conf.ROOT_PATH)


def below(root_path: str, path: str) -> str:
    """Return the path without the root path, which a proxy may have removed already."""
    return path.removeprefix(root_path) if f"{path}/".startswith(f"{root_path}/") else path


def socket_path() -> str:
    """Return the path of the WebSocket as a browser requests it, on the page that is rendered."""
    path = conf.SOCKET_PATH
    return path if path.startswith("/") else get_script_prefix() + path


def socket_route() -> str:
    """Return the path of the WebSocket as a route, which is relative to the root path."""
    return below(settings_root_path(), conf.SOCKET_PATH).lstrip("/")


def at_socket_route(scope: dict[str, Any]) -> dict[str, Any]:
    """Return a scope at the root path; the WebSocket's path in it becomes that of its route."""
    # The route was made at the start, when a root path that only the server names was not known.
    root_path = scope["root_path"]
    relative = below(root_path, conf.SOCKET_PATH).lstrip("/")
    is_socket = below(root_path, scope["path"]) == f"/{relative}"
    return {**scope, "path": f"{root_path}/{socket_route()}"} if is_socket else scope


def _without_slash(root_path: str) -> str:
    root_path = root_path.strip("/")
    return root_path and f"/{root_path}"
