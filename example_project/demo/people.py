"""The demo's Polar, who is known there, and what they have bought."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from polar_portal.testing import FakeCustomer, FakeMember, FakeOrder, FakePolar

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PASSWORD = "demo"

ACCOUNTS = {
    "ada": "a customer with orders of every status",
    "bob": "another customer",
    "carol": "not known to Polar: her checkout was made without external_customer_id",
    "tom": "of the team of a company that is a customer, without a billing role there",
    "sam": "staff, may look at purchases, orders and webhook deliveries, and download invoices",
    "admin": "staff, may do everything",
}

#: Whose; what; for how many cents, taxes included; what `FakePolar.add_order` is told. The newest first.
ORDERS: list[tuple[str, str, int, dict[str, Any]]] = [
    ("ada", "Earl Grey", 1200, {"invoice": True}),
    ("ada", "Sencha", 1600, {}),
    ("ada", "Oolong", 1900, {"billing_name": None, "billing_address": None}),
    ("ada", "Tea of the month", 900, {"status": "pending"}),
    ("ada", "Teapot", 4800, {"status": "refunded", "invoice": True}),
    ("ada", "Six cups", 3600, {"status": "partially_refunded", "invoice": True}),
    ("ada", "Kettle", 7200, {"status": "void"}),
    ("ada", "Tea strainer", 600, {"status": "draft"}),
    ("bob", "Darjeeling", 1400, {"invoice": True}),
    ("bob", "Tea of the month", 900, {}),
    ("carol", "Rooibos", 1100, {"invoice": True}),
    ("tom", "Tea for the office", 9900, {"invoice": True}),
]

#: The id of the company that Tom works for.
COMPANY = "difference-engines"

polar = FakePolar(name="Leaf and Kettle")
#: By the user's name.
customers: dict[str, FakeCustomer] = {}


def polar_customer(user: Any) -> dict[str, str]:
    """The POLAR_CUSTOMER_RESOLVER of a shop that sells to companies: who of the team acts for it, and as whom."""
    if user.username == "tom":
        return {"external_customer_id": COMPANY, "external_member_id": "tom"}
    return {"external_customer_id": str(user.pk)}


def add_customers(users: dict[str, User]) -> None:
    polar.member_model = True  # which companies with teams need; the other customers act as their own owners
    for name, full_name in (("ada", "Ada Lovelace"), ("bob", "Bob Ross")):
        customers[name] = polar.add_customer(str(users[name].pk), name=full_name)
    customers["carol"] = polar.add_customer(None, name="Carol Shaw")
    customers["tom"] = polar.add_customer(
        COMPANY, name="Difference Engines Ltd", type="team", members=[FakeMember("member", "Tom", external_id="tom")]
    )


def add_orders(users: dict[str, User]) -> None:
    """Make everybody's orders at Polar, and the purchases that the shop has made of them."""
    from example_project.shop.models import Purchase

    now = timezone.now()
    # The oldest first, as they would have come; their numbers follow.
    for age, (name, product, price, more) in reversed(list(enumerate(ORDERS, start=1))):
        order = add_order(name, product, price, created_at=now - timedelta(days=9 * age), **more)
        if order.status != "draft":
            Purchase.objects.create(
                user=users[name],
                product_name=product,
                amount=order.total_amount,
                currency=order.currency,
                status=order.status,
                polar_order_id=order.id,
                polar_customer_id=order.customer.id,
                created_at=order.created_at,
            )
    long_ago = now - timedelta(days=150)
    Purchase.objects.create(
        user=users["ada"], product_name="Tea tasting, paid in cash", amount=2500, created_at=long_ago
    )


def add_order(name: str, product: str, price: int, **more: Any) -> FakeOrder:
    """Make an order at Polar. price: in cents, taxes included; more: what `FakePolar.add_order` is told."""
    tax = price // 6
    return polar.add_order(customers[name], product=product, amount=price - tax, tax_amount=tax, **more)
