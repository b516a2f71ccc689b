"""Answers 400 to a form that Django can't read, before it reads it for the CSRF token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.utils.deprecation import MiddlewareMixin

# The last two are those of codecs, for names and bytes that clients choose.
UNREADABLE = (BadRequest, MultiPartParserError, SuspiciousOperation, LookupError, ValueError)


class UnreadableFormMiddleware(MiddlewareMixin):
    def process_view(
        self, request: Any, view: Callable[..., HttpResponse], *arguments: Any
    ) -> None:
        if getattr(view, "csrf_exempt", False):
            return  # Django does not read its form, and nor do we
        try:
            _ = request.POST
        except UNREADABLE as error:
            # Nobody else reads it then, such as Django's page for debugging, and fails.
            request._mark_post_parse_error()
            raise BadRequest(f"Unreadable form ({type(error).__name__})") from error
