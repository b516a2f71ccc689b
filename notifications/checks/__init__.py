"""
System checks: what is wrong on a site is reported at its start, with what to do.

Each has an id that is never used again; docs/settings.md lists them.
"""

from .channel_layer import check_channel_layer
from .database import check_database
from .names import check_names
from .sessions import check_sessions
from .settings import check_settings
from .static_files import check_static_files

__all__ = [
    "check_channel_layer",
    "check_database",
    "check_names",
    "check_sessions",
    "check_settings",
    "check_static_files",
]
