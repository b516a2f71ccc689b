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
    def MAX_FRAME_SIZE(self) -> int:
        """Bytes that a client's frame may have; a longer one is answered `bad_frame`."""
        return cast(int, getattr(settings, "NOTIFICATIONS_MAX_FRAME_SIZE", 4096))

    @property
    def MAX_FRAMES_PER_SECOND(self) -> float | None:
        """Frames per second that a client may send in the long run; None: any number."""
        rate = getattr(settings, "NOTIFICATIONS_MAX_FRAMES_PER_SECOND", 10)
        return cast(float | None, rate)

    @property
    def MAX_SOCKETS_PER_ACCOUNT(self) -> int | None:
        """Sockets of one account on all workers, of which the newest stay; None: any number."""
        return cast(int | None, getattr(settings, "NOTIFICATIONS_MAX_SOCKETS_PER_ACCOUNT", 50))

    @property
    def MAX_SOCKETS_PER_WORKER(self) -> int | None:
        """Sockets of one server process, handshakes included; None: any number."""
        return cast(int | None, getattr(settings, "NOTIFICATIONS_MAX_SOCKETS_PER_WORKER", 20_000))

    @property
    def MAX_UNSENT(self) -> int:
        """Bytes that may wait in a socket's transport; above, the socket is left behind."""
        return cast(int, getattr(settings, "NOTIFICATIONS_MAX_UNSENT", 64 * 1024))

    @property
    def STALL_TIMEOUT(self) -> float:
        """Seconds without progress after which a peer that does not read is cut off."""
        return cast(float, getattr(settings, "NOTIFICATIONS_STALL_TIMEOUT", 50))

    @property
    def SOUND(self) -> str:
        """Static file that one tab of each browser plays for what is new; "": none."""
        return cast(str, getattr(settings, "NOTIFICATIONS_SOUND", ""))

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.HEARTBEAT_TIMEOUT)


conf = Conf()
