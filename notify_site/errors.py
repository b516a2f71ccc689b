"""
The pages for errors.

They show nothing of the account, and no cache keeps them. They don't look at the request, which
may be what failed: Django's own handlers read its form, for the CSRF token.
"""

from __future__ import annotations

import logging

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.cache import add_never_cache_headers

logger = logging.getLogger(__name__)

# In case a template is what failed, or a static file that it names.
PLAIN = '<!doctype html><html lang="en"><title>{0}</title><h1>{0}</h1><p>Notify Site'


def bad_request(request: HttpRequest | None = None, exception: object = None) -> HttpResponse:
    return _page("400.html", 400)


def permission_denied(request: HttpRequest, exception: object = None) -> HttpResponse:
    return _page("403.html", 403)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _page("403_csrf.html", 403)


def page_not_found(request: HttpRequest, exception: object = None) -> HttpResponse:
    return _page("404.html", 404)


def server_error(request: HttpRequest | None = None) -> HttpResponse:
    return _page("500.html", 500)


def _page(template: str, status: int) -> HttpResponse:
    response = HttpResponse(status=status)
    try:
        response.content = render_to_string(template)
    except Exception as error:
        logger.error("%s could not be rendered: %s", template, type(error).__name__)
        response.content = PLAIN.format(f"{response.reason_phrase} ({status})")
    add_never_cache_headers(response)
    return response
