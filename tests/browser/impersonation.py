"""What packages for impersonating an account do: the session stays the operator's."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse

COOKIE = "impersonated"


def impersonation(get_response: Callable[[HttpRequest], HttpResponse]) -> object:
    """Middleware: pages and views take the account that a cookie names for the one logged in."""

    def respond(request: HttpRequest) -> HttpResponse:
        if name := request.COOKIES.get(COOKIE):
            request.user = get_user_model().objects.get(username=name)
        return get_response(request)

    return respond
