"""Parts that the admin's pages share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Q, QuerySet
from django.forms import Media
from django.http import HttpRequest
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.timezone import is_naive
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from notifications.audiences import created_at
from notifications.db.bulk import values_of
from notifications.db.keys import is_key
from notifications.models import Message

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    AdminMixin = admin.ModelAdmin[Any]  # for type checkers: a mixin is used with a ModelAdmin
else:
    ModelAdmin = admin.ModelAdmin
    AdminMixin = object

SEND_PERMISSION: Final = "site_notifications.send_broadcast"
MAX_SEARCH_LENGTH: Final = 200  # characters
FILTER_OPERATORS: Final = frozenset({"exact", "gte", "isempty", "isnull", "lt"})
STYLE: Final = Media(css={"all": ["notifications/admin.css"]})


def add_action(admin_class: Any, name: str) -> None:
    """
    Add a method's name to an admin class's actions; for `__init_subclass__` of mixins.

    `get_actions` won't do: its parameters and result changed in Django 6.1, and in a mixin
    that is listed after ModelAdmin it is never called.
    """
    actions = getattr(admin_class, "actions", None)
    if actions is not None and name not in actions:  # None turns all actions off
        admin_class.actions = [*actions, name]


class ActionMixin(AdminMixin):
    """Actions on selected rows, which anybody may name in a request."""

    def response_action(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        # Django looks up anything; a malformed key is that of no row.
        selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
        form = request.POST.copy()
        form.setlist(
            ACTION_CHECKBOX_NAME, [key for key in selected if is_key(key, self.model._meta.pk)]
        )
        request.POST = form  # type: ignore[assignment]
        return super().response_action(request, *args, **kwargs)


class ReadOnlyAdmin(ActionMixin, ModelAdmin):
    @property
    def media(self) -> Media:
        return super().media + STYLE

    def lookup_allowed(self, lookup: str, value: str, request: Any = None) -> bool:
        """Allow what the list's filters ask for: a regular expression may take minutes."""
        return (
            "\x00" not in value
            and _is_in_time(value)
            and any(_asks_for(list_filter, lookup) for list_filter in self.get_list_filter(request))
            and super().lookup_allowed(lookup, value, request)
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        # Each word is a condition, and SQLite takes a thousand of them.
        return super().get_search_results(request, queryset, search_term[:MAX_SEARCH_LENGTH])

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class AccountRowAdmin(ReadOnlyAdmin):
    """Rows that belong to an account, which may have been deleted."""

    def owned_at(self, row: Any) -> datetime | None:
        """Return a time at which the row's account existed, None if none is known."""
        raise NotImplementedError

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # select_related's join would hide the rows of deleted accounts.
        return super().get_queryset(request).prefetch_related("account")

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        return [f"account__{get_user_model().USERNAME_FIELD}", *self.search_fields]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        accounts = get_user_model()._default_manager.all()
        if accounts.db == queryset.db:
            return super().get_search_results(request, queryset, search_term)
        # Accounts are in another database, which no join reaches.
        for word in search_term[:MAX_SEARCH_LENGTH].split():
            named = accounts.filter(**{f"{get_user_model().USERNAME_FIELD}__icontains": word})
            found = Q(account__in=values_of(named, "pk", queryset.db))
            for field in self.search_fields:
                found |= Q(**{f"{field}__icontains": word})
            queryset = queryset.filter(found)
        return queryset, False

    @admin.display(description=_("account"), ordering="account_id")
    def account_name(self, row: Any) -> str:
        return account_in_words(row, "account", self.owned_at(row))


def _asks_for(list_filter: Any, lookup: str) -> bool:
    """Whether an entry of `list_filter` has this name in the query of its links."""
    if hasattr(list_filter, "parameter_name"):
        return bool(lookup == list_filter.parameter_name)
    field = list_filter[0] if isinstance(list_filter, list | tuple) else list_filter
    path, _, operator = lookup.rpartition("__")
    if path == field:
        return operator in FILTER_OPERATORS
    # A related row, by the field that the foreign key refers to.
    return operator == "exact" and path.rpartition("__")[0] == field


def isolated(text: object) -> SafeString:
    """
    Return a text that people wrote, as HTML that keeps to itself.

    Characters that change the direction of writing end with it, a long word is wrapped, and piled
    up accents are cut off (admin.css). All text of people on our pages passes through here.
    """
    return format_html('<bdi class="notification-text">{}</bdi>', str(text))


@admin.display(description=_("body"))
def summary(message: Message) -> str:
    return isolated(Truncator(message.body).chars(80))


@admin.display(description=_("body"))
def body(message: Message) -> str:
    return isolated(message.body)


@admin.display(description=_("link"))
def link(message: Message) -> str:
    return isolated(message.url) if message.url else ""


def account_in_words(row: Any, field: str, at: datetime | None = None) -> str:
    """
    Return the name of the account that a row refers to, even if it has been deleted.

    at: when it did what the row says. An account that was created later only has the same key.
    """
    try:
        account = getattr(row, field)
    except ObjectDoesNotExist:
        account = None
    since = created_at(account) if account and at else None
    if account is None or (at and since and since > at):
        return str(_("deleted account %(pk)s") % {"pk": getattr(row, f"{field}_id")})
    return isolated(account.get_username())


def sent_to(accounts: int) -> str:
    return ngettext("Sent to %(accounts)d account.", "Sent to %(accounts)d accounts.", accounts) % {
        "accounts": accounts
    }


def _is_in_time(value: str) -> bool:
    """Whether a value is not a time that UTC has no year for, west or east of Greenwich."""
    try:
        time = parse_datetime(value)
        return time is None or is_naive(time) or bool(time.astimezone(UTC))
    except (OverflowError, ValueError):
        return False
