"""The demo's accounts and their unpaid orders."""

from __future__ import annotations

from decimal import Decimal
from itertools import cycle, islice
from typing import Final

from django.contrib.auth.hashers import check_password
from django.contrib.auth.models import Group, User
from django.db import transaction

from .models import Order

CUSTOMERS: Final = ("alice", "bob")  # members of the group, unlike carol
OPERATOR: Final = "operator"
ACCOUNTS: Final = (*CUSTOMERS, "carol", OPERATOR)
PASSWORD: Final = "demo"
GROUP: Final = "Customers"
ORDERS_EACH: Final = 5

ITEMS: Final = (
    ("Espresso machine", "249.00"),
    ("Walnut desk lamp", "89.50"),
    ("Linen bed sheets", "119.00"),
    ("Field notebook, set of three", "14.90"),
    ("Cast-iron skillet", "54.00"),
    ("Noise-cancelling headphones", "279.00"),
    ("Hiking backpack, 40 litres", "135.00"),
    ("Ceramic pour-over set", "42.75"),
    ("Mechanical keyboard", "159.00"),
    ("Wool blanket", "98.00"),
    ("Folding bicycle", "749.00"),
    ("Balcony herb garden", "37.20"),
    ("Portable projector", "329.00"),
    ("Japanese chef’s knife", "112.40"),
    ("Record player", "219.00"),
    ("Tent for two", "184.00"),
    ("Pocket telescope", "67.30"),
    ("Fountain pen", "46.00"),
    ("Board game: Harbour Lights", "39.90"),
    ("Rain jacket", "128.00"),
)


@transaction.atomic
def create_missing() -> tuple[int, int]:
    """
    Create the missing demo accounts and orders; return how many of each.

    Existing accounts and orders are not changed. An account with nothing left to
    pay gets new orders.
    """
    group, group_is_new = Group.objects.get_or_create(name=GROUP)
    accounts = orders = 0
    for position, username in enumerate(ACCOUNTS):
        account, is_new = _get_or_create_account(username)
        accounts += is_new
        if username in CUSTOMERS and (is_new or group_is_new):
            account.groups.add(group)
        if not Order.objects.filter(account=account, paid_at=None).exists():
            orders += _order(account, first=position * ORDERS_EACH)
    return accounts, orders


def accounts_with_public_password() -> list[str]:
    accounts = User.objects.filter(username__in=ACCOUNTS).order_by("pk")
    # Not the account's own check_password(), which may save the hash anew.
    hashes = accounts.values_list("username", "password")
    return [username for username, hash in hashes if check_password(PASSWORD, hash)]


def _get_or_create_account(username: str) -> tuple[User, bool]:
    manager = User.objects
    if account := manager.filter(username=username).first():
        return account, False
    create = manager.create_superuser if username == OPERATOR else manager.create_user
    return create(username, f"{username}@example.com", PASSWORD), True


def _order(account: User, first: int) -> int:
    start = (first + Order.objects.filter(account=account).count()) % len(ITEMS)
    rows = [
        Order(account=account, item=item, price=Decimal(price))
        for item, price in islice(cycle(ITEMS), start, start + ORDERS_EACH)
    ]
    return len(Order.objects.bulk_create(rows))
