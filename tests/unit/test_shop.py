from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site
from django.contrib.auth.models import User
from django.template import loader
from django.test import Client

from notifications.models import Inbox, Notification
from notify_site.shop.models import Order
from notify_site.shop.services import pay
from notify_site.shop.signals import order_paid


@pytest.fixture
def order(alice: User) -> Order:
    return Order.objects.create(account=alice, item="Espresso machine", price=Decimal("249.00"))


@pytest.fixture
def alices_browser(alice: User) -> Client:
    browser = Client()
    browser.force_login(alice)
    return browser


@pytest.fixture
def bobs_browser(bob: User) -> Client:
    browser = Client()
    browser.force_login(bob)
    return browser


# --- Paying


def test_paying_marks_the_order_and_returns_to_the_list(
    alices_browser: Client, order: Order
) -> None:
    page = alices_browser.post(f"/orders/{order.pk}/pay/", follow=True)

    assert page.redirect_chain == [("/", 302)]
    assert "Payment received" in page.content.decode()
    order.refresh_from_db()
    assert order.paid_at


def test_the_buyer_finds_the_payment_in_the_inbox(
    alices_browser: Client, alice: User, order: Order, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        alices_browser.post(f"/orders/{order.pk}/pay/")

    row = Notification.objects.get()
    assert row.account == alice
    assert row.type == "order_paid"
    assert row.level == "success"
    assert row.meta_data == {"order_id": order.pk}
    assert row.url == f"/orders/{order.pk}/"
    assert row.number == 1
    assert Inbox.objects.get(account=alice).unread == 1


def test_paying_twice_notifies_once(alices_browser: Client, order: Order) -> None:
    alices_browser.post(f"/orders/{order.pk}/pay/")
    page = alices_browser.post(f"/orders/{order.pk}/pay/", follow=True)

    assert "already been paid" in page.content.decode()
    assert Notification.objects.count() == 1


def test_a_payment_is_rolled_back_when_a_receiver_fails(order: Order) -> None:
    def refuse(**kwargs: Any) -> None:
        raise RuntimeError("no stock")

    order_paid.connect(refuse)
    try:
        with pytest.raises(RuntimeError, match="no stock"):
            pay(order)
    finally:
        order_paid.disconnect(refuse)

    order.refresh_from_db()
    assert not order.paid_at
    assert not Notification.objects.exists()


def test_paying_needs_a_post(alices_browser: Client, order: Order) -> None:
    assert alices_browser.get(f"/orders/{order.pk}/pay/").status_code == 405


def test_a_form_on_another_site_cannot_pay(alice: User, order: Order) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)

    response = browser.post(f"/orders/{order.pk}/pay/")

    assert response.status_code == 403
    assert "Please try again" in response.content.decode()
    order.refresh_from_db()
    assert not order.paid_at


# --- Access to orders


def test_the_list_has_own_orders_only(
    alices_browser: Client, bobs_browser: Client, order: Order
) -> None:
    assert "Espresso machine" in alices_browser.get("/").content.decode()
    assert "Espresso machine" not in bobs_browser.get("/").content.decode()


def test_another_accounts_order_is_not_found(bobs_browser: Client, order: Order) -> None:
    assert bobs_browser.get(f"/orders/{order.pk}/").status_code == 404
    assert bobs_browser.post(f"/orders/{order.pk}/pay/").status_code == 404
    order.refresh_from_db()
    assert not order.paid_at


@pytest.mark.parametrize("path", ["/", "/orders/1/"])
def test_an_anonymous_visitor_is_redirected_to_the_log_in_page(
    client: Client, db: None, path: str
) -> None:
    response = client.get(path)

    assert response.status_code == 302
    assert response["Location"] == f"/login/?next={path}"


def test_the_list_separates_unpaid_and_paid_orders(
    alices_browser: Client, alice: User, order: Order
) -> None:
    Order.objects.create(account=alice, item="Wool blanket", price=Decimal("98.00"))
    pay(order)

    page = alices_browser.get("/").content.decode()

    assert "1 order to pay: €&nbsp;98.00" in page
    assert page.count("/pay/") == 1
    assert page.count("mark--paid") == 1


def test_the_list_shows_when_everything_is_paid(alices_browser: Client, order: Order) -> None:
    pay(order)

    page = alices_browser.get("/").content.decode()

    assert "All your orders are paid" in page
    assert "/pay/" not in page


def test_an_order_has_a_pay_button_until_it_is_paid(alices_browser: Client, order: Order) -> None:
    assert "/pay/" in alices_browser.get(order.get_absolute_url()).content.decode()
    pay(order)
    assert "/pay/" not in alices_browser.get(order.get_absolute_url()).content.decode()


def test_an_items_name_is_escaped(alices_browser: Client, alice: User) -> None:
    Order.objects.create(account=alice, item="<script>alert(1)</script>", price=1)

    assert "<script>alert" not in alices_browser.get("/").content.decode()


# --- Logging in and out


def test_logging_in_redirects_to_the_orders(client: Client, alice: User) -> None:
    response = client.post("/login/", {"username": "alice", "password": "demo"})

    assert response["Location"] == "/"


def test_a_wrong_password_shows_an_error(client: Client, alice: User) -> None:
    response = client.post("/login/", {"username": "alice", "password": "wrong"})

    assert "correct username and password" in response.content.decode()


def test_logging_in_does_not_redirect_to_another_site(client: Client, alice: User) -> None:
    fields = {"username": "alice", "password": "demo", "next": "https://evil.example/"}

    assert client.post("/login/", fields)["Location"] == "/"


def test_logging_out_needs_a_post(alices_browser: Client) -> None:
    assert alices_browser.get("/logout/").status_code == 405
    assert 'action="/logout/" method="post"' in alices_browser.get("/").content.decode()
    assert alices_browser.post("/logout/")["Location"] == "/login/"
    assert alices_browser.get("/").status_code == 302


def test_demo_accounts_are_shown_only_while_debugging(
    client: Client, db: None, settings: Any
) -> None:
    settings.DEBUG = False
    assert "alice" not in client.get("/login/").content.decode()
    settings.DEBUG = True
    assert "alice" in client.get("/login/").content.decode()


# --- Every page


def test_only_staff_see_the_link_to_the_admin(
    alices_browser: Client, client: Client, operator: User
) -> None:
    client.force_login(operator)

    assert "/admin/" in client.get("/").content.decode()
    assert "/admin/" not in alices_browser.get("/").content.decode()


def test_the_404_page_looks_like_the_site(alices_browser: Client) -> None:
    response = alices_browser.get("/nowhere/")

    assert response.status_code == 404
    assert "Page not found" in response.content.decode()
    assert "site-header" in response.content.decode()


def test_the_500_page_needs_neither_request_nor_database() -> None:
    page = loader.get_template("500.html").render()

    assert "Something went wrong" in page
    assert 'href="/static/site.css"' in page


def test_no_page_needs_an_inline_script_or_style(
    alices_browser: Client,
) -> None:
    policy = alices_browser.get("/")["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy
    for template in Path(site.BASE_DIR, "templates").rglob("*.html"):
        text = template.read_text()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", text), template
        assert not re.search(r"<script(?![^>]*\ssrc=)", text), template


def test_the_header_marks_the_current_page(alices_browser: Client) -> None:
    assert '<a href="/" aria-current="page">' in alices_browser.get("/").content.decode()
