"""Passes envelopes from the channel layer to the connections that they are for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from notifications.channel_layer.envelopes import (
    AccountFrames,
    BroadcastUpdate,
    ChangedAccounts,
    CloseConnections,
    Content,
    EndSessions,
    LiveUpdate,
    LiveUpdates,
)
from notifications.protocol import CloseCode
from notifications.servers.base import EncodedFrame

from .connection import LiveConnection
from .fan_out import FanOut
from .session_check import SessionCheck


class Arrivals:
    def __init__(
        self,
        connections: Mapping[str, LiveConnection],
        accounts: Mapping[str, Collection[LiveConnection]],
        fan_out: FanOut,
        session_check: SessionCheck,
        fall_behind: Callable[[LiveConnection], None],
        close: Callable[[LiveConnection, CloseCode], None],
    ) -> None:
        """`connections` (by id) and `accounts` (their connections) are the hub's own dicts."""
        self._connections = connections
        self._accounts = accounts
        self._session_check = session_check
        self._fall_behind = fall_behind
        self._close = close
        self._handlers: dict[type[Content], Callable[[Any], None]] = {
            LiveUpdates: self._update_accounts,
            AccountFrames: self._write_frames,
            BroadcastUpdate: fan_out.send,
            ChangedAccounts: self._recheck,
            EndSessions: self._end_sessions,
            CloseConnections: self._close_connections,
        }

    def take(self, content: Content) -> None:
        self._handlers[type(content)](content)

    # --- One handler for each type

    def _update_accounts(self, content: LiveUpdates) -> None:
        for update in content.entries:
            if connections := self._accounts.get(update.account):
                self._update(connections, update)

    def _update(self, connections: Iterable[LiveConnection], update: LiveUpdate) -> None:
        seq = update.seq
        frame = EncodedFrame(update.text)
        for connection in connections:
            if connection.behind:
                connection.missed(seq=seq)
            elif seq > connection.seq:
                is_next = update.first == connection.seq + 1
                is_counted = update.counted_at in {None, connection.broadcast_seq}
                if is_next and is_counted and connection.write(frame):
                    connection.seq = seq
                    connection.count(update.unread, update.unread_broadcasts)
                else:
                    self._fall_behind(connection)

    def _write_frames(self, content: AccountFrames) -> None:
        for account, text in content.entries:
            if connections := self._accounts.get(account):
                frame = EncodedFrame(text)
                for connection in connections:
                    if connection.registered:
                        connection.write(frame)

    def _recheck(self, content: ChangedAccounts) -> None:
        for entry in content.entries:
            self._session_check.recheck_soon(self._accounts.get(entry.account, ()))

    def _end_sessions(self, content: EndSessions) -> None:
        self._session_check.end(content.sessions, content.code)

    def _close_connections(self, content: CloseConnections) -> None:
        for connection_id in content.connections:
            if connection := self._connections.get(connection_id):
                self._close(connection, content.code)
