"""
System checks: they report at startup what is wrong on a site, and how to fix it.

An id is never reused; docs/settings.md lists them.
"""

from .accounts import check_accounts
from .channel_layer import check_channel_layer
from .database import check_database
from .names import check_names
from .sessions import check_sessions
from .settings import check_settings
from .static_files import check_static_files

__all__ = [
    "check_accounts",
    "check_channel_layer",
    "check_database",
    "check_names",
    "check_sessions",
    "check_settings",
    "check_static_files",
]
