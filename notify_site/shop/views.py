from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from . import services
from .models import Order


@login_required
def orders(request: HttpRequest) -> HttpResponse:
    own = Order.objects.filter(account=request.user)
    return render(request, "shop/orders.html", {"orders": own})


@login_required
def order(request: HttpRequest, pk: int) -> HttpResponse:
    own = get_object_or_404(Order, pk=pk, account=request.user)
    return render(request, "shop/order.html", {"order": own})


@require_POST
@login_required
def pay(request: HttpRequest, pk: int) -> HttpResponse:
    services.pay(get_object_or_404(Order, pk=pk, account=request.user))
    return redirect("shop:orders")
