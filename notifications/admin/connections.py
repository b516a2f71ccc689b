"""The open connections: which account, with which browser, to which worker."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.text import Truncator
from django.utils.timesince import timesince
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from notifications import protocol
from notifications.channel_layer import hub_commands
from notifications.db import times
from notifications.models import Connection, Worker

from .base import AccountRowAdmin, ReadOnlyAdmin, isolated


@admin.register(Connection)
class ConnectionAdmin(AccountRowAdmin):
    """The connections that are open now."""

    actions = ["disconnect"]
    fields = ["account_name", "worker", "sent_user_agent", "address", "opened_at", "last_seen"]
    list_display = ["account_name", "browser", "address", "worker", "opened_at", "seen"]
    list_filter = [("worker", admin.RelatedOnlyFieldListFilter), "opened_at"]
    list_select_related = ["worker"]
    ordering = ["-opened_at"]
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        live = Connection.objects.live().values("pk")
        return super().get_queryset(request).filter(pk__in=live)

    def owned_at(self, row: Connection) -> datetime:
        opened_at: datetime = row.opened_at
        return opened_at

    def has_disconnect_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("site_notifications.delete_connection")

    @admin.display(description=_("browser"), ordering="user_agent")
    def browser(self, row: Connection) -> str:
        return isolated(browser_name(row.user_agent))

    @admin.display(description=_("browser"))
    def sent_user_agent(self, row: Connection) -> str:
        return isolated(row.user_agent)

    @admin.display(description=_("last seen"), ordering="last_seen")
    def seen(self, row: Connection) -> str:
        if times.now() - row.last_seen < timedelta(minutes=1):
            return str(_("just now"))
        return str(_("%(age)s ago") % {"age": timesince(row.last_seen, depth=1)})

    @admin.action(description=_("Disconnect"), permissions=["disconnect"])
    def disconnect(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        keys = list(queryset.values_list("pk", flat=True))
        hub_commands.close_connections(keys, protocol.CloseCode.RESTART)
        closed = ngettext(
            "%(connections)d connection closed. The tab will reconnect.",
            "%(connections)d connections closed. The tabs will reconnect.",
            len(keys),
        )
        self.message_user(request, closed % {"connections": len(keys)}, messages.SUCCESS)


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ["__str__", "started_at", "lease_until"]


# The order matters: most browsers also claim to be those further down.
_BROWSERS = (
    ("Edge", re.compile(r"\bEdg(?:e|A|iOS)?/(\d+)")),
    ("Opera", re.compile(r"\bOPR/(\d+)")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/(\d+)")),
    ("Chrome", re.compile(r"\b(?:Headless)?(?:Chrome|CriOS)/(\d+)")),
    ("Safari", re.compile(r"\bVersion/(\d+)\S* .*Safari/")),
)
_SYSTEMS = ("Android", "iPhone", "iPad", "Windows", "Macintosh", "CrOS", "Linux")


def browser_name(user_agent: str) -> str:
    """Return “Firefox 128, Linux”, for example, or the beginning of an unknown User-Agent."""
    for name, pattern in _BROWSERS:
        if found := pattern.search(user_agent):
            system = next((system for system in _SYSTEMS if system in user_agent), "")
            return f"{name} {found[1]}" + (f", {system}" if system else "")
    return Truncator(user_agent).chars(40)
