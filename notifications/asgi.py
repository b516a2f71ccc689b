"""One line for a site's asgi.py: `application = with_notifications(get_asgi_application())`."""

from __future__ import annotations

from typing import Any


def with_notifications(django_application: Any) -> Any:
    """
    Return the site's ASGI application with the notification socket beside its pages.

    django_application: what `get_asgi_application()` returned. While debugging,
    static files are served as well, as `runserver` does. A site with sockets of
    its own builds its ProtocolTypeRouter itself, see routing.py.
    """
    # Only now: the apps are loaded once Django's application is made.
    from channels.routing import ProtocolTypeRouter
    from django.conf import settings
    from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

    from .hub.lifespan import lifespan
    from .routing import websocket_application

    pages = ASGIStaticFilesHandler(django_application) if settings.DEBUG else django_application
    return ProtocolTypeRouter(
        {"http": pages, "websocket": websocket_application, "lifespan": lifespan}
    )
