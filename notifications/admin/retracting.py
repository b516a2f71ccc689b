"""The action that takes messages back."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import router, transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from notifications.notify import retract

from .base import ModelAdmin


class RetractMixin(ModelAdmin):
    """Messages that whoever may delete them may take out of all inboxes."""

    actions = ["retract"]

    def has_retract_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"notifications.delete_{self.opts.model_name}")

    @admin.action(description=_("Retract"), permissions=["retract"])
    def retract(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        present = queryset.filter(gone_at=None)
        with transaction.atomic(using=router.db_for_write(self.model)):
            retracted = retract(present)
            LogEntry.objects.log_actions(
                cast(Any, request.user.pk), present, CHANGE, str(_("Retracted."))
            )
        told = ngettext(
            "%(messages)d message was retracted: it leaves all inboxes and open tabs.",
            "%(messages)d messages were retracted: they leave all inboxes and open tabs.",
            retracted,
        )
        self.message_user(request, told % {"messages": retracted}, messages.SUCCESS)
