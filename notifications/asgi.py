"""One line for a site's asgi.py: `application = with_notifications(get_asgi_application())`."""

from __future__ import annotations

from typing import Any


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
    from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

    from .hub.lifespan import lifespan
    from .routing import websocket_application

    pages = ASGIStaticFilesHandler(django_application) if settings.DEBUG else django_application
    return ProtocolTypeRouter(
        {"http": pages, "websocket": websocket_application, "lifespan": lifespan}
    )
