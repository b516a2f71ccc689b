"""The demo site's ASGI application: pages, static files and the notification WebSocket."""

import logging
import os

from django.core.asgi import get_asgi_application

from notifications.asgi import with_notifications
from notifications.servers.logs import UvicornFilter

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "notify_site.settings")
application = with_notifications(get_asgi_application())
# See docs/deployment.md: only addresses are logged as such.
logging.getLogger("uvicorn.access").addFilter(UvicornFilter())
