"""The table: what Polar, or the network before it, plays, and what a customer's click makes of it."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

from tests.api.server import Line, Turn, cut_short, dripping, hang_up, reply, reset, silence

from .polar import ELSEWHERE, FILES, GOOD, HIDDEN, ITSELF, SAID, document, order, session, signed_url

SESSION, INVOICE, ORDER, RECEIPT, ORDERS = "POST session", "GET invoice", "GET order", "GET receipt", "GET orders"
MAKE = "POST invoice"

#: What each click asks when all is well and a session is there.
ASKS = {"invoice": INVOICE, "receipt": RECEIPT, "orders": ORDERS, "make": MAKE, "portal": SESSION}
#: Status for a browser and for a front end when all is well.
SUCCESS = {"invoice": (302, 200), "receipt": (302, 200), "orders": (200, 200), "make": (303, 202), "portal": (200, 200)}


@dataclass(frozen=True)
class Row:
    """One fault, and what is expected.

    plays: what is played to the calls that `at` names, as RawPolar does; also: to other calls.
    status: of HTML and JSON, one for both or two; None for a success.
    code: the JSON's `error`, and the HTML page's title; logged: what the log's line begins with, where that differs.
    calls: all that Polar hears because of the click.
    act: what is clicked.
    slow: with little time for the click, because this one takes all that there is.
    lasts: seconds for which the failure is remembered, so that Polar is not asked again.
    before: whether one click goes well before, which leaves a session and an open connection.
    arranged: what the test itself has to arrange.
    """

    name: str
    plays: tuple[Turn | None, ...]
    calls: tuple[str, ...]
    status: int | tuple[int, int] | None = 503
    code: str = "polar_unavailable"
    logged: str = ""
    at: str = INVOICE
    act: str = "invoice"
    slow: bool = False
    tls: bool = False
    retry_after: int | None = None
    lasts: int = 0
    before: bool = False
    greeting: tuple[int, Turn] | None = None
    also: Mapping[str, tuple[Turn | None, ...]] = field(default_factory=dict)
    arranged: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def succeeds(self) -> bool:
        return self.status is None

    @property
    def statuses(self) -> tuple[int, int]:
        if self.status is None:
            return SUCCESS[self.act]
        return self.status if isinstance(self.status, tuple) else (self.status, self.status)

    @property
    def next_calls(self) -> tuple[str, ...]:
        """What the click after it asks, once the fault is gone."""
        if self.succeeds and self.act in {"invoice", "receipt", "make"}:
            return ()  # kept, or asked for a moment ago
        has_session = (self.before or set(self.calls) - {SESSION}) and self.lasts < 3540  # sessions live an hour
        return (ASKS[self.act],) if has_session or self.act == "portal" else (SESSION, ASKS[self.act])


ONCE, TWICE = (SESSION, INVOICE), (SESSION, INVOICE, INVOICE)


def away(name: str, *plays: Turn | None, calls: tuple[str, ...] = ONCE, **more: Any) -> Row:
    """A row in which the customer is told that the documents can't be reached at the moment."""
    return Row(name, plays, calls, **more)


def well(name: str, *plays: Turn | None, calls: tuple[str, ...] = ONCE, **more: Any) -> Row:
    """A row in which the customer gets the document all the same."""
    return Row(name, plays, calls, status=None, code="", **more)


def error(status: int, code: str | None = None, detail: Any = SAID, **headers: str) -> bytes:
    """Polar's own errors; without a code, those of the framework that it is built on."""
    body = {"detail": detail} if code is None else {"error": code, "detail": detail}
    return reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def page(status: int, **headers: str) -> bytes:
    """An error page of something that stands before Polar."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return reply(
        status, f"<html><h1>{status}</h1><p>{SAID}</p></html>".encode(), {"Content-Type": "text/html", **headers}
    )


def raw(body: bytes, *headers: str, length: int | str | None = None) -> bytes:
    """200 with these headers and this body, as they are."""
    length = len(body) if length is None else length
    lines = [*headers, f"Content-Length: {length}"] if length != "" else list(headers)
    return "\r\n".join(["HTTP/1.1 200 OK", "Content-Type: application/json", *lines, "", ""]).encode("latin-1") + body


def then(*turns: Turn) -> Callable[[Line], None]:
    """Do one after the other."""

    def turn(line: Line) -> None:
        for each in turns:
            if isinstance(each, bytes):
                line.send(each)
            else:
                each(line)

    return turn


def wait(seconds: float) -> Callable[[Line], None]:
    def turn(line: Line) -> None:
        line.pause(seconds)

    return turn


def endless(start: bytes, piece: bytes) -> Callable[[Line], None]:
    """Send without a pause and without an end; what makes us stop is the other side."""

    def turn(line: Line) -> None:
        line.send(start)
        while line.pause(0):
            line.send(piece)
            # What the loopback swallows is far less; so that a client that reads on does not fill the memory.
            if line.sent > 300 * 1024 * 1024:
                break
        line.sock.close()

    return turn


def in_days(days: int) -> str:
    return format_datetime(datetime.now(timezone.utc) + timedelta(days=days), usegmt=True)


def validation(*detail: Mapping[str, Any]) -> bytes:
    return error(422, "PolarRequestValidationError", [{"msg": SAID, "input": SAID, **each} for each in detail])


def refused_customer(name: str, said: str) -> bytes:
    return validation({"type": "value_error", "loc": ["body", name], "msg": said})


def issued(**changes: Any) -> bytes:
    return reply(201, session(f"polar_cst_{HIDDEN}", **changes))


GOOD_DOCUMENT = document()
CHUNKED = "Transfer-Encoding: chunked"
JSON_BODY = GOOD_DOCUMENT.partition(b"\r\n\r\n")[2]
LINE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BOMB = gzip.compress(b" " * (16 * 1024 * 1024) + JSON_BODY, 9)

NETWORK = [
    away("connection refused", calls=(), arranged="refused"),
    away("reset before the headers", reset, calls=TWICE),
    away("closed before the headers", hang_up, calls=TWICE),
    away("reset in the middle of the headers", then(b"HTTP/1.1 200 OK\r\nDate: ", reset), calls=TWICE),
    # http.client takes what has come for all of them, and an empty body.
    away("closed in the middle of the headers", then(b"HTTP/1.1 200 OK\r\nDate: ", hang_up)),
    away("reset in the middle of the body", then(GOOD_DOCUMENT[:-20], reset), calls=TWICE),
    away("closed in the middle of the body", cut_short(GOOD_DOCUMENT), calls=TWICE),
    well("reset once", reset, GOOD, calls=TWICE),
    well("broken body once", cut_short(GOOD_DOCUMENT), GOOD, calls=TWICE),
    away("accepts and says nothing", silence, slow=True),
    away("a byte now and then in the status line", dripping(b"HTTP/1.1 200 ", b"O"), slow=True),
    away("a byte now and then in the headers", dripping(LINE_HEAD + b"X-Slow: ", b"o"), slow=True),
    away("a byte now and then in the body", dripping(raw(b"", length=9999), b" "), slow=True),
    away("a byte now and then in a chunked body",
         dripping(raw(b"", CHUNKED, length=""), b"1\r\n \r\n"), slow=True),
    away("every call late, the session refused", then(wait(0.6), error(401)),
         also={SESSION: (then(wait(0.6), issued()),)}, calls=(SESSION, INVOICE, SESSION), slow=True,
         settings={"POLAR_REQUEST_TIMEOUT": 3, "POLAR_CLICK_BUDGET": 1.5}),
    away("endless body", endless(raw(b"", length=""), b" " * 65536)),
    away("endless chunked body", endless(raw(b"", CHUNKED, length=""), b"10000\r\n" + b" " * 65536 + b"\r\n")),
    away("endless headers", endless(LINE_HEAD, f"X-More: {HIDDEN}\r\n".encode() * 50), calls=TWICE),
    away("one endless header", endless(LINE_HEAD + b"X-More: ", HIDDEN.encode() * 1000), calls=TWICE),
    away("endless 100 Continue", dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), slow=True),
    away("100 MB body", endless(raw(b"", length=100 * 1024 * 1024), b" " * 65536)),
    well("first address of the name is dead", GOOD, arranged="dead address"),
    away("the name is not found", arranged="no name", calls=()),
]  # fmt: skip

FRAMES = [
    away("content-length too long, then silence", then(raw(JSON_BODY, length=9999), silence), slow=True),
    away("content-length too long, then closed", then(raw(JSON_BODY, length=9999), hang_up), calls=TWICE),
    away("content-length too short", raw(JSON_BODY, length=20)),
    away("content-length negative, left open", then(raw(JSON_BODY, length=-5), silence), slow=True),
    well("content-length negative, closed", then(raw(JSON_BODY, length=-5), hang_up)),
    away("content-length not a number, left open", then(raw(JSON_BODY, length=HIDDEN), silence), slow=True),
    well("content-length not a number, closed", then(raw(JSON_BODY, length=HIDDEN), hang_up)),
    away("two content-lengths", raw(JSON_BODY, "Content-Length: 5"), calls=TWICE),
    well("no content-length, closed", then(raw(JSON_BODY, length=""), hang_up)),
    away("chunked that breaks off",
         then(raw(b"ff\r\n" + JSON_BODY, CHUNKED, length=""), hang_up), calls=TWICE),
    away("chunked without chunks", raw(JSON_BODY + b"\r\n", CHUNKED, length=""), calls=TWICE),
    away("chunk of a terabyte", then(raw(b"ffffffffff\r\n" + JSON_BODY, CHUNKED, length=""), hang_up),
         calls=TWICE),
    away("gzip that is none", raw(JSON_BODY, "Content-Encoding: gzip"), calls=TWICE),
    away("gzip cut off", raw(gzip.compress(JSON_BODY)[:20], "Content-Encoding: gzip")),
    away("gzip bomb", raw(BOMB, "Content-Encoding: gzip")),
    away("deflate bomb", raw(zlib.compress(b" " * (16 * 1024 * 1024), 9), "Content-Encoding: deflate")),
    away("packed a hundred times", raw(JSON_BODY, "Content-Encoding: " + ", ".join(["gzip"] * 100)), calls=TWICE),
    well("an encoding that nobody knows, not used", raw(JSON_BODY, f"Content-Encoding: {HIDDEN}")),
    well("a charset that nobody knows", raw(JSON_BODY, f"Content-Type: application/json; charset={HIDDEN}")),
    well("two answers at once", GOOD_DOCUMENT + document(signed_url("https://somebody-else.example"))),
    well("two answers at once, before the next call", issued() + document(signed_url("https://somebody-else.example")),
         at=SESSION),
    well("a cookie", reply(201, session(f"polar_cst_{HIDDEN}"), {"Set-Cookie": f"sid={HIDDEN}; Path=/"}), at=SESSION),
    well("kept connection closed while idle", GOOD, before=True, arranged="idle", calls=(INVOICE,)),
    well("kept connection dead at the next call", hang_up, GOOD, before=True, calls=(INVOICE, INVOICE)),
    well("kept connection told 408 while idle", GOOD, before=True, arranged="408", calls=(INVOICE,)),
    well("answer before the request is read", then(issued(), hang_up),
         at=SESSION, greeting=(2, GOOD_DOCUMENT)),
    well("early hints before the answer",
         then(f"HTTP/1.1 103 Early Hints\r\nLink: <{HIDDEN}>\r\n\r\n".encode(), wait(0.05), GOOD_DOCUMENT)),
    away("switches protocols",
         then(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", wait(0.05), GOOD_DOCUMENT), calls=TWICE),
]  # fmt: skip

BODIES = [
    away("truncated JSON", raw(JSON_BODY[:-5])),
    away("invalid JSON", raw(b"{'url': " + SAID.encode() + b"}")),
    away("invalid UTF-8", raw(b'{"url": "\xff\xfe' + HIDDEN.encode() + b'"}')),
    away("JSON 100,000 deep", raw(b"[" * 100_000)),
    away("an object 100,000 deep", raw(b'{"url":' * 100_000)),
    away("a number of 5,000 digits", raw(b'{"url": ' + b"9" * 5000 + b"}")),
    away("NaN", raw(b'{"url": NaN}')),
    away("a list", reply(200, [signed_url()])),
    away("a string", reply(200, signed_url())),
    away("null", reply(200, None)),
    away("a number", reply(200, 7)),
    away("nothing at all", raw(b"")),
    away("HTML with 200", page(200)),
    away("201 with the address", document(status=201)),
    away("202 with the address", document(status=202)),
    away("204", b"HTTP/1.1 204 No Content\r\n\r\n"),
    away("206 with the address", document(status=206)),
]  # fmt: skip


def url(name: str, value: Any, **more: Any) -> Row:
    return away(f"url {name}", document(value), tls=True, **more)


URLS = [
    away("url missing", reply(200, {"href": signed_url()}), tls=True),
    url("null", None),
    url("a number", 7),
    url("a list", [signed_url()]),
    url("empty", ""),
    url("relative", f"/1.pdf?{HIDDEN}"),
    url("without a scheme", f"//{FILES}/1.pdf?{HIDDEN}"),
    url("http: while Polar is https:", signed_url(f"http://{FILES}")),
    url("javascript:", f"javascript:alert('{HIDDEN}')"),
    url("data:", f"data:text/html,{HIDDEN}"),
    url("file:", f"file:///etc/{HIDDEN}"),
    url("with user info", signed_url(f"https://ada:{HIDDEN}@{FILES}")),
    url("with a newline", f"{signed_url()}\r\nSet-Cookie: a={HIDDEN}"),
    url("with a tab", f"https://{FILES}\t/{HIDDEN}"),
    url("with NUL", f"{signed_url()}\0"),
    url("with a backslash", f"https:\\\\{FILES}\\{HIDDEN}"),
    url("with white space", f" {signed_url()}"),
    url("with half a character", f"{signed_url()}\ud800"),
    url("that is not ASCII", signed_url("https://filés.example")),
    url("with an impossible port", signed_url(f"https://{FILES}:99999")),
    url("over 8 kB", signed_url() + "&" + "x" * 8000),
    url("of a host not allowed", signed_url("https://elsewhere.example"),
        settings={"POLAR_ALLOWED_DOCUMENT_HOSTS": [FILES]}),
    well("url http: as Polar itself", document(signed_url(f"http://{FILES}"))),
]  # fmt: skip

REDIRECTS = [
    away(f"{status} {where}", page(status, Location=location))
    for status in (301, 302, 303, 307, 308)
    for where, location in {
        "to itself": ITSELF.decode() + "/v1/customer-portal/orders/",
        "to another host": f"{ELSEWHERE.decode()}/?{HIDDEN}",
        "to a file": f"file:///etc/{HIDDEN}",
    }.items()
] + [
    away("304", b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    away("307 to another host for the session", page(307, Location=ELSEWHERE.decode()), at=SESSION, calls=(SESSION,)),
]  # fmt: skip

INVALID_TOKEN = reply(401, {"error": "invalid_token", "error_description": SAID})
UNAUTHORIZED = reply(401, {"error": "Unauthorized", "detail": "Unauthorized"})
RENEWED = (SESSION, INVOICE, SESSION, INVOICE)


def limited(name: str, header: str | None, retry_after: int) -> Row:
    answer = reply(429, b"") if header is None else reply(429, b"", {"Retry-After": header})
    return Row(f"429 {name}", (answer,), ONCE, 503, "rate_limited", retry_after=retry_after, lasts=retry_after)


STATUSES = [
    away("401 invalid_token for ever", INVALID_TOKEN, calls=RENEWED),
    away("401 Unauthorized for ever", UNAUTHORIZED, calls=RENEWED),
    away("401 as HTML for ever", page(401, WWW_Authenticate=f"Basic {HIDDEN}"), calls=RENEWED),
    well("401 invalid_token once", INVALID_TOKEN, GOOD, calls=RENEWED),
    well("401 Unauthorized once", UNAUTHORIZED, GOOD, calls=RENEWED),
    away("400", error(400, "BadRequest")),
    Row("403 insufficient_scope", (error(403, "insufficient_scope"),), ONCE, 500, "misconfigured"),
    Row("403 NotPermitted", (error(403, "NotPermitted"),), ONCE, 403, "not_permitted"),
    away("403 with another error", error(403, "Forbidden")),
    away("403 as HTML", page(403)),
    Row("404 InvoiceDoesNotExist", (error(404, "InvoiceDoesNotExist"),), (*ONCE, ORDER), (200, 404),
        "invoice_not_generated"),
    Row("404 ResourceNotFound", (error(404, "ResourceNotFound"),), ONCE, 404, "order_not_found"),
    Row("404 without an error", (error(404),), ONCE, 500, "misconfigured"),
    Row("404 as HTML", (page(404),), ONCE, 500, "misconfigured"),
    away("404 with another error", error(404, "SomethingNew")),
    away("405", error(405)),
    away("408", page(408, Connection="close")),
    Row("409 OrderNotEligibleForInvoice", (error(409, "OrderNotEligibleForInvoice"),), ONCE, 409, "order_not_eligible"),
    away("409 with another error", error(409, "Conflict")),
    away("410", error(410, "Gone")),
    away("411", error(411)),
    away("413", page(413)),
    away("415", error(415)),
    Row("422 about the id", (validation({"loc": ["path", "id"]}),), ONCE, 404, "order_not_found"),
    away("422 about something else", validation({"type": "missing", "loc": ["header", SAID]})),
    away("422 with a text", error(422, "SomethingNew")),
    away("422 with odd places", validation({"loc": [7, None, {}]}, {"loc": SAID}, {"loc": []})),
    away("422 as HTML", page(422)),
    limited("with a number", "7", 7),
    limited("with a date", in_days(1), 3600),
    limited("with a date in the past", in_days(-1), 1),
    limited("with nonsense", HIDDEN, 60),
    limited("with a negative number", "-7", 60),
    limited("with a fraction", "1.5", 60),
    limited("with zero", "0", 1),
    limited("with a huge number", "999999999", 3600),
    limited("with a number of 5,000 digits", "9" * 5000, 60),
    limited("without Retry-After", None, 60),
    away("500", error(500, "InternalServerError")),
    away("500 as HTML", page(500)),
    away("501", page(501)),
    well("502 once", page(502), GOOD, calls=TWICE),
    well("503 once", page(503), GOOD, calls=TWICE),
    away("502 for ever", page(502), calls=TWICE),
    away("503", page(503, Retry_After="7"), calls=TWICE, retry_after=7),
    away("503 until tomorrow", page(503, Retry_After=in_days(1)), calls=TWICE, retry_after=3600),
    away("504", page(504), calls=TWICE),
    away("507", page(507)),
    away("520", page(520)),
    away("299", reply(299, {"url": SAID})),
    away("600", page(600)),
    away("999", page(999)),
    away("99", page(99), calls=TWICE),
    away("a status that is no number", b"HTTP/1.1 OK " + HIDDEN.encode() + b"\r\n\r\n", calls=TWICE),
    away("no status line", JSON_BODY + b"\r\n\r\n", calls=TWICE),
    away("a greeting of another protocol", f"220 {SAID} ESMTP\r\n".encode(), calls=TWICE),
    away("HTTP of the future", b"HTTP/9.9 200 OK\r\n\r\n", calls=TWICE),
    away("binary", bytes(range(256)) * 8 + b"\n", calls=TWICE),
    away("a reason that tells secrets", f"HTTP/1.1 500 {SAID}\r\nContent-Length: 0\r\n\r\n".encode()),
    well("a header without a colon", raw(JSON_BODY, f"Content-Length: {len(JSON_BODY)}", HIDDEN, length="")),
    well("a header in Latin-1", raw(JSON_BODY, f"X-Note: é {HIDDEN}")),
]  # fmt: skip

TLS = [
    away("certificate that nobody vouches for", calls=(), tls=True, arranged="self-signed"),
    away("certificate of another host", calls=(), tls=True, arranged="another host"),
    away("TLS to a server without", calls=(), tls=True, arranged="no tls", greeting=(0, then(page(400), hang_up))),
    away("TLS that never shakes hands", calls=(), tls=True, arranged="no tls", greeting=(0, silence), slow=True),
    away("HTTP to a server with TLS", calls=(), arranged="tls"),
]


def at_session(name: str, *plays: Turn | None, **more: Any) -> Row:
    return Row(f"session: {name}", plays, more.pop("calls", (SESSION,)), at=SESSION, **more)


NOBODY = refused_customer("external_customer_id", "Customer does not exist.")

SESSIONS = [
    at_session("reset before the headers", reset),
    at_session("reset in the middle of the body", then(issued()[:-20], reset)),
    at_session("says nothing", silence, slow=True),
    at_session("a byte now and then", dripping(b"HTTP/1.1 201 ", b"C"), slow=True),
    at_session("401", UNAUTHORIZED, status=500, code="misconfigured"),
    at_session("403 insufficient_scope",
               error(403, "insufficient_scope", WWW_Authenticate='Bearer scope="customer_sessions:write"'),
               status=500, code="misconfigured"),
    at_session("404 without an error", error(404), status=500, code="misconfigured"),
    at_session("411", error(411)),
    at_session("422 no such customer", NOBODY, status=404, code="order_not_found", logged="not_a_customer", lasts=60),
    at_session("422 team without a member",
               refused_customer("member_id", "member_id is required for team customers."),
               status=500, code="misconfigured"),
    at_session("422 as HTML", page(422)),
    at_session("429", reply(429, b"", {"Retry-After": "9"}), code="rate_limited", retry_after=9, lasts=9),
    at_session("500", page(500)),
    at_session("502", page(502)),
    at_session("503", page(503)),
    at_session("504", page(504)),
    at_session("200", reply(200, session(f"polar_cst_{HIDDEN}"))),
    at_session("without a token", reply(201, {"customer_portal_url": SAID})),
    at_session("token with a newline", issued(token=f"polar_cst\r\nX: {HIDDEN}")),
    at_session("token that is a number", issued(token=7)),
    at_session("without a customer", issued(customer_id=None)),
    at_session("with a customer that is no id", issued(customer_id=SAID)),
    at_session("ends at no moment", issued(expires_at=SAID)),
    at_session("ends in the year 9999", issued(expires_at="9999-12-31T23:59:59Z")),
    at_session("ended long ago", issued(expires_at="2020-01-01T00:00:00Z"), status=None, code="", calls=ONCE),
    at_session("a list", reply(201, [SAID])),
    at_session("truncated", then(reply(201, session(f"polar_cst_{HIDDEN}"))[:-20], hang_up)),
]  # fmt: skip

MISSING = error(404, "InvoiceDoesNotExist")
OFFER = (SESSION, INVOICE, ORDER)


def at_order(name: str, *plays: Turn | None, **more: Any) -> Row:
    """No invoice yet, and then something goes wrong when the order is looked at."""
    return Row(f"order: {name}", plays, more.pop("calls", OFFER), at=ORDER, also={INVOICE: (MISSING,)}, **more)


ORDER_ROWS = [
    at_order("draft", reply(200, order(status="draft")), status=409, code="order_not_eligible"),
    at_order("void", reply(200, order(status="void")), status=409, code="order_not_eligible"),
    at_order("500", page(500)),
    at_order("404 ResourceNotFound", error(404, "ResourceNotFound"), status=404, code="order_not_found"),
    at_order("reset", reset, calls=(*OFFER, ORDER)),
    at_order("says nothing", silence, slow=True),
    at_order("amount over 64 bits", reply(200, order(total_amount=2**63))),
    at_order("created in the year 0", reply(200, order(created_at="0000-00-00T00:00:00Z"))),
    at_order("status with NUL", reply(200, order(status=f"paid\0{HIDDEN}"))),
    at_order("address that is a list", reply(200, order(billing_address=[SAID]))),
    at_order("id that is none", reply(200, order(id=SAID))),
]  # fmt: skip


def at_make(name: str, *plays: Turn | None, **more: Any) -> Row:
    """A POST: whatever may have arrived is not sent again."""
    return Row(f"make: {name}", plays, more.pop("calls", (SESSION, MAKE)), at=MAKE, act="make", **more)


MAKES = [
    at_make("reset before the headers", reset),
    at_make("reset in the middle of the headers", then(b"HTTP/1.1 202 Acc", reset)),
    at_make("reset in the middle of the body", then(b"HTTP/1.1 202 Accepted\r\nContent-Length: 4\r\n\r\nnu", reset)),
    at_make("says nothing", silence, slow=True),
    at_make("502", page(502)),
    at_make("503", page(503)),
    at_make("504", page(504)),
    at_make("500", error(500, "InternalServerError")),
    at_make("200", reply(200, None)),
    at_make("HTML with 200", page(200)),
    at_make("307 to another host", page(307, Location=ELSEWHERE.decode())),
    at_make("401 once", INVALID_TOKEN, GOOD, status=None, code="", calls=(SESSION, MAKE, SESSION, MAKE)),
    at_make("401 for ever", INVALID_TOKEN, calls=(SESSION, MAKE, SESSION, MAKE)),
    at_make("403 NotPermitted", error(403, "NotPermitted"), status=403, code="not_permitted"),
    at_make("404 ResourceNotFound", error(404, "ResourceNotFound"), status=404, code="order_not_found"),
    at_make("409 OrderNotEligibleForInvoice", error(409, "OrderNotEligibleForInvoice"), status=409,
            code="order_not_eligible"),
    at_make("411", error(411)),
    at_make("422 MissingInvoiceBillingDetails", error(422, "MissingInvoiceBillingDetails"), status=(303, 422),
            code="billing_details_missing"),
    at_make("422 as HTML", page(422)),
    at_make("429", reply(429, b"", {"Retry-After": "5"}), code="rate_limited", retry_after=5, lasts=5),
    at_make("connection refused", calls=(), arranged="refused"),
    at_make("kept connection dead", hang_up, before=True, calls=(MAKE,)),
]  # fmt: skip


def at_receipt(name: str, *plays: Turn | None, **more: Any) -> Row:
    return Row(f"receipt: {name}", plays, more.pop("calls", (SESSION, RECEIPT)), at=RECEIPT, act="receipt", **more)


RECEIPTS = [
    at_receipt("202 and nothing", reply(202), status=202, code="pending", lasts=6),
    at_receipt("404 ReceiptNotAllocated", error(404, "ReceiptNotAllocated"), status=404, code="receipt_unavailable"),
    at_receipt("404 without an error", error(404), status=500, code="misconfigured"),
    at_receipt("500", page(500)),
    at_receipt("503", page(503), calls=(SESSION, RECEIPT, RECEIPT)),
    at_receipt("429", reply(429, b"", {"Retry-After": "5"}), code="rate_limited", retry_after=5, lasts=5),
    at_receipt("says nothing", silence, slow=True),
    at_receipt("HTML with 200", page(200)),
    at_receipt("javascript:", document(f"javascript:{HIDDEN}")),
]  # fmt: skip


def at_orders(name: str, *plays: Turn | None, **more: Any) -> Row:
    return Row(f"orders: {name}", plays, more.pop("calls", (SESSION, ORDERS)), at=ORDERS, act="orders", **more)


LISTS = [
    at_orders("500", page(500)),
    at_orders("503", page(503), calls=(SESSION, ORDERS, ORDERS)),
    at_orders("says nothing", silence, slow=True),
    at_orders("403 NotPermitted", error(403, "NotPermitted"), status=403, code="not_permitted"),
    at_orders("404 without an error", error(404), status=500, code="misconfigured"),
    at_orders("429", reply(429, b"", {"Retry-After": "5"}), code="rate_limited", retry_after=5, lasts=5),
    at_orders("items that are text", reply(200, {"items": SAID, "pagination": {"total_count": 1}})),
    at_orders("one order that makes no sense",
              reply(200, {"items": [order(), order(id=SAID)], "pagination": {"total_count": 2}})),
    at_orders("500, with orders known", page(500), status=200, before=True, calls=(ORDERS,)),
    at_orders("says nothing, with orders known", silence, status=200, before=True, calls=(ORDERS,), slow=True),
]  # fmt: skip


def at_portal(name: str, *plays: Turn | None, **more: Any) -> Row:
    return Row(f"portal: {name}", plays, (SESSION,), at=SESSION, act="portal", **more)


PORTALS = [
    at_portal("reset", reset),
    at_portal("says nothing", silence, slow=True),
    at_portal("500", page(500)),
    at_portal("401", UNAUTHORIZED, status=500, code="misconfigured"),
    at_portal("422 no such customer", NOBODY, status=404, code="not_a_customer", lasts=60),
    at_portal("422 about the return_url", validation({"loc": ["body", "ByExternalId", "return_url"]}),
              status=500, code="misconfigured"),
    at_portal("429", reply(429, b"", {"Retry-After": "5"}), code="rate_limited", retry_after=5, lasts=5),
    at_portal("no link", issued(customer_portal_url=None)),
    at_portal("link with javascript:", issued(customer_portal_url=f"javascript:{HIDDEN}")),
    at_portal("link with a newline", issued(customer_portal_url=f"https://polar.sh/\r\nX: {HIDDEN}")),
]  # fmt: skip

TABLE = [
    *NETWORK, *FRAMES, *BODIES, *URLS, *REDIRECTS, *STATUSES, *TLS,
    *SESSIONS, *ORDER_ROWS, *MAKES, *RECEIPTS, *LISTS, *PORTALS,
]  # fmt: skip
