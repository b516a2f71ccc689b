"""
Which account a connection's session belongs to, and whether it may still be connected.

Sessions are read and never written. Channels' own middleware is not used: it ignores
SECRET_KEY_FALLBACKS and flushes the session of a visitor whose key was rotated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.conf import settings
from django.http import HttpRequest
from django.utils.crypto import salted_hmac
from django.views.decorators.debug import sensitive_variables

from notifications.audiences import Recipient
from notifications.protocol import CloseCode

from .accounts import find_accounts, is_active, is_current
from .readers import read_sessions


@dataclass(slots=True)
class Session:
    """
    A visitor's session.

    key: the cookie's value. It never leaves this process.
    names: what other processes call the session (see `session_names`).
    """

    key: str = field(repr=False)
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.names = session_names(self.key)

    @property
    def name(self) -> str:
        return self.names[0]

    @classmethod
    def of(cls, request: HttpRequest) -> Session:
        """Return the session that a request's cookie names, whether it exists or not."""
        return cls(request.COOKIES.get(settings.SESSION_COOKIE_NAME, ""))


def session_names(key: str) -> tuple[str, ...]:
    """
    Return the names of a session for other processes, which can't be used to log in.

    There is one for SECRET_KEY and, while that is being rotated, one for each of the
    fallbacks: another server may not have the newest key yet.
    """
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return tuple(
        salted_hmac("notifications.session", key, secret, algorithm="sha256").hexdigest()[:32]
        for secret in secrets
    )


@dataclass(frozen=True, slots=True)
class Admission:
    """The recipient that may be connected, or None and the code to close the connection with."""

    recipient: Recipient | None
    refusal: CloseCode = CloseCode.NOT_LOGGED_IN


@sensitive_variables()
def authenticate(sessions: Sequence[Session]) -> list[Admission]:
    """
    Return the admission of each session; reads the database, changes nothing.

    With Django's own database sessions and ModelBackend, this takes three queries in all:
    for the sessions, the accounts and their groups.

    Raises DatabaseError if they can't be read now.
    """
    return _admissions(sessions, CloseCode.NOT_LOGGED_IN)


@sensitive_variables()
def recheck(sessions: Sequence[Session]) -> list[Admission]:
    """
    Return the same for the sessions of open connections.

    A session that is gone, or older than a password change, may continue in its browser under
    another key, so its refusal is SESSION_CHANGED.
    """
    return _admissions(sessions, CloseCode.SESSION_CHANGED)


def _admissions(sessions: Sequence[Session], gone: CloseCode) -> list[Admission]:
    stored = read_sessions({session.key for session in sessions})
    accounts = find_accounts(stored)
    active = [account for account in accounts.values() if is_active(account)]
    recipients = {recipient.account_id: recipient for recipient in Recipient.of_many(active)}

    def admission(key: str) -> Admission:
        if key not in stored:
            return Admission(None, gone)
        account = accounts.get(key)
        if account is None:
            return Admission(None)
        if not is_current(stored[key], account):
            return Admission(None, gone)
        return Admission(recipients.get(account.pk), CloseCode.DEACTIVATED)

    return [admission(session.key) for session in sessions]
