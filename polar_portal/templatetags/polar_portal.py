"""{% load polar_portal %}: links and buttons for an order, and its invoice's state for a page that shows one order."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django import template
from django.core.exceptions import ImproperlyConfigured
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString

from polar_portal.exceptions import (
    DocumentPending,
    InvoiceNotGenerated,
    NotACustomer,
    NotPermitted,
    OrderNotEligible,
    OrderNotFound,
    PolarError,
)
from polar_portal.portal import CustomerPortal, order_id_of
from polar_portal.texts import DOCUMENTS, amount_text, country_text, state_text, status_text

register = template.Library()

logger = logging.getLogger(__name__)

#: What an invoice's state is called in a template, by what is in the way; anything else is "unavailable".
_STATUSES: dict[type[PolarError], str] = {
    InvoiceNotGenerated: "not_generated",
    DocumentPending: "pending",
    OrderNotEligible: "not_eligible",
    OrderNotFound: "not_found",
    NotACustomer: "not_found",
    NotPermitted: "not_found",
}


@dataclass(frozen=True)
class Invoice:
    """The state of an order's invoice, as `{% polar_invoice order as invoice %}` gives it to a template.

    status: `ready`, `not_generated`, `pending`, `not_eligible`, `not_found` or `unavailable`.
    url: our own address for it, which never dies; "" without an order.
    document_url, expires_at: the signed address and its end, for use at once; None unless ready.
    retry_after: seconds after which looking again makes sense, or None.
    """

    status: str
    url: str = ""
    document_url: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    retry_after: int | None = None

    def __reduce__(self) -> Any:
        raise TypeError("An Invoice is not to be pickled: ask for it on each page.")


@register.simple_tag
def polar_invoice_url(order: Any) -> str:
    """Return the address that leads to the order's invoice, "" without an order. Polar is not asked.

    order: a UUID, a string, or anything with `polar_order_id`.
    """
    return _url("invoice", order)


@register.simple_tag
def polar_invoice_button(order: Any) -> SafeString | str:
    """Return a "Download invoice" button, nothing without an order. Polar is not asked."""
    return _button("invoice", order)


@register.simple_tag
def polar_receipt_url(order: Any) -> str:
    """Return the address that leads to the order's receipt, "" without an order. Polar is not asked."""
    return _url("receipt", order)


@register.simple_tag
def polar_receipt_button(order: Any) -> SafeString | str:
    """Return a "Download receipt" button, nothing without an order. Polar is not asked."""
    return _button("receipt", order)


def _url(kind: str, order: Any) -> str:
    order_id = order_id_of(order)
    return reverse(f"polar_portal:{kind}", args=[order_id]) if order_id else ""


def _button(kind: str, order: Any) -> SafeString | str:
    if not (url := _url(kind, order)):
        return ""
    return render_to_string("polar_portal/button.html", {"url": url, "label": DOCUMENTS[kind][2]})


@register.inclusion_tag("polar_portal/portal_button.html", takes_context=True)
def polar_portal_button(context: template.Context) -> dict[str, Any]:
    """Return a button that opens Polar's hosted portal, signed in. Polar is asked when it is pressed."""
    return {"csrf_token": context.get("csrf_token", "")}


@register.filter
def polar_amount(amount: int, currency: str) -> str:
    """`{{ order.total_amount|polar_amount:order.currency }}`: the amount in the customer's language."""
    return amount_text(amount, currency)


@register.filter
def polar_country(country: str) -> str:
    """`{{ address.country|polar_country }}`: a country's name in the customer's language."""
    return country_text(country)


@register.filter
def polar_state(state: str) -> str:
    """`{{ address.state|polar_state }}`: a state's name, like California."""
    return state_text(state)


@register.filter
def polar_status(status: str) -> str:
    """`{{ order.status|polar_status }}`: an order's status in the customer's language."""
    return status_text(status)


@register.simple_tag(takes_context=True)
def polar_invoice(context: template.Context, order: Any) -> Invoice:
    """Ask for the state of the order's invoice: from the cache when it can, else from Polar.

    For a page that shows a single order. Never raises, and never has an invoice made.
    """
    order_id, url = None, ""
    try:
        order_id = order_id_of(order)
        if order_id is None:
            return Invoice("not_found")
        request = context.get("request")
        user = context.get("user") if request is None else getattr(request, "user", None)
        url = polar_invoice_url(order_id)
        document = CustomerPortal(user).invoice(order_id)
    except PolarError as failure:
        return Invoice(_STATUSES.get(type(failure), "unavailable"), url, retry_after=failure.retry_after)
    except ImproperlyConfigured:
        return Invoice("unavailable", url)
    except Exception as error:  # noqa: BLE001 - a page of the host's is not to fail for this
        logger.error("polar_invoice: order %s, unexpected %s", order_id, type(error).__name__)
        return Invoice("unavailable", url)
    return Invoice("ready", url, document.url, document.expires_at)
