"""
The app's signals. All are sent with send_robust, so that a failing receiver does no harm.

`notification_created` and `broadcast_sent` are sent after the commit, by the process that
numbered the row. The other two are sent at least once per change, by the process that noticed it.
"""

from __future__ import annotations

from django.dispatch import Signal

# Arguments: notification (Notification).
notification_created = Signal()
# Arguments: broadcast (Broadcast).
broadcast_sent = Signal()
# Arguments: account_id (primary key). The account's first connection was opened.
account_online = Signal()
# Arguments: account_id (primary key). The account's last connection was closed.
account_offline = Signal()
