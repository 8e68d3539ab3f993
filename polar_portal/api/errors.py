"""What an answer of Polar's that is no success means. The same status means different things: the body decides.

Statuses and error codes are as measured on Polar's open-source server in August 2026.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from polar_portal.api import presigned
from polar_portal.api.transport import POLAR_VERSION
from polar_portal.exceptions import (
    COME_BACK,
    BillingDetailsInvalid,
    BillingDetailsMissing,
    InvoiceNotGenerated,
    NotACustomer,
    NotPermitted,
    OrderNotEligible,
    OrderNotFound,
    PolarError,
    PolarMisconfigured,
    PolarUnavailable,
    RateLimited,
    ReceiptUnavailable,
    TokenRefused,
)

Failure = PolarError | PolarMisconfigured | TokenRefused


@dataclass(frozen=True)
class Answer:
    """An answer of Polar's.

    error: the code in its body, "" when it has none. asked_at: epoch seconds by our clock, from before the call.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    data: Any = field(repr=False)
    error: str
    asked_at: float


def failure(answer: Answer, message: str) -> Failure:
    """Say what an error answer means. The same status means different things: the body's `error` decides."""
    status, error = answer.status, answer.error
    if status == 401:
        return TokenRefused(message)
    if status == 403 and error == "insufficient_scope":
        scope = re.search(r'scope="([\w:. ]{1,100})"', answer.headers.get("WWW-Authenticate", ""))
        return PolarMisconfigured(
            f"POLAR_ACCESS_TOKEN lacks the scope {scope[1] if scope else 'that this needs'}. ({message})"
        )
    if status == 403 and error == "NotPermitted":
        return NotPermitted(message)
    if status == 404 and error == "InvoiceDoesNotExist":
        return InvoiceNotGenerated(message)
    if status == 404 and error == "ReceiptNotAllocated":
        return ReceiptUnavailable(message)
    if status == 404 and error == "ResourceNotFound":
        return OrderNotFound(message)
    if status == 404 and not error:
        return PolarMisconfigured(
            "This server has no such route: POLAR_SERVER or POLAR_BASE_URL does not lead to Polar's API, "
            f"or it no longer knows version {POLAR_VERSION}. ({message})"
        )
    if status == 409 and error == "OrderNotEligibleForInvoice":
        return OrderNotEligible(message)
    if status == 422:
        return _unprocessable(answer, message)
    if status == 429:
        return RateLimited(message, retry_after=_retry_after(answer, 60))
    return PolarUnavailable(message, retry_after=_retry_after(answer, COME_BACK))


def _unprocessable(answer: Answer, message: str) -> Failure:
    if answer.error == "MissingInvoiceBillingDetails":
        return BillingDetailsMissing(message)
    detail = answer.data.get("detail") if isinstance(answer.data, dict) else None
    refused = {
        tuple(part for part in item["loc"] if isinstance(part, str)): item.get("msg")
        for item in (detail if isinstance(detail, list) else [])
        if isinstance(item, dict) and isinstance(item.get("loc"), list)
    }
    if ("path", "id") in refused:
        return OrderNotFound(message)
    if fields := _billing_fields(refused):
        return BillingDetailsInvalid(message, fields=fields)
    for name in ("external_customer_id", "customer_id", "member_id", "external_member_id"):
        said = refused.get(("body", name))
        if answer.error == "PolarRequestValidationError" and isinstance(said, str):
            if "is required" in said:
                return PolarMisconfigured(
                    "This customer is a team: POLAR_CUSTOMER_RESOLVER must also give member_id or "
                    f"external_member_id. ({message})"
                )
            return NotACustomer(f"{NotACustomer.default_message} ({message})")
    # Polar tries each way to name a customer, and so calls ids missing whatever else is wrong.
    if any(place[:1] == ("body",) and place[-1] == "return_url" for place in refused):
        return PolarMisconfigured(f"POLAR_RETURN_URL, or the return_url given, is no absolute URL. ({message})")
    if any(place[:1] == ("body",) and place[-1].endswith(("customer_id", "member_id")) for place in refused):
        return PolarMisconfigured(f"POLAR_CUSTOMER_RESOLVER gives an id that Polar can't read. ({message})")
    return PolarUnavailable(message, retry_after=COME_BACK)


def _billing_fields(refused: Mapping[tuple[str, ...], Any]) -> dict[str, list[str]]:
    """Return Polar's reasons by the name of the field they belong to: name, line1, …, state or country."""
    fields: dict[str, list[str]] = {}
    for place, said in refused.items():
        if place[:2] == ("body", "billing_name"):
            name = "name"
        elif place[:2] == ("body", "billing_address"):
            # The address as a whole is refused for one reason only: a state that is none of its country's.
            name = place[2] if len(place) > 2 else "state"
        else:
            continue
        # "Input should be 'AD', 'AE', …" goes on for all countries.
        text = said.removeprefix("Value error, ") if isinstance(said, str) else ""
        sound = 0 < len(text) <= 100 and text.isprintable()
        fields.setdefault(name, []).append(text if sound else "Polar does not accept this.")
    return fields


def _retry_after(answer: Answer, default: int) -> float:
    """Seconds until asking again, whatever is sent: a number, a date, nonsense or nothing."""
    said = answer.headers.get("Retry-After", "")
    if re.fullmatch(r"[0-9]{1,9}", said):
        return float(said)
    moment, answered = presigned.epoch(said), presigned.epoch(answer.headers.get("Date"))
    return default if moment is None else moment - (answer.asked_at if answered is None else answered)
