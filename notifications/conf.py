"""The NOTIFICATIONS_* settings, read live so that override_settings works."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from django.conf import settings


class Conf:
    """One property per setting; the docstring gives its unit and meaning."""

    @property
    def HEARTBEAT_INTERVAL(self) -> float:
        """
        Seconds between a client's heartbeats, between two checks of the hub
        and between two renewals of a worker's lease.
        """
        return cast(float, getattr(settings, "NOTIFICATIONS_HEARTBEAT_INTERVAL", 9))

    @property
    def HEARTBEAT_TIMEOUT(self) -> float:
        """Seconds of silence after which a socket is closed; also a worker's lease."""
        return cast(float, getattr(settings, "NOTIFICATIONS_HEARTBEAT_TIMEOUT", 20))

    @property
    def DRAIN_SECONDS(self) -> float:
        """Seconds over which a server that is told to end sends its clients away."""
        return cast(float, getattr(settings, "NOTIFICATIONS_DRAIN_SECONDS", 8))

    @property
    def MAINTENANCE(self) -> str:
        """`server`: every server process runs it, taking turns; `external`: only the command."""
        return cast(str, getattr(settings, "NOTIFICATIONS_MAINTENANCE", "server"))

    @property
    def RETENTION_DAYS(self) -> float | None:
        """Days after which what was read, archived or has gone is deleted; None: never."""
        return cast(float | None, getattr(settings, "NOTIFICATIONS_RETENTION_DAYS", 90))

    @property
    def RETENTION_DAYS_UNREAD(self) -> float | None:
        """Days after which what was not read, and any broadcast, leaves the inboxes."""
        return cast(float | None, getattr(settings, "NOTIFICATIONS_RETENTION_DAYS_UNREAD", 365))

    @property
    def RETENTION_DAYS_BY_TYPE(self) -> dict[str, float | None]:
        """Days for messages of these types, in place of both others."""
        by_type = getattr(settings, "NOTIFICATIONS_RETENTION_DAYS_BY_TYPE", {})
        return cast(dict[str, float | None], by_type)

    @property
    def ACCOUNT_CREATED_FIELD(self) -> str:
        """The account's field with its time of creation: older broadcasts are not for it."""
        return cast(str, getattr(settings, "NOTIFICATIONS_ACCOUNT_CREATED_FIELD", "date_joined"))

    @property
    def DIRECT_WRITES(self) -> bool:
        """Whether frames go straight to the transport of a server that is known, not by ASGI."""
        return cast(bool, getattr(settings, "NOTIFICATIONS_DIRECT_WRITES", True))

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.HEARTBEAT_TIMEOUT)


conf = Conf()
