"""Publishes numbered changes, broadcasts and plain frames to open tabs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from django.db import router

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
from notifications.conf import conf
from notifications.models import Broadcast, Connection, State

# In one `state` frame, so that it stays below the smallest NOTIFICATIONS_MAX_UNSENT (4 KiB).
IDS_PER_FRAME: Final = 150


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


def state_updates(
    account_id: Any,
    state: str,
    wire_ids: Sequence[str],
    first: int,
    counts: Mapping[str, int],
    counted_at: int | None = None,
) -> Iterator[LiveUpdate]:
    """
    Yield the live updates for items with a new state, whose change numbers begin at `first`.

    Each takes a part of the numbers, as a frame for all of them may be too large for a connection.
    The counts are those after the last one, which has them.
    """
    last = first + len(wire_ids) - 1
    for ids in _parts(wire_ids):
        seq = first + len(ids) - 1
        if seq < last:
            yield live_update(account_id, first, seq, protocol.state(state, ids, seq=seq))
        else:
            frame = protocol.state(state, ids, seq=seq, **counts)
            yield live_update(account_id, first, seq, frame, counted_at)
        first = seq + 1


def publish(updates: Sequence[LiveUpdate]) -> None:
    """Send numbered changes to the open tabs of their accounts."""
    limit = conf.MAX_UNSENT  # read once, as reading an unset setting takes microseconds
    sender.publish_to_accounts(
        LiveUpdates, [update for update in updates if _is_sendable(update.text, limit)]
    )


def publish_frame(account_ids: Iterable[Any], frame: protocol.Frame) -> None:
    """Send a frame without a number to the accounts' open tabs: at most once, and unstored."""
    text = protocol.encode(frame)
    sender.publish_to_accounts(
        AccountFrames, [AccountFrame(str(account_id), text) for account_id in account_ids]
    )


def publish_deleted(wire_ids: Mapping[Any, Sequence[str]]) -> None:
    """
    Remove deleted items, which are given by account, from the account's open tabs.

    These frames have no number, as a deletion is not a change: it concerns no count, and a client
    that was away never asks for it. A frame that is lost is made up for by the next list.
    """
    live = Connection.objects.using(router.db_for_write(Connection)).live()
    online = set(live.filter(account_id__in=wire_ids).values_list("account_id", flat=True))
    entries = [
        AccountFrame(str(account_id), protocol.encode(protocol.state(State.REMOVED, [*ids])))
        for account_id in online
        for ids in _parts(wire_ids[account_id])
    ]
    sender.publish_to_accounts(AccountFrames, entries)


def publish_broadcast(row: Broadcast, frame: protocol.Frame, removed: bool = False) -> None:
    """Send a numbered broadcast, or its removal, to the open tabs of its audience."""
    assert row.seq is not None
    text = protocol.encode(frame)
    if _is_sendable(text, conf.MAX_UNSENT):
        update = BroadcastUpdate(row.seq, row.audience, row.created_at, removed, text)
        sender.publish([for_hubs(update)])


def _parts(wire_ids: Sequence[str]) -> Iterator[list[str]]:
    """Yield the ids for one frame each."""
    for start in range(0, len(wire_ids), IDS_PER_FRAME):
        yield list(wire_ids[start : start + IDS_PER_FRAME])


def _is_sendable(text: str, limit: int) -> bool:
    """
    Whether connections take the frame, which may have `limit` bytes.

    Any other is not sent through the channel layer: hubs find its number in the database, and the
    clients get `resync`.
    """
    return protocol.size(text) <= limit
