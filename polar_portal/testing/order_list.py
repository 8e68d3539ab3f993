"""Lists of orders: which ones, in which order, how many on a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from polar_portal.testing.bodies import Body
from polar_portal.testing.records import FakeOrder
from polar_portal.testing.validation import Query
from polar_portal.testing.wire import Answer, Request, json_answer

# What a list can be sorted by, in the server's order (measured for customers, 2026-08; for merchants, its schema).
_CUSTOMER_SORTING = "created_at amount net_amount product subscription"
_MERCHANT_SORTING = "created_at status invoice_number amount net_amount customer product discount subscription"
# The fake's orders have neither discount nor subscription: sorted by those, a list stays as it is.
_SORT_KEYS: dict[str, Callable[[FakeOrder], Any]] = {
    "created_at": lambda order: (order.created_at, order.sequence),
    "status": lambda order: order.status,
    "invoice_number": lambda order: order.invoice_number or "",
    "amount": lambda order: order.total_amount,
    "net_amount": lambda order: order.amount,
    "customer": lambda order: order.customer.name or "",
    "product": lambda order: order.product.name,
}


def answer_list(
    request: Request, orders: Iterable[FakeOrder], body: Callable[[FakeOrder], Body], *, merchant: bool
) -> Answer:
    """Answer one page of ``orders`` as the request's query wants it."""
    query = Query(request)
    page, limit = query.positive("page", 1), min(query.positive("limit", 10), 100)
    keys = query.sorting((_MERCHANT_SORTING if merchant else _CUSTOMER_SORTING).split())
    wanted = _filters(query, merchant=merchant)
    query.check()
    found = [order for order in orders if all(test(order) for test in wanted)]
    for key in reversed(keys):
        if key.lstrip("-") in _SORT_KEYS:
            found.sort(key=_SORT_KEYS[key.lstrip("-")], reverse=key.startswith("-"))
    items = [body(order) for order in found[(page - 1) * limit : page * limit]]
    pagination = {"total_count": len(found), "max_page": -(-len(found) // limit)}
    return json_answer(200, {"items": items, "pagination": pagination})


def _filters(query: Query, *, merchant: bool) -> list[Callable[[FakeOrder], bool]]:
    tests: list[Callable[[FakeOrder], bool]] = []
    if products := query.ids("product_id"):
        tests.append(lambda order: order.product.id in products)
    if not merchant:
        if text := " ".join(query.values("query")).lower():
            tests.append(lambda order: text in order.product.name.lower())
        return tests
    if customers := query.ids("customer_id"):
        tests.append(lambda order: order.customer.id in customers)
    if external := query.values("external_customer_id"):
        tests.append(lambda order: order.customer.external_id in external)
    if statuses := query.values("status"):
        tests.append(lambda order: order.status in statuses)
    if after := query.moment("created_after"):
        tests.append(lambda order: order.created_at >= after)
    if before := query.moment("created_before"):
        tests.append(lambda order: order.created_at <= before)
    return tests
