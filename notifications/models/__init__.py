"""
The tables. A row is the truth; the live update only makes it appear sooner.

References to accounts have no database constraint, so that our rows never block
or fail a transaction that deletes an account. Maintenance deletes the orphans.
"""

from .broadcasts import Broadcast, BroadcastQuerySet, BroadcastReceipt
from .connections import Connection, MaintenanceLease, Worker
from .ends import AccountEnded
from .inboxes import BroadcastSequence, BroadcastSequenceQuerySet, Inbox, LockedInbox
from .lives import finish_ends, record_end
from .message import (
    JSONValueField,
    Level,
    Message,
    State,
    stored_meta_data,
    validate_type,
    validate_url,
)
from .notifications import Notification, NotificationQuerySet
from .retractions import Retraction, RetractionQuerySet

__all__ = [
    "AccountEnded",
    "Broadcast",
    "BroadcastSequence",
    "BroadcastSequenceQuerySet",
    "BroadcastQuerySet",
    "BroadcastReceipt",
    "Connection",
    "Inbox",
    "JSONValueField",
    "Level",
    "LockedInbox",
    "MaintenanceLease",
    "Message",
    "Notification",
    "NotificationQuerySet",
    "Retraction",
    "RetractionQuerySet",
    "State",
    "Worker",
    "finish_ends",
    "record_end",
    "stored_meta_data",
    "validate_type",
    "validate_url",
]
