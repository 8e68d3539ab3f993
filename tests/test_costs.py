"""What one click costs in each state: the table of docs/explanation/at-scale.md, counted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.db import connection
from django.template import Context, Template
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from polar_portal.portal import OrganizationPortal
from polar_portal.testing import FakeCustomer, FakePolar
from tests.conftest import asked
from tests.test_cache import Counting

PAGE = (Path(__file__).parent.parent / "docs" / "explanation" / "at-scale.md").read_text(encoding="utf-8")
#: Of the table's rows: what happens, then calls to Polar, commands to the cache and queries.
TOLD = {
    row: (calls, int(commands), int(queries))
    for row, calls, commands, queries in re.findall(
        r"^\| ([^|]+?) \| ([^|]+?) \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE
    )
}


class Shop:
    """A customer with one warm session and one order; the clock stands still."""

    def __init__(self, polar: FakePolar, ada: User, customer: FakeCustomer, clock: time_machine.Traveller) -> None:
        self.polar, self.ada, self.customer, self.clock = polar, ada, customer, clock
        self.client = Client()
        self.client.force_login(ada)
        self.get("invoice", polar.add_order(customer, invoice=True))

    def get(self, name: str, order: Any = None, query: str = "") -> Any:
        return self.client.get(reverse(f"polar_portal:{name}", args=[order.id] if order else []) + query)

    def post(self, name: str, order: Any = None) -> Any:
        return self.client.post(reverse(f"polar_portal:{name}", args=[order.id] if order else []))


def warm(shop: Shop) -> Callable[[], Any]:
    order = shop.polar.add_order(shop.customer, invoice=True)
    shop.get("invoice", order)
    return lambda: shop.get("invoice", order)


def cold(shop: Shop) -> Callable[[], Any]:
    order = shop.polar.add_order(shop.customer, invoice=True)
    return lambda: shop.get("invoice", order)


def cold_without_session(shop: Shop) -> Callable[[], Any]:
    order = shop.polar.add_order(shop.customer, invoice=True)
    shop.clock.shift(3600)
    return lambda: shop.get("invoice", order)


def not_made(shop: Shop) -> Callable[[], Any]:
    order = shop.polar.add_order(shop.customer)
    return lambda: shop.get("invoice", order)


def make(shop: Shop) -> Callable[[], Any]:
    order = shop.polar.add_order(shop.customer)
    return lambda: shop.post("invoice", order)


def comes_back_early(shop: Shop) -> Callable[[], Any]:
    order = shop.polar.add_order(shop.customer)
    shop.post("invoice", order)
    return lambda: shop.get("invoice", order, "?waiting=1")


def comes_back(shop: Shop) -> Callable[[], Any]:
    order = shop.polar.add_order(shop.customer)
    shop.post("invoice", order)
    shop.clock.shift(3)
    return lambda: shop.get("invoice", order, "?waiting=1")


def comes_back_and_is_ready(shop: Shop) -> Callable[[], Any]:
    order = shop.polar.add_order(shop.customer)
    shop.post("invoice", order)
    shop.clock.shift(15)
    return lambda: shop.get("invoice", order, "?waiting=3")


def limited(shop: Shop) -> Callable[[], Any]:
    orders = [shop.polar.add_order(shop.customer, invoice=True) for _ in range(2)]
    shop.polar.fail(status=429, body=b"", headers={"Retry-After": "60"})
    shop.get("invoice", orders[0])
    return lambda: shop.get("invoice", orders[1])


def receipt_to_render(shop: Shop) -> Callable[[], Any]:
    order = shop.polar.add_order(shop.customer)
    return lambda: shop.get("receipt", order)


def receipt_is_ready(shop: Shop) -> Callable[[], Any]:
    order = shop.polar.add_order(shop.customer)
    shop.get("receipt", order)
    shop.clock.shift(15)
    return lambda: shop.get("receipt", order, "?waiting=3")


def order_list(shop: Shop) -> Callable[[], Any]:
    shop.get("order_list")
    return lambda: shop.get("order_list")


def order_detail(shop: Shop) -> Callable[[], Any]:
    order = shop.polar.add_order(shop.customer)
    shop.get("order_detail", order)
    return lambda: shop.get("order_detail", order)


def hosted_portal(shop: Shop) -> Callable[[], Any]:
    return lambda: shop.post("portal")


def billing_details(shop: Shop) -> Callable[[], Any]:
    order = shop.polar.add_order(shop.customer)
    return lambda: shop.get("billing_details", order)


def buttons(shop: Shop) -> Callable[[], Any]:
    orders = [shop.polar.add_order(shop.customer).id for _ in range(50)]
    page = Template("{% load polar_portal %}{% for id in orders %}{% polar_invoice_button id %}{% endfor %}")
    return lambda: page.render(Context({"orders": orders}))


def staff(shop: Shop) -> Callable[[], Any]:
    order = shop.polar.add_order(shop.customer, invoice=True)
    return lambda: OrganizationPortal().invoice(order.id)


ROWS: dict[str, Callable[[Shop], Callable[[], Any]]] = {
    "a page with fifty buttons": buttons,
    "a click whose address is in the cache (warm)": warm,
    "the first click on a document (cold)": cold,
    "the same, and the customer's session has ended": cold_without_session,
    "the first click on an invoice that is not made yet": not_made,
    '"Make invoice"': make,
    "a waiting page comes back before it is time to ask": comes_back_early,
    "a waiting page comes back, and it is not ready": comes_back,
    "a waiting page comes back, and it is ready": comes_back_and_is_ready,
    "a click within a minute after Polar's 429": limited,
    "the first click on a receipt that Polar has to render": receipt_to_render,
    "its waiting page comes back, and it is ready": receipt_is_ready,
    "the list of orders": order_list,
    "one order": order_detail,
    "the form with its billing details": billing_details,
    "Polar's own portal": hosted_portal,
    "staff open an invoice": staff,
}


def test_every_row_is_counted() -> None:
    assert list(TOLD) == list(ROWS)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.django_db(transaction=True)
def test_a_click_costs_what_is_told(
    row: str, fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, now: time_machine.Traveller
) -> None:
    shop = Shop(fake_polar, ada, ada_at_polar, now)
    with override_settings(CACHES={"default": {"BACKEND": "tests.test_cache.Counting"}}):
        act = ROWS[row](shop)
        fake_polar.clear_calls()
        Counting.commands.clear()
        with CaptureQueriesContext(connection) as queries:
            act()
        ours = [query for query in queries if re.search(r"polar_portal_|SAVEPOINT", query["sql"])]
        found = (", ".join(asked(fake_polar)) or "none", len(Counting.commands), len(ours))
    assert TOLD[row] == found
