"""Notifications: find them, and send one to accounts selected in the account admin."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Final, cast

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from notifications.forms import NotificationForm
from notifications.models import AccountEnded, Notification, State
from notifications.notify import notify_accounts

from .base import (
    SEND_PERMISSION,
    STYLE,
    AccountRowAdmin,
    ActionMixin,
    add_action,
    body,
    isolated,
    link,
    sent_to,
    summary,
)
from .retraction import RetractMixin, removal_in_words

MAX_ACCOUNTS_NAMED: Final = 10  # on the page with the form


class StateFilter(admin.SimpleListFilter):
    title = _("status")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return State.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case State.REMOVED:
                return queryset.filter(removed_at__isnull=False)
            case State.ARCHIVED:
                return queryset.filter(removed_at=None, archived_at__isnull=False)
            case State.READ:
                return queryset.filter(removed_at=None, archived_at=None, read_at__isnull=False)
            case State.UNREAD:
                return queryset.filter(removed_at=None, archived_at=None, read_at=None)
        return queryset


@admin.register(Notification)
class NotificationAdmin(RetractMixin, AccountRowAdmin):
    fields: ClassVar[Any] = [
        "account_name",
        "type",
        body,
        "level",
        link,
        "status",
        "created_at",
        "expires_at",
    ]
    list_display = [summary, "account_name", "type", "level", "status", "created_at"]
    list_filter = [StateFilter, "level", "created_at"]
    ordering = ["-pk"]
    search_fields = ["type", "body"]
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        moved = AccountEnded.objects.older_kept().filter(account_id=OuterRef("account_id"))
        rows: QuerySet[Any] = super().get_queryset(request).annotate(may_be_moved=Exists(moved))
        return rows

    def owned_at(self, row: Any) -> datetime | None:
        return None if row.may_be_moved else row.created_at

    @admin.display(description=_("status"))
    def status(self, row: Notification) -> str:
        return removal_in_words(row) if row.removed_at else str(row.state.label)

    def recipients_in_words(self, rows: list[Notification]) -> list[str]:
        return [str(self.account_name(row)) for row in rows]


class SendNotificationMixin(ActionMixin):
    """
    Adds the action “Send a notification…” to a site's own account admin:

        from notifications.admin import SendNotificationMixin

        @admin.register(Member)
        class MemberAdmin(SendNotificationMixin, admin.ModelAdmin):
            actions = ["export"]

    Operators with the permission `site_notifications.send_broadcast` see it. The class keeps
    its own `actions` and `get_actions`; `actions = None` still turns all actions off.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        add_action(cls, "send_notification")

    def has_send_notification_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(SEND_PERMISSION)

    @admin.action(description=_("Send a notification…"), permissions=["send_notification"])
    def send_notification(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        if "_send" not in request.POST:
            form = NotificationForm(initial={"type": "message"})
            return self._notification_page(request, queryset, form)
        form = NotificationForm(request.POST)
        if not form.is_valid():
            return self._notification_page(request, queryset, form)
        result = notify_accounts(queryset, **form.cleaned_data)
        LogEntry.objects.create(
            user_id=cast(Any, request.user.pk),
            content_type=ContentType.objects.get_for_model(Notification),
            object_repr=Truncator(f"{form.instance} → {result.created}").chars(200),
            action_flag=ADDITION,
        )
        self.message_user(request, sent_to(result.created), messages.SUCCESS)
        return None

    def _notification_page(
        self, request: HttpRequest, queryset: QuerySet[Any], form: NotificationForm
    ) -> HttpResponse:
        selected = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
        select_across = request.POST.get("select_across") == "1"
        accounts = queryset.count()
        context = {
            **self.admin_site.each_context(request),
            "title": _("Send a notification"),
            "opts": self.opts,
            "adminform": helpers.AdminForm(form, [(None, {"fields": list(form.fields)})], {}),
            "errors": helpers.AdminErrorList(form, []),
            "accounts": accounts,
            "named": [
                isolated(account.get_username()) for account in queryset[:MAX_ACCOUNTS_NAMED]
            ],
            "unnamed": max(0, accounts - MAX_ACCOUNTS_NAMED),
            "action_checkbox_name": helpers.ACTION_CHECKBOX_NAME,
            # Selecting “all 5,000 accounts” posts a flag, not 5,000 fields.
            "selected": selected[:1] if select_across else selected,
            "select_across": select_across,
            "media": self.media + form.media + STYLE,
            "back": request.get_full_path(),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/site_notifications/send_notification.html", context)
