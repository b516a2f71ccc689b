from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from .models import Order
from .signals import order_paid


@transaction.atomic
def pay(order: Order) -> bool:
    """Mark the order paid and tell the receivers; return False if it was paid before."""
    # The condition in the UPDATE lets only one of two simultaneous payments win.
    if not Order.objects.filter(pk=order.pk, paid_at=None).update(paid_at=timezone.now()):
        return False
    order.refresh_from_db()
    order_paid.send(Order, order=order)
    return True
