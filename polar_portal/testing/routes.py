"""The endpoints of Polar's API that the fake has, for customers and for the merchant."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlencode

from polar_portal.testing import bodies, gate, validation
from polar_portal.testing.billing import locked, read_changes
from polar_portal.testing.gate import Caller
from polar_portal.testing.order_list import answer_list
from polar_portal.testing.organization import Organization
from polar_portal.testing.records import FakeCustomer, FakeMember, FakeOrder
from polar_portal.testing.wire import Answer, Refused, Request, iso, json_answer, refuse


class Routes:
    """Answers API requests from the state of an organization."""

    def __init__(self, polar: Organization) -> None:
        self._polar = polar

    def answer(self, request: Request, caller: Caller) -> Answer:
        """Answer a request that has passed the gate."""
        handlers, ids = _find(request.path)
        if handlers is None:
            other = request.path[:-1] if request.path.endswith("/") else f"{request.path}/"
            if _find(other)[0] is not None:
                location = f"{other}?{request.query}" if request.query else other
                return Answer(307, {"location": location, "content-length": "0"})
            return json_answer(404, {"detail": "Not Found"})
        handler = handlers.get(request.method)
        if handler is None:
            return json_answer(405, {"detail": "Method Not Allowed"})
        return handler(self, request, caller, *ids)

    # Sessions

    def create_session(self, request: Request, caller: Caller) -> Answer:
        given = validation.read_json(request)
        self._merchant(caller, "customer_sessions:write")
        wanted = validation.read_session_request(given)
        customer = self._customer(wanted)
        member = self._member(customer, wanted) if self._polar.member_model else None
        session = self._polar.create_session(customer, member=member, return_url=wanted["return_url"])
        who = session.member or customer
        query = urlencode({"customer_session_token": session.token, "email": who.email})
        portal_url = f"{self._polar.document_base}/{self._polar.slug}/portal?{query}"
        return json_answer(201, bodies.session_body(session, self._polar.id, portal_url))

    def introspect(self, request: Request, caller: Caller) -> Answer:
        if caller.session is None:
            raise gate.unauthorized()
        return json_answer(200, {"expires_at": iso(caller.session.expires_at), "return_url": caller.session.return_url})

    def user(self, request: Request, caller: Caller) -> Answer:
        if caller.session is None:
            raise gate.unauthorized()
        return json_answer(200, bodies.user_body(caller.session))

    # Orders of a customer

    def customer_orders(self, request: Request, caller: Caller) -> Answer:
        customer = self._billing_customer(caller)
        orders = (order for order in self._polar.orders.values() if order.customer is customer)
        return answer_list(request, orders, self._customer_body, merchant=False)

    def customer_order(self, request: Request, caller: Caller, order_id: str) -> Answer:
        return json_answer(200, self._customer_body(self._own(caller, order_id)))

    def customer_change(self, request: Request, caller: Caller, order_id: str) -> Answer:
        given = validation.read_json(request)
        order = self._change(self._own(caller, order_id), given)
        return json_answer(200, self._customer_body(order))

    def customer_invoice(self, request: Request, caller: Caller, order_id: str) -> Answer:
        return self._invoice(self._own(caller, order_id))

    def customer_generate(self, request: Request, caller: Caller, order_id: str) -> Answer:
        return self._generate(self._own(caller, order_id))

    def customer_receipt(self, request: Request, caller: Caller, order_id: str) -> Answer:
        return self._receipt(self._own(caller, order_id))

    # Orders of the organization

    def orders(self, request: Request, caller: Caller) -> Answer:
        self._merchant(caller, "orders:read")
        return answer_list(request, self._polar.orders.values(), self._polar.merchant_order_body, merchant=True)

    def order(self, request: Request, caller: Caller, order_id: str) -> Answer:
        return json_answer(200, self._polar.merchant_order_body(self._any(caller, order_id)))

    def change(self, request: Request, caller: Caller, order_id: str) -> Answer:
        given = validation.read_json(request)
        order = self._change(self._any(caller, order_id, "orders:write"), given)
        return json_answer(200, self._polar.merchant_order_body(order))

    def invoice(self, request: Request, caller: Caller, order_id: str) -> Answer:
        return self._invoice(self._any(caller, order_id))

    def generate(self, request: Request, caller: Caller, order_id: str) -> Answer:
        return self._generate(self._any(caller, order_id))

    def receipt(self, request: Request, caller: Caller, order_id: str) -> Answer:
        return self._receipt(self._any(caller, order_id))

    # Who may

    def _merchant(self, caller: Caller, scope: str) -> None:
        if caller.kind != "organization":
            raise gate.unauthorized()
        if scope not in self._polar.scopes:
            raise gate.insufficient_scope(scope)

    def _billing_customer(self, caller: Caller) -> FakeCustomer:
        if caller.session is None:
            raise gate.unauthorized()
        if caller.session.member is not None and caller.session.member.role not in {"owner", "billing_manager"}:
            raise refuse(403, "NotPermitted", "Only owners and billing managers can access billing features.")
        return caller.session.customer

    def _own(self, caller: Caller, order_id: str) -> FakeOrder:
        customer = self._billing_customer(caller)
        order = self._find_order(order_id)
        if order is None or order.customer is not customer:
            raise _not_found()
        return order

    def _any(self, caller: Caller, order_id: str, scope: str = "orders:read") -> FakeOrder:
        self._merchant(caller, scope)
        order = self._find_order(order_id)
        if order is None:
            raise _not_found()
        return order

    def _find_order(self, order_id: str) -> FakeOrder | None:
        value, problems = validation.read_uuid(order_id, ["path", "id"])
        if value is None:
            raise validation.invalid(problems)
        return self._polar.orders.get(value)

    def _customer(self, wanted: dict[str, Any]) -> FakeCustomer:
        field = "customer_id" if "customer_id" in wanted else "external_customer_id"
        for customer in self._polar.customers.values():
            key = customer.id if field == "customer_id" else customer.external_id
            if key == wanted[field] and customer.deleted_at is None:
                return customer
        raise validation.wrong(["body", field], "Customer does not exist.", _plain(wanted[field]))

    def _member(self, customer: FakeCustomer, wanted: dict[str, Any]) -> FakeMember | None:
        for field, attribute in (("member_id", "id"), ("external_member_id", "external_id")):
            if wanted[field] is None:
                continue
            for member in customer.members:
                if getattr(member, attribute) == wanted[field]:
                    return member
            raise validation.wrong(["body", field], "Member does not exist for this customer.", _plain(wanted[field]))
        if customer.type == "team":
            raise validation.wrong(["body", "member_id"], "member_id is required for team customers.", None)
        return None

    # What both sides share

    def _customer_body(self, order: FakeOrder) -> bodies.Body:
        return bodies.customer_order_body(order, self._polar.organization_body())

    def _change(self, order: FakeOrder, given: Any) -> FakeOrder:
        if given is None:
            raise validation.invalid([validation.missing(["body"], None)])
        changes, problems = read_changes(given)
        if problems:
            raise validation.invalid(problems)
        problems = locked(order.billing_address, changes.get("billing_address"))
        if problems:
            raise refuse(422, "PolarRequestValidationError", problems)
        self._polar.change_billing(order, changes)
        return order

    def _invoice(self, order: FakeOrder) -> Answer:
        if order.invoice_key is None:
            raise refuse(404, "InvoiceDoesNotExist", f"No invoice exists for order {order.id}.")
        return self._url(order.invoice_key, f"Invoice-{order.invoice_number}.pdf")

    def _generate(self, order: FakeOrder) -> Answer:
        if order.status in {"draft", "void"}:
            message = f"Order {order.id} is not eligible for invoice generation (current status: {order.status})."
            raise refuse(409, "OrderNotEligibleForInvoice", message)
        # Only null is missing: an empty name and a bare country are enough (measured on the server, 2026-08).
        if order.billing_name is None or order.billing_address is None:
            message = "Billing name and address are required to generate an invoice for this order."
            raise refuse(422, "MissingInvoiceBillingDetails", message)
        self._polar.request_invoice(order)
        return json_answer(202, None)

    def _receipt(self, order: FakeOrder) -> Answer:
        if order.receipt_number is None:
            raise refuse(404, "ReceiptNotAllocated", f"No receipt allocated for order {order.id}.")
        if order.receipt_key is None:
            self._polar.request_receipt(order)
            return Answer(202, {"content-length": "0"})
        return self._url(order.receipt_key, f"Receipt-{order.receipt_number}.pdf")

    def _url(self, key: str, filename: str) -> Answer:
        polar = self._polar
        url = polar.store.presign(polar.document_base, key, filename, at=polar.now, seconds=polar.url_seconds)
        return json_answer(200, {"url": url})


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, str) else str(value)


def _not_found() -> Refused:
    return refuse(404, "ResourceNotFound", "Not found")


Handlers = dict[str, Callable[..., Answer]]


@dataclass(frozen=True)
class _Route:
    pattern: re.Pattern[str]
    handlers: Handlers


def _orders(root: str, listing: Handlers, one: Handlers, invoice: Handlers, receipt: Handlers) -> list[_Route]:
    return [
        _Route(re.compile(root), listing),
        _Route(re.compile(f"{root}([^/]+)"), one),
        _Route(re.compile(f"{root}([^/]+)/invoice"), invoice),
        _Route(re.compile(f"{root}([^/]+)/receipt"), receipt),
    ]


_PORTAL = "/v1/customer-portal"
_ROUTES = [
    _Route(re.compile("/v1/customer-sessions/"), {"POST": Routes.create_session}),
    _Route(re.compile(f"{_PORTAL}/customer-session/introspect"), {"GET": Routes.introspect}),
    _Route(re.compile(f"{_PORTAL}/customer-session/user"), {"GET": Routes.user}),
    *_orders(
        f"{_PORTAL}/orders/",
        {"GET": Routes.customer_orders},
        {"GET": Routes.customer_order, "PATCH": Routes.customer_change},
        {"GET": Routes.customer_invoice, "POST": Routes.customer_generate},
        {"GET": Routes.customer_receipt},
    ),
    *_orders(
        "/v1/orders/",
        {"GET": Routes.orders},
        {"GET": Routes.order, "PATCH": Routes.change},
        {"GET": Routes.invoice, "POST": Routes.generate},
        {"GET": Routes.receipt},
    ),
]


def _find(path: str) -> tuple[Handlers | None, list[str]]:
    for route in _ROUTES:
        found = route.pattern.fullmatch(path)
        if found is not None:
            return route.handlers, [unquote(part) for part in found.groups()]
    return None, []
