"""What the fake keeps and hands to tests: customers, orders, calls, events."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypedDict

#: The statuses that an order has at Polar.
Status = Literal["draft", "pending", "paid", "refunded", "partially_refunded", "void"]


class Address(TypedDict):
    """A billing address the way Polar answers it: every key is there, ``None`` for what is not known."""

    line1: str | None
    line2: str | None
    postal_code: str | None
    city: str | None
    state: str | None
    country: str


@dataclass
class FakeMember:
    """Someone who belongs to a customer, in an organization that uses the member model.

    ``role`` is ``"owner"``, ``"billing_manager"`` or ``"member"``; the last one may not see orders.
    """

    role: str = "member"
    name: str = "Grace Hopper"
    email: str = "grace@example.com"
    external_id: str | None = None
    id: uuid.UUID = field(default_factory=uuid.uuid4)


@dataclass(eq=False)
class FakeCustomer:
    """A customer of the organization; make one with ``FakePolar.add_customer``.

    ``short_id`` is part of the numbers of its documents; ``invoices`` and ``receipts`` count how many have one.
    """

    id: uuid.UUID
    external_id: str | None
    name: str | None
    email: str
    type: str
    billing_name: str | None
    billing_address: Address | None
    members: list[FakeMember]
    short_id: str
    created_at: datetime
    modified_at: datetime | None = None
    deleted_at: datetime | None = None
    invoices: int = 0
    receipts: int = 0


@dataclass(eq=False)
class FakeProduct:
    """A product; the fake keeps one for each name."""

    id: uuid.UUID
    price_id: uuid.UUID
    name: str
    amount: int
    currency: str
    created_at: datetime


@dataclass(eq=False)
class FakeOrder:
    """An order; make one with ``FakePolar.add_order``. Amounts are in the currency's smallest unit.

    ``status`` is one of ``Status``, or whatever you set, for a status that Polar may add. ``invoice_number`` and
    ``receipt_number`` are ``None`` as long as there is none; ``invoice_key`` and ``receipt_key``, under which
    ``FakePolar.store`` has the PDFs, as long as those have not been made.
    """

    id: uuid.UUID
    item_id: uuid.UUID
    customer: FakeCustomer
    product: FakeProduct
    status: str
    amount: int
    tax_amount: int
    currency: str
    billing_name: str | None
    billing_address: Address | None
    created_at: datetime
    sequence: int
    modified_at: datetime | None = None
    refunded_amount: int = 0
    refunded_tax_amount: int = 0
    invoice_number: str | None = None
    receipt_number: str | None = None
    invoice_key: str | None = None
    invoiced: tuple[str | None, Address | None] | None = None
    receipt_key: str | None = None

    @property
    def total_amount(self) -> int:
        return self.amount + self.tax_amount

    @property
    def is_paid(self) -> bool:
        return self.status in {"paid", "refunded", "partially_refunded"}

    @property
    def is_invoice_generated(self) -> bool:
        return self.invoice_key is not None

    @property
    def billing_details(self) -> tuple[str | None, Address | None]:
        return (self.billing_name, self.billing_address)


@dataclass
class Session:
    """A customer session: acts as one customer, or as one member of it, until ``expires_at``."""

    id: uuid.UUID
    token: str
    customer: FakeCustomer
    member: FakeMember | None
    return_url: str | None
    created_at: datetime
    expires_at: datetime


@dataclass
class Call:
    """A request that the fake received.

    ``body`` is the parsed JSON, or ``None``; ``token`` is what came after ``Bearer``; ``status`` is what was
    answered, or ``None`` when the connection was dropped. Header names are in lower case; of a query parameter given
    more than once, ``query`` has the last.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    token: str | None
    status: int | None = None


@dataclass(frozen=True)
class Event:
    """Something that Polar would tell a webhook endpoint: ``id`` and ``data`` stay the same in every retry."""

    id: str
    type: str
    timestamp: datetime
    data: dict[str, Any]


@dataclass
class Limits:
    """Requests allowed in a minute, ``None`` for as many as you like (the default, as on a development server).

    Args:
        customer: for all the tokens of one customer together.
        organization: for all calls with the organization's token, creating sessions included.
        new_token: for a token that has not been let in before.
    """

    customer: int | None = None
    organization: int | None = None
    new_token: int | None = None

    @classmethod
    def sandbox(cls) -> Limits:
        """The limits of sandbox-api.polar.sh (measured on the server, 2026-08)."""
        return cls(customer=100, organization=100, new_token=60)

    @classmethod
    def production(cls) -> Limits:
        """The limits of api.polar.sh (from the server's code, 2026-08)."""
        return cls(customer=500, organization=500, new_token=60)
