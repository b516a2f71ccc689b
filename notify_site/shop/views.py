from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_required
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from . import demo, services
from .models import Order


class LoginView(auth_views.LoginView):
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        if settings.DEBUG:
            kwargs |= {"demo_accounts": demo.ACCOUNTS, "demo_password": demo.PASSWORD}
        return super().get_context_data(**kwargs)


@login_required
def orders(request: HttpRequest) -> HttpResponse:
    own = Order.objects.filter(account=request.user)
    unpaid = own.filter(paid_at=None)
    return render(
        request,
        "shop/orders.html",
        {
            "unpaid": unpaid,
            "paid": own.exclude(paid_at=None).order_by("-paid_at"),
            "due": unpaid.aggregate(sum=Sum("price"))["sum"],
        },
    )


@login_required
def order(request: HttpRequest, pk: int) -> HttpResponse:
    own = get_object_or_404(Order, pk=pk, account=request.user)
    return render(request, "shop/order.html", {"order": own})


@require_POST
@login_required
def pay(request: HttpRequest, pk: int) -> HttpResponse:
    if services.pay(get_object_or_404(Order, pk=pk, account=request.user)):
        messages.success(request, _("Payment received. Thank you!"))
    else:
        messages.info(request, _("This order had already been paid."))
    return redirect("shop:orders")
