"""Publishes numbered changes, broadcasts and plain frames to open tabs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from notifications import protocol
from notifications.channel_layer import sender
from notifications.channel_layer.addressing import for_hubs
from notifications.channel_layer.envelopes import (
    AccountFrame,
    AccountFrames,
    BroadcastUpdate,
    LiveUpdates,
)
from notifications.channel_layer.envelopes import LiveUpdate as LiveUpdate
from notifications.models import Broadcast


def live_update(
    account_id: Any, first: int, seq: int, frame: protocol.Frame, counted_at: int | None = None
) -> LiveUpdate:
    """Return the live update for the changes `first` to `seq` of an account's inbox."""
    return LiveUpdate(
        account=str(account_id),
        first=first,
        seq=seq,
        unread=frame.get("unread"),
        unread_broadcasts=frame.get("unread_broadcasts"),
        counted_at=counted_at,
        text=protocol.encode(frame),
    )


def publish(updates: Sequence[LiveUpdate]) -> None:
    """Send numbered changes to the open tabs of their accounts."""
    sender.publish_to_accounts(LiveUpdates, updates)


def publish_frame(account_ids: Iterable[Any], frame: protocol.Frame) -> None:
    """Send a frame without a number to the accounts' open tabs: at most once, and unstored."""
    text = protocol.encode(frame)
    sender.publish_to_accounts(
        AccountFrames, [AccountFrame(str(account_id), text) for account_id in account_ids]
    )


def publish_broadcast(row: Broadcast, frame: protocol.Frame, removed: bool = False) -> None:
    """Send a numbered broadcast, or its removal, to the open tabs of its audience."""
    assert row.seq is not None
    update = BroadcastUpdate(row.seq, row.audience, row.created_at, removed, protocol.encode(frame))
    sender.publish([for_hubs(update)])
