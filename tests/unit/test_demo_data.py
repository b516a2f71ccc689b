from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command

from notify_site.shop.models import Order
from notify_site.shop.services import pay


@pytest.fixture(autouse=True)
def debugging(settings: Any, db: None) -> None:
    settings.DEBUG = True


def demo_data() -> str:
    output = StringIO()
    call_command("demo_data", stdout=output)
    return output.getvalue()


def test_each_demo_account_can_log_in_and_has_orders_to_pay(client: Any) -> None:
    assert "4 accounts and 20 orders added" in demo_data()

    for name in ("alice", "bob", "carol", "operator"):
        assert client.login(username=name, password="demo")
        assert Order.objects.filter(account__username=name, paid_at=None).count() == 5


def test_only_the_operator_may_enter_the_admin() -> None:
    demo_data()

    staff = User.objects.filter(is_staff=True)
    assert [account.username for account in staff] == ["operator"]
    assert staff.get().is_superuser


def test_alice_and_bob_are_customers_and_carol_is_not() -> None:
    demo_data()

    customers = Group.objects.get(name="Customers").user_set.order_by("username")
    assert [account.username for account in customers] == ["alice", "bob"]


def test_running_it_again_adds_nothing() -> None:
    demo_data()
    before = set(Order.objects.values_list("pk", "paid_at"))

    assert "0 accounts and 0 orders added" in demo_data()

    assert set(Order.objects.values_list("pk", "paid_at")) == before
    assert User.objects.count() == 4
    assert Group.objects.count() == 1


def test_running_it_again_resets_nothing() -> None:
    demo_data()
    alice, bob = User.objects.get(username="alice"), User.objects.get(username="bob")
    alice.set_password("her own")
    alice.save()
    bob.groups.clear()
    pay(alice_order := Order.objects.filter(account=alice)[0])

    demo_data()

    assert User.objects.get(pk=alice.pk).check_password("her own")
    assert not bob.groups.exists()
    alice_order.refresh_from_db()
    assert alice_order.paid_at


def test_an_account_that_has_paid_everything_gets_new_orders() -> None:
    demo_data()
    for order in Order.objects.filter(account__username="bob"):
        pay(order)

    assert "0 accounts and 5 orders added" in demo_data()

    orders = Order.objects.filter(account__username="bob")
    assert orders.filter(paid_at=None).count() == 5
    assert len({order.item for order in orders}) == 10


def test_demo_data_is_refused_when_debugging_is_off(settings: Any) -> None:
    settings.DEBUG = False

    with pytest.raises(CommandError, match="DJANGO_DEBUG"):
        demo_data()

    assert not User.objects.exists()
