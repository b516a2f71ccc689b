from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from notifications import notify_accounts

from .models import Order
from .signals import order_paid


@receiver(order_paid, dispatch_uid="shop.notify_buyer")
def notify_buyer(sender: type[Order], order: Order, **kwargs: Any) -> None:
    notify_accounts(
        order.account_id,
        "order_paid",
        f"Order {order.pk} is paid: {order.item}",
        meta_data={"order_id": order.pk},
        url=order.get_absolute_url(),
        level="success",
    )
