"""
Run code of the tests inside the site's process, and reset the site.

Starting a process for it would take half a second of a processor, a hundred times.
"""

from __future__ import annotations

import traceback
from functools import partial
from io import StringIO

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from notifications.hub.hub import get_hub
from notifications.models import Broadcast, BroadcastReceipt, BroadcastSequence, Inbox, Notification
from notify_site.shop import demo
from notify_site.shop.models import Order


@csrf_exempt
@require_POST
def run(request: HttpRequest) -> HttpResponse:
    """
    Run the code in the body as `manage.py shell` does; answer with what it prints.

    Only a site that was started by tests has this URL (urls.py). It listens on the loopback
    interface, and asks for a key that no page and no other program has.
    """
    if not constant_time_compare(request.headers.get("X-Tests-Key", ""), settings.TESTS_KEY):
        raise PermissionDenied
    printed = StringIO()
    # redirect_stdout would also capture the output of other threads.
    names = {"print": partial(print, file=printed)}
    try:
        exec(request.body.decode(), names)
    except Exception:
        return HttpResponse(traceback.format_exc(), status=500, content_type="text/plain")
    return HttpResponse(printed.getvalue(), content_type="text/plain")


@transaction.atomic
def begin_anew() -> None:
    """
    Delete the demo's accounts and orders with everything they own, and make them again.

    The new accounts have new ids, so the hub has nothing in memory about them. Orders get the ids
    that tests use.
    """
    ours = (Notification, BroadcastReceipt, Broadcast, Inbox)
    for model in (*ours, Session, get_user_model()):
        model._base_manager.all().delete()
    BroadcastSequence.objects.update(seq=0, floor=0, epoch=1)  # the site keeps its name
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sqlite_sequence SET seq = 0 WHERE name = %s", [Order._meta.db_table])
    demo.create_missing()


def connections() -> list[str]:
    """Return the ids of the present accounts' connections. Those of deleted ones may be open."""
    accounts = set(get_user_model().objects.values_list("pk", flat=True))

    async def look() -> list[str]:
        found = get_hub()._connections.values()
        return [one.id for one in found if one.recipient.account_id in accounts]

    return async_to_sync(look)()


def log_in(name: str) -> str:
    """Return the key of a new session of the account."""
    client = Client()
    client.force_login(get_user_model().objects.get(username=name))
    return client.cookies[settings.SESSION_COOKIE_NAME].value
