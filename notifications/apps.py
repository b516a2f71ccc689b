from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.utils.translation import gettext_lazy as _


class NotificationsConfig(AppConfig):
    name = "notifications"
    # Sites have apps of their own called "notifications", and so has django-notifications-hq.
    label = "site_notifications"
    verbose_name = _("Notifications")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from .channel_layer.taps import check_taps
        from .checks import (
            check_accounts,
            check_channel_layer,
            check_database,
            check_names,
            check_sessions,
            check_settings,
            check_static_files,
        )
        from .servers.checks import check_servers
        from .sessions.adapter import check_django
        from .sessions.revocation import connect_receivers

        checks.register(check_settings)
        checks.register(check_accounts)
        checks.register(check_channel_layer)
        checks.register(check_taps)
        checks.register(check_database)
        checks.register(check_static_files)
        checks.register(check_sessions)
        checks.register(check_names)
        checks.register(check_servers)
        checks.register(check_django)
        connect_receivers()
