"""What can go wrong, and what a caller can do about it.

PolarError                      everything that Polar, or the order, can answer instead of a document
├── OrderNotFound               not this customer's order, or no such order
├── InvoiceNotGenerated         the order is fine, its invoice has not been made yet
├── DocumentPending             being prepared: ask again after `retry_after` seconds
├── BillingDetailsMissing       no invoice without a billing name and address
├── BillingDetailsInvalid       Polar refuses the details; `fields` says which and why
├── OrderNotEligible            a draft or void order never gets an invoice
├── ReceiptUnavailable          the order has no receipt
├── NotACustomer                Polar knows no customer for this user
├── NotPermitted                a team member without a billing role
├── RateLimited                 too many questions: ask again after `retry_after` seconds
├── PolarUnavailable            network trouble, a 5xx, or an answer that makes no sense
└── WebhookVerificationError    a delivery that Polar did not sign (also Django's PermissionDenied)
PolarMisconfigured              our token, server or settings are wrong (Django's ImproperlyConfigured)

No message holds a token, a signed URL or a customer's address, so each may be logged as it is.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured, PermissionDenied

__all__ = [
    "BillingDetailsInvalid",
    "BillingDetailsMissing",
    "DocumentPending",
    "InvoiceNotGenerated",
    "NotACustomer",
    "NotPermitted",
    "OrderNotEligible",
    "OrderNotFound",
    "PolarError",
    "PolarMisconfigured",
    "PolarUnavailable",
    "RateLimited",
    "ReceiptUnavailable",
    "WebhookVerificationError",
]

#: Seconds after which to come back when neither Polar nor a failure says.
COME_BACK = 30


class PolarError(Exception):
    """The base of all failures that a caller can act on. `str` of each may be logged and shown to staff.

    Attributes:
        code: names it, in JSON and in the log.
        status: of the answer that our views give for it.
        log_level: at which it is logged.
        polar_order_id: the order that was asked for, where that is known, else None.
        retry_after: whole seconds after which asking again makes sense, made 1 to 3600; or None.
        fields: for each refused billing field the reasons, in Polar's words.
        order: the PortalOrder that was read on the way, or None.
        remembered: whether another click has met and logged it before.
    """

    code = "polar_error"
    status = 503
    log_level = logging.WARNING
    default_message = "Polar could not be asked."

    def __init__(
        self,
        message: str = "",
        *,
        polar_order_id: uuid.UUID | None = None,
        retry_after: float | None = None,
        fields: Mapping[str, list[str]] | None = None,
    ) -> None:
        super().__init__(message or self.default_message)
        self.polar_order_id = polar_order_id
        # Whatever Polar, a clock or the cache may say.
        self.retry_after = None if retry_after is None else int(min(max(retry_after, 1), 3600))
        self.fields = dict(fields or {})
        # For a page that offers what can be done about it.
        self.order: Any = None
        # Then it has had its log line.
        self.remembered = False


class OrderNotFound(PolarError):
    """Raised when the order is another customer's, does not exist, or its id is no UUID: nobody may tell which."""

    code = "order_not_found"
    status = 404
    log_level = logging.INFO
    default_message = "This customer has no such order."


class InvoiceNotGenerated(PolarError):
    """Raised when the invoice could exist but nobody has asked Polar to make it: call `generate_invoice`."""

    code = "invoice_not_generated"
    status = 404
    log_level = logging.DEBUG
    default_message = "The invoice has not been made yet; generate_invoice() asks Polar to make it."


class DocumentPending(PolarError):
    """Raised while a document is being prepared; `retry_after` says when to look again."""

    code = "pending"
    status = 202
    log_level = logging.DEBUG
    default_message = "The document is being prepared."


class BillingDetailsMissing(PolarError):
    """Raised when Polar refuses to make an invoice because the order has no billing name or no address."""

    code = "billing_details_missing"
    status = 422
    log_level = logging.INFO
    default_message = "The order has no billing name or no billing address."


class BillingDetailsInvalid(PolarError):
    """Raised when Polar refuses changed billing details; `fields` holds the reasons by field name."""

    code = "billing_details_invalid"
    status = 422
    log_level = logging.INFO
    default_message = "Polar refuses these billing details."


class OrderNotEligible(PolarError):
    """Raised for draft and void orders, which never get an invoice."""

    code = "order_not_eligible"
    status = 409
    log_level = logging.INFO
    default_message = "A draft or void order gets no invoice."


class ReceiptUnavailable(PolarError):
    """Raised when Polar has allocated no receipt to the order: it was not paid, or not through Polar."""

    code = "receipt_unavailable"
    status = 404
    log_level = logging.DEBUG
    default_message = "The order has no receipt."


class NotACustomer(PolarError):
    """Raised when the user is signed out, has no customer at Polar, or the resolver says that there is none."""

    code = "not_a_customer"
    status = 404
    default_message = (
        "Polar knows no customer for this user. Create checkouts with external_customer_id=str(user.pk), "
        "or let POLAR_CUSTOMER_RESOLVER tell which customer a user is."
    )


class NotPermitted(PolarError):
    """Raised when the user is a team member at Polar without a billing role (owner or billing manager)."""

    code = "not_permitted"
    status = 403
    log_level = logging.INFO
    default_message = "This member of the customer's team may not see its billing at Polar."


class RateLimited(PolarError):
    """Raised when Polar's limit is reached, or our own of 6 new sessions a minute for one user."""

    code = "rate_limited"
    status = 503
    default_message = "Polar's rate limit is reached."


class PolarUnavailable(PolarError):
    """Raised when Polar can't be reached in time, answers 5xx, or answers something that makes no sense."""

    code = "polar_unavailable"
    status = 503


class WebhookVerificationError(PolarError, PermissionDenied):
    """Raised when a webhook delivery is not signed with one of POLAR_WEBHOOK_SECRET, or not recently."""

    code = "webhook_not_verified"
    status = 403
    default_message = "The delivery's signature does not verify."


class PolarMisconfigured(ImproperlyConfigured):
    """Raised when a setting, the token, its scopes or the chosen server is wrong: somebody has to change something."""

    code = "misconfigured"
    status = 500
    log_level = logging.ERROR
    remembered = False


class AnswerTooLarge(PolarUnavailable):
    """Inside the service layer only: an answer over 1 MiB. Who asked for a list may ask for less of it."""


class TokenRefused(Exception):
    """Inside the service layer only: Polar answered 401. Whose token it was decides what that means."""
