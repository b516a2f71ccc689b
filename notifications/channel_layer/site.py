"""
What every envelope needs from the database: the site's name and the time.

The name tells sites apart that share a channel layer. The time, to tell old envelopes from new
ones, is the database's, because the clocks of hosts differ.

Both are read in a thread of their own, once a minute and when the machine was suspended, so that
no caller waits for the database. Only while nothing is known yet, a moment is waited for it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Final, NamedTuple

from django.db import router

from notifications.db.connections import close_all, leave_pools
from notifications.models import BroadcastSequence

logger = logging.getLogger(__name__)

REFRESH_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 2.0  # while nothing is known, or the time may be wrong
HUNG_SECONDS: Final = 30.0  # until another attempt is made beside one that has no answer
MAX_DRIFT_SECONDS: Final = 5.0  # of the wall clock from the monotonic one
WAIT_SECONDS: Final = 1.0  # of a thread, for the first attempt or for one of the retries
BACKGROUND_WAIT_SECONDS: Final = 5.0  # of what holds up nobody
POLL_SECONDS: Final = 0.01


class Site(NamedTuple):
    name: str
    offset: float  # of the database's time, in seconds since 1970, from our monotonic clock

    def now(self) -> float:
        """Return an estimate of the database's time."""
        return time.monotonic() + self.offset


def read() -> Site:
    """Read the site from the database."""
    using = router.db_for_write(BroadcastSequence)
    name, now = BroadcastSequence.objects.using(using).site_and_time()
    return Site(name, now - time.monotonic())


class SiteReader:
    """What this process knows of its site."""

    def __init__(self) -> None:
        self._site: Site | None = None
        self._clock_difference = 0.0  # when it was read
        self._attempt: _Attempt | None = None
        self._is_reported = False

    def known(self) -> Site | None:
        """Return what is known, None if nothing is, without waiting."""
        self._begin_if_due()
        return self._site

    def wait(self) -> Site | None:
        """Return the same, after a moment for the first attempt; for threads."""
        if self.known() is None and self._attempt:
            self._attempt.join(self._attempt.rest_of(WAIT_SECONDS))
        return self._site

    async def wait_async(self) -> Site | None:
        """Return the same, after a longer wait; for tasks of an event loop."""
        if self.known() is None and (attempt := self._attempt):
            # Not in another thread: a process that is about to end starts none.
            while attempt.is_alive() and attempt.rest_of(BACKGROUND_WAIT_SECONDS):
                await asyncio.sleep(POLL_SECONDS)
        return self._site

    def learn(self, site: Site) -> None:
        self._clock_difference = _clock_difference()
        self._site = site
        self._is_reported = False

    def report(self, failure: Exception) -> None:
        """Log once that nothing is known."""
        if self._site is None and not self._is_reported:
            self._is_reported = True
            logger.warning(
                "The site's name can't be read (%s). Until then, nothing is sent to the channel "
                "layer or taken from it: the next check will update open tabs.",
                type(failure).__name__,
            )

    def _begin_if_due(self) -> None:
        if last := self._attempt:
            pause = REFRESH_SECONDS if self._is_up_to_date() else RETRY_SECONDS
            # A fork has no thread of its parent's, and there it is not alive.
            if last.rest_of(pause) or (last.is_alive() and last.rest_of(HUNG_SECONDS)):
                return
        attempt = _Attempt(self)
        try:
            attempt.start()
        except RuntimeError:
            return  # the process is about to end
        self._attempt = attempt

    def _is_up_to_date(self) -> bool:
        # While a machine is suspended, its monotonic clock stands still.
        drift = abs(_clock_difference() - self._clock_difference)
        return self._site is not None and drift < MAX_DRIFT_SECONDS


class _Attempt(threading.Thread):
    """A daemon, because an exiting process must not wait for a database that does not answer."""

    def __init__(self, reader: SiteReader) -> None:
        super().__init__(name="notifications-site", daemon=True)
        self.begun_at = time.monotonic()
        self._reader = reader

    def rest_of(self, seconds: float) -> float:
        """Return what is left of this many seconds since the attempt began."""
        return max(0.0, self.begun_at + seconds - time.monotonic())

    def run(self) -> None:
        leave_pools()
        try:
            self._reader.learn(read())
        except Exception as failure:  # also of a test that does not allow to use the database
            self._reader.report(failure)
        finally:
            close_all()


def _clock_difference() -> float:
    return time.time() - time.monotonic()


reader: Final = SiteReader()
