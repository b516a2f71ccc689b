"""The demo site's ASGI application: Django's pages, static files and the notification socket."""

import os

from channels.routing import ProtocolTypeRouter
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "notify_site.settings")
django_application = get_asgi_application()

from notifications.lifespan import lifespan  # noqa: E402  needs the apps loaded
from notifications.routing import websocket_application  # noqa: E402

application = ProtocolTypeRouter(
    {
        # A real site lets its web server send the static files; the demo has none.
        "http": ASGIStaticFilesHandler(django_application),
        "websocket": websocket_application,
        "lifespan": lifespan,
    }
)
