"""
Refuses requests whose content can't be read, before anything else reads it.

For the CSRF token, Django reads the form of every POST in its middleware, before the view runs. If
that fails, its handlers for errors read the form again and fail as well. So the middleware leaves
these views alone, and the token is checked here, once the form has been read.
"""

from __future__ import annotations

from functools import wraps
from typing import Final

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from .request_limit import View

UTF_8: Final = {"utf-8", "utf8"}
# LookupError and ValueError: codecs, for names and bytes that clients choose.
UNREADABLE: Final = (
    *(BadRequest, MultiPartParserError, SuspiciousOperation, UnreadablePostError),
    *(LookupError, ValueError),
)


def refuse_unreadable(view: View) -> View:
    """Answer 400, as JSON, unless the request's content is in UTF-8 and can be read."""
    protected = csrf_protect(view)

    @csrf_exempt
    @wraps(view)
    def checked(request: HttpRequest) -> HttpResponse:
        if problem := _problem(request):
            return JsonResponse({"error": problem}, status=400)
        return protected(request)

    return checked


def _problem(request: HttpRequest) -> str | None:
    # Django would decode forms, and under WSGI the query too, by whatever codec a client names.
    charset = (request.content_params or {}).get("charset", "utf-8")
    if charset.lower() not in UTF_8:
        return f"The charset of Content-Type must be utf-8, not {charset!r:.100}."
    try:
        _ = request.POST
    except UNREADABLE as error:
        return f"The form can't be read: {error!s:.200}"
    return None
