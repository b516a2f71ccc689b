"""The demo site's ASGI application: pages, static files and the notification WebSocket."""

import logging
import os
import sys

import django

from notifications.asgi import with_notifications
from notifications.servers.logs import UvicornFilter

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "notify_site.settings")
django.setup()

# They need the settings.
from notify_site.guard import guarded  # noqa: E402
from notify_site.handler import Handler  # noqa: E402
from notify_site.start import refuse_unsafe_start  # noqa: E402

refuse_unsafe_start(sys.argv[1:])
application = guarded(with_notifications(Handler()))
# See docs/deployment.md: only addresses are logged as such.
logging.getLogger("uvicorn.access").addFilter(UvicornFilter())
