"""Polar's API over HTTP: one method per endpoint. Knows HTTP and JSON, nothing of users, database or cache.

How requests travel is in `transport`, what an error answer means in `errors`.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TypeVar
from urllib.parse import urlencode

from polar_portal.api import deadline, presigned, schemas, transport
from polar_portal.api.errors import Answer, Failure, failure
from polar_portal.api.transport import POLAR_VERSION, Broken
from polar_portal.conf import Secret, conf
from polar_portal.exceptions import (
    COME_BACK,
    AnswerTooLarge,
    DocumentPending,
    PolarError,
    PolarMisconfigured,
    PolarUnavailable,
    RateLimited,
    TokenRefused,
)

T = TypeVar("T")

LARGEST_ANSWER = 1024 * 1024
#: For each scope that we need a question that tells whether a token has it and changes nothing at Polar: a session for
#: nobody, which is refused for its empty body only after the token has been looked at (measured 2026-08), and a list.
PROBES: dict[str, tuple[str, str, Mapping[str, Any] | None]] = {
    "customer_sessions:write": ("POST", "/v1/customer-sessions/", {}),
    "orders:read": ("GET", "/v1/orders/?limit=1", None),
}


@dataclass(frozen=True)
class Probe:
    """What Polar makes of a token.

    accepted: whether it is valid there. granted: whether it has the scope that was asked for.
    clock_ahead: seconds by which our clock is ahead of Polar's; None when the answer had no date.
    took: seconds until the answer was there.
    """

    accepted: bool
    granted: bool
    clock_ahead: float | None
    took: float


class Client:
    """Polar's API with one token, for one click.

    base_url: as conf.POLAR_BASE_URL.
    token: an organization access token or a customer session's.
    ends_at: the reading of `time.monotonic()` at which the click has to be over.
    orders: the root of the endpoints for orders that this token may use: the customer portal's or the merchant's.
    before_each: asked before each request, one that is made again included; a limit that it returns is raised instead.

    Every method raises PolarUnavailable, RateLimited, PolarMisconfigured or TokenRefused besides what it names.
    """

    def __init__(
        self,
        base_url: str,
        token: Secret,
        ends_at: float,
        *,
        orders: str,
        before_each: Callable[[], RateLimited | None] | None = None,
    ) -> None:
        self._base_url = base_url
        self._token = token
        self._ends_at = ends_at
        self._orders = orders
        self._before_each = before_each

    def create_customer_session(self, customer: Mapping[str, str], *, return_url: str = "") -> schemas.IssuedSession:
        """Make a session to act as `customer`. Raises NotACustomer when Polar does not know them.

        return_url: where Polar's hosted portal leads back to, an absolute URL.
        """
        return self._call(
            "POST",
            "/v1/customer-sessions/",
            _issued_session,
            body=dict(customer, return_url=return_url) if return_url else dict(customer),
        )

    def orders(
        self,
        *,
        page: int,
        limit: int,
        wanted: Mapping[str, str] | None = None,
        strict: bool = True,
    ) -> schemas.OrderPage:
        """Return one page of orders, newest first. Polar caps `limit` at 100.

        wanted: for the organization alone, which ones: `customer_id`, `external_customer_id`, `created_after`,
            `created_before`; and `sorting`, like "created_at" for the oldest first.
        strict: whether one order that makes no sense makes the page PolarUnavailable, or is left out and named.

        Raises AnswerTooLarge when so many orders are over 1 MiB.
        """
        return self._call(
            "GET",
            f"{self._orders}?{urlencode({'page': page, 'limit': limit, **(wanted or {})})}",
            lambda answer: schemas.OrderPage.from_json(answer.data, strict=strict) if answer.status == 200 else None,
        )

    def order(self, polar_order_id: uuid.UUID) -> schemas.PortalOrder:
        """Return one order. Raises OrderNotFound."""
        return self._call("GET", f"{self._orders}{polar_order_id}", _order, polar_order_id=polar_order_id)

    def update_order(self, polar_order_id: uuid.UUID, changes: Mapping[str, Any]) -> schemas.PortalOrder:
        """Change an order's billing details and return the order. Raises OrderNotFound or BillingDetailsInvalid.

        changes: `billing_name` and `billing_address`, either or both; the address is replaced whole.
        """
        return self._call(
            "PATCH", f"{self._orders}{polar_order_id}", _order, body=changes, polar_order_id=polar_order_id
        )

    def invoice(self, polar_order_id: uuid.UUID, *, anywhere: bool = False) -> schemas.Document:
        """Return the address of the order's invoice. Raises InvoiceNotGenerated or OrderNotFound.

        anywhere: whatever POLAR_ALLOWED_DOCUMENT_HOSTS says, for who looks at the address and sends nobody there.
        """
        return self._get_document(f"{self._orders}{polar_order_id}/invoice", polar_order_id, anywhere=anywhere)

    def generate_invoice(self, polar_order_id: uuid.UUID) -> None:
        """Have the invoice made, which takes Polar a few seconds after this returns.

        Raises OrderNotFound, OrderNotEligible or BillingDetailsMissing.
        """
        self._call(
            "POST",
            f"{self._orders}{polar_order_id}/invoice",
            lambda answer: True if answer.status == 202 else None,
            polar_order_id=polar_order_id,
        )

    def receipt(self, polar_order_id: uuid.UUID) -> schemas.Document:
        """Return the address of the order's receipt. Raises ReceiptUnavailable, OrderNotFound or DocumentPending.

        Polar starts to render it at each such question that finds no file (measured 2026-08): ask slowly.
        """
        return self._get_document(f"{self._orders}{polar_order_id}/receipt", polar_order_id)

    def probe(self, scope: str) -> Probe:
        """Ask what the token may do, in a way that changes nothing at Polar.

        scope: one of PROBES.

        That the token is refused is an answer here, not a failure. Raises PolarMisconfigured when it is not Polar's API
        that answers.
        """
        outcome = self._probe(*PROBES[scope])
        if isinstance(outcome, Probe):
            return outcome
        raise outcome

    def _probe(self, method: str, path: str, body: Mapping[str, Any] | None) -> Probe | Failure:
        started = time.monotonic()
        result = self._exchange(method, path, body, min(started + conf.POLAR_REQUEST_TIMEOUT, self._ends_at))
        took = time.monotonic() - started
        what = f"{method} {path.partition('?')[0]}"
        if isinstance(result, Broken):
            return PolarUnavailable(f"{what}: {result.reason} after {took:.2f} s", retry_after=COME_BACK)
        # Half way between question and answer; dates are whole seconds, cut off.
        date = presigned.epoch(result.headers.get("Date"))
        ahead = None if date is None else result.asked_at + took / 2 - (date + 0.5)
        if result.status == 401 and result.error:
            return Probe(accepted=False, granted=False, clock_ahead=ahead, took=took)
        if result.status == 403 and result.error == "insufficient_scope":
            return Probe(accepted=True, granted=False, clock_ahead=ahead, took=took)
        is_list = result.status == 200 and isinstance(result.data, dict) and "items" in result.data
        if is_list if body is None else result.status == 422 and result.error:
            return Probe(accepted=True, granted=True, clock_ahead=ahead, took=took)
        message = f"{what}: {result.status} {result.error or 'without an error code'} after {took:.2f} s"
        if result.status < 500 and result.status != 429 and (result.status == 404 or not result.error):
            return PolarMisconfigured(
                "POLAR_SERVER or POLAR_BASE_URL does not lead to Polar's API, or it no longer knows version "
                f"{POLAR_VERSION}. ({message})"
            )
        return failure(result, message)

    def _get_document(self, path: str, polar_order_id: uuid.UUID, *, anywhere: bool = False) -> schemas.Document:
        # Read here: a wrong setting then raises before there is a signed URL for a DEBUG page to show.
        allowed_hosts = [] if anywhere else conf.POLAR_ALLOWED_DOCUMENT_HOSTS
        return self._call(
            "GET", path, lambda answer: self._document(answer, allowed_hosts), polar_order_id=polar_order_id
        )

    def _document(self, answer: Answer, allowed_hosts: list[str]) -> schemas.Document | None:
        if answer.status != 200:
            return None
        url = schemas.document_url(answer.data)
        if not presigned.may_redirect_to(url, base_url=self._base_url, allowed_hosts=allowed_hosts):
            raise schemas.Nonsense("url: no address to send a browser to")
        life = presigned.life_left(url, date=answer.headers.get("Date"), now=answer.asked_at)
        if life is None:
            return schemas.Document(url=url, expires_at=None)
        return schemas.Document(url=url, expires_at=datetime.fromtimestamp(answer.asked_at + life, tz=timezone.utc))

    def _call(
        self,
        method: str,
        path: str,
        read: Callable[[Answer], T | None],
        *,
        body: Mapping[str, Any] | None = None,
        polar_order_id: uuid.UUID | None = None,
    ) -> T:
        outcome = self._outcome(method, path, read, body)
        if isinstance(outcome, (PolarError, PolarMisconfigured, TokenRefused)):
            if isinstance(outcome, PolarError):
                outcome.polar_order_id = polar_order_id
            # Made below but raised only here: a traceback, and so a DEBUG page, then holds no frame whose variables
            # are requests, bodies or tokens.
            raise outcome
        return outcome

    def _outcome(
        self, method: str, path: str, read: Callable[[Answer], T | None], body: Mapping[str, Any] | None
    ) -> T | Failure:
        """Make the call, again where that is safe, and return what it gave or the failure to raise."""
        started = time.monotonic()
        ends_at = min(started + conf.POLAR_REQUEST_TIMEOUT, self._ends_at)
        what = f"{method} {path.partition('?')[0]}"  # a query may hold a customer's external id
        tries = 0
        while True:
            tries += 1
            if self._before_each and (limited := self._before_each()):
                return limited
            result = self._exchange(method, path, body, ends_at)
            again = tries == 1 and (
                (
                    isinstance(result, Broken)
                    and not result.for_good
                    and (method == "GET" or not result.may_have_arrived)
                )
                or (isinstance(result, Answer) and method == "GET" and result.status in {502, 503, 504})
            )
            if not again or time.monotonic() >= ends_at:
                break
        took = f"after {time.monotonic() - started:.2f} s" + (", twice" if tries == 2 else "")
        if isinstance(result, Broken):
            kind = AnswerTooLarge if result.too_large else PolarUnavailable
            return kind(f"{what}: {result.reason} {took}", retry_after=COME_BACK)
        if result.status == 202 and path.endswith("/receipt"):
            return DocumentPending(f"{what}: 202 {took}")
        if 200 <= result.status < 300:
            try:
                value = read(result)
                problem = "" if value is not None else "unexpected status"
            except schemas.Nonsense as nonsense:
                value, problem = None, str(nonsense)
            if value is not None:
                return value
            return PolarUnavailable(
                f"{what}: {result.status} that makes no sense ({problem}) {took}", retry_after=COME_BACK
            )
        return failure(result, f"{what}: {result.status} {result.error or 'without an error code'} {took}")

    def _exchange(self, method: str, path: str, body: Mapping[str, Any] | None, ends_at: float) -> Answer | Broken:
        asked_at = time.time()
        try:
            content = b"" if body is None else json.dumps(body).encode()
            with deadline.until(ends_at):
                response = transport.send(
                    transport.api_adapter(),
                    transport.api_request(method, self._base_url + path, self._token, content),
                )
                try:
                    content = response.raw.read(LARGEST_ANSWER + 1, decode_content=True)
                finally:
                    response.raw.close()
        except (*transport.ERRORS, OSError) as error:
            return Broken.by(error)
        except BaseException as stray:  # noqa: BLE001 - raised again
            # A caller's value that is no JSON, a task's time limit: let through, but without the frames below, whose
            # variables are headers.
            stray.__context__ = None
            raise stray.with_traceback(None)  # noqa: B904 - it is the same exception
        if len(content) > LARGEST_ANSWER:
            return Broken("an answer over 1 MiB", for_good=True, too_large=True)
        try:
            data = json.loads(content) if content else None
        except (ValueError, RecursionError):
            data = None
        code = data.get("error") if isinstance(data, dict) else None
        return Answer(
            status=response.status_code,
            headers=response.headers,
            data=data,
            error=code if isinstance(code, str) and re.fullmatch(r"\w{1,60}", code, re.ASCII) else "",
            asked_at=asked_at,
        )


def _issued_session(answer: Answer) -> schemas.IssuedSession | None:
    if answer.status != 201:
        return None
    answered = presigned.epoch(answer.headers.get("Date"))
    return schemas.IssuedSession.from_json(answer.data, answered=answer.asked_at if answered is None else answered)


def _order(answer: Answer) -> schemas.PortalOrder | None:
    return schemas.PortalOrder.from_json(answer.data) if answer.status == 200 else None
