"""Answers 400 to a form that Django can't read, where Django would fail with a 500."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin


class UnreadableFormMiddleware(MiddlewareMixin):
    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], *arguments: Any
    ) -> None:
        if getattr(view, "csrf_exempt", False):
            return  # Django does not read its form, and nor do we
        try:
            _ = request.POST
        except (LookupError, ValueError) as error:
            # A codec that a client named, or bytes that it can't decode.
            raise BadRequest(f"Unreadable form ({type(error).__name__})") from error
