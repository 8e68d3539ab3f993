"""Polar's API over HTTP: one method per endpoint. Knows HTTP and JSON, nothing of users, database or cache.

The only module that imports `requests`. Each call is a prepared request through one adapter per process, never a
`requests.Session`: no cookie jar that customers would share, no `.netrc` that would replace the token, no redirect that
would carry it elsewhere.

Statuses and error codes are as measured on Polar's open-source server in August 2026.
"""

from __future__ import annotations

import functools
import json
import os
import re
import ssl
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import IO, Any, TypeVar
from urllib.parse import urlencode, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import get_environ_proxies

from polar_portal import __version__
from polar_portal.api import deadline, presigned, schemas
from polar_portal.conf import SERVERS, Secret, conf
from polar_portal.exceptions import (
    AnswerTooLarge,
    BillingDetailsInvalid,
    BillingDetailsMissing,
    DocumentPending,
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

T = TypeVar("T")

POLAR_VERSION = "2026-04"
USER_AGENT = f"django-polar-portal/{__version__}"
LARGEST_ANSWER = 1024 * 1024
LARGEST_DOCUMENT = 20 * 1024 * 1024
#: Seconds for one PDF, which may be larger than any answer of the API.
DOCUMENT_TIMEOUT = 30
#: Seconds after which a customer is told to come back when Polar does not say.
COME_BACK = 30
#: For each scope that we need a question that tells whether a token has it and changes nothing at Polar: a session for
#: nobody, which is refused for its empty body only after the token has been looked at (measured 2026-08), and a list.
PROBES: dict[str, tuple[str, str, Mapping[str, Any] | None]] = {
    "customer_sessions:write": ("POST", "/v1/customer-sessions/", {}),
    "orders:read": ("GET", "/v1/orders/?limit=1", None),
}

Failure = PolarError | PolarMisconfigured | TokenRefused


class _Adapter(HTTPAdapter):
    """requests' own adapter over connections that end in time."""

    pool_classes: dict[str, type] = deadline.POOL_CLASSES

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self.pool_classes

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if not proxy.lower().startswith(("http://", "https://")):
            # SOCKS brings connections of its own, which would not end in time.
            raise requests.exceptions.InvalidProxyURL("not an http or https proxy")
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = deadline.POOL_CLASSES
        return manager

    def build_response(self, req: requests.PreparedRequest, resp: urllib3.BaseHTTPResponse) -> requests.Response:
        # What is read here, and not the cookies, whose reading takes as long as all else that is ours in a call.
        response = requests.Response()
        response.status_code = resp.status
        response.headers = resp.headers  # type: ignore[assignment]  # of urllib3, blind to case as well
        response.raw = resp
        response.request = req
        return response


class _PublicAdapter(_Adapter):
    """Refuses hosts of this machine's own network: Polar's answer says which host is asked."""

    pool_classes = deadline.PUBLIC_POOL_CLASSES


@functools.cache
def transport() -> HTTPAdapter:
    """Return this process's adapter, whose connections all API calls share."""
    # More kept connections than a worker has threads: none is thrown away after use.
    return _Adapter(pool_connections=10, pool_maxsize=128, max_retries=0)


@functools.cache
def document_transport(*, public_only: bool) -> HTTPAdapter:
    """Return the adapter for PDFs, which never sees a token."""
    return (_PublicAdapter if public_only else _Adapter)(pool_connections=10, pool_maxsize=10, max_retries=0)


# Two processes that read from one inherited socket would get each other's answers.
if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=transport.cache_clear)
    os.register_at_fork(after_in_child=document_transport.cache_clear)


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str] = field(repr=False)
    data: Any = field(repr=False)
    error: str
    asked_at: float


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
    before_each: asked before each request, one that is made again included; a limit that it returns is raised instead.

    Every method raises PolarUnavailable, RateLimited, PolarMisconfigured or TokenRefused besides what it names.
    """

    def __init__(
        self,
        base_url: str,
        token: Secret,
        ends_at: float,
        *,
        before_each: Callable[[], RateLimited | None] | None = None,
    ) -> None:
        self._base_url = base_url
        self._token = token
        self._ends_at = ends_at
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
        orders: str,
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
            f"{orders}?{urlencode({'page': page, 'limit': limit, **(wanted or {})})}",
            lambda answer: schemas.OrderPage.from_json(answer.data, strict=strict) if answer.status == 200 else None,
        )

    def order(self, orders: str, polar_order_id: uuid.UUID) -> schemas.PortalOrder:
        """Return one order. Raises OrderNotFound."""
        return self._call("GET", f"{orders}{polar_order_id}", _order, polar_order_id=polar_order_id)

    def update_order(self, orders: str, polar_order_id: uuid.UUID, changes: Mapping[str, Any]) -> schemas.PortalOrder:
        """Change an order's billing details and return the order. Raises OrderNotFound or BillingDetailsInvalid.

        changes: `billing_name` and `billing_address`, either or both; the address is replaced whole.
        """
        return self._call("PATCH", f"{orders}{polar_order_id}", _order, body=changes, polar_order_id=polar_order_id)

    def invoice(self, orders: str, polar_order_id: uuid.UUID, *, anywhere: bool = False) -> schemas.Document:
        """Return the address of the order's invoice. Raises InvoiceNotGenerated or OrderNotFound.

        anywhere: whatever POLAR_ALLOWED_DOCUMENT_HOSTS says, for who looks at the address and sends nobody there.
        """
        return self._get_document(f"{orders}{polar_order_id}/invoice", polar_order_id, anywhere=anywhere)

    def generate_invoice(self, orders: str, polar_order_id: uuid.UUID) -> None:
        """Have the invoice made, which takes Polar a few seconds after this returns.

        Raises OrderNotFound, OrderNotEligible or BillingDetailsMissing.
        """
        self._call(
            "POST",
            f"{orders}{polar_order_id}/invoice",
            lambda answer: True if answer.status == 202 else None,
            polar_order_id=polar_order_id,
        )

    def receipt(self, orders: str, polar_order_id: uuid.UUID) -> schemas.Document:
        """Return the address of the order's receipt. Raises ReceiptUnavailable, OrderNotFound or DocumentPending.

        Polar starts to render it at each such question that finds no file (measured 2026-08): ask slowly.
        """
        return self._get_document(f"{orders}{polar_order_id}/receipt", polar_order_id)

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
        if isinstance(result, _Broken):
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
        return _failure(result, message)

    def _get_document(self, path: str, polar_order_id: uuid.UUID, *, anywhere: bool = False) -> schemas.Document:
        # Read here: a wrong setting then raises before there is a signed URL for a DEBUG page to show.
        allowed_hosts = [] if anywhere else conf.POLAR_ALLOWED_DOCUMENT_HOSTS
        return self._call(
            "GET", path, lambda answer: self._document(answer, allowed_hosts), polar_order_id=polar_order_id
        )

    def _document(self, answer: _Answer, allowed_hosts: list[str]) -> schemas.Document | None:
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
        read: Callable[[_Answer], T | None],
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
        self, method: str, path: str, read: Callable[[_Answer], T | None], body: Mapping[str, Any] | None
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
                    isinstance(result, _Broken)
                    and not result.for_good
                    and (method == "GET" or not result.may_have_arrived)
                )
                or (isinstance(result, _Answer) and method == "GET" and result.status in {502, 503, 504})
            )
            if not again or time.monotonic() >= ends_at:
                break
        took = f"after {time.monotonic() - started:.2f} s" + (", twice" if tries == 2 else "")
        if isinstance(result, _Broken):
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
        return _failure(result, f"{what}: {result.status} {result.error or 'without an error code'} {took}")

    def _exchange(self, method: str, path: str, body: Mapping[str, Any] | None, ends_at: float) -> _Answer | _Broken:
        asked_at = time.time()
        try:
            with deadline.until(ends_at):
                response = _send(transport(), self._request(method, path, body))
                try:
                    content = response.raw.read(LARGEST_ANSWER + 1, decode_content=True)
                finally:
                    response.raw.close()
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            # ValueError: header lines that http.client can't read. What the error says is not repeated: it holds URLs.
            return _Broken.by(error)
        except BaseException as stray:  # noqa: BLE001 - raised again
            # A caller's value that is no JSON, a task's time limit: let through, but without the frames below, whose
            # variables are headers.
            stray.__context__ = None
            raise stray.with_traceback(None)  # noqa: B904 - it is the same exception
        if len(content) > LARGEST_ANSWER:
            return _Broken("an answer over 1 MiB", for_good=True, too_large=True)
        try:
            data = json.loads(content) if content else None
        except (ValueError, RecursionError):
            data = None
        code = data.get("error") if isinstance(data, dict) else None
        return _Answer(
            status=response.status_code,
            headers=response.headers,
            data=data,
            error=code if isinstance(code, str) and re.fullmatch(r"\w{1,60}", code, re.ASCII) else "",
            asked_at=asked_at,
        )

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None) -> requests.PreparedRequest:
        # Put together by hand: `Request.prepare()` takes the URL and the headers apart, which are sound, and that is a
        # fifth of our own time.
        request = requests.PreparedRequest()
        request.method = method
        request.url = self._base_url + path
        request.headers = CaseInsensitiveDict(
            {
                "Accept": "application/json",
                "Authorization": f"Bearer {self._token.reveal()}",
                "Polar-Version": POLAR_VERSION,
                "User-Agent": USER_AGENT,
            }
        )
        content = b"" if body is None else json.dumps(body).encode()
        if content:
            request.body = content
            request.headers["Content-Type"] = "application/json"
        if method != "GET":
            request.headers["Content-Length"] = str(len(content))  # without it Polar answers 411
        return request


def _send(adapter: HTTPAdapter, request: requests.PreparedRequest) -> requests.Response:
    """Send within `deadline.until`; proxies and certificates as the environment says."""
    return adapter.send(
        request,
        stream=True,
        timeout=deadline.time_left(),
        verify=os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True,
        proxies=_proxies(request.url or ""),
    )


def _proxies(url: str) -> dict[str, str]:
    """The proxies that the environment names for this URL's host."""
    parts = urlsplit(url)
    return _proxies_of(f"{parts.scheme}://{parts.netloc}/", tuple(map(os.environ.get, PROXY_VARIABLES)))


PROXY_VARIABLES = [
    spelled for name in ("http", "https", "all", "no") for spelled in (f"{name}_proxy", f"{name}_PROXY".upper())
]


@functools.lru_cache(maxsize=32)
def _proxies_of(origin: str, variables: tuple[str | None, ...]) -> dict[str, str]:
    # requests reads the whole environment twice for it, which is half of what a call costs us.
    return get_environ_proxies(origin, no_proxy=None)


def is_public(base_url: str) -> bool:
    """Tell whether Polar is on the public internet: then its documents are too."""
    # Of Polar itself it is known: a resolver that fails must not open the way to this machine's own network.
    return base_url in SERVERS.values() or deadline.is_public(urlsplit(base_url).hostname or "")


def download(document: schemas.Document, into: IO[bytes], *, base_url: str, ends_at: float | None = None) -> int:
    """Write the document's PDF into `into`, from where that stands, and return its length in bytes.

    base_url: Polar's; when it is on this machine's own network the PDFs may be there too, else they may not.
    ends_at: the reading of `time.monotonic()` at which it has to be over; 30 s from now unless given.

    Raises PolarUnavailable for what is no PDF, is over 20 MiB, or can't be had; then `into` is as before.
    """
    started = time.monotonic()
    ends_at = started + DOCUMENT_TIMEOUT if ends_at is None else ends_at
    public_only = is_public(base_url)
    start = into.tell()
    tries = 0
    while True:
        tries += 1
        result = _download(document.url, into, document_transport(public_only=public_only), ends_at)
        if isinstance(result, int):
            return result
        into.seek(start)
        into.truncate()
        if tries == 2 or result.for_good or time.monotonic() >= ends_at:
            break
    # Made below and raised here, as in `Client._call`: no frame of the traceback has the URL.
    del document
    raise PolarUnavailable(f"The PDF: {result.reason} after {time.monotonic() - started:.2f} s", retry_after=COME_BACK)


def _download(url: str, into: IO[bytes], adapter: HTTPAdapter, ends_at: float) -> int | _Broken:
    request = requests.Request(
        "GET",
        url,
        # As it is stored: a packed one that unpacks to gigabytes is not even looked at.
        headers={"Accept-Encoding": "identity", "User-Agent": USER_AGENT},
    )
    try:
        with deadline.until(ends_at):
            response = _send(adapter, request.prepare())
            try:
                if response.status_code != 200:
                    passing = response.status_code in {502, 503, 504}
                    return _Broken(f"{response.status_code} instead of a file", for_good=not passing)
                length = 0
                while piece := response.raw.read(65536, decode_content=False):
                    if length == 0 and not piece.startswith(b"%PDF"):
                        return _Broken("what came is no PDF", for_good=True)
                    length += len(piece)
                    if length > LARGEST_DOCUMENT:
                        return _Broken("a file over 20 MiB", for_good=True)
                    into.write(piece)
            finally:
                response.raw.close()
    except (
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        TimeoutError,
        ConnectionError,
        ValueError,
    ) as error:
        # Not every OSError: one may come from `into`, whose disk is full.
        return _Broken.by(error)
    except BaseException as stray:  # noqa: BLE001 - raised again
        # As in `Client._exchange`; here the URL is the secret.
        del url, request
        stray.__context__ = None
        raise stray.with_traceback(None)  # noqa: B904 - it is the same exception
    return length or _Broken("an empty file", for_good=True)


@dataclass(frozen=True)
class _Broken:
    """No answer, or none that could be read to its end; `for_good` when asking again would bring the same."""

    reason: str
    may_have_arrived: bool = True
    for_good: bool = False
    too_large: bool = False

    @classmethod
    def by(cls, error: Exception) -> _Broken:
        cause: object = error.args[0] if isinstance(error, requests.ConnectionError) and error.args else error
        cause = cause.reason if isinstance(cause, urllib3.exceptions.MaxRetryError) else cause
        # ConnectTimeoutError includes NewConnectionError and, of that, NameResolutionError. Nothing else proves that
        # the request did not arrive.
        if isinstance(cause, deadline.NotPublic):
            return cls("an address that is not on the public internet", may_have_arrived=False, for_good=True)
        if isinstance(cause, urllib3.exceptions.ConnectTimeoutError):
            kind = "connecting failed" if isinstance(cause, urllib3.exceptions.NewConnectionError) else "timed out"
            return cls(f"{kind} ({type(cause).__name__})", may_have_arrived=False)
        if isinstance(error, (requests.Timeout, TimeoutError, urllib3.exceptions.TimeoutError)):
            return cls("timed out")
        if isinstance(cause, urllib3.exceptions.SSLError) and isinstance(cause.args[0], ssl.SSLCertVerificationError):
            return cls("the certificate does not verify", for_good=True)
        if isinstance(error, requests.exceptions.InvalidProxyURL):
            return cls("the environment names a proxy that is no http or https one", for_good=True)
        return cls(f"the connection broke ({type(cause).__name__})")


def _issued_session(answer: _Answer) -> schemas.IssuedSession | None:
    if answer.status != 201:
        return None
    answered = presigned.epoch(answer.headers.get("Date"))
    return schemas.IssuedSession.from_json(answer.data, answered=answer.asked_at if answered is None else answered)


def _order(answer: _Answer) -> schemas.PortalOrder | None:
    return schemas.PortalOrder.from_json(answer.data) if answer.status == 200 else None


def _failure(answer: _Answer, message: str) -> Failure:
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


def _unprocessable(answer: _Answer, message: str) -> Failure:
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


def _retry_after(answer: _Answer, default: int) -> int:
    """Seconds until asking again, 1 to 3600, whatever is sent: a number, a date, nonsense or nothing."""
    said = answer.headers.get("Retry-After", "")
    if re.fullmatch(r"[0-9]{1,9}", said):
        seconds = float(said)
    else:
        moment, answered = presigned.epoch(said), presigned.epoch(answer.headers.get("Date"))
        seconds = default if moment is None else moment - (answer.asked_at if answered is None else answered)
    return int(min(max(seconds, 1), 3600))
