"""
The admin: compose and watch broadcasts, notify chosen accounts, see who is connected.

`SendNotificationMixin` extends the site's own account admin.
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
