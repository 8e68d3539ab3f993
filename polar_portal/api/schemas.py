"""What Polar answers, as frozen dataclasses.

Each is made from decoded JSON by `from_json`, which raises `Nonsense` for anything that does not fit. Fields that a
future Polar adds are ignored, and a status that it adds is kept as it is.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from django.utils.dateparse import parse_datetime

from polar_portal.conf import Secret

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

#: Valid in JSON, but PostgreSQL refuses NUL, and half a surrogate pair can't be sent to a browser.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Nonsense(ValueError):
    """Polar's answer does not have the promised shape. The text names the field, never its value."""


@dataclass(frozen=True)
class Document:
    """A signed address of a PDF, for use at once.

    Attributes:
        url: leads to the PDF without asking who comes; whoever has it can open it until it dies, so `repr` hides it,
            and pickling, which is how tasks and caches keep things, is refused.
        expires_at: when it dies, in UTC; None when the URL does not say.
    """

    url: str = field(repr=False)
    expires_at: datetime | None

    def __reduce__(self) -> Any:
        raise TypeError("A Document is not to be pickled: ask for it where it is needed.")


@dataclass(frozen=True)
class IssuedSession:
    """A customer session that Polar has just made.

    life: seconds until it ends, by Polar's clock. Polar's sessions live one hour and do not slide.
    hosted_url: Polar's own portal, signed in; holds the token and the customer's e-mail address.
    """

    token: Secret
    polar_customer_id: uuid.UUID
    life: float
    hosted_url: Secret

    @classmethod
    def from_json(cls, data: Any, *, answered: float | None = None) -> IssuedSession:
        """answered: when Polar answered, by its own clock if that is known; for a session without `created_at`."""
        record = _object(data)
        token = _text(record, "token")
        if not token.isascii() or not token.isprintable() or " " in token:
            raise Nonsense("token")
        if record.get("created_at") is not None or answered is None:
            answered = _moment(record, "created_at").timestamp()
        life = _moment(record, "expires_at").timestamp() - answered
        return cls(
            token=Secret(token),
            polar_customer_id=_id(record, "customer_id"),
            life=max(life, 0.0),
            hosted_url=Secret(_text(record, "customer_portal_url", default="")),
        )


@dataclass(frozen=True)
class BillingAddress:
    """The address that an invoice shows. Polar answers null for what is not known; here that is "".

    `repr` shows state and country alone.

    Attributes:
        line1: street and number.
        line2: what else the street's line should say.
        postal_code: as it is written there.
        city: the place.
        state: ISO 3166-2, like US-CA, for the United States and Canada; of other countries as it was typed.
        country: ISO 3166-1 alpha-2, like FR.
    """

    line1: str = field(default="", repr=False)
    line2: str = field(default="", repr=False)
    postal_code: str = field(default="", repr=False)
    city: str = field(default="", repr=False)
    state: str = ""
    country: str = ""

    @classmethod
    def from_json(cls, data: Any) -> BillingAddress:
        record = _object(data)
        return cls(**{name: _text(record, name, default="") for name in cls.__dataclass_fields__})

    def as_json(self) -> dict[str, str | None]:
        """Return what PATCH wants: Polar replaces the address whole, so every field is there."""
        return {name: value or None for name, value in vars(self).items()}


@dataclass(frozen=True)
class OrderLine:
    """One line of an order.

    Attributes:
        label: what was bought.
        amount: before discount and tax, in the smallest unit of the order's currency.
    """

    label: str
    amount: int

    @classmethod
    def from_json(cls, data: Any) -> OrderLine:
        record = _object(data)
        return cls(label=_text(record, "label", default=""), amount=_amount(record, "amount"))


@dataclass(frozen=True)
class PortalOrder:
    """An order as its customer may see it. `repr` shows neither billing details nor the external id.

    Attributes:
        id: its id at Polar.
        polar_customer_id: the id of its customer at Polar; None when Polar does not say.
        status: `draft`, `pending`, `paid`, `refunded`, `partially_refunded`, `void`, or one that Polar adds.
        created_at: when it was placed, in UTC.
        modified_at: when it was last changed at Polar, in UTC.
        number: the invoice number, "" while there is none.
        receipt_number: the receipt's, "" while there is none.
        currency: lower-case ISO 4217; the amounts are in its smallest unit (cents; yen for jpy).
        subtotal_amount: of all lines.
        discount_amount: what is taken off that.
        tax_amount: what comes on top.
        total_amount: what the customer pays.
        refunded_amount: what was paid back, without its tax.
        refunded_tax_amount: the tax on that.
        description: the product's name, or what the order is for.
        is_invoice_generated: whether its invoice has been made.
        billing_name: the name on the invoice, "" while there is none.
        billing_address: the address on it, None while there is none.
        lines: what was bought.
        external_customer_id: the customer's id in the seller's system, which only the organization is told; else "".
    """

    id: uuid.UUID
    polar_customer_id: uuid.UUID | None
    status: str
    created_at: datetime
    modified_at: datetime
    number: str = ""
    receipt_number: str = ""
    currency: str = ""
    subtotal_amount: int = 0
    discount_amount: int = 0
    tax_amount: int = 0
    total_amount: int = 0
    refunded_amount: int = 0
    refunded_tax_amount: int = 0
    description: str = ""
    is_invoice_generated: bool = False
    billing_name: str = field(default="", repr=False)
    billing_address: BillingAddress | None = field(default=None, repr=False)
    lines: tuple[OrderLine, ...] = ()
    external_customer_id: str = field(default="", repr=False)

    #: Statuses for which Polar never makes an invoice (measured 2026-08: pending and refunded orders do get one).
    WITHOUT_INVOICE = frozenset({"draft", "void"})

    @property
    def may_have_invoice(self) -> bool:
        """Whether its invoice is made or can be: not for draft and void orders."""
        return self.status not in self.WITHOUT_INVOICE

    @property
    def has_invoice_to_offer(self) -> bool:
        """Whether an invoice is there, or one press away."""
        return self.may_have_invoice and (self.is_invoice_generated or self.has_billing_details)

    @property
    def has_receipt(self) -> bool:
        """Whether Polar has allocated a receipt, which it renders when it is asked for."""
        return bool(self.receipt_number)

    @property
    def refunded_total(self) -> int:
        """What was paid back, tax included."""
        return self.refunded_amount + self.refunded_tax_amount

    @property
    def has_billing_details(self) -> bool:
        """Whether an invoice made now would name somebody; Polar itself only asks for "not null"."""
        return bool(self.billing_name.strip() and self.billing_address and self.billing_address.line1.strip())

    @classmethod
    def from_json(cls, data: Any) -> PortalOrder:
        record = _object(data)
        # Polar sends it always; an invoice does not depend on it.
        created_at = _EPOCH if record.get("created_at") is None else _moment(record, "created_at")
        address, customer = record.get("billing_address"), record.get("customer")
        lines = record.get("items")
        if lines is not None and not isinstance(lines, list):
            raise Nonsense("items")
        return cls(
            id=_id(record, "id"),
            polar_customer_id=None if record.get("customer_id") is None else _id(record, "customer_id"),
            status=_text(record, "status"),
            created_at=created_at,
            modified_at=created_at if record.get("modified_at") is None else _moment(record, "modified_at"),
            number=_text(record, "invoice_number", default=""),
            receipt_number=_text(record, "receipt_number", default=""),
            currency=_text(record, "currency", default=""),
            description=_text(record, "description", default=""),
            is_invoice_generated=record.get("is_invoice_generated") is True,
            billing_name=_text(record, "billing_name", default=""),
            billing_address=None if address is None else BillingAddress.from_json(address),
            lines=tuple(map(OrderLine.from_json, lines or [])),
            external_customer_id="" if customer is None else _text(_object(customer), "external_id", default=""),
            **{
                name: _amount(record, name, default=0)
                for name in (
                    "subtotal_amount",
                    "discount_amount",
                    "tax_amount",
                    "total_amount",
                    "refunded_amount",
                    "refunded_tax_amount",
                )
            },
        )


@dataclass(frozen=True)
class OrderPage:
    """One page of Polar's own list. total counts all orders, drafts included.

    left_out: the orders that make no sense, each by its id (or its place on the page) and the field that is wrong.
    """

    orders: tuple[PortalOrder, ...]
    total: int
    left_out: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Any, *, strict: bool = True) -> OrderPage:
        """strict: whether one order that makes no sense makes the page Nonsense, or is left out of it."""
        record = _object(data)
        items, pagination = record.get("items"), _object(record.get("pagination"))
        if not isinstance(items, list):
            raise Nonsense("items")
        orders, left_out = [], []
        for place, item in enumerate(items, start=1):
            try:
                orders.append(PortalOrder.from_json(item))
            except Nonsense as nonsense:
                if strict:
                    raise
                left_out.append(f"{_name(item) or f'no. {place} of its page'} ({nonsense})")
        return cls(tuple(orders), _amount(pagination, "total_count"), tuple(left_out))


def document_url(data: Any) -> str:
    """The `url` of an answer that brings a document."""
    return _text(_object(data), "url")


def customer_id(data: Any) -> uuid.UUID:
    """The id of a customer, as events about customers bring one."""
    return _id(_object(data), "id")


def _object(data: Any) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise Nonsense("the body is no object")
    return data


def _text(record: Mapping[str, Any], name: str, *, default: str | None = None) -> str:
    value = record.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or (not value and default is None) or _UNSTORABLE.search(value):
        raise Nonsense(name)
    return value


def _amount(record: Mapping[str, Any], name: str, *, default: int | None = None) -> int:
    value = record.get(name)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise Nonsense(name)
    return value


def _id(record: Mapping[str, Any], name: str) -> uuid.UUID:
    try:
        return uuid.UUID(_text(record, name))
    except ValueError:
        raise Nonsense(name) from None


def _name(item: Any) -> str:
    """The id of an order of which something else makes no sense, if that is one."""
    try:
        return str(_id(_object(item), "id"))
    except Nonsense:
        return ""


def _moment(record: Mapping[str, Any], name: str) -> datetime:
    try:
        moment = parse_datetime(_text(record, name))
        if moment is None:
            raise Nonsense(name)
        moment = moment.astimezone(timezone.utc) if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    except (ValueError, OverflowError):
        raise Nonsense(name) from None
    # At both ends of the calendar, showing it in another time zone would raise.
    if not 1970 <= moment.year < 9999:
        raise Nonsense(name)
    return moment
