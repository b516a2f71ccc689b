"""Commands to the hubs of all processes, about their connections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from notifications.protocol import CloseCode

from . import sender
from .addressing import for_hubs
from .envelopes import ChangedAccount, ChangedAccounts, CloseConnections, EndSessions


def close_connections(connection_ids: Iterable[Any], code: CloseCode) -> None:
    """Close these connections."""
    sender.publish([for_hubs(CloseConnections([str(pk) for pk in connection_ids], code))])


def end_sessions(names: Sequence[str], code: CloseCode) -> None:
    """Close the connections of these sessions, and refuse new ones."""
    sender.publish([for_hubs(EndSessions(names, code))])


def recheck_accounts(account_ids: Iterable[Any]) -> None:
    """Check the sessions and audiences of these accounts' connections."""
    sender.publish_to_accounts(
        ChangedAccounts, [ChangedAccount(str(account_id)) for account_id in account_ids]
    )
