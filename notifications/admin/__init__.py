"""
The admin: compose and watch broadcasts, notify chosen accounts, see who is connected.

`SendNotificationMixin` is for the site's own admin of its accounts.
"""

from .broadcasts import BroadcastAdmin
from .connections import ConnectionAdmin, WorkerAdmin
from .notifications import NotificationAdmin, SendNotificationMixin

__all__ = [
    "BroadcastAdmin",
    "ConnectionAdmin",
    "NotificationAdmin",
    "SendNotificationMixin",
    "WorkerAdmin",
]
