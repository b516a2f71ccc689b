"""
The inbox over HTTP: JSON for the client library, a page and forms without JavaScript.

An account reads and changes its own inbox only: ids of other accounts are treated as
if they did not exist. Changes need POST and the CSRF token.
"""

from __future__ import annotations

import json
from functools import wraps
from typing import Any, Final

from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    QueryDict,
)
from django.shortcuts import redirect, render
from django.template.loader import select_template
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from . import protocol
from .audiences import Recipient
from .db import times
from .inbox import marks, pages
from .inbox.changes import read_changes
from .inbox.marks import ChangeRange, MarkError
from .request_limit import View, limited
from .unreadable import UNREADABLE, refuse_unreadable

MAX_NUMBER: Final = 2**63 - 1
MAX_MARKS: Final = 100  # in one request
ACCOUNT_HEADER: Final = "X-Notifications-Account"


def _json_login_required(view: View) -> View:
    """
    Answer 401 instead of a redirect, which a script would follow to an HTML page.

    A page sends the account that it shows in a header. If another account has logged in
    in the same browser since, its items must not be shown on that page, or marked from it.
    """

    @wraps(view)
    def checked(request: HttpRequest) -> HttpResponse:
        if not request.user.is_authenticated:
            return JsonResponse({"error": "Log in first."}, status=401)
        own = str(request.user.pk)
        if request.headers.get(ACCOUNT_HEADER, own) != own:
            error = "Another account has logged in since. Reload the page."
            return JsonResponse({"error": error}, status=401)
        return view(request)

    return checked


@never_cache
@refuse_unreadable
@require_GET
@transaction.non_atomic_requests
@limited
@login_required
def inbox_page(request: HttpRequest) -> HttpResponse:
    """The inbox as a page that works without JavaScript."""
    folder = _folder(request)
    try:
        page = pages.read_page(
            Recipient.of(request.user), request.GET.get("before") or None, folder=folder
        )
    except ValueError:
        return redirect("notifications:inbox")
    context = {
        "page": page,
        "folder": folder,
        "site_base": select_template(["base.html", "notifications/standalone.html"]),
    }
    return render(request, "notifications/inbox.html", context)


@never_cache
@refuse_unreadable
@require_GET
@transaction.non_atomic_requests
@limited
@_json_login_required
def items(request: HttpRequest) -> HttpResponse:
    """
    `GET items/?before=<cursor>&limit=<n>&unread=1`: a page of the inbox, newest first.

    Instead of `unread=1`, `archived=1` or `important=1` chooses another folder.

    The response has `items`, `next` (the `before` of the following page, or null), the
    inbox's position (`seq`, `broadcast_seq`, `epoch`, `scope`) and its counts. An invalid
    parameter gives a 400.
    """
    try:
        page = pages.read_page(
            Recipient.of(request.user),
            request.GET.get("before") or None,
            limit=_number(
                request.GET, "limit", pages.PAGE_SIZE, minimum=1, maximum=pages.MAX_PAGE_SIZE
            ),
            folder=_folder(request),
        )
    except ValueError as error:
        return _bad_request(error)
    return _json_now(items=page.items, next=page.next, **page.latest.as_dict())


@never_cache
@refuse_unreadable
@require_GET
@transaction.non_atomic_requests
@limited
@_json_login_required
def changes(request: HttpRequest) -> HttpResponse:
    """
    `GET changes/?seq=…&broadcast_seq=…&epoch=…&scope=…`: the changes since this position.

    The response has `frames` as the WebSocket would have sent them, oldest first, the position
    after them, `more` (whether there are more changes), the counts if there are not, and `resync`
    (whether the list has to be reloaded).
    """
    try:
        position = pages.Position(
            _number(request.GET, "seq"),
            _number(request.GET, "broadcast_seq"),
            _number(request.GET, "epoch"),
            request.GET.get("scope", ""),
        )
    except ValueError as error:
        return _bad_request(error)
    found = read_changes(Recipient.of(request.user), position, pages.MAX_PAGE_SIZE)
    return _json_now(
        frames=found.frames,
        resync=found.resync,
        more=not found.complete,
        **found.position.as_dict(),
        # Before the last change they would not be those at this position.
        **(found.counts.as_dict() if found.complete else {}),
    )


@never_cache
@refuse_unreadable
@require_POST
@transaction.non_atomic_requests
@limited
@_json_login_required
def mark(request: HttpRequest) -> HttpResponse:
    """
    `POST mark/`: change the state of the account's own items. All devices get a `state` frame.

    JSON: `{"ids": […], "as": …}`, `{"upto": {"seq", "broadcast_seq"}, "as": …}` or
    `{"undo": range}`. The response has the `range` of the changes (for `undo`; null if
    nothing changed), the `ids` that changed, and the inbox's position and counts.
    `{"marks": […]}` has several of these, which are done in this order; the response has
    their `answers`. An invalid one gives a 400, and those before it have been done.
    A form posts `ids`, or `seq` and `broadcast_seq`, with `as` and `next`, and is redirected.
    """
    from_form = request.content_type != "application/json"
    try:
        recipient = Recipient.of(request.user)
        data = _form(request) if from_form else _json_object(request)
        answer = (
            {"answers": [_marked(recipient, one) for one in _several(data["marks"])]}
            if "marks" in data
            else _marked(recipient, data)
        )
    except ValueError as error:
        return _bad_request(error)
    if from_form:
        # Not redirect(), which would look up a single word as the name of a view.
        return HttpResponseRedirect(_next_url(request))
    return JsonResponse(answer)


def _several(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_MARKS:
        given = f"{len(value)} of them" if isinstance(value, list) else f"{value!r:.100}"
        raise MarkError(f"marks must be a list of {MAX_MARKS} marks at most, not {given}")
    return value


def _marked(recipient: Recipient, data: Any) -> dict[str, Any]:
    """Mark items; return the answer. Raises MarkError."""
    marked = _mark(recipient, data)
    return {
        "range": marked.change_range.as_dict() if marked.change_range else None,
        "ids": marked.ids,
        **marked.latest.as_dict(),
    }


def _mark(recipient: Recipient, data: Any) -> marks.Marked:
    match data:
        case {"undo": {"as": str(name), "from": first, "seq": seq, **rest}} if _are_numbers(
            first, seq
        ) and _are_parts(rest.get("parts", [])):
            parts: Any = rest.get("parts", [])
            in_order = tuple(sorted((start, end) for start, end in parts))
            return marks.undo(recipient, ChangeRange(name, first, min(seq, MAX_NUMBER), in_order))
        case {
            "upto": {"seq": seq, "broadcast_seq": broadcast_seq},
            "as": str(name),
        } if _are_numbers(seq, broadcast_seq):
            return marks.mark_all(
                recipient, name, min(seq, MAX_NUMBER), min(broadcast_seq, MAX_NUMBER)
            )
        case {"ids": list(ids), "as": str(name)}:
            return marks.mark(recipient, name, ids)
    raise MarkError(
        "The body must have “as” (text) with “ids” (a list), or with “upto” "
        "(an object with the numbers “seq” and “broadcast_seq”, from 0), or only “undo” "
        "(a range that an earlier answer gave)."
    )


def _are_numbers(*values: Any) -> bool:
    # Not isinstance: True is an int.
    return all(type(value) is int and value >= 0 for value in values)


def _are_parts(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(part, list) and len(part) == 2 and _are_numbers(*part) for part in value
    )


def _folder(request: HttpRequest) -> pages.Folder:
    folders: tuple[pages.Folder, ...] = ("unread", "archived", "important")
    return next((folder for folder in folders if request.GET.get(folder) == "1"), "inbox")


def _json_object(request: HttpRequest) -> dict[str, Any]:
    try:
        data = json.loads(request.body)
    except (*UNREADABLE, RecursionError):
        raise MarkError("The body must be JSON.") from None
    if not isinstance(data, dict):
        raise MarkError("The body must be a JSON object.")
    return data


def _form(request: HttpRequest) -> dict[str, Any]:
    data: dict[str, Any] = {"as": request.POST.get("as", "")}
    if "seq" in request.POST:
        data["upto"] = {name: _number(request.POST, name) for name in ("seq", "broadcast_seq")}
    else:
        data["ids"] = request.POST.getlist("ids")
    return data


def _next_url(request: HttpRequest) -> str:
    url = request.POST.get("next", "")
    on_site = url_has_allowed_host_and_scheme(
        url, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    # Proxies refuse longer headers.
    is_short = len(url) <= protocol.MAX_URL_LENGTH
    return url if on_site and is_short else reverse("notifications:inbox")


def _number(
    values: QueryDict,
    name: str,
    default: int | None = None,
    minimum: int = 0,
    maximum: int = MAX_NUMBER,
) -> int:
    text = values.get(name, "")
    if not text and default is not None:
        return default
    number = int(text) if text.isdecimal() and text.isascii() and len(text) < 20 else -1
    if not minimum <= number <= maximum:
        raise ValueError(f"{name} must be a number from {minimum} to {maximum}, not {text!r:.100}")
    return number


def _json_now(**content: Any) -> JsonResponse:
    # With the server's time, so that ages are right even if the computer's clock is wrong.
    return JsonResponse({**content, "now": times.now().isoformat()})


def _bad_request(error: Exception) -> JsonResponse:
    return JsonResponse({"error": str(error)}, status=400)
