"""How messages were removed, and the action that retracts them, after a page to confirm it."""

from __future__ import annotations

from typing import Any, Final, cast

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import display_for_value, model_ngettext
from django.db import router, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import conditional_escape, escape
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from notifications.forms import RetractionForm
from notifications.models import Message
from notifications.notify import retract

from .base import AdminMixin, account_in_words, add_action, isolated, summary

NO_BREAK_SPACE: Final = "\N{NO-BREAK SPACE}"
MAX_MESSAGES_LISTED: Final = 10  # on the page to confirm it


def removal_in_words(message: Message) -> str:
    """Return how and when a removed message was removed; for a retraction also by whom."""
    at, values = message.retracted_at or message.removed_at, {}
    if message.retracted_by_id is not None:
        words = _("Retracted by %(account)s, %(time)s")
        values["account"] = conditional_escape(account_in_words(message, "retracted_by", at))
    elif message.retracted_at:
        words = _("Retracted, %(time)s")
    elif at and message.expires_at and message.expires_at <= at:
        words = _("Expired, %(time)s")
    else:
        words = _("Removed, %(time)s")
    time = display_for_value(at, "").replace(" ", NO_BREAK_SPACE)  # in a narrow column
    return mark_safe(escape(words) % {**values, "time": escape(time)})


class RetractMixin(AdminMixin):
    """Adds the action “Retract” to an admin of messages; it takes the delete permission."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        add_action(cls, "retract")

    def recipients_in_words(self, rows: list[Any]) -> list[str]:
        """Return the recipients of each of these messages, as text."""
        raise NotImplementedError

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Not select_related, as the accounts may be in another database.
        return super().get_queryset(request).prefetch_related("retracted_by")

    def has_retract_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"{self.opts.app_label}.delete_{self.opts.model_name}")

    @admin.action(description=_("Retract"), permissions=["retract"])
    def retract(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        present = queryset.filter(removed_at=None)
        listed = list(present.order_by("-pk")[:MAX_MESSAGES_LISTED])
        if not listed:
            self.message_user(
                request,
                _("The selected messages are already gone from all inboxes."),
                messages.WARNING,
            )
            return None
        form = RetractionForm(request.POST)
        if not form.is_valid():
            return self._confirmation_page(request, listed, present.count())
        confirmed = present.filter(pk__lte=form.cleaned_data["newest"])
        with transaction.atomic(using=router.db_for_write(self.model)):
            retracted = retract(confirmed, by=request.user)
            LogEntry.objects.log_actions(
                cast(Any, request.user.pk), confirmed, CHANGE, str(_("Retracted."))
            )
        done = ngettext(
            "%(messages)d message retracted. It is gone from all inboxes and open tabs.",
            "%(messages)d messages retracted. They are gone from all inboxes and open tabs.",
            retracted,
        )
        self.message_user(request, done % {"messages": retracted}, messages.SUCCESS)
        return None

    def _confirmation_page(
        self, request: HttpRequest, listed: list[Any], count: int
    ) -> HttpResponse:
        selected = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
        select_across = request.POST.get("select_across") == "1"
        described = zip(listed, self.recipients_in_words(listed), strict=True)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Retract messages"),
            "opts": self.opts,
            "objects_name": model_ngettext(self.opts, count),
            "model_count": [(self.opts.verbose_name_plural, count)],
            "listed": [
                (row.pk, summary(row), isolated(recipients)) for row, recipients in described
            ],
            "unlisted": count - len(listed),
            "form": RetractionForm(initial={"newest": listed[0].pk}),
            "action_checkbox_name": helpers.ACTION_CHECKBOX_NAME,
            # Selecting “all 5,000 messages” posts a flag, not 5,000 fields.
            "selected": selected[:1] if select_across else selected,
            "select_across": select_across,
            "media": self.media,
            "back": request.get_full_path(),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/site_notifications/retract.html", context)
