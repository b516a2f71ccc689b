"""Parts that the admin's pages share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import QuerySet
from django.forms import Media
from django.http import HttpRequest
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from notifications.models import Message

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    AdminMixin = admin.ModelAdmin[Any]  # for type checkers: a mixin is used with a ModelAdmin
else:
    ModelAdmin = admin.ModelAdmin
    AdminMixin = object

SEND_PERMISSION: Final = "site_notifications.send_broadcast"
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


class ReadOnlyAdmin(ModelAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class AccountRowAdmin(ReadOnlyAdmin):
    """Rows that belong to an account, which may have been deleted."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # select_related's join would hide the rows of deleted accounts.
        return super().get_queryset(request).prefetch_related("account")

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        return [f"account__{get_user_model().USERNAME_FIELD}", *self.search_fields]

    @admin.display(description=_("account"), ordering="account_id")
    def account_name(self, row: Any) -> str:
        try:
            return str(row.account.get_username())
        except ObjectDoesNotExist:
            return str(_("deleted account %(pk)s") % {"pk": row.account_id})


@admin.display(description=_("body"))
def summary(message: Message) -> str:
    return Truncator(message.body).chars(80)


def sent_to(accounts: int) -> str:
    return ngettext("Sent to %(accounts)d account.", "Sent to %(accounts)d accounts.", accounts) % {
        "accounts": accounts
    }
