from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.models import User
from django.utils.translation import gettext_lazy as _

from notifications.admin import SendNotificationMixin

from .models import Order

admin.site.site_header = admin.site.site_title = "Notify Site"
admin.site.index_title = _("Administration")

# Django's account admin, with the action “Send a notification…”.
admin.site.unregister(User)


@admin.register(User)
class UserAdmin(SendNotificationMixin, StockUserAdmin):
    pass


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = ["__str__", "account", "price", "created_at", "paid_at"]
    list_filter = [("paid_at", admin.EmptyFieldListFilter)]
    list_select_related = ["account"]
    raw_id_fields = ["account"]
    readonly_fields = ["created_at", "paid_at"]
    search_fields = ["item", "account__username"]
