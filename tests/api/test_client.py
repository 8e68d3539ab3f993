"""Polar's API over the wire: what is sent, what each answer means, and what happens when there is no sane one."""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import time
import tracemalloc
import uuid
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import responses
import time_machine
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pytest_django import Settings
from responses import matchers
from urllib3.util import connection

from polar_portal import __version__
from polar_portal.api import deadline
from polar_portal.api.client import Client
from polar_portal.api.transport import api_adapter
from polar_portal.conf import Secret
from polar_portal.exceptions import (
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

from .conftest import TOKEN, Certificate
from .server import HOST, Line, RawServer, Turn, cut_short, dripping, hang_up, reply, reset, silence
from .test_schemas import CUSTOMER_ID, JSON, ORDER, ORDER_ID, SESSION

ORDERS = "/v1/customer-portal/orders/"
ID = uuid.UUID(ORDER_ID)
URL = "https://s3.example/1.pdf?X-Amz-Date=20261122T072046Z&X-Amz-Expires=600&X-Amz-Signature=780933a6"
READY = reply(200, {"url": URL})
CHANGES = {"billing_name": "Ada Lovelace", "billing_address": {"line1": "12 rue de la Paix", "country": "FR"}}

Serve = Callable[..., RawServer]
Connect = Callable[..., Client]
Ask = Callable[[Client], object]

ASKS: dict[str, Ask] = {
    "session": lambda client: client.create_customer_session({"external_customer_id": "1"}),
    "orders": lambda client: client.orders(page=2, limit=20),
    "order": lambda client: client.order(ID),
    "update": lambda client: client.update_order(ID, CHANGES),
    "invoice": lambda client: client.invoice(ID),
    "generate": lambda client: client.generate_invoice(ID),
    "receipt": lambda client: client.receipt(ID),
}
GOOD: dict[str, bytes] = {
    "session": reply(201, SESSION),
    "orders": reply(200, {"items": [ORDER], "pagination": {"total_count": 21, "max_page": 2}}),
    "order": reply(200, ORDER),
    "update": reply(200, ORDER),
    "invoice": READY,
    "generate": reply(202, None),
    "receipt": READY,
}
METHODS = dict.fromkeys(ASKS, "GET") | {"session": "POST", "generate": "POST", "update": "PATCH"}
GETS = [call for call, method in METHODS.items() if method == "GET"]
CHANGING = [call for call, method in METHODS.items() if method != "GET"]
every_call = pytest.mark.parametrize("call", ASKS)


def error(code: str, detail: Any = "In Polar's words.") -> dict[str, Any]:
    return {"error": code, "detail": detail}


# What is sent.


@pytest.mark.parametrize(
    ("call", "path"),
    [
        ("session", "/v1/customer-sessions/"),
        ("orders", f"{ORDERS}?page=2&limit=20"),
        ("order", f"{ORDERS}{ORDER_ID}"),
        ("update", f"{ORDERS}{ORDER_ID}"),
        ("invoice", f"{ORDERS}{ORDER_ID}/invoice"),
        ("generate", f"{ORDERS}{ORDER_ID}/invoice"),
        ("receipt", f"{ORDERS}{ORDER_ID}/receipt"),
    ],
)
def test_each_call_asks_its_endpoint_with_token_and_version(
    serve: Serve, connect: Connect, call: str, path: str
) -> None:
    server = serve(GOOD[call])
    ASKS[call](connect(server))
    (heard,) = server.heard
    assert (heard.method, heard.target) == (METHODS[call], path)
    assert heard.header("Authorization") == f"Bearer {TOKEN}"
    assert heard.header("Polar-Version") == "2026-04"
    assert heard.header("User-Agent") == f"django-polar-portal/{__version__}"
    assert heard.header("Accept") == "application/json"
    assert heard.header("Transfer-Encoding") is None
    assert heard.header("Cookie") is None


def test_a_post_without_a_body_tells_that_it_is_empty(serve: Serve, connect: Connect) -> None:
    server = serve(reply(202, None))
    connect(server).generate_invoice(ID)
    assert server.heard[0].header("Content-Length") == "0"
    assert server.heard[0].body == b""


def test_the_merchants_endpoints_are_asked_where_the_organization_asks(serve: Serve, connect: Connect) -> None:
    server = serve(READY)
    connect(server, orders="/v1/orders/").invoice(ID)
    assert server.heard[0].target == f"/v1/orders/{ORDER_ID}/invoice"


def test_a_path_of_the_base_url_is_kept(serve: Serve, connect: Connect) -> None:
    server = serve(READY)
    connect(f"{server.url}/polar").invoice(ID)
    assert server.heard[0].target == f"/polar{ORDERS}{ORDER_ID}/invoice"


def test_ids_of_customers_are_sent_as_json_strings(serve: Serve, connect: Connect) -> None:
    server = serve(reply(201, SESSION))
    connect(server).create_customer_session({"external_customer_id": "7", "member_id": "é\u2028"})
    (heard,) = server.heard
    assert json.loads(heard.body) == {"external_customer_id": "7", "member_id": "é\u2028"}
    assert heard.header("Content-Type") == "application/json"
    assert heard.header("Content-Length") == str(len(heard.body))


@pytest.mark.parametrize("return_url", ["", "https://shop.example/account/"])
def test_a_session_may_lead_back(serve: Serve, connect: Connect, return_url: str) -> None:
    server = serve(GOOD["session"])
    connect(server).create_customer_session({"customer_id": CUSTOMER_ID}, return_url=return_url)
    expected = {"customer_id": CUSTOMER_ID} | ({"return_url": return_url} if return_url else {})
    assert json.loads(server.heard[0].body) == expected


def test_changed_billing_details_are_sent_as_they_are(serve: Serve, connect: Connect) -> None:
    server = serve(GOOD["update"])
    connect(server).update_order(ID, CHANGES)
    (heard,) = server.heard
    assert json.loads(heard.body) == CHANGES
    assert heard.header("Content-Length") == str(len(heard.body))


def test_a_cookie_is_never_sent_back(serve: Serve, connect: Connect) -> None:
    server = serve(reply(200, {"url": URL}, {"Set-Cookie": "session=of-another-customer; Path=/"}))
    for _ in range(2):
        connect(server).invoice(ID)
    assert [heard.header("Cookie") for heard in server.heard] == [None, None]


def test_a_netrc_does_not_replace_the_token(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {HOST} login someone password word\ndefault login someone password word\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server = serve(READY)
    connect(server).invoice(ID)
    assert server.heard[0].header("Authorization") == f"Bearer {TOKEN}"


@every_call
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(serve: Serve, connect: Connect, call: str, status: int) -> None:
    elsewhere = serve(GOOD[call])
    server = serve(reply(status, b"", {"Location": f"{elsewhere.url}/v1/"}))
    with pytest.raises(PolarUnavailable, match=str(status)):
        ASKS[call](connect(server))
    assert len(server.heard) == 1
    assert elsewhere.connections == 0


def test_two_clients_never_share_a_token(serve: Serve, connect: Connect) -> None:
    server = serve(READY)
    for token in ("polar_cst_a", "polar_cst_b"):
        connect(server, token=token).invoice(ID)
    assert [heard.header("Authorization") for heard in server.heard] == ["Bearer polar_cst_a", "Bearer polar_cst_b"]
    assert server.connections == 1


@responses.activate
def test_the_responses_library_sees_our_calls(connect: Connect) -> None:
    responses.post(
        "https://api.polar.sh/v1/customer-sessions/",
        json=SESSION,
        status=201,
        match=[
            matchers.header_matcher({"Authorization": f"Bearer {TOKEN}", "Polar-Version": "2026-04"}),
            matchers.json_params_matcher({"external_customer_id": "1"}),
        ],
    )
    session = connect("https://api.polar.sh").create_customer_session({"external_customer_id": "1"})
    assert str(session.polar_customer_id) == CUSTOMER_ID
    responses.assert_call_count("https://api.polar.sh/v1/customer-sessions/", 1)


# What a good answer gives.


def test_a_session_is_made(serve: Serve, connect: Connect) -> None:
    session = connect(serve(GOOD["session"])).create_customer_session({"external_customer_id": "1"})
    assert (session.token.reveal(), session.life) == ("polar_cst_EXAMPLE", 3600)


def test_an_order_is_given(serve: Serve, connect: Connect) -> None:
    assert connect(serve(GOOD["order"])).order(ID).id == ID
    assert connect(serve(GOOD["update"])).update_order(ID, CHANGES).id == ID


def test_a_page_of_orders_is_given(serve: Serve, connect: Connect) -> None:
    page = connect(serve(GOOD["orders"])).orders(page=2, limit=20)
    assert ([order.id for order in page.orders], page.total) == ([ID], 21)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", reply(202, {"url": URL})])
def test_a_receipt_that_is_being_rendered_is_pending(serve: Serve, connect: Connect, answer: bytes) -> None:
    server = serve(answer, READY)
    with pytest.raises(DocumentPending) as caught:
        connect(server).receipt(ID)
    assert caught.value.polar_order_id == ID
    assert connect(server).receipt(ID).url == URL
    assert server.connections == 1


@pytest.mark.parametrize("body", [None, b"", {}, b"nonsense"])
def test_asking_for_an_invoice_only_needs_the_status(serve: Serve, connect: Connect, body: Any) -> None:
    connect(serve(reply(202, body))).generate_invoice(ID)


@pytest.mark.parametrize("minutes", [-10, 0, 10])
def test_an_invoice_dies_by_polars_clock_not_by_ours(serve: Serve, connect: Connect, minutes: int) -> None:
    signed = datetime(2026, 11, 22, 7, 20, 46, tzinfo=timezone.utc)
    answered = format_datetime(signed + timedelta(seconds=5), usegmt=True)
    ours = signed + timedelta(minutes=minutes)
    server = serve(reply(200, {"url": URL}, {"Date": answered}))
    with time_machine.travel(ours, tick=False):
        document = connect(server).invoice(ID)
    assert document.url == URL
    assert document.expires_at == ours + timedelta(seconds=595)


def test_life_counts_from_before_the_call(serve: Serve, connect: Connect) -> None:
    signed = datetime(2026, 11, 22, 7, 20, 46, tzinfo=timezone.utc)
    with time_machine.travel(signed, tick=False) as clock:

        def slowly(line: Line) -> None:
            clock.shift(4)
            line.send(reply(200, {"url": URL}, {"Date": format_datetime(signed, usegmt=True)}))

        document = connect(serve(slowly)).invoice(ID)
    assert document.expires_at == signed + timedelta(seconds=600)


def test_without_polars_clock_ours_counts(serve: Serve, connect: Connect) -> None:
    signed = datetime(2026, 11, 22, 7, 20, 46, tzinfo=timezone.utc)
    with time_machine.travel(signed + timedelta(seconds=100), tick=False):
        assert connect(serve(READY)).invoice(ID).expires_at == signed + timedelta(seconds=600)


def test_an_invoice_whose_url_tells_no_end_has_none(serve: Serve, connect: Connect) -> None:
    server = serve(reply(200, {"url": "https://s3.example/1.pdf"}))
    assert connect(server).invoice(ID).expires_at is None


def test_a_document_of_another_host_than_allowed_is_refused(serve: Serve, connect: Connect, settings: Settings) -> None:
    settings.POLAR_ALLOWED_DOCUMENT_HOSTS = [".amazonaws.com"]
    with pytest.raises(PolarUnavailable, match="makes no sense"):
        connect(serve(READY)).invoice(ID)
    settings.POLAR_ALLOWED_DOCUMENT_HOSTS = [".amazonaws.com", "s3.example"]
    assert connect(serve(READY)).invoice(ID).url == URL


@pytest.mark.parametrize("url", ["javascript:alert(1)", "//s3.example/1.pdf", "https://a@s3.example/", "", None, 5])
def test_a_document_that_no_browser_may_be_sent_to_is_refused(serve: Serve, connect: Connect, url: Any) -> None:
    with pytest.raises(PolarUnavailable, match="makes no sense"):
        connect(serve(reply(200, {"url": url}))).invoice(ID)


# What a bad answer means.

UNREADABLE = [
    {"type": "missing", "loc": ["body", "CustomerSessionCustomerIDCreate", "customer_id"], "msg": "Field required"},
    {
        "type": "string_type",
        "loc": ["body", "CustomerSessionCustomerExternalIDCreate", "external_customer_id"],
        "msg": "Input should be a valid string",
        "input": 1,
    },
]


BAD_RETURN_URL = [
    {"type": "missing", "loc": ["body", "CustomerSessionCustomerIDCreate", "customer_id"], "msg": "Field required"},
    {
        "type": "url_parsing",
        "loc": ["body", "CustomerSessionCustomerExternalIDCreate", "return_url"],
        "msg": "Input should be a valid URL, relative URL without a base",
        "input": "/account",
    },
]


def refused(name: str, said: str) -> dict[str, Any]:
    detail = {"type": "value_error", "loc": ["body", name], "msg": said, "input": "1"}
    return error("PolarRequestValidationError", [detail])


@pytest.mark.parametrize(
    ("call", "status", "body", "expected", "said"),
    [
        ("invoice", 401, {"error": "invalid_token", "error_description": "Expired."}, TokenRefused, "invalid_token"),
        ("invoice", 401, error("Unauthorized", "Unauthorized"), TokenRefused, "Unauthorized"),
        ("session", 401, error("Unauthorized", "Unauthorized"), TokenRefused, "401"),
        ("generate", 401, b"", TokenRefused, "401"),
        ("order", 401, b"<html>", TokenRefused, "401"),
        ("invoice", 403, error("NotPermitted"), NotPermitted, "NotPermitted"),
        ("order", 403, error("NotPermitted"), NotPermitted, "NotPermitted"),
        ("generate", 403, error("NotPermitted"), NotPermitted, "NotPermitted"),
        ("invoice", 403, error("Forbidden"), PolarUnavailable, "403 Forbidden"),
        ("invoice", 403, b"<html>", PolarUnavailable, "403 without"),
        ("invoice", 404, error("InvoiceDoesNotExist"), InvoiceNotGenerated, "InvoiceDoesNotExist"),
        ("invoice", 404, error("ResourceNotFound"), OrderNotFound, "ResourceNotFound"),
        ("order", 404, error("ResourceNotFound"), OrderNotFound, "ResourceNotFound"),
        ("generate", 404, error("ResourceNotFound"), OrderNotFound, "ResourceNotFound"),
        ("invoice", 404, {"detail": "Not Found"}, PolarMisconfigured, "POLAR_SERVER or POLAR_BASE_URL"),
        ("session", 404, {"detail": "Not Found"}, PolarMisconfigured, "2026-04"),
        ("invoice", 404, b"<html>not here</html>", PolarMisconfigured, "no such route"),
        ("invoice", 404, b"", PolarMisconfigured, "no such route"),
        ("invoice", 404, error("SomethingNew"), PolarUnavailable, "404 SomethingNew"),
        ("generate", 405, {"detail": "Method Not Allowed"}, PolarUnavailable, "405"),
        ("generate", 409, error("OrderNotEligibleForInvoice"), OrderNotEligible, "NotEligible"),
        ("generate", 409, error("SomethingNew"), PolarUnavailable, "409 SomethingNew"),
        ("generate", 411, error("LengthRequired"), PolarUnavailable, "411"),
        ("generate", 422, error("MissingInvoiceBillingDetails"), BillingDetailsMissing, "MissingInvoice"),
        ("invoice", 422, error("RequestValidationError", [{"loc": ["path", "id"]}]), OrderNotFound, "422"),
        ("session", 422, refused("external_customer_id", "Customer does not exist."), NotACustomer, "user.pk"),
        ("session", 422, refused("customer_id", "Customer does not exist."), NotACustomer, "user.pk"),
        ("session", 422, refused("member_id", "Member does not exist for this customer."), NotACustomer, "422"),
        (
            "session",
            422,
            refused("member_id", "member_id is required for team customers."),
            PolarMisconfigured,
            "POLAR_CUSTOMER_RESOLVER must also give member_id",
        ),
        ("session", 422, error("RequestValidationError", UNREADABLE), PolarMisconfigured, "POLAR_CUSTOMER_RESOLVER"),
        ("session", 422, error("RequestValidationError", [{"loc": ["body", 0]}]), PolarUnavailable, "422"),
        ("session", 422, error("RequestValidationError", "some text"), PolarUnavailable, "422"),
        ("session", 422, b"", PolarUnavailable, "422 without"),
        ("session", 422, [1, 2], PolarUnavailable, "422 without"),
        ("invoice", 429, b"", RateLimited, "429"),
        ("session", 429, error("RateLimited"), RateLimited, "429"),
        ("invoice", 500, b"<html>oh no</html>", PolarUnavailable, "500"),
        ("generate", 503, error("Maintenance"), PolarUnavailable, "503 Maintenance"),
        ("invoice", 599, b"", PolarUnavailable, "599"),
        ("invoice", 200, b"<html>hello</html>", PolarUnavailable, "200 that makes no sense"),
        ("invoice", 200, b"", PolarUnavailable, "makes no sense"),
        ("invoice", 200, b"\xff\xfe\x00", PolarUnavailable, "makes no sense"),
        ("invoice", 200, b"[" * 100_000, PolarUnavailable, "makes no sense"),
        ("invoice", 200, b'{"url": ' + b"9" * 5000 + b"}", PolarUnavailable, "makes no sense"),
        ("invoice", 200, [URL], PolarUnavailable, "makes no sense"),
        ("invoice", 200, {"url": {"href": URL}}, PolarUnavailable, r"makes no sense \(url\)"),
        ("invoice", 202, b"", PolarUnavailable, "unexpected status"),
        ("invoice", 204, b"", PolarUnavailable, "unexpected status"),
        ("order", 200, {**ORDER, "id": "../../customers/me"}, PolarUnavailable, r"\(id\)"),
        ("session", 200, SESSION, PolarUnavailable, "unexpected status"),
        ("session", 201, {**SESSION, "token": None}, PolarUnavailable, r"\(token\)"),
        ("generate", 200, None, PolarUnavailable, "unexpected status"),
        ("receipt", 404, error("ReceiptNotAllocated"), ReceiptUnavailable, "ReceiptNotAllocated"),
        ("receipt", 404, error("ResourceNotFound"), OrderNotFound, "ResourceNotFound"),
        ("receipt", 404, {"detail": "Not Found"}, PolarMisconfigured, "no such route"),
        ("receipt", 204, b"", PolarUnavailable, "unexpected status"),
        ("orders", 403, error("NotPermitted"), NotPermitted, "NotPermitted"),
        ("orders", 422, error("RequestValidationError", [{"loc": ["query", "page"]}]), PolarUnavailable, "422"),
        ("orders", 200, {"items": [], "pagination": None}, PolarUnavailable, "makes no sense"),
        ("update", 404, error("ResourceNotFound"), OrderNotFound, "ResourceNotFound"),
        ("update", 422, error("RequestValidationError", [{"loc": ["body"]}]), PolarUnavailable, "422"),
        ("update", 200, [], PolarUnavailable, "makes no sense"),
        ("session", 422, error("RequestValidationError", BAD_RETURN_URL), PolarMisconfigured, "POLAR_RETURN_URL"),
    ],
    ids=range(63),
)
def test_what_a_bad_answer_means(
    serve: Serve, connect: Connect, call: str, status: int, body: Any, expected: type[Exception], said: str
) -> None:
    server = serve(reply(status, body))
    with pytest.raises(expected, match=said) as caught:
        ASKS[call](connect(server))
    assert type(caught.value) is expected
    assert str(status) in str(caught.value)
    if isinstance(caught.value, PolarError):
        assert caught.value.polar_order_id == (None if call in {"session", "orders"} else ID)


NOT_ACCEPTED = "Polar does not accept this."


@pytest.mark.parametrize(
    ("detail", "fields"),
    [
        ([(["billing_address", "country"], "Country cannot be changed")], {"country": ["Country cannot be changed"]}),
        ([(["billing_address", "country"], "Field required")], {"country": ["Field required"]}),
        ([(["billing_address", "country"], "Input should be 'AD', " + "'AE', " * 99)], {"country": [NOT_ACCEPTED]}),
        ([(["billing_address"], "Value error, Invalid US state")], {"state": ["Invalid US state"]}),
        ([(["billing_name"], "Too long")], {"name": ["Too long"]}),
        (
            [(["billing_address", "country"], "Locked"), (["billing_address", "state"], "Locked, too")],
            {"country": ["Locked"], "state": ["Locked, too"]},
        ),
        (
            [(["billing_address"], "Value error, One"), (["billing_address", "state"], "Another")],
            {"state": ["One", "Another"]},
        ),
        ([(["billing_name"], None)], {"name": [NOT_ACCEPTED]}),
        ([(["billing_name"], "")], {"name": [NOT_ACCEPTED]}),
        ([(["billing_name"], ["a"])], {"name": [NOT_ACCEPTED]}),
        ([(["billing_name"], "a\ud800b")], {"name": [NOT_ACCEPTED]}),
        ([(["billing_name"], "a\x00b")], {"name": [NOT_ACCEPTED]}),
    ],
)
def test_refused_billing_details_are_told_by_field(
    serve: Serve, connect: Connect, detail: list[tuple[list[str], Any]], fields: dict[str, list[str]]
) -> None:
    items = [{"type": "value_error", "loc": ["body", *place], "msg": said, "input": "x"} for place, said in detail]
    with pytest.raises(BillingDetailsInvalid, match="422") as caught:
        connect(serve(reply(422, error("PolarRequestValidationError", items)))).update_order(ID, CHANGES)
    assert caught.value.fields == fields


@every_call
@pytest.mark.parametrize("scope", ["customer_sessions:write", "orders:read"])
def test_a_missing_scope_is_named(serve: Serve, connect: Connect, call: str, scope: str) -> None:
    challenge = f'Bearer realm="polar", scope="{scope}", error="insufficient_scope", error_description="Higher."'
    server = serve(reply(403, {"error": "insufficient_scope"}, {"WWW-Authenticate": challenge}))
    with pytest.raises(PolarMisconfigured, match=f"POLAR_ACCESS_TOKEN lacks the scope {scope}"):
        ASKS[call](connect(server))


@pytest.mark.parametrize("challenge", [None, "", 'Bearer scope="', 'Bearer scope="<script>"', f'scope="{"a" * 200}"'])
def test_a_missing_scope_that_is_not_named_well_is_not_repeated(
    serve: Serve, connect: Connect, challenge: str | None
) -> None:
    headers = {} if challenge is None else {"WWW-Authenticate": challenge}
    server = serve(reply(403, {"error": "insufficient_scope"}, headers))
    with pytest.raises(PolarMisconfigured, match="lacks the scope that this needs"):
        connect(server).invoice(ID)


@pytest.mark.parametrize("code", ["<script>alert(1)</script>", "a\nb", "a b", "é", "a" * 61, "", 5, None, ["a"], {}])
def test_an_error_code_that_is_none_is_not_repeated(serve: Serve, connect: Connect, code: Any) -> None:
    with pytest.raises(PolarUnavailable, match="500 without an error code"):
        connect(serve(reply(500, {"error": code}))).invoice(ID)


NOW = datetime(2026, 11, 22, 7, 20, 46, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (None, 60),
        ("", 60),
        ("60", 60),
        ("7", 7),
        ("0", 1),
        ("-5", 60),
        ("3600", 3600),
        ("3601", 3600),
        ("999999999", 3600),
        ("9" * 30, 60),
        ("9" * 5000, 60),
        ("1.5", 60),
        ("1e3", 60),
        ("inf", 60),
        ("nan", 60),
        ("soon", 60),
        ("Sun, 22 Nov 2026 07:21:16 GMT", 30),
        ("Sunday, 22-Nov-26 07:21:16 GMT", 30),
        ("Sun Nov 22 07:21:16 2026", 30),
        ("Sun, 22 Nov 2026 07:00:00 GMT", 1),
        ("Tue, 22 Nov 2033 07:00:00 GMT", 3600),
        ("Sun, 99 Nov 2026 07:00:00 GMT", 60),
        ("Sun, 22 Nov 99999 07:00:00 GMT", 60),
    ],
)
def test_whatever_polar_says_the_wait_is_between_a_second_and_an_hour(
    serve: Serve, connect: Connect, said: str | None, seconds: int
) -> None:
    server = serve(reply(429, b"", {} if said is None else {"Retry-After": said}))
    with time_machine.travel(NOW, tick=False), pytest.raises(RateLimited) as caught:
        connect(server).invoice(ID)
    assert caught.value.retry_after == seconds
    assert type(caught.value.retry_after) is int


@pytest.mark.parametrize("polars_clock", ["Sun, 22 Nov 2026 07:10:46 GMT", "Sun, 22 Nov 2026 07:30:46 GMT"])
def test_a_date_after_which_to_ask_again_is_by_polars_clock(serve: Serve, connect: Connect, polars_clock: str) -> None:
    server = serve(reply(429, b"", {"Date": polars_clock, "Retry-After": polars_clock.replace(":46 ", ":56 ")}))
    with time_machine.travel(NOW, tick=False), pytest.raises(RateLimited) as caught:
        connect(server).invoice(ID)
    assert caught.value.retry_after == 10


@pytest.mark.parametrize(("said", "seconds"), [(None, 30), ("120", 120), ("99999", 3600), ("0", 1)])
def test_when_polar_is_away_it_may_say_for_how_long(
    serve: Serve, connect: Connect, said: str | None, seconds: int
) -> None:
    server = serve(reply(500, b"", {} if said is None else {"Retry-After": said}))
    with pytest.raises(PolarUnavailable) as caught:
        connect(server).invoice(ID)
    assert caught.value.retry_after == seconds


HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "Date", "WWW-Authenticate", "Location", "Content-Type", "Set-Cookie"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60) | st.integers().map(str),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    call=st.sampled_from(sorted(ASKS)),
    status=st.sampled_from([200, 201, 202, 400, 401, 403, 404, 409, 422, 429, 500]) | st.integers(203, 599),
    body=JSON
    | st.builds(error, st.sampled_from(["PolarRequestValidationError", "RequestValidationError"]) | st.text(), JSON)
    | st.builds(
        lambda loc, msg: error("PolarRequestValidationError", [{"loc": loc, "msg": msg}]),
        st.lists(
            st.sampled_from(["body", "path", "id", "member_id", "customer_id", "billing_address", "billing_name"])
            | JSON,
            max_size=3,
        ),
        JSON,
    ),
    headers=HEADERS,
)
@example(call="session", status=422, body=error("PolarRequestValidationError", [{"loc": []}]), headers={})
def test_any_answer_is_a_result_or_one_of_our_errors(
    connect: Connect, call: str, status: int, body: Any, headers: Mapping[str, str]
) -> None:
    content_type = headers.get("Content-Type", "application/json")
    others = {name: value for name, value in headers.items() if name != "Content-Type"}
    with responses.RequestsMock() as polar:
        polar.add(
            METHODS[call],
            re.compile(r"https://api\.polar\.sh/.*"),
            body=json.dumps(body),
            status=status,
            headers=others,
            content_type=content_type,
        )
        try:
            result = ASKS[call](connect("https://api.polar.sh"))
        except (PolarError, PolarMisconfigured, TokenRefused) as failure:
            result = failure
    if isinstance(result, PolarError):
        assert result.retry_after is None or 1 <= result.retry_after <= 3600
        assert all(text.isprintable() for texts in result.fields.values() for text in texts)
    elif not isinstance(result, (PolarMisconfigured, TokenRefused)):
        assert status in {200, 201, 202}


# When a call is made again.


@pytest.mark.parametrize(
    "broken",
    [
        reply(502, b""),
        reply(503, b"<html>"),
        reply(504, b""),
        hang_up,
        reset,
        cut_short(READY),
        cut_short(READY, missing=len(READY) - 5),
        b"nonsense\r\n\r\n",
    ],
    ids=["502", "503", "504", "hung up", "reset", "body cut short", "status cut short", "no HTTP"],
)
@pytest.mark.parametrize("call", GETS)
def test_a_get_is_made_again_once(serve: Serve, connect: Connect, call: str, broken: Turn) -> None:
    server = serve(broken, GOOD[call])
    assert ASKS[call](connect(server))
    assert len(server.heard) == 2

    server = serve(broken)
    with pytest.raises(PolarUnavailable, match="twice"):
        ASKS[call](connect(server))
    assert len(server.heard) == 2


@pytest.mark.parametrize(
    "broken",
    [
        reply(502, b""),
        reply(503, b""),
        reply(504, b""),
        hang_up,
        reset,
        cut_short(reply(202, b"null")),
        b"nonsense\r\n",
    ],
    ids=["502", "503", "504", "hung up", "reset", "cut short", "no HTTP"],
)
@pytest.mark.parametrize("call", CHANGING)
def test_a_change_that_may_have_arrived_is_not_made_again(
    serve: Serve, connect: Connect, settings: Settings, call: str, broken: Turn
) -> None:
    settings.POLAR_REQUEST_TIMEOUT = 1
    server = serve(broken)
    with pytest.raises(PolarUnavailable):
        ASKS[call](connect(server))
    assert len(server.heard) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 501])
def test_a_get_that_was_answered_is_not_made_again(serve: Serve, connect: Connect, status: int) -> None:
    server = serve(reply(status, b""))
    with pytest.raises((PolarError, PolarMisconfigured, TokenRefused)):
        connect(server).invoice(ID)
    assert len(server.heard) == 1


class Refusals:
    """Stands where connections are opened: lets the first attempts fail as told, and counts all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *failures: OSError) -> None:
        self.attempts = 0
        failing = iter(failures)
        really = connection.create_connection

        def create_connection(*args: Any, **kwargs: Any) -> socket.socket:
            self.attempts += 1
            if (failure := next(failing, None)) is not None:
                raise failure
            return really(*args, **kwargs)

        monkeypatch.setattr(deadline, "create_connection", create_connection)


@every_call
@pytest.mark.parametrize("failure", [ConnectionRefusedError(111, "refused"), TimeoutError(), OSError(113, "no route")])
def test_any_call_that_could_not_connect_is_made_again_once(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, call: str, failure: OSError
) -> None:
    server = serve(GOOD[call])
    refusals = Refusals(monkeypatch, failure)
    ASKS[call](connect(server))
    assert (refusals.attempts, len(server.heard)) == (2, 1)

    api_adapter().close()
    refusals = Refusals(monkeypatch, failure, failure, failure)
    with pytest.raises(PolarUnavailable, match="twice"):
        ASKS[call](connect(server))
    assert (refusals.attempts, len(server.heard)) == (2, 1)


def test_a_name_that_is_not_found_is_looked_up_again(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(GOOD["generate"])
    really, names = socket.getaddrinfo, []

    def getaddrinfo(host: str, *args: Any, **kwargs: Any) -> Any:
        if host != "polar.test":
            return really(host, *args, **kwargs)
        names.append(host)
        if len(names) == 1:
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return really(HOST, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    connect(f"http://polar.test:{server.port}").generate_invoice(ID)
    assert (len(names), len(server.heard)) == (2, 1)


def test_a_closed_port_is_unavailable(connect: Connect) -> None:
    with socket.create_server((HOST, 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(PolarUnavailable, match="connecting failed") as caught:
        connect(f"http://{HOST}:{port}").invoice(ID)
    assert caught.value.retry_after == 30


@pytest.mark.parametrize("base_url", ["https://a..b", f"https://{'a' * 64}.test", "https://a\\b", "http://[::1%lo"])
def test_a_base_url_that_leads_nowhere_is_unavailable(connect: Connect, base_url: str) -> None:
    with pytest.raises(PolarUnavailable):
        connect(base_url).invoice(ID)


# Connections.


@pytest.mark.parametrize(
    "answer",
    [
        READY,
        reply(200, {"url": URL}, {"Connection": "keep-alive"}),
        reply(429, b""),
        reply(404, error("InvoiceDoesNotExist")),
        reply(202, None),
        reply(202, b""),
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nnull\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + READY,
    ],
    ids=["ready", "kept", "429", "404", "null", "empty", "204", "chunked", "100 first"],
)
def test_a_connection_is_used_again(serve: Serve, connect: Connect, answer: bytes) -> None:
    server = serve(answer)
    for _ in range(3):
        with suppress(PolarError):
            connect(server).invoice(ID)
    assert (server.connections, len(server.heard)) == (1, 3)


@every_call
def test_a_connection_that_polar_closed_while_it_was_idle_is_not_used_again(
    serve: Serve, connect: Connect, call: str
) -> None:
    server = serve(GOOD[call])
    ASKS[call](connect(server))
    server.hang_up()
    ASKS[call](connect(server))
    assert (server.connections, len(server.heard)) == (2, 2)


def test_a_connection_with_half_an_answer_is_not_used_again(serve: Serve, connect: Connect) -> None:
    first, second = reply(500, b"a" * (1024 * 1024 + 1) + READY), READY
    server = serve(first, second)
    with pytest.raises(PolarUnavailable):
        connect(server).generate_invoice(ID)
    assert connect(server).invoice(ID).url == URL
    assert server.connections == 2


EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"


def test_an_answer_before_the_answer_is_not_taken_for_it(serve: Serve, connect: Connect) -> None:
    def hinting(line: Line) -> None:
        for _ in range(3):
            line.send(EARLY_HINTS)
            line.pause(0.02)
        line.send(READY)

    server = serve(hinting, reply(202, None))
    assert connect(server).invoice(ID).url == URL
    # Nor is what comes late taken for the answer to the next call, which may be another customer's.
    connect(server).generate_invoice(ID)
    assert (server.connections, len(server.heard)) == (1, 2)


def test_a_connection_that_turns_into_something_else_is_not_used_again(serve: Serve, connect: Connect) -> None:
    server = serve(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", READY)
    assert connect(server).invoice(ID).url == URL
    assert (server.connections, len(server.heard)) == (2, 2)


def padded(size: int) -> bytes:
    """A good answer of exactly this many bytes."""
    body = json.dumps({"url": URL}).encode()
    return body + b" " * (size - len(body))


def test_an_answer_of_a_mebibyte_is_read_and_no_more(serve: Serve, connect: Connect) -> None:
    assert connect(serve(reply(200, padded(1024 * 1024)))).invoice(ID).url == URL
    server = serve(reply(200, padded(1024 * 1024 + 1)))
    with pytest.raises(PolarUnavailable, match="over 1 MiB"):
        connect(server).invoice(ID)
    assert len(server.heard) == 1


@pytest.mark.parametrize("framing", ["Connection: close", "Content-Length: 99999999999", "Transfer-Encoding: chunked"])
def test_an_endless_answer_is_not_read_to_its_end(serve: Serve, connect: Connect, framing: str) -> None:
    def endless(line: Line) -> None:
        line.send(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
        data = b"a" * 65536
        piece = b"10000\r\n" + data + b"\r\n" if "chunked" in framing else data
        for _ in range(1000):
            line.send(piece)

    server = serve(endless)
    with pytest.raises(PolarUnavailable, match="over 1 MiB"):
        connect(server).invoice(ID)
    # What lies in the system's buffers counts as sent, too.
    assert sum(line.sent for line in server.lines) < 32 * 1024 * 1024


def test_a_small_answer_that_unpacks_to_a_huge_one_is_refused(serve: Serve, connect: Connect) -> None:
    bomb = gzip.compress(b" " * (64 * 1024 * 1024), compresslevel=1)
    server = serve(reply(200, bomb, {"Content-Encoding": "gzip"}))
    tracemalloc.start()
    try:
        with pytest.raises(PolarUnavailable, match="over 1 MiB"):
            connect(server).invoice(ID)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 1024 * 1024


@pytest.mark.parametrize("packed", ["gzip", "deflate", "gzip, gzip, gzip, gzip, gzip, gzip, gzip"])
def test_an_answer_that_does_not_unpack_is_unavailable(serve: Serve, connect: Connect, packed: str) -> None:
    with pytest.raises(PolarUnavailable):
        connect(serve(reply(200, {"url": URL}, {"Content-Encoding": packed}))).invoice(ID)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\r\n" * 200,
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 " + b"a" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\na: " + b"b" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nnull",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nnull",
        b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nnull",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nnull",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nnull",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 100_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nnu",
        b"\x16\x03\x01\x02\x00\x01",
        bytes(range(256)),
    ],
    ids=range(17),
)
def test_what_is_no_http_is_unavailable(serve: Serve, connect: Connect, settings: Settings, answer: bytes) -> None:
    settings.POLAR_REQUEST_TIMEOUT = 2

    def turn(line: Line) -> None:
        line.send(answer)
        line.sock.close()

    for call in ("invoice", "generate"):
        with pytest.raises(PolarUnavailable):
            ASKS[call](connect(serve(turn)))


# Deadlines.


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 ", b"2"),
        (b"HTTP/1.1 200 OK\r\nServer: ", b"a"),
        (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" "),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["nothing", "status", "header", "headers", "body", "chunks", "chunk size", "until closed", "continue"],
)
def test_a_byte_now_and_then_does_not_hold_a_call(
    serve: Serve, connect: Connect, settings: Settings, start: bytes, drop: bytes
) -> None:
    settings.POLAR_REQUEST_TIMEOUT = 0.5
    server = serve(dripping(start, drop))
    began = time.monotonic()
    with pytest.raises(PolarUnavailable, match="timed out"):
        connect(server).invoice(ID)
    assert time.monotonic() - began < 6
    assert len(server.heard) == 1


@every_call
def test_silence_does_not_hold_a_call(serve: Serve, connect: Connect, settings: Settings, call: str) -> None:
    settings.POLAR_REQUEST_TIMEOUT = 0.1
    began = time.monotonic()
    with pytest.raises(PolarUnavailable, match="timed out"):
        ASKS[call](connect(serve(silence)))
    assert time.monotonic() - began < 6


def test_the_click_may_end_before_the_call_would(serve: Serve, connect: Connect) -> None:
    began = time.monotonic()
    with pytest.raises(PolarUnavailable, match="timed out"):
        connect(serve(silence), budget=0.2).invoice(ID)
    assert time.monotonic() - began < 6


def test_the_second_try_gets_only_the_time_that_is_left(serve: Serve, connect: Connect, settings: Settings) -> None:
    settings.POLAR_REQUEST_TIMEOUT = 1.5

    def late(line: Line) -> None:
        line.pause(0.1)
        line.send(reply(503, b""))

    server = serve(late, silence)
    began = time.monotonic()
    with pytest.raises(PolarUnavailable, match=r"timed out after .*, twice"):
        connect(server).invoice(ID)
    assert time.monotonic() - began < 6
    assert len(server.heard) == 2


@every_call
def test_without_time_nothing_is_asked(serve: Serve, connect: Connect, call: str) -> None:
    server = serve(GOOD[call])
    with pytest.raises(PolarUnavailable, match="timed out"):
        ASKS[call](connect(server, budget=-1))
    assert (server.connections, len(server.heard)) == (0, 0)


def test_a_slow_call_leaves_the_next_one_its_whole_time(serve: Serve, connect: Connect, settings: Settings) -> None:
    settings.POLAR_REQUEST_TIMEOUT = 2

    def late(line: Line) -> None:
        line.pause(0.8)
        line.send(READY)

    server = serve(late)
    for _ in range(3):
        assert connect(server).invoice(ID).url == URL
    assert server.connections == 1


# Processes, proxies, certificates.


def in_a_child(answer: Callable[[], bool]) -> bool:
    """Fork, and tell whether `answer` was true in the child."""
    with warnings.catch_warnings():
        # Python warns of forking beside threads: here they are the server's, and the child leaves them alone.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if answer() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_forked_child_never_speaks_on_its_parents_connection(serve: Serve, connect: Connect) -> None:
    server = serve(READY)
    connect(server).invoice(ID)
    parents = api_adapter()
    assert in_a_child(lambda: api_adapter() is not parents and connect(server).invoice(ID).url == URL)
    assert api_adapter() is parents
    connect(server).invoice(ID)
    assert [heard.connection for heard in server.heard] == [1, 2, 1]


def test_a_proxy_of_the_environment_is_used(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(READY)
    monkeypatch.setenv("HTTP_PROXY", f"http://someone:word@{HOST}:{proxy.port}")
    monkeypatch.setenv("http_proxy", f"http://someone:word@{HOST}:{proxy.port}")
    for _ in range(2):
        assert connect("http://polar.test").invoice(ID).url == URL
    assert proxy.heard[0].target == f"http://polar.test{ORDERS}{ORDER_ID}/invoice"
    assert proxy.heard[0].header("Host") == "polar.test"
    assert proxy.heard[0].header("Authorization") == f"Bearer {TOKEN}"
    assert proxy.heard[0].header("Proxy-Authorization") == "Basic c29tZW9uZTp3b3Jk"
    assert proxy.connections == 1


def test_no_proxy_is_honoured(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, server = serve(READY), serve(READY)
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", HOST)
    connect(server).invoice(ID)
    assert (proxy.connections, server.connections) == (0, 1)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_dripping_proxy_does_not_hold_a_call(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, settings: Settings, scheme: str
) -> None:
    settings.POLAR_REQUEST_TIMEOUT = 0.2
    proxy = serve(dripping(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"))
    monkeypatch.setenv(f"{scheme}_proxy", proxy.url)
    began = time.monotonic()
    with pytest.raises(PolarUnavailable):
        connect(f"{scheme}://polar.test").invoice(ID)
    assert time.monotonic() - began < 6


def test_a_proxy_that_is_away_is_unavailable(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((HOST, 0)) as closed:
        port = closed.getsockname()[1]
    for address in (f"http://{HOST}:{port}", "http://", "nonsense://[", f"{HOST}:{port}"):
        monkeypatch.setenv("https_proxy", address)
        with pytest.raises(PolarUnavailable):
            connect("https://polar.test").invoice(ID)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "socks5h://127.0.0.1:9", "SOCKS4://127.0.0.1:9", "http://"])
def test_a_proxy_of_another_kind_is_refused_by_name(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(PolarUnavailable, match="names a proxy that is no http or https one"):
        connect("https://polar.test").invoice(ID)


def test_a_tunnel_through_a_proxy_hides_the_token_from_it(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, certificate: Certificate
) -> None:
    def tunnel(line: Line) -> None:
        line.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        line.start_tls(certificate.context)

    proxy = serve(tunnel, READY)
    monkeypatch.setenv("https_proxy", proxy.url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.path))
    assert connect("https://polar.test").invoice(ID).url == URL
    opened, asked = proxy.heard
    assert (opened.method, opened.target, opened.header("Authorization")) == ("CONNECT", "polar.test:443", None)
    assert asked.header("Authorization") == f"Bearer {TOKEN}"


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_of_the_environment_is_trusted(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, certificate: Certificate, variable: str
) -> None:
    server = serve(READY, tls=certificate.context)
    monkeypatch.setenv(variable, str(certificate.path))
    for _ in range(2):
        assert connect(server).invoice(ID).url == URL
    assert server.connections == 1


def test_a_certificate_that_nobody_vouches_for_is_unavailable(
    serve: Serve, connect: Connect, certificate: Certificate
) -> None:
    server = serve(READY, tls=certificate.context)
    for call in ASKS:
        with pytest.raises(PolarUnavailable, match="certificate"):
            ASKS[call](connect(server))
    assert server.heard == []
    assert server.connections == len(ASKS)


def test_a_certificate_of_another_host_is_unavailable(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, certificate_of_another: Certificate
) -> None:
    server = serve(READY, tls=certificate_of_another.context)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate_of_another.path))
    with pytest.raises(PolarUnavailable, match="certificate"):
        connect(server).invoice(ID)
    assert server.heard == []


def test_a_verified_connection_is_not_lent_to_another_bundle(
    serve: Serve,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    certificate: Certificate,
    certificate_of_another: Certificate,
) -> None:
    server = serve(READY, tls=certificate.context)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.path))
    connect(server).invoice(ID)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate_of_another.path))
    with pytest.raises(PolarUnavailable):
        connect(server).invoice(ID)


def test_a_bundle_that_is_not_there_is_unavailable(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, certificate: Certificate
) -> None:
    server = serve(READY, tls=certificate.context)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(PolarUnavailable):
        connect(server).invoice(ID)
    assert server.heard == []


def test_a_server_that_never_shakes_hands_does_not_hold_a_call(connect: Connect, settings: Settings) -> None:
    settings.POLAR_REQUEST_TIMEOUT = 0.2
    with socket.create_server((HOST, 0)) as silent:
        began = time.monotonic()
        with pytest.raises(PolarUnavailable, match="timed out"):
            connect(f"https://{HOST}:{silent.getsockname()[1]}").invoice(ID)
        assert time.monotonic() - began < 6


def test_a_server_that_speaks_no_tls_is_unavailable(serve: Serve, connect: Connect) -> None:
    server = serve(READY)
    with pytest.raises(PolarUnavailable):
        connect(f"https://{HOST}:{server.port}", budget=0.5).invoice(ID)
    assert server.heard == []


def test_a_token_that_no_header_can_carry_is_not_sent(serve: Serve, connect: Connect) -> None:
    server = serve(READY)
    with pytest.raises(PolarUnavailable):
        connect(server, token="a\r\nX-Other: b").invoice(ID)
    assert server.connections == 0


def test_the_client_shows_no_token() -> None:
    client = Client("https://api.polar.sh", Secret(TOKEN), 0, orders=ORDERS)
    assert TOKEN not in f"{client!r} {vars(client)!r}"
