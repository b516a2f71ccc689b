"""The small site's ASGI application."""

from django.core.asgi import get_asgi_application

from notifications.asgi import with_notifications

application = with_notifications(get_asgi_application())
