"""JavaScript modules must import each other by names with hashes."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.checks import CheckMessage, Warning


def check_static_files(**kwargs: Any) -> list[CheckMessage]:
    # Only storages that put a hash into names have the attribute.
    storage = staticfiles_storage if apps.is_installed("django.contrib.staticfiles") else None
    if getattr(storage, "support_js_module_import_aggregation", True):
        return []
    return [
        Warning(
            "The static files storage leaves the imports of JavaScript modules without hashes: "
            "after an upgrade, browsers mix cached modules with new ones.",
            hint="Subclass it with support_js_module_import_aggregation = True.",
            id="notifications.W021",
        )
    ]
