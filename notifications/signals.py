"""
Signals of this app. All are sent with send_robust: a receiver that fails harms nobody.

The first two are sent after the commit, by the process that numbered the row.
The last two are sent at least once per change, by the process that noticed.
"""

from __future__ import annotations

from django.dispatch import Signal

# Arguments: notification (Notification).
notification_created = Signal()
# Arguments: broadcast (Broadcast).
broadcast_sent = Signal()
# Arguments: account_id (primary key). The account's first socket opened.
account_online = Signal()
# Arguments: account_id (primary key). The account's last socket closed.
account_offline = Signal()
