"""The fake's state and what changes it: customers, sessions, orders, the jobs that make documents, events.

It knows nothing of HTTP; ``routes`` turns requests into these acts, tests call them directly.
"""

from __future__ import annotations

import base64
import random
import secrets
import string
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, Final, Literal

from polar_portal.testing import bodies
from polar_portal.testing.billing import complete
from polar_portal.testing.documents import invoice_pdf, receipt_pdf
from polar_portal.testing.jobs import Jobs
from polar_portal.testing.records import (
    Address,
    Event,
    FakeCustomer,
    FakeMember,
    FakeOrder,
    FakeProduct,
    Session,
    Status,
)
from polar_portal.testing.store import INVOICES, RECEIPTS, Store, StoredFile


class _Default:
    """Stands for an argument that was not given, where ``None`` means something."""


DEFAULT: Final = _Default()
_ADDRESS = {"line1": "1 rue des Écoles", "postal_code": "75005", "city": "Paris", "country": "FR"}


class Organization:
    """A seller at Polar, with its own clock. `FakePolar` tells what its attributes and arguments mean."""

    def __init__(
        self, *, clock: Callable[[], float] | None, name: str, access_token: str | None, webhook_secret: str | None
    ) -> None:
        self._lock = threading.RLock()
        # Looked up at each call, so that whatever replaces time.time (time-machine, freezegun) is obeyed.
        self._clock = clock or (lambda: time.time())
        self._ahead = 0.0
        self.id = uuid.uuid4()
        self.name = name
        self.slug = name.lower().replace(" ", "-")
        self.created_at = self.now
        self.access_token = access_token or _make_access_token()
        self.scopes = {"customer_sessions:write", "orders:read"}
        self.webhook_secret = webhook_secret or f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
        host = f"{secrets.token_hex(6)}.polar.test"
        self.base_url = f"https://api.{host}"
        self.document_base = f"https://s3.{host}"
        self.member_model = False
        self.render_seconds = 5.0
        self.session_seconds = 3600
        self.url_seconds = 600
        self.customers: dict[uuid.UUID, FakeCustomer] = {}
        self.orders: dict[uuid.UUID, FakeOrder] = {}
        self.sessions: dict[str, Session] = {}
        self._events: list[Event] = []
        self.store = Store()
        self._products: dict[str, FakeProduct] = {}
        self._jobs = Jobs()

    def revoke_access_token(self) -> None:
        """Make the organization's token invalid; ``access_token`` is a new one."""
        with self._lock:
            self.access_token = _make_access_token()

    # Time

    @property
    def now(self) -> datetime:
        """The time it is for this Polar, in UTC."""
        return datetime.fromtimestamp(self._clock() + self._ahead, tz=timezone.utc)

    def advance(self, seconds: float) -> None:
        """Move this Polar's time forward: sessions and addresses age, documents in the making get ready."""
        with self._lock:
            self._ahead += seconds
            self._settle()

    # Customers and sessions

    def add_customer(
        self,
        external_id: str | None = None,
        *,
        name: str | None = "Ada Lovelace",
        email: str | None = None,
        billing_name: str | _Default | None = DEFAULT,
        billing_address: Mapping[str, str | None] | _Default | None = DEFAULT,
        type: Literal["individual", "team"] = "individual",  # noqa: A002 - Polar's name for it
        members: Iterable[FakeMember] = (),
    ) -> FakeCustomer:
        """Add a customer and return it.

        Args:
            external_id: its id in your system, as a string; ``None`` for a customer that has none.
            name: its name; also the billing name unless one is given.
            email: made up from the external id when not given.
            billing_name: goes on its orders; ``None`` for none.
            billing_address: goes on its orders; a French one unless given, ``None`` for none. ``country`` is the only
                required key.
            type: ``"team"`` needs ``members`` and ``member_model = True`` to mean anything.
            members: people who may act for the customer.

        Raises:
            ValueError: Polar would refuse the address.
        """
        with self._lock:
            now = self.now
            customer = FakeCustomer(
                id=uuid.uuid4(),
                external_id=external_id,
                name=name,
                email=email or f"customer-{external_id or len(self.customers) + 1}@example.com",
                type=type,
                billing_name=name if isinstance(billing_name, _Default) else billing_name,
                billing_address=_address(_ADDRESS if isinstance(billing_address, _Default) else billing_address),
                members=list(members),
                short_id="".join(random.choices(string.ascii_uppercase, k=10)),  # noqa: S311 - a number, no secret
                created_at=now,
            )
            self.customers[customer.id] = customer
            self._emit("customer.created", self.customer_body(customer), now)
            return customer

    def delete_customer(self, customer: FakeCustomer) -> None:
        """Delete a customer: its sessions end, no new one can be made, and ``customer.deleted`` is queued."""
        with self._lock:
            now = self.now
            customer.deleted_at = customer.modified_at = now
            self.sessions = {token: kept for token, kept in self.sessions.items() if kept.customer is not customer}
            self._emit("customer.deleted", self.customer_body(customer), now)

    def create_session(
        self, customer: FakeCustomer, *, member: FakeMember | None = None, return_url: str | None = None
    ) -> Session:
        """Make a session that acts as ``customer`` (in the member model: as ``member``, or its owner)."""
        with self._lock:
            now = self.now
            if self.member_model and member is None:
                member = self._owner(customer)
            session = Session(
                id=uuid.uuid4(),
                token=f"polar_{'mst' if self.member_model else 'cst'}_{secrets.token_hex(20)}",
                customer=customer,
                member=member if self.member_model else None,
                return_url=return_url,
                created_at=now,
                expires_at=now + timedelta(seconds=self.session_seconds),
            )
            self.sessions[session.token] = session
            return session

    def expire_sessions(self, customer: FakeCustomer | None = None) -> None:
        """End the sessions of ``customer``, or all of them: their tokens answer 401 from now on."""
        with self._lock:
            for session in self.sessions.values():
                if customer is None or session.customer is customer:
                    session.expires_at = min(session.expires_at, self.now)

    # Orders

    def add_order(
        self,
        customer: FakeCustomer,
        *,
        status: Status = "paid",
        product: str = "Pro Plan",
        amount: int = 4900,
        tax_amount: int = 980,
        currency: str = "usd",
        billing_name: str | _Default | None = DEFAULT,
        billing_address: Mapping[str, str | None] | _Default | None = DEFAULT,
        invoice: bool = False,
        receipt: bool | None = None,
        created_at: datetime | None = None,
    ) -> FakeOrder:
        """Add an order and return it.

        Args:
            customer: whose it is.
            status: as Polar names it; a refunded order is refunded whole, a partially refunded one by a fifth.
            product: the name of what was bought.
            amount: before tax, in the currency's smallest unit.
            tax_amount: in the same unit.
            currency: its code, in lower case.
            billing_name: the customer's unless given; ``None`` for none.
            billing_address: the customer's unless given; ``None`` for none.
            invoice: whether its invoice has been made already.
            receipt: whether it has a receipt number; unless given, paid orders do.
            created_at: when it was placed; now unless given. Give it a time zone.

        Raises:
            ValueError: Polar would refuse the address.
        """
        with self._lock:
            now = self.now
            order = FakeOrder(
                id=uuid.uuid4(),
                item_id=uuid.uuid4(),
                customer=customer,
                product=self._product(product, amount, currency),
                status=status,
                amount=amount,
                tax_amount=tax_amount,
                currency=currency,
                billing_name=customer.billing_name if isinstance(billing_name, _Default) else billing_name,
                billing_address=customer.billing_address
                if isinstance(billing_address, _Default)
                else _address(billing_address),
                created_at=now if created_at is None else created_at.astimezone(timezone.utc),
                sequence=len(self.orders),
            )
            self._number(order, receipt=order.is_paid if receipt is None else receipt)
            if status == "refunded":
                order.refunded_amount, order.refunded_tax_amount = amount, tax_amount
            elif status == "partially_refunded":
                order.refunded_amount, order.refunded_tax_amount = amount // 5, tax_amount // 5
            self.orders[order.id] = order
            self._emit_order("order.created", order, now)
            if invoice:
                self._store_invoice(order, order, now)
            return order

    def update_order(
        self,
        order: FakeOrder,
        *,
        status: Status | None = None,
        billing_name: str | _Default | None = DEFAULT,
        billing_address: Mapping[str, str | None] | _Default | None = DEFAULT,
    ) -> None:
        """Change an order as the seller or a payment would, and queue its events. Nothing locks here."""
        with self._lock:
            changes: dict[str, Any] = {}
            if not isinstance(billing_name, _Default):
                changes["billing_name"] = billing_name
            if not isinstance(billing_address, _Default):
                changes["billing_address"] = _address(billing_address)
            was_paid = order.is_paid
            if status is not None and status != order.status:
                order.status = status
                self._number(order, receipt=order.is_paid)
                self._touch(order, self.now)
            self.change_billing(order, changes)
            if order.is_paid and not was_paid:
                self._emit_order("order.paid", order, self.now)

    def change_billing(self, order: FakeOrder, changes: Mapping[str, Any]) -> None:
        """Set billing details. ``order.updated`` is queued even when nothing is different (measured, 2026-08)."""
        with self._lock:
            before = order.billing_details
            order.billing_name = changes.get("billing_name", order.billing_name)
            order.billing_address = changes.get("billing_address", order.billing_address)
            if order.billing_details != before:
                self._touch(order, self.now)
            self._emit_order("order.updated", order, self.now)

    def refund(self, order: FakeOrder, amount: int | None = None) -> None:
        """Refund ``amount`` before tax (in the currency's smallest unit), or all that is left of it.

        A receipt that has been made is made again, as a new object; until that is done the old one is handed out.

        Raises:
            ValueError: more than is left, nothing, or of an order that is not paid.
        """
        with self._lock:
            left = order.amount - order.refunded_amount
            amount = left if amount is None else amount
            if not order.is_paid or not 0 < amount <= left:
                raise ValueError(f"Can't refund {amount} of an order that is {order.status} with {left} left.")
            order.refunded_amount += amount
            order.refunded_tax_amount = round(order.tax_amount * order.refunded_amount / order.amount)
            order.status = "refunded" if order.refunded_amount == order.amount else "partially_refunded"
            now = self.now
            self._touch(order, now)
            self._emit_order("order.updated", order, now)
            self._emit_order("order.refunded", order, now)
            if order.receipt_key is not None:
                self.request_receipt(order)

    # Documents

    def request_invoice(self, order: FakeOrder) -> None:
        """Start to make an invoice, unless the one there is has these very billing details."""
        with self._lock:
            if order.invoiced != order.billing_details:
                self._start(self._finish_invoice, order)

    def request_receipt(self, order: FakeOrder) -> None:
        """Start to make a receipt, however many are in the making already."""
        with self._lock:
            self._start(self._finish_receipt, order)

    def hold_jobs(self) -> None:
        """Let no document be finished until ``release_jobs``: those in the making have read their order and wait.

        For the race in which billing details change while an invoice is being made.
        """
        with self._lock:
            self._settle()
            self._jobs.hold()

    def release_jobs(self) -> None:
        """Undo ``hold_jobs``; documents whose time has come meanwhile are finished now."""
        with self._lock:
            self._jobs.release(self.now)

    def finish_jobs(self) -> None:
        """Finish every document in the making now, held or not, whatever ``render_seconds`` says."""
        with self._lock:
            self._jobs.finish(self.now)

    # Bodies

    def customer_body(self, customer: FakeCustomer) -> bodies.Body:
        """Return the JSON of a customer, as webhooks have it; a new one each time, to change at will."""
        return bodies.customer_body(customer, self.id)

    def merchant_order_body(self, order: FakeOrder) -> bodies.Body:
        """Return the JSON of an order, as webhooks and the organization's API have it; to change at will."""
        return bodies.merchant_order_body(order, self.organization_body())

    def organization_body(self) -> bodies.Body:
        """Return the JSON of this organization, as customers' orders have it."""
        return bodies.organization_body(self.id, self.name, self.slug, self.created_at, member_model=self.member_model)

    @property
    def events(self) -> list[Event]:
        """What webhooks would have been sent by now, oldest first."""
        self._settle()
        return self._events

    # Inside

    def _settle(self) -> None:
        """Finish the documents whose time has come."""
        with self._lock:
            self._jobs.settle(self.now)

    def _owner(self, customer: FakeCustomer) -> FakeMember:
        for member in customer.members:
            if member.role == "owner":
                return member
        # Measured on the server, 2026-08: a customer without members gets an owner with its first session.
        owner = FakeMember(role="owner", name=customer.name or "", email=customer.email)
        customer.members.append(owner)
        return owner

    def _product(self, name: str, amount: int, currency: str) -> FakeProduct:
        if name not in self._products:
            self._products[name] = FakeProduct(uuid.uuid4(), uuid.uuid4(), name, amount, currency, self.now)
        return self._products[name]

    def _number(self, order: FakeOrder, *, receipt: bool) -> None:
        customer = order.customer
        if order.invoice_number is None and order.status != "draft":
            customer.invoices += 1
            order.invoice_number = f"{self.slug.upper()}-{customer.short_id}-{customer.invoices:04d}"
        if order.receipt_number is None and receipt:
            customer.receipts += 1
            order.receipt_number = f"RCPT-{customer.short_id}-{customer.receipts:04d}"

    def _start(self, finish: Callable[[FakeOrder, FakeOrder, datetime], None], order: FakeOrder) -> None:
        # A job reads the order when it starts: what changes while it runs is not in its document (measured, 2026-08).
        as_read = replace(order)
        self._jobs.start(self.now + timedelta(seconds=self.render_seconds), lambda at: finish(order, as_read, at))
        self._settle()

    def _finish_invoice(self, order: FakeOrder, as_read: FakeOrder, at: datetime) -> None:
        self._store_invoice(order, as_read, at)
        # The event shows the details that the job has read, even if they have changed since (measured, 2026-08).
        shown = replace(order, billing_name=as_read.billing_name, billing_address=as_read.billing_address)
        self._emit_order("order.updated", shown, at)

    def _store_invoice(self, order: FakeOrder, as_read: FakeOrder, at: datetime) -> None:
        order.invoice_key = f"{INVOICES}/Invoice-{order.invoice_number}.pdf"
        order.invoiced = as_read.billing_details
        self.store.files[order.invoice_key] = StoredFile(invoice_pdf(as_read), at)
        self._touch(order, at)

    def _finish_receipt(self, order: FakeOrder, as_read: FakeOrder, at: datetime) -> None:
        named_at = at
        while (key := f"{RECEIPTS}/{self.id}/{order.id}/{named_at:%Y%m%dT%H%M%SZ}.pdf") in self.store.files:
            named_at += timedelta(seconds=1)
        order.receipt_key = key
        cache_control = "private, max-age=31536000, immutable"
        self.store.files[key] = StoredFile(receipt_pdf(as_read), at, cache_control)
        # No event, but the order is marked as changed (measured on the server, 2026-08).
        self._touch(order, at)

    @staticmethod
    def _touch(order: FakeOrder, at: datetime) -> None:
        # Always later than before, even on a clock that stands still: clients compare these.
        if order.modified_at is not None:
            at = max(at, order.modified_at + timedelta(microseconds=1))
        order.modified_at = at

    def _emit_order(self, event_type: str, order: FakeOrder, at: datetime) -> None:
        self._emit(event_type, self.merchant_order_body(order), at)

    def _emit(self, event_type: str, data: bodies.Body, at: datetime) -> None:
        self._events.append(Event(id=str(uuid.uuid4()), type=event_type, timestamp=at, data=data))


def _make_access_token() -> str:
    return f"polar_oat_{secrets.token_hex(20)}"


def _address(given: Mapping[str, str | None] | None) -> Address | None:
    return None if given is None else complete(given)
