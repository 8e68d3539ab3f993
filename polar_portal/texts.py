"""What a customer is told: of each failure, of an order's status, of an amount."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from django.utils.translation import get_language, to_locale
from django.utils.translation import gettext_lazy as _

from polar_portal.exceptions import (
    BillingDetailsInvalid,
    BillingDetailsMissing,
    DocumentPending,
    InvoiceNotGenerated,
    NotACustomer,
    NotPermitted,
    OrderNotEligible,
    OrderNotFound,
    PolarMisconfigured,
    PolarUnavailable,
    RateLimited,
    ReceiptUnavailable,
)

if TYPE_CHECKING:
    from babel import Locale
    from django.utils.functional import _StrPromise

#: Title and text of each failure, by its code.
FAILURES: dict[str, tuple[_StrPromise, _StrPromise]] = {
    DocumentPending.code: (
        _("Your document is being prepared"),
        _("This takes a few seconds. You can stay on this page: the document opens by itself when it is ready."),
    ),
    InvoiceNotGenerated.code: (
        _("Your invoice has not been made yet"),
        _("The invoice is made when you ask for it. This takes a few seconds."),
    ),
    OrderNotFound.code: (
        _("Order not found"),
        _("There is no such order in your account. Perhaps you bought it with another account than this one."),
    ),
    OrderNotEligible.code: (
        _("This order gets no invoice"),
        _("Invoices are made for completed orders only. This order is not completed, or was cancelled."),
    ),
    BillingDetailsMissing.code: (
        _("Billing details are missing"),
        _("An invoice needs a billing name and address."),
    ),
    BillingDetailsInvalid.code: (
        _("These billing details can't be used"),
        _("Please look at the messages beside the fields."),
    ),
    ReceiptUnavailable.code: (
        _("There is no receipt for this order"),
        _("Receipts are made for orders that were paid online."),
    ),
    NotACustomer.code: (
        _("There is nothing to show yet"),
        _("You have not bought anything with this account, or you bought it with another one."),
    ),
    NotPermitted.code: (
        _("You may not see this order's billing"),
        _("Only owners and billing managers of your team may see this order's billing. Please ask one of them."),
    ),
    RateLimited.code: (
        _("Too many requests at the moment"),
        _("Your order is safe. Please try again in a minute."),
    ),
    PolarUnavailable.code: (
        _("Your documents can't be reached at the moment"),
        _("Our billing provider does not answer as it should. Your order is safe. Please try again in a minute."),
    ),
    PolarMisconfigured.code: (
        _("Something is wrong on our side"),
        _("This is a mistake in our settings, not something you did. Please contact us."),
    ),
}

#: Of each kind of document: being prepared, ready, its button.
DOCUMENTS = {
    "invoice": (_("Your invoice is being prepared"), _("Your invoice is ready"), _("Download invoice")),
    "receipt": (_("Your receipt is being prepared"), _("Your receipt is ready"), _("Download receipt")),
}

STATUSES = {
    "draft": _("Draft"),
    "pending": _("Payment pending"),
    "paid": _("Paid"),
    "refunded": _("Refunded"),
    "partially_refunded": _("Partially refunded"),
    "void": _("Cancelled"),
}

#: Currencies without a smaller unit, in which Polar counts whole ones (Stripe's list of zero-decimal currencies).
ZERO_DECIMAL = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf".split())


def status_text(status: str) -> str:
    """Return an order's status in the customer's language; one that Polar adds as it is."""
    return str(STATUSES.get(status, status.replace("_", " ").capitalize()))


def amount_text(amount: int, currency: str) -> str:
    """Return an amount in the customer's language, like "€58.80".

    amount: in the currency's smallest unit, as Polar gives it. currency: ISO 4217.
    """
    from babel.numbers import format_currency

    whole = Decimal(amount) / (1 if currency.lower() in ZERO_DECIMAL else 100)
    return format_currency(whole, currency.upper(), locale=babel_locale())


def country_text(country: str) -> str:
    """Return a country's name in the customer's language. country: ISO 3166-1 alpha-2."""
    return str(babel_locale().territories.get(country, country))


def state_text(state: str) -> str:
    """Return a state's name, a code that is none as it is. state: ISO 3166-2, like US-CA."""
    import pycountry  # here, as Babel below

    found = pycountry.subdivisions.get(code=state)  # type: ignore[no-untyped-call]
    return str(found.name) if found else state


def babel_locale() -> Locale:
    """Return the customer's language as Babel knows it, English where it does not."""
    from babel import Locale, UnknownLocaleError  # here: it takes a while to load

    try:
        return Locale.parse(to_locale(get_language() or "en"))
    except (UnknownLocaleError, ValueError):
        return Locale.parse("en")
