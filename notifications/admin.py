"""
The admin: compose and watch broadcasts, notify chosen accounts, see who is connected.

`SendNotificationMixin` is for the site's own admin of its accounts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.db import router, transaction
from django.db.models import QuerySet
from django.forms import Media
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.text import Truncator
from django.utils.timesince import timesince
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from . import audiences, delivery, protocol, reach
from .forms import BroadcastForm, NotificationForm
from .models import Broadcast, BroadcastHead, Connection, Message, Notification, State, Worker
from .notify import broadcast, notify_accounts, retract

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin

SEND_PERMISSION: Final = "notifications.send_broadcast"
STYLE: Final = Media(css={"all": ["notifications/admin.css"]})
ACCOUNTS_NAMED: Final = 10  # on the page that asks what to send to them
# The same message again so soon is a second click, not a second broadcast.
SAME_SEND: Final = timedelta(minutes=1)


class ReadOnlyAdmin(ModelAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class OfAccountAdmin(ReadOnlyAdmin):
    """Rows that belong to an account, which may have been deleted since."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # A join, as select_related makes it, would hide the rows of deleted accounts.
        return super().get_queryset(request).prefetch_related("account")

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        return [f"account__{get_user_model().USERNAME_FIELD}", *self.search_fields]

    @admin.display(description=_("account"), ordering="account_id")
    def account_name(self, row: Any) -> str:
        try:
            return str(row.account.get_username())
        except ObjectDoesNotExist:
            return str(_("deleted account %(pk)s") % {"pk": row.account_id})


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


@admin.display(description=_("body"))
def summary(message: Message) -> str:
    return Truncator(message.body).chars(80)


# --- Broadcasts


class BroadcastChangeList(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        describe(list(self.result_list))


def describe(broadcasts: Iterable[Broadcast]) -> None:
    """Give each of a page's broadcasts its `reach` and `audience_in_words`, all at once."""
    broadcasts = list(broadcasts)
    reaches = reach.of_broadcasts(broadcasts)
    pks = {audiences.group_id(row.audience) for row in broadcasts} - {None}
    groups = Group.objects.in_bulk(list(pks)) if pks else {}
    for row in broadcasts:
        group = groups.get(audiences.group_id(row.audience))
        vars(row)["reach"] = reaches[row.pk]
        vars(row)["audience_in_words"] = group.name if group else row.audience_name


@admin.register(Broadcast)
class BroadcastAdmin(RetractMixin, ReadOnlyAdmin):
    """Compose, preview, send; what is sent can be looked at and retracted only."""

    form = BroadcastForm
    add_form_template = "admin/notifications/broadcast/compose.html"
    list_display = [
        summary,
        "type",
        "level",
        "audience_in_words",
        "sent_by",
        "created_at",
        "in_inboxes",
        "online_now",
        "read_by",
    ]
    list_per_page = 25
    list_select_related = ["sent_by"]
    ordering = ["-pk"]
    search_fields = ["type", "body"]
    show_full_result_count = False

    compose_fieldsets: ClassVar[Any] = [
        (None, {"fields": ["audience", "body", "level", "url"]}),
        (_("Options"), {"fields": ["expires_at", "type"]}),
    ]
    sent_fieldsets: ClassVar[Any] = [
        (None, {"fields": ["body", "level", "url", "type"]}),
        (
            _("Sent"),
            {
                "fields": [
                    "audience_in_words",
                    "sent_by",
                    "created_at",
                    "expires_at",
                    "in_inboxes",
                    "online_now",
                    "read_by",
                ]
            },
        ),
    ]

    @property
    def media(self) -> Media:
        return super().media + STYLE

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(SEND_PERMISSION)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.sent_fieldsets if obj else self.compose_fieldsets

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BroadcastChangeList

    def get_object(self, *args: Any, **kwargs: Any) -> Broadcast | None:
        row: Broadcast | None = super().get_object(*args, **kwargs)
        if row:
            describe([row])
        return row

    @admin.display(description=_("audience"), ordering="audience")
    def audience_in_words(self, row: Broadcast) -> str:
        return str(vars(row)["audience_in_words"])

    @admin.display(description=_("in inboxes"), boolean=True)
    def in_inboxes(self, row: Broadcast) -> bool:
        return row.gone_at is None

    @admin.display(description=_("online now"))
    def online_now(self, row: Broadcast) -> str:
        return self._of_accounts(vars(row)["reach"].online, vars(row)["reach"].accounts)

    @admin.display(description=_("read by"))
    def read_by(self, row: Broadcast) -> str:
        return self._of_accounts(vars(row)["reach"].read, vars(row)["reach"].accounts)

    def _of_accounts(self, count: int, accounts: int) -> str:
        return str(_("%(count)s of %(accounts)s") % {"count": count, "accounts": accounts})

    # Composing and sending

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"type": "announcement", **super().get_changeform_initial_data(request)}

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Compose, preview or send: three steps at one address, of which only the last stores."""
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
            "audience": form.instance.audience_name,
            "reach": reach.of_audience(form.cleaned_data["audience"]),
            "media": self.media,
            "preserved_filters": self.get_preserved_filters(request),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/notifications/broadcast/preview.html", context)

    def _send(self, request: HttpRequest, form: BroadcastForm) -> HttpResponse:
        told = {name: form.cleaned_data[name] for name in ("type", "body", "level", "url")}
        told["expires_at"] = form.cleaned_data["expires_at"]
        accounts = audiences.accounts_in(form.cleaned_data["audience"]).count()
        using = router.db_for_write(Broadcast)
        with transaction.atomic(using=using):
            BroadcastHead.objects.using(using).lock()  # a second click waits for the first
            if self._was_just_sent(request, form, told):
                self.message_user(
                    request,
                    _("This broadcast was sent a moment ago; it was not sent again."),
                    messages.WARNING,
                )
                return self.response_post_save_add(request, form.instance)
            row = broadcast(**told, audience=form.chosen_audience, sent_by=request.user)
            self.log_addition(request, row, [{"added": {}}])
        self.message_user(request, _sent_to(accounts), messages.SUCCESS)
        return self.response_post_save_add(request, row)

    def _was_just_sent(
        self, request: HttpRequest, form: BroadcastForm, told: dict[str, Any]
    ) -> bool:
        return Broadcast.objects.filter(
            **told,
            audience=form.cleaned_data["audience"],
            sent_by=request.user.pk,
            created_at__gt=timezone.now() - SAME_SEND,
        ).exists()


def _sent_to(accounts: int) -> str:
    return ngettext("Sent to %(accounts)d account.", "Sent to %(accounts)d accounts.", accounts) % {
        "accounts": accounts
    }


# --- Chosen accounts


class SendNotificationMixin(ModelAdmin):
    """
    Gives the admin of a site's accounts the action “Send a notification…”:

        from notifications.admin import SendNotificationMixin

        @admin.register(Member)
        class MemberAdmin(SendNotificationMixin, admin.ModelAdmin):
            ...

    For operators with the permission `notifications.send_broadcast`. A class
    with `actions` of its own names "send_notification" among them.
    """

    actions = ["send_notification"]

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
        self.message_user(request, _sent_to(result.created), messages.SUCCESS)
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
            "named": [account.get_username() for account in queryset[:ACCOUNTS_NAMED]],
            "unnamed": max(0, accounts - ACCOUNTS_NAMED),
            "action_checkbox_name": helpers.ACTION_CHECKBOX_NAME,
            # “All 5,000 accounts” is a flag, not 5,000 fields.
            "selected": selected[:1] if select_across else selected,
            "select_across": select_across,
            "media": self.media + form.media + STYLE,
            "back": request.get_full_path(),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/notifications/send_notification.html", context)


# --- What there is


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return State.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case State.GONE:
                return queryset.filter(gone_at__isnull=False)
            case State.ARCHIVED:
                return queryset.filter(gone_at=None, archived_at__isnull=False)
            case State.READ:
                return queryset.filter(gone_at=None, archived_at=None, read_at__isnull=False)
            case State.UNREAD:
                return queryset.filter(gone_at=None, archived_at=None, read_at=None)
        return queryset


@admin.register(Notification)
class NotificationAdmin(RetractMixin, OfAccountAdmin):
    fields = ["account_name", "type", "body", "level", "url", "state", "created_at", "expires_at"]
    list_display = [summary, "account_name", "type", "level", "state", "created_at"]
    list_filter = [StateFilter, "level", "created_at"]
    ordering = ["-pk"]
    search_fields = ["type", "body"]
    show_full_result_count = False

    @admin.display(description=_("state"))
    def state(self, row: Notification) -> str:
        return str(row.state.label)


@admin.register(Connection)
class ConnectionAdmin(OfAccountAdmin):
    """The sockets that are open now."""

    actions = ["disconnect"]
    fields = ["account_name", "worker", "user_agent", "address", "opened_at", "last_seen"]
    list_display = ["account_name", "browser", "address", "worker", "opened_at", "seen"]
    list_filter = [("worker", admin.RelatedOnlyFieldListFilter), "opened_at"]
    list_select_related = ["worker"]
    ordering = ["-opened_at"]
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        live = Connection.objects.live().values("pk")
        return super().get_queryset(request).filter(pk__in=live)

    def has_disconnect_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("notifications.delete_connection")

    @admin.display(description=_("browser"), ordering="user_agent")
    def browser(self, row: Connection) -> str:
        return browser_name(row.user_agent)

    @admin.display(description=_("last seen"), ordering="last_seen")
    def seen(self, row: Connection) -> str:
        return str(_("%(age)s ago") % {"age": timesince(row.last_seen, depth=1)})

    @admin.action(description=_("Disconnect"), permissions=["disconnect"])
    def disconnect(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        keys = list(queryset.values_list("pk", flat=True))
        delivery.close_connections(keys, protocol.CloseCode.RESTART)
        told = ngettext(
            "%(connections)d connection is being closed. "
            "Its tab comes back by itself, with a new one.",
            "%(connections)d connections are being closed. "
            "Their tabs come back by themselves, with new ones.",
            len(keys),
        )
        self.message_user(request, told % {"connections": len(keys)}, messages.SUCCESS)


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ["__str__", "started_at", "lease_until"]


# Most browsers also call themselves by the names of those further down.
_BROWSERS = (
    ("Edge", re.compile(r"\bEdg(?:e|A|iOS)?/(\d+)")),
    ("Opera", re.compile(r"\bOPR/(\d+)")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/(\d+)")),
    ("Chrome", re.compile(r"\b(?:Headless)?(?:Chrome|CriOS)/(\d+)")),
    ("Safari", re.compile(r"\bVersion/(\d+)\S* .*Safari/")),
)
_SYSTEMS = ("Android", "iPhone", "iPad", "Windows", "Macintosh", "CrOS", "Linux")


def browser_name(user_agent: str) -> str:
    """Return “Firefox 128, Linux” for what a browser calls itself, otherwise its beginning."""
    for name, pattern in _BROWSERS:
        if found := pattern.search(user_agent):
            system = next((system for system in _SYSTEMS if system in user_agent), "")
            return f"{name} {found[1]}" + (f", {system}" if system else "")
    return Truncator(user_agent).chars(40)
