"""
The outermost layer of the site: what holds for every answer, whatever failed.

Each has the security headers. An exception that leaves Django is logged once and answered with a
page of the site's own. While debugging, only this machine is answered.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

from csp.middleware import CSPMiddleware
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware

from . import errors
from .start import ONLY_THIS_MACHINE, is_loopback

logger = logging.getLogger("django.request")

Headers = list[tuple[bytes, bytes]]


def guarded(application: Any) -> Any:
    """Return the ASGI application behind this layer."""

    async def guarded_application(scope: Any, receive: Any, send: Any) -> None:
        if settings.DEBUG and not _is_local(scope):
            await _refuse(scope, receive, send)
        elif scope["type"] == "http":
            await _answer(application, scope, receive, send)
        else:
            await application(scope, receive, send)

    return guarded_application


async def _answer(application: Any, scope: Any, receive: Any, send: Any) -> None:
    has_started = False

    async def send_guarded(event: Any) -> None:
        nonlocal has_started
        if event["type"] == "http.response.start":
            has_started = True
            event = {**event, "headers": _with_missing(event.get("headers", []), scope)}
        await send(event)

    try:
        await application(scope, receive, send_guarded)
    except Exception as error:
        if has_started:
            raise
        logger.error(
            "Internal Server Error: %a",
            scope["path"],
            exc_info=error,
            extra={"status_code": 500},
        )
        await _send(errors.server_error(), send_guarded)


async def _refuse(scope: Any, receive: Any, send: Any) -> None:
    logger.warning("Refused %a: %s", scope["path"], ONLY_THIS_MACHINE)
    if scope["type"] == "http":
        response = HttpResponse(ONLY_THIS_MACHINE, status=403, content_type="text/plain")
        await _send(response, send)
    else:
        await receive()  # websocket.connect
        await send({"type": "websocket.close"})


async def _send(response: HttpResponse, send: Any) -> None:
    status, headers = response.status_code, _encoded(response)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})


def _is_local(scope: Any) -> bool:
    """Whether the request came in at an address of this machine only, or at a Unix socket."""
    # Not by the client's address, which may come from a header.
    host, port = scope.get("server") or ("", None)
    return port is None or is_loopback(host)


def _with_missing(headers: Any, scope: Any) -> Headers:
    """Return the headers, and those of the middleware that are missing."""
    present = {name.lower() for name, _ in headers}
    wanted = _security_headers(_is_https(scope))
    return [*headers, *(pair for pair in wanted if pair[0] not in present)]


def _is_https(scope: Any) -> bool:
    # As SECURE_PROXY_SSL_HEADER says.
    return scope["scheme"] == "https" or (b"x-forwarded-proto", b"https") in scope["headers"]


@cache
def _security_headers(is_https: bool) -> Headers:
    if settings.DEBUG:
        return []  # Django's pages for debugging have inline styles
    request, response = HttpRequest(), HttpResponse()
    request.META = {"HTTP_X_FORWARDED_PROTO": "https" if is_https else "http"}
    for middleware in (CSPMiddleware, XFrameOptionsMiddleware, SecurityMiddleware):
        middleware(lambda _: response).process_response(request, response)
    del response["Content-Type"]
    return _encoded(response)


def _encoded(response: HttpResponse) -> Headers:
    return [(name.lower().encode(), value.encode()) for name, value in response.items()]
