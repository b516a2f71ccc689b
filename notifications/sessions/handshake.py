"""The client of a handshake: the origin of its page, its address, its browser."""

from __future__ import annotations

import io
import re
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest

from notifications.addresses import parse_address

MAX_USER_AGENT_LENGTH: Final = 200  # characters

# As browsers write it. With a trusted wildcard, anything else could hide a user or a path.
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\\\s]+")


def handshake_request(scope: Any) -> ASGIRequest:
    """Return the handshake as an HTTP request, with Django's checks of the host."""
    scheme = {"ws": "http", "wss": "https"}[scope.get("scheme", "ws")]
    return ASGIRequest({**scope, "type": "http", "method": "GET", "scheme": scheme}, io.BytesIO())


def client_address(request: HttpRequest) -> str | None:
    """
    Return the client's IP address, None if the server gives none.

    Behind a proxy it comes from a header whose first part the client may set.
    """
    return parse_address(request.META.get("REMOTE_ADDR") or "")


def user_agent(request: HttpRequest) -> str:
    """Return the User-Agent, 200 characters at most, without control characters."""
    header = request.headers.get("User-Agent", "")[:MAX_USER_AGENT_LENGTH]
    return "".join(character for character in header if character.isprintable())


def is_own_origin(request: HttpRequest) -> bool:
    """
    Whether the handshake comes from a page of this site: exact scheme, host and port.

    The rule is Django's for unsafe requests: the Origin is that of the validated Host, or is in
    CSRF_TRUSTED_ORIGINS. Browsers always send one; a request without it is refused.
    """
    origin = request.META.get("HTTP_ORIGIN", "")
    if not _ORIGIN.fullmatch(origin):
        return False
    try:
        if origin == f"{request.scheme}://{request.get_host()}":
            return True
    except DisallowedHost:
        pass
    return any(_is_trusted(origin, trusted) for trusted in settings.CSRF_TRUSTED_ORIGINS)


def _is_trusted(origin: str, trusted: str) -> bool:
    if "*" not in trusted:
        return origin == trusted
    scheme, _, host = origin.partition("://")
    wildcard = urlsplit(trusted)
    domain = wildcard.netloc.lstrip("*").lower()  # ".example.com" stands for example.com too
    is_subdomain = domain.startswith(".") and f".{host}".endswith(domain)
    return scheme == wildcard.scheme and (is_subdomain or host == domain)
