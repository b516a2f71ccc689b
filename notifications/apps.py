from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.apps import apps as installed_apps
from django.core import checks
from django.db import router
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class NotificationsConfig(AppConfig):
    name = "notifications"
    # Sites have apps of their own called "notifications", and so has django-notifications-hq.
    label = "site_notifications"
    verbose_name = _("Notifications")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import protocol
        from .channel_layer.messages import account_message
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
        from .lifecycle import lives
        from .servers.checks import check_servers
        from .sessions import revocation
        from .sessions.adapter import check_django

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
        lives.connect_receivers()
        revocation.connect_receivers()
        protocol.sign_with(account_message)
        post_migrate.connect(create_sequence, sender=self)


def create_sequence(using: str, apps: Any = installed_apps, **kwargs: Any) -> None:
    """
    Insert the row that names the site, after `migrate` and after `flush`, as in tests.

    Then it is there for a process that has to sign something, and need not be written meanwhile.
    """
    try:
        sequence = apps.get_model(NotificationsConfig.label, "BroadcastSequence")
    except LookupError:
        return  # migrated back to before its table
    if router.allow_migrate_model(using, sequence):
        rows = sequence._base_manager.using(using)
        rows.bulk_create([sequence(pk=1)], ignore_conflicts=True)
