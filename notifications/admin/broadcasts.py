"""Broadcasts: compose, preview and send them, and see how many accounts have read them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, ClassVar, Final

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from notifications import audiences
from notifications.db import times
from notifications.db.transactions import in_short_transaction
from notifications.forms import BroadcastForm
from notifications.models import Broadcast, BroadcastSequence
from notifications.notify import broadcast

from . import audience_size
from .audience_size import AudienceSize
from .base import (
    SEND_PERMISSION,
    ReadOnlyAdmin,
    account_in_words,
    body,
    isolated,
    link,
    sent_to,
    summary,
)
from .retraction import RetractMixin, removal_in_words

# The same message sent again within this time is a double click, not a second broadcast.
RESEND_WINDOW: Final = timedelta(minutes=1)


class BroadcastChangeList(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        describe(list(self.result_list))


def describe(broadcasts: Iterable[Broadcast]) -> None:
    """Set `size` and `audience_in_words` on a page's broadcasts, with few queries."""
    broadcasts = list(broadcasts)
    sizes = audience_size.of_broadcasts(broadcasts)
    pks = {audiences.group_id(row.audience) for row in broadcasts} - {None}
    groups = Group.objects.in_bulk(list(pks)) if pks else {}
    for row in broadcasts:
        group = groups.get(audiences.group_id(row.audience))
        vars(row)["size"] = sizes[row.pk]
        vars(row)["audience_in_words"] = group.name if group else row.audience_name


def size_of(row: Broadcast) -> AudienceSize:
    """Return the row's `size`, which `describe` has set."""
    size: AudienceSize = vars(row)["size"]
    return size


@admin.register(Broadcast)
class BroadcastAdmin(RetractMixin, ReadOnlyAdmin):
    """Compose, preview, send. A sent broadcast can only be viewed and retracted."""

    form = BroadcastForm
    add_form_template = "admin/site_notifications/broadcast/compose.html"
    list_display = [
        summary,
        "type",
        "level",
        "audience_in_words",
        "sender",
        "created_at",
        "status",
        "online_now",
        "read_by",
    ]
    list_per_page = 25
    ordering = ["-pk"]
    search_fields = ["type", "body"]
    show_full_result_count = False

    compose_fieldsets: ClassVar[Any] = [
        (None, {"fields": ["audience", "body", "level", "url"]}),
        (_("Options"), {"fields": ["expires_at", "type"]}),
    ]
    sent_fieldsets: ClassVar[Any] = [
        (None, {"fields": [body, "level", link, "type"]}),
        (
            _("Sent"),
            {
                "fields": [
                    "audience_in_words",
                    "sender",
                    "created_at",
                    "expires_at",
                    "status",
                    "online_now",
                    "read_by",
                ]
            },
        ),
    ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(SEND_PERMISSION)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.sent_fieldsets if obj else self.compose_fieldsets

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Not by a join: accounts may be in another database.
        return super().get_queryset(request).prefetch_related("sent_by")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BroadcastChangeList

    def get_object(self, *args: Any, **kwargs: Any) -> Broadcast | None:
        row: Broadcast | None = super().get_object(*args, **kwargs)
        if row:
            describe([row])
        return row

    @admin.display(description=_("audience"), ordering="audience")
    def audience_in_words(self, row: Broadcast) -> str:
        return isolated(vars(row)["audience_in_words"])

    @admin.display(description=_("sent by"), ordering="sent_by_id")
    def sender(self, row: Broadcast) -> str | None:
        if row.sent_by_id is None:
            return None
        return account_in_words(row, "sent_by", row.created_at)

    @admin.display(description=_("status"))
    def status(self, row: Broadcast) -> str:
        return removal_in_words(row) if row.removed_at else str(_("Sent"))

    @admin.display(description=_("online now"))
    def online_now(self, row: Broadcast) -> str:
        return self._of_accounts(size_of(row).online, size_of(row))

    @admin.display(description=_("read by"))
    def read_by(self, row: Broadcast) -> str:
        return self._of_accounts(size_of(row).read, size_of(row))

    def _of_accounts(self, count: int, size: AudienceSize) -> str:
        if count > size.accounts:
            return str(count)
        return str(_("%(count)s of %(accounts)s") % {"count": count, "accounts": size.accounts})

    def recipients_in_words(self, rows: list[Broadcast]) -> list[str]:
        describe(rows)
        return [
            ngettext(
                "%(audience)s, %(accounts)d account",
                "%(audience)s, %(accounts)d accounts",
                size_of(row).accounts,
            )
            % {"audience": vars(row)["audience_in_words"], "accounts": size_of(row).accounts}
            for row in rows
        ]

    # Composing and sending

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"type": "announcement", **super().get_changeform_initial_data(request)}

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Compose, preview or send: three steps at one URL. Only sending stores anything."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        fields = flatten_fieldsets(self.compose_fieldsets)
        form_class: Any = self.get_form(request, fields=fields)
        if request.method != "POST":
            form = form_class(initial=self.get_changeform_initial_data(request))
            return self._compose_page(request, form)
        form = form_class(request.POST)
        if not form.is_valid() or "_edit" in request.POST:
            return self._compose_page(request, form)
        if "_send" in request.POST:
            return self._send(request, form)
        return self._preview_page(request, form)

    def _compose_page(self, request: HttpRequest, form: Any) -> HttpResponse:
        fieldsets = helpers.AdminForm(form, self.compose_fieldsets, {}, model_admin=self)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Compose a broadcast"),
            "adminform": fieldsets,
            "errors": helpers.AdminErrorList(form, []),
            "inline_admin_formsets": [],
            "media": self.media + fieldsets.media,
            "preserved_filters": self.get_preserved_filters(request),
        }
        return self.render_change_form(request, context, add=True)

    def _preview_page(self, request: HttpRequest, form: BroadcastForm) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("Preview the broadcast"),
            "opts": self.opts,
            "has_view_permission": self.has_view_permission(request),
            "form": form,
            "message": form.instance,
            "body": isolated(form.instance.body),
            "link": link(form.instance),
            "audience": isolated(form.instance.audience_name),
            "audience_size": audience_size.of_audience(form.cleaned_data["audience"]),
            "media": self.media,
            "preserved_filters": self.get_preserved_filters(request),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/site_notifications/broadcast/preview.html", context)

    def _send(self, request: HttpRequest, form: BroadcastForm) -> HttpResponse:
        names = ("type", "body", "level", "url", "expires_at")
        content = {name: form.cleaned_data[name] for name in names}
        accounts = audiences.accounts_in(form.cleaned_data["audience"]).count()
        using = router.db_for_write(Broadcast)

        def send() -> Broadcast | None:
            BroadcastSequence.objects.using(using).lock()  # a second click waits for the first
            if self._was_just_sent(request, form, content):
                return None
            row = broadcast(**content, audience=form.chosen_audience, sent_by=request.user)
            self.log_addition(request, row, [{"added": {}}])
            return row

        if row := in_short_transaction(send, using):
            self.message_user(request, sent_to(accounts), messages.SUCCESS)
        else:
            self.message_user(
                request,
                _("This broadcast was sent a moment ago; it was not sent again."),
                messages.WARNING,
            )
        return self.response_post_save_add(request, row or form.instance)

    def _was_just_sent(
        self, request: HttpRequest, form: BroadcastForm, content: dict[str, Any]
    ) -> bool:
        return Broadcast.objects.filter(
            **content,
            audience=form.cleaned_data["audience"],
            sent_by=request.user.pk,
            created_at__gt=times.now() - RESEND_WINDOW,
        ).exists()
