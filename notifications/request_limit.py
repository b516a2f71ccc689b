"""
Limits how many requests to our views are at work at once, in a process and for an account.

Under ASGI every request has a thread, and a thread that queries the database has a connection of
its own. Without a limit, a single account could take all that PostgreSQL has.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

from .conf import conf
from .db.connections import close_old

# Whole seconds, at random, as many clients are refused at the same moment.
RETRY_AFTER_SECONDS: Final = (1, 3)

View = Callable[[HttpRequest], HttpResponse]


class Busy(Exception):
    """Too many requests are at work."""


class Work:
    """What is at work, counted by key; used by all threads."""

    def __init__(self) -> None:
        self._counts: Counter[Hashable] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def counted(self, key: Hashable, maximum: int | None) -> Iterator[None]:
        """Count the block as work of this key. Raises Busy if the key has the maximum."""
        with self._lock:
            if maximum is not None and self._counts[key] >= maximum:
                raise Busy
            self._counts[key] += 1
        try:
            yield
        finally:
            with self._lock:
                self._counts[key] -= 1
                if not self._counts[key]:
                    del self._counts[key]


_work: Final = Work()


def limited(view: View) -> View:
    """Answer 503 with Retry-After if too much is at work; wrap it around the check of the login."""

    @wraps(view)
    def limited_view(request: HttpRequest) -> HttpResponse:
        per_account = conf.MAX_REQUESTS_PER_ACCOUNT
        # Before the account is known, which takes a query, its session stands for it.
        session = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
        try:
            with (
                _work.counted("process", conf.MAX_REQUESTS_PER_WORKER),
                _work.counted(("session", session), per_account if session else None),
                _work.counted(("account", request.user.pk), _maximum(request, per_account)),
            ):
                return view(request)
        except Busy:
            return _refusal()
        finally:
            # The client may take long to read the answer.
            close_old()

    return limited_view


def _maximum(request: HttpRequest, per_account: int | None) -> int | None:
    return per_account if request.user.is_authenticated else None


def _refusal() -> HttpResponse:
    error = "Too many requests at once. Try again in a moment."
    seconds = random.randint(*RETRY_AFTER_SECONDS)
    return JsonResponse({"error": error}, status=503, headers={"Retry-After": str(seconds)})
