from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from .models import Order
from .signals import order_paid


@transaction.atomic
def pay(order: Order) -> bool:
    """Mark the order as paid and send the signal; return False if it was already paid."""
    # The condition in the UPDATE lets only one of two concurrent payments succeed.
    if not Order.objects.filter(pk=order.pk, paid_at=None).update(paid_at=timezone.now()):
        return False
    order.refresh_from_db()
    order_paid.send(Order, order=order)
    return True
