"""The service layer's face: what a customer, or the seller's staff, can do about an order.

>>> from polar_portal.portal import CustomerPortal
>>> CustomerPortal(request.user).invoice(polar_order_id)
Document(expires_at=datetime.datetime(2026, 11, 22, 12, 10, tzinfo=datetime.timezone.utc))

Every method may call Polar, takes POLAR_CLICK_BUDGET seconds at most, and raises what `polar_portal.exceptions` draws.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from polar_portal import documents
from polar_portal.api.schemas import Document
from polar_portal.exceptions import OrderNotFound, PolarError, PolarMisconfigured
from polar_portal.identity import CustomerIdentity, Identity, OrganizationIdentity

__all__ = ["CustomerPortal", "Document", "OrganizationPortal"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


class _Portal:
    _asker = ""

    def _identity(self) -> Identity:
        raise NotImplementedError

    def invoice(self, polar_order_id: uuid.UUID | str) -> Document:
        """Return the address of the order's invoice, from the cache when it can.

        polar_order_id: the order's id at Polar.

        Raises InvoiceNotGenerated, DocumentPending, OrderNotEligible, OrderNotFound, NotPermitted, NotACustomer,
        RateLimited, PolarUnavailable or PolarMisconfigured.
        """
        return self._run("invoice", polar_order_id, documents.invoice)

    def cached_invoice(self, polar_order_id: uuid.UUID | str) -> Document | None:
        """Return the address of the order's invoice if it can be had without asking Polar, else None."""
        return self._run("invoice", polar_order_id, documents.cached_invoice)

    def generate_invoice(self, polar_order_id: uuid.UUID | str) -> None:
        """Ask Polar to make the order's invoice; a few seconds later `invoice` has it.

        Polar answers the same whether it makes one or has one that is up to date, so this may be repeated.

        Raises BillingDetailsMissing, OrderNotEligible, OrderNotFound, NotPermitted, NotACustomer, RateLimited,
        PolarUnavailable or PolarMisconfigured.
        """
        self._run("making the invoice", polar_order_id, documents.generate_invoice)

    def _run(self, what: str, polar_order_id: uuid.UUID | str, act: Callable[[Identity, uuid.UUID], T]) -> T:
        """Do it, and for a failure write one line that whoever is on call can use."""
        order_id: uuid.UUID | None = None
        try:
            order_id = _uuid(polar_order_id)
            return act(self._identity(), order_id)
        except (PolarError, PolarMisconfigured) as failure:
            # One that another click met, and reported, needs no second line.
            if not failure.remembered:
                logger.log(
                    failure.log_level,
                    "%s: %s of order %s for %s: %s",
                    failure.code,
                    what,
                    order_id or "(malformed id)",
                    self._asker,
                    failure,
                )
            # Without the frames below: a DEBUG page would show their variables, among them which customer it was.
            raise failure.with_traceback(None)  # noqa: B904 - it is the same exception


class CustomerPortal(_Portal):
    """What one signed-in user may do about their own orders, as their customer at Polar."""

    def __init__(self, user: Any) -> None:
        self._user = user
        self._asker = f"user {getattr(user, 'pk', None)}"

    def __repr__(self) -> str:
        return f"CustomerPortal({self._asker})"

    def _identity(self) -> Identity:
        return CustomerIdentity(self._user)


class OrganizationPortal(_Portal):
    """What the seller's staff may do about any order: with the organization's own token, never as a customer."""

    _asker = "the organization"

    def _identity(self) -> Identity:
        return OrganizationIdentity()


def _uuid(polar_order_id: uuid.UUID | str) -> uuid.UUID:
    if isinstance(polar_order_id, uuid.UUID):
        return polar_order_id
    try:
        return uuid.UUID(polar_order_id)
    except (ValueError, AttributeError, TypeError):
        raise OrderNotFound("This is no order's id.") from None
