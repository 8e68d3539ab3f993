"""What can go wrong, each brought about at the demo's Polar by what is genuinely so there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.core.cache import cache
from django.urls import reverse

from example_project.demo.people import add_order, polar
from polar_portal.portal import CustomerPortal
from polar_portal.testing import FakeOrder, Limits


@dataclass(frozen=True)
class Trouble:
    """Something for a visitor to see.

    title, text: what it is, and what to look at. who: as whom. status: the page's. code: what the log's line begins
    with, "" where there is none. lasts: whether all of the shop is in this state until it is ended. arrange: brings it
    about, and gives the page's address.
    """

    name: str
    title: str
    text: str
    who: str
    status: int
    code: str
    lasts: bool
    arrange: Callable[[], str]


TROUBLES: dict[str, Trouble] = {}
#: What has been brought about and lasts.
lasting: list[Trouble] = []


def begin(trouble: Trouble) -> str:
    """End what lasts, bring this about instead, and return the address of the page that shows it."""
    end()
    if trouble.lasts:
        lasting.append(trouble)
    return trouble.arrange()


def end() -> None:
    """Have all well again, at Polar and in what the shop remembers of it."""
    lasting.clear()
    polar.clear_failures()
    polar.limits = Limits()
    polar.scopes.add("customer_sessions:write")
    cache.clear()


def shows(
    title: str, text: str, *, status: int, code: str = "", who: str = "ada", lasts: bool = False
) -> Callable[[Callable[[], str]], Callable[[], str]]:
    """Add a function to TROUBLES, under its name."""

    def add(arrange: Callable[[], str]) -> Callable[[], str]:
        name = arrange.__name__.replace("_", "-")
        TROUBLES[name] = Trouble(name, title, text, who, status, code, lasts, arrange)
        return arrange

    return add


def order(who: str = "ada", **more: Any) -> FakeOrder:
    """Make a new order each time, so that none remembers what was done with it before."""
    return add_order(who, "Sencha", 1600, **more)


def page(name: str, order: FakeOrder) -> str:
    return reverse(f"polar_portal:{name}", args=[order.id])


@shows("Invoice not made yet", "The page offers to have it made.", status=200, code="invoice_not_generated")
def not_made() -> str:
    return page("invoice", order())


@shows(
    "Invoice being prepared",
    "The page waits, and the download starts by itself. A webhook says when it is ready.",
    status=202,
)
def being_prepared() -> str:
    new = order()
    CustomerPortal(User.objects.get(username="ada")).generate_invoice(new.id)
    return f"{page('invoice', new)}?waiting=0"


@shows(
    "Billing details missing",
    "Without a name and an address no invoice can be made. The receipt is there.",
    status=200,
    code="invoice_not_generated",
)
def details_missing() -> str:
    return page("invoice", order(billing_name=None, billing_address=None))


@shows(
    "Billing details refused",
    "Fill in the form: this time Polar knows no such city. The message stands beside the field.",
    status=200,
    lasts=True,
)
def details_refused() -> str:
    problem = {"type": "value_error", "loc": ["body", "billing_address", "city"], "msg": "There is no such city"}
    polar.fail("PATCH", status=422, json={"error": "PolarRequestValidationError", "detail": [problem]}, times=None)
    return page("billing_details", order(billing_name=None, billing_address=None))


@shows("Draft order", "It was never completed, and gets no invoice.", status=409, code="order_not_eligible")
def draft() -> str:
    return page("invoice", order(status="draft"))


@shows("Void order", "It was cancelled, and gets no invoice.", status=409, code="order_not_eligible")
def void() -> str:
    return page("invoice", order(status="void"))


@shows("Refunded order", "The order says so, and so does its receipt. The invoice is as it was.", status=200)
def refunded() -> str:
    new = order(invoice=True)
    polar.refund(new)
    return page("order_detail", new)


@shows(
    "No receipt",
    "It has not been paid through Polar, as this order that waits.",
    status=404,
    code="receipt_unavailable",
)
def no_receipt() -> str:
    return page("receipt", order(status="pending"))


@shows(
    "Another customer's order",
    "You are Bob, who has the address of an invoice of Ada's.",
    status=404,
    code="order_not_found",
    who="bob",
)
def another_customers() -> str:
    return page("invoice", order(invoice=True))


@shows(
    "Not a customer",
    "You are Carol, whose checkout was made without external_customer_id.",
    status=404,
    code="not_a_customer",
    who="carol",
)
def not_a_customer() -> str:
    return page("invoice", order("carol", invoice=True))


@shows(
    "No billing role",
    "You are Tom. His company is the customer, and he may not see its billing.",
    status=403,
    code="not_permitted",
    who="tom",
)
def no_billing_role() -> str:
    return page("invoice", order("tom", invoice=True))


@shows("Rate limit reached", "Polar is not asked again for a minute.", status=503, code="rate_limited", lasts=True)
def rate_limited() -> str:
    polar.limits = Limits(customer=0, new_token=0)
    return page("invoice", order(invoice=True))


@shows(
    "Polar is away",
    "Every call is answered with 503. The orders under Billing are those that are known here.",
    status=503,
    code="polar_unavailable",
    lasts=True,
)
def polar_away() -> str:
    polar.fail(status=503, times=None)
    return page("invoice", order(invoice=True))


@shows(
    "The shop is misconfigured",
    "Its token lacks a scope. The page blames nobody, the log names the scope.",
    status=500,
    code="misconfigured",
    lasts=True,
)
def misconfigured() -> str:
    polar.scopes.discard("customer_sessions:write")
    polar.expire_sessions()
    return page("invoice", order(invoice=True))
