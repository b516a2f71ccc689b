"""One line for a site's asgi.py: `application = with_notifications(get_asgi_application())`."""

from __future__ import annotations

from typing import Any

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.urls import set_script_prefix
from django.utils.functional import cached_property

from .private_pages import with_private_pages
from .root_path import at_root_path, below
from .servers.base import Send


def with_notifications(django_application: Any) -> Any:
    """
    Return the site's ASGI application, with the notification WebSocket added.

    django_application: what `get_asgi_application()` returned. With DEBUG it serves static
    files as well, as `runserver` does. A site with other WebSockets builds its own
    ProtocolTypeRouter (see routing.py).
    """
    # Imported here, as get_asgi_application() loads the apps first.
    from channels.routing import ProtocolTypeRouter
    from django.conf import settings

    from .hub.lifespan import lifespan
    from .routing import websocket_application

    pages = _StaticFiles(django_application) if settings.DEBUG else django_application
    return ProtocolTypeRouter(
        {"http": Pages(pages), "websocket": websocket_application, "lifespan": lifespan}
    )


class Pages:
    """
    Django's pages, at the site's root path whatever a client sends.

    Shared caches may not keep those with an account's configuration.
    """

    def __init__(self, django_application: Any) -> None:
        self._application = django_application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Send) -> None:
        scope = at_root_path(scope)
        await self._application(scope, receive, with_private_pages(scope, send))


class _StaticFiles:
    """Django's pages and, while debugging, the static files, inside or outside of the root path."""

    def __init__(self, django_application: Any) -> None:
        self._application = django_application

    @cached_property
    def _handler(self) -> Any:
        return ASGIStaticFilesHandler(self._application)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Send) -> None:
        # The handler reads STATIC_URL, and Django completes a relative one only once.
        set_script_prefix(scope["root_path"])
        path = below(scope["root_path"], scope["path"])
        if path.startswith(self._handler.base_url.path):
            scope = {**scope, "path": path}
        await self._handler(scope, receive, send)
