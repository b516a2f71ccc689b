"""A site's own user admin keeps its actions when the mixin adds the one to send."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.test import RequestFactory

from notifications.admin import SendNotificationMixin


@admin.action(description="Greet")
def greet(model_admin: Any, request: Any, queryset: Any) -> None:
    pass


class Left(SendNotificationMixin, UserAdmin):
    actions = [greet]


class Right(UserAdmin, SendNotificationMixin):
    actions = [greet]


class WithTuple(SendNotificationMixin, UserAdmin):
    actions = (greet,)


class NamesIt(SendNotificationMixin, UserAdmin):
    """As in an earlier version of the documentation."""

    actions = [greet, "send_notification"]


class Derived(Left):
    actions = ["greet_by_name"]

    def greet_by_name(self, request: Any, queryset: Any) -> None:
        pass


class CompanyMixin(SendNotificationMixin):
    """A site's own mixin, not a ModelAdmin either."""


class ByCompanyMixin(CompanyMixin, UserAdmin):
    actions = [greet]


class WithoutActions(SendNotificationMixin, UserAdmin):
    actions = None


class RemovesIt(SendNotificationMixin, UserAdmin):
    """A site's own `get_actions`, which removes the action."""

    actions = [greet]

    def get_actions(self, request: Any, *args: Any, action_location: Any = None) -> Any:
        location = {} if action_location is None else {"action_location": action_location}
        actions = super().get_actions(request, *args, **location)
        del actions["send_notification"]
        return actions


def actions_of(admin_class: Any, account: User, query: str = "") -> list[str]:
    request = RequestFactory().get(f"/{query}")
    request.user = account
    return [*admin_class(User, AdminSite()).get_actions(request)]


@pytest.mark.parametrize("admin_class", [Left, Right, WithTuple, NamesIt, ByCompanyMixin])
def test_the_sites_own_actions_are_kept(admin_class: Any, operator: User) -> None:
    assert actions_of(admin_class, operator) == ["delete_selected", "greet", "send_notification"]


def test_a_derived_admin_with_its_own_actions_has_the_action_as_well(operator: User) -> None:
    names = actions_of(Derived, operator)

    assert names == ["delete_selected", "greet_by_name", "send_notification"]


@pytest.mark.parametrize("admin_class", [Left, Right])
def test_without_the_permission_only_the_other_actions_are_left(
    admin_class: Any, bob: User
) -> None:
    bob.is_staff = True

    assert actions_of(admin_class, bob) == ["greet"]


def test_a_site_can_remove_the_action(operator: User) -> None:
    assert actions_of(RemovesIt, operator) == ["delete_selected", "greet"]
    assert actions_of(WithoutActions, operator) == []


def test_a_pop_up_has_no_actions(operator: User) -> None:
    assert actions_of(Left, operator, "?_popup=1") == []


def test_djangos_own_admin_is_not_changed(operator: User) -> None:
    assert actions_of(UserAdmin, operator) == ["delete_selected"]
    assert not issubclass(SendNotificationMixin, ModelAdmin)
