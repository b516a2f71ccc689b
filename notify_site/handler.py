"""Django's handler of requests, with pages for what fails outside of Django's own handlers."""

from __future__ import annotations

import logging
from typing import Any

from django.core.handlers.asgi import ASGIHandler

from . import errors

logger = logging.getLogger("django.request")


class Handler(ASGIHandler):
    def create_request(self, scope: Any, body_file: Any) -> Any:
        try:
            request = self.request_class(scope, body_file)
            if any("\0" in value for value in request.COOKIES.values()):
                raise ValueError("PostgreSQL can't look for a session with such a key")
            return request, None
        except Exception as error:  # it only parses what the client sent
            logger.warning(
                "Unreadable request (%s): %a",
                type(error).__name__,
                scope["path"],
                extra={"status_code": 400},
            )
            return None, errors.bad_request()
