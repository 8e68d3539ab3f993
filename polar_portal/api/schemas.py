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

#: Valid in JSON, but PostgreSQL refuses NUL, and half a surrogate pair can't be sent to a browser.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Nonsense(ValueError):
    """Polar's answer does not have the promised shape. The text names the field, never its value."""


@dataclass(frozen=True)
class Document:
    """A signed address of a PDF, for use at once.

    url: leads to the PDF without asking who comes; whoever has it can open it until it dies, so `repr` hides it.
    expires_at: when it dies, in UTC; None when the URL does not say.
    """

    url: str = field(repr=False)
    expires_at: datetime | None


@dataclass(frozen=True)
class IssuedSession:
    """A customer session that Polar has just made.

    life: seconds until it ends, by Polar's clock. Polar's sessions live one hour and do not slide.
    """

    token: Secret
    polar_customer_id: uuid.UUID
    life: float

    @classmethod
    def from_json(cls, data: Any) -> IssuedSession:
        record = _object(data)
        token = _text(record, "token")
        if not token.isascii() or not token.isprintable() or " " in token:
            raise Nonsense("token")
        life = (_moment(record, "expires_at") - _moment(record, "created_at")).total_seconds()
        return cls(token=Secret(token), polar_customer_id=_id(record, "customer_id"), life=max(life, 0.0))


@dataclass(frozen=True)
class PortalOrder:
    """An order as its customer may see it.

    status: `draft`, `pending`, `paid`, `refunded`, `partially_refunded`, `void`, or one that Polar adds.
    number: the invoice number, "" while there is none.
    currency: lower-case ISO 4217; the amounts are in its smallest unit (cents; yen for jpy).
    """

    id: uuid.UUID
    polar_customer_id: uuid.UUID
    status: str
    number: str
    created_at: datetime
    modified_at: datetime
    currency: str
    total_amount: int
    refunded_amount: int
    description: str

    #: Statuses for which Polar never makes an invoice (measured 2026-08: pending and refunded orders do get one).
    WITHOUT_INVOICE = frozenset({"draft", "void"})

    @property
    def may_have_invoice(self) -> bool:
        return self.status not in self.WITHOUT_INVOICE

    @classmethod
    def from_json(cls, data: Any) -> PortalOrder:
        record = _object(data)
        created_at = _moment(record, "created_at")
        return cls(
            id=_id(record, "id"),
            polar_customer_id=_id(record, "customer_id"),
            status=_text(record, "status"),
            number=_text(record, "invoice_number", default=""),
            created_at=created_at,
            modified_at=created_at if record.get("modified_at") is None else _moment(record, "modified_at"),
            currency=_text(record, "currency"),
            total_amount=_amount(record, "total_amount"),
            refunded_amount=_amount(record, "refunded_amount"),
            description=_text(record, "description", default=""),
        )


def document_url(data: Any) -> str:
    """The `url` of an answer that brings a document."""
    return _text(_object(data), "url")


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


def _amount(record: Mapping[str, Any], name: str) -> int:
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise Nonsense(name)
    return value


def _id(record: Mapping[str, Any], name: str) -> uuid.UUID:
    try:
        return uuid.UUID(_text(record, name))
    except ValueError:
        raise Nonsense(name) from None


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
