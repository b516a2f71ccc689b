"""What the hubs are asked to do with their sockets, wherever these are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from notifications.protocol import CloseCode

from . import envelopes, sender


def close_connections(connection_ids: Iterable[Any], code: CloseCode) -> None:
    """Ask the hubs that have these connections to close them."""
    connections = [str(pk) for pk in connection_ids]
    sender.publish(
        [envelopes.for_hubs("notifications.close", connections=connections, code=int(code))]
    )


def end_sessions(names: Sequence[str], code: CloseCode) -> None:
    """Ask all hubs to close the sockets of these sessions, and to open no more for them."""
    sender.publish([envelopes.for_hubs("notifications.end", sessions=names, code=int(code))])


def recheck_accounts(account_ids: Iterable[Any]) -> None:
    """Ask the hubs that have sockets of these accounts who may still have them, and gets what."""
    sender.publish_to_accounts(
        "notifications.look", [{"account": str(account_id)} for account_id in account_ids]
    )
