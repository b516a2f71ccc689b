"""Changes with their numbers, and frames without one, on their way to open tabs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from notifications import protocol
from notifications.channel_layer import envelopes, sender
from notifications.models import Broadcast


class LiveUpdate(TypedDict):
    """A step of an account's inbox: the changes `first` to `seq`, and the frame that tells them."""

    account: str
    first: int
    seq: int
    text: str  # the frame, encoded
    unread: int | None  # the counts in it
    unread_broadcasts: int | None
    counted_at: int | None  # the `broadcast_seq` at which it counts broadcasts


def step(
    account_id: Any, first: int, seq: int, frame: protocol.Frame, counted_at: int | None = None
) -> LiveUpdate:
    """Return the push of a frame that tells these changes of an account's inbox."""
    return {
        "account": str(account_id),
        "first": first,
        "seq": seq,
        "text": protocol.encode(frame),
        "unread": frame.get("unread"),
        "unread_broadcasts": frame.get("unread_broadcasts"),
        "counted_at": counted_at,
    }


def publish(updates: Sequence[LiveUpdate]) -> None:
    """Send numbered changes to the hubs that have sockets of their accounts."""
    sender.publish_to_accounts("notifications.push", updates)


def publish_frame(account_ids: Iterable[Any], frame: protocol.Frame) -> None:
    """Send a frame without a number to the accounts' open tabs: at most once, stored nowhere."""
    text = protocol.encode(frame)
    sender.publish_to_accounts(
        "notifications.frames",
        [{"account": str(account_id), "text": text} for account_id in account_ids],
    )


def publish_broadcast(row: Broadcast, frame: protocol.Frame, gone: bool = False) -> None:
    """Send a numbered broadcast, or that it has gone, to all hubs."""
    sender.publish(
        [
            envelopes.for_hubs(
                "notifications.broadcast",
                seq=row.seq,
                audience=row.audience,
                created_at=row.created_at.isoformat(),
                gone=gone,
                text=protocol.encode(frame),
            )
        ]
    )
