"""A Polar that has been taken over, or a proxy in its place: anything in any field, with any status and any headers."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from hypothesis import assume, example, given
from hypothesis import strategies as st

from polar_portal import texts
from polar_portal.api.client import Client
from polar_portal.api.schemas import Document, IssuedSession, OrderPage, PortalOrder
from polar_portal.conf import Secret, conf
from polar_portal.exceptions import PolarError, PolarMisconfigured, PolarUnavailable, TokenRefused
from polar_portal.models import CustomerSession, Order
from polar_portal.portal import CustomerPortal, OrganizationPortal, Page
from polar_portal.testing import FakeCustomer, FakePolar
from tests.api.test_schemas import JSON as ANY_JSON
from tests.conftest import JSON

from .conftest import HTML, browser, quick

EACH = quick(50)
#: What forges a line of a log, clears a terminal, ends a header.
MARK = "FORGED"
INJECTION = f"\r\n{MARK} ERROR polar_portal: all is well\x1b[2J\x00"
ORDERS = "/v1/customer-portal/orders/"
ORDER_ID = uuid.UUID("3f2504e0-4f89-41d3-9a0c-0305e82c3301")
STATUSES = st.sampled_from([200, 201, 202, 204, 206, 226, 300, 301, 304, 307, 400, 401, 403, 404, 405, 409, 410, 411])
STATUSES |= st.sampled_from([413, 418, 422, 429, 431, 451, 499, 500, 501, 502, 503, 504, 520, 599, 600, 999])
ERRORS = st.sampled_from(
    "InvoiceDoesNotExist ResourceNotFound OrderNotEligibleForInvoice MissingInvoiceBillingDetails ReceiptNotAllocated "
    "NotPermitted insufficient_scope invalid_token Unauthorized PolarRequestValidationError OrderNotFound".split()
)
PLACES = st.lists(
    st.sampled_from("body path id query billing_name billing_address country state line1 customer_id member_id".split())
    | st.sampled_from(["external_customer_id", "external_member_id", "return_url", ""])
    | st.text(max_size=5)
    | st.integers()
    | st.none(),
    max_size=4,
)
DETAILS = st.lists(
    st.fixed_dictionaries({}, optional={"loc": PLACES | ANY_JSON, "msg": st.text() | ANY_JSON, "input": ANY_JSON})
    | ANY_JSON,
    max_size=3,
)
BODIES = ANY_JSON | st.fixed_dictionaries(
    {}, optional={"error": ERRORS | ANY_JSON, "detail": DETAILS | ANY_JSON, "url": st.text() | ANY_JSON}
)
NAMES = st.sampled_from(
    "Date Retry-After WWW-Authenticate Content-Type Content-Encoding Location Set-Cookie Transfer-Encoding".split()
)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40) | st.sampled_from(
    ["gzip", "br", "zstd", "deflate, gzip", "chunked", "Thu, 01 Jan 1970 00:00:00 GMT", 'Bearer scope="x"', "9" * 40]
)
HEADERS = st.dictionaries(NAMES, VALUES, max_size=3)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("polar_portal")]


def log_is_sound(caplog: pytest.LogCaptureFixture) -> None:
    for line in lines(caplog):
        assert line.isprintable(), ascii(line)
        assert MARK not in line
        assert len(line) < 1000


def attempt(act: Any, *given: Any) -> Any:
    """What it gives, or which of our exceptions it raises; any other goes on."""
    try:
        return act(*given)
    except (PolarError, PolarMisconfigured, TokenRefused) as failure:
        return failure


# Each call, with any status, any body, any headers


@pytest.fixture
def kept(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> CustomerPortal:
    """A portal that has a live session: what is asked next is what the test is about."""
    CustomerPortal(ada).orders()
    return CustomerPortal(ada)


def every_call(client: Client) -> list[Any]:
    return [
        (lambda: client.create_customer_session({"external_customer_id": "1"}), IssuedSession),
        (lambda: client.orders(page=1, limit=50), OrderPage),
        (lambda: client.order(ORDER_ID), PortalOrder),
        (lambda: client.update_order(ORDER_ID, {"billing_name": "Ada"}), PortalOrder),
        (lambda: client.invoice(ORDER_ID), Document),
        (lambda: client.generate_invoice(ORDER_ID), type(None)),
        (lambda: client.receipt(ORDER_ID), Document),
    ]


@EACH
@given(status=STATUSES, body=BODIES, headers=HEADERS)
@example(status=422, body={"detail": [{"loc": ["body"]}]}, headers={})
@example(status=422, body={"detail": [{"loc": [["body"], {}]}]}, headers={})
@example(
    status=422, body={"error": "PolarRequestValidationError", "detail": [{"loc": ["body", "customer_id"]}]}, headers={}
)
@example(status=422, body={"detail": [{"loc": ["body", "billing_name"], "msg": INJECTION}]}, headers={})
@example(status=429, body=None, headers={"Retry-After": "999999999"})
@example(status=429, body=None, headers={"Retry-After": "0"})
@example(status=403, body={"error": "insufficient_scope"}, headers={"WWW-Authenticate": 'scope="' + "a" * 5000 + '"'})
def test_any_answer_is_a_typed_object_or_one_of_our_exceptions(
    fake_polar: FakePolar, status: int, body: Any, headers: dict[str, str]
) -> None:
    client = Client(conf.POLAR_BASE_URL, Secret("polar_oat_x"), time.monotonic() + 60, orders=ORDERS)
    fake_polar.fail(status=status, json=body, headers=headers, times=None)
    try:
        for call, kind in every_call(client):
            result = attempt(call)
            assert isinstance(result, (kind, PolarError, PolarMisconfigured, TokenRefused))
            if not isinstance(result, kind):
                assert str(result).isprintable(), ascii(str(result))
                retry_after = getattr(result, "retry_after", None)
                assert retry_after is None or 1 <= retry_after <= 3600
                for name, reasons in getattr(result, "fields", {}).items():
                    assert isinstance(name, str)
                    assert all(isinstance(reason, str) and reason.isprintable() for reason in reasons)
    finally:
        fake_polar.clear_failures()


@EACH
@given(body=st.binary(max_size=200), status=STATUSES, encoding=st.sampled_from(["", "gzip", "br", "zstd", "x"]))
@example(body=b"[" * 100_000, status=200, encoding="")
@example(body=b'{"url": ' + b"9" * 5000 + b"}", status=200, encoding="")
@example(body=b'{"url": NaN, "error": Infinity}', status=500, encoding="")
@example(body=b'\xef\xbb\xbf{"url": "https://s3.example/"}', status=200, encoding="")
@example(body=b'{"url": "a", "url": "javascript:alert(1)"}', status=200, encoding="")
def test_any_bytes_are_one_of_our_exceptions(fake_polar: FakePolar, body: bytes, status: int, encoding: str) -> None:
    client = Client(conf.POLAR_BASE_URL, Secret("polar_oat_x"), time.monotonic() + 60, orders=ORDERS)
    headers = {"Content-Encoding": encoding} if encoding else {}
    fake_polar.fail(status=status, body=body, headers=headers, times=None)
    try:
        for call, kind in every_call(client):
            result = attempt(call)
            assert isinstance(result, kind) or str(result).isprintable()
    finally:
        fake_polar.clear_failures()


@EACH
@given(status=STATUSES, body=BODIES, headers=HEADERS, method=st.sampled_from(["GET", "POST", "PATCH"]))
def test_any_answer_is_a_page_that_says_so(
    fake_polar: FakePolar,
    ada: User,
    ada_at_polar: FakeCustomer,
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: Any,
    headers: dict[str, str],
    method: str,
) -> None:
    cache.clear()
    caplog.clear()
    CustomerSession.objects.all().delete()
    order = fake_polar.add_order(ada_at_polar, billing_name=None, billing_address=None)
    good = {"name": "Ada", "line1": "1", "city": "Paris", "postal_code": "75002", "country": "FR"}
    client, root = browser(ada, raise_request_exception=True), f"/billing/orders/{order.id}/"
    fake_polar.fail(method, status=status, json=body, headers=headers, times=None)
    try:
        answers = [
            client.get(root + "invoice/", headers=HTML), client.get(root, headers=HTML), client.get("/billing/orders/"),
            client.get(root + "receipt/", headers=JSON), client.post(root + "billing-details/", good, headers=JSON),
            client.post(root + "invoice/", headers=HTML), client.post("/billing/portal/", headers=JSON),
        ]  # fmt: skip
    finally:
        fake_polar.clear_failures()
    for answer in answers:
        assert answer.status_code in {200, 202, 302, 303, 403, 404, 409, 422, 500, 503}
        assert answer["Cache-Control"] == "private, no-store"
        if answer.status_code == 500:
            assert "wrong on our side" in answer.text or answer.json()["error"] == "misconfigured"
    log_is_sound(caplog)


# Each field of an answer that is otherwise good

HOSTILE = st.sampled_from(
    [
        INJECTION,
        "<script>alert(1)</script>",
        "\u202e",
        "x" * 100_000,
        "../..",
        "{{ x }}",
        "%00%0d%0a",
        "\ufeff",
        "0",
        "-1",
    ]
)
REPLACED = ANY_JSON | HOSTILE | st.integers(-(2**70), 2**70) | st.just([]) | st.just({})


@EACH
@given(data=st.data(), wrong=REPLACED)
def test_an_order_with_any_field_replaced_is_a_page_or_polar_talks_nonsense(
    fake_polar: FakePolar,
    ada: User,
    ada_at_polar: FakeCustomer,
    caplog: pytest.LogCaptureFixture,
    data: st.DataObject,
    wrong: Any,
) -> None:
    caplog.clear()
    cache.clear()
    order = fake_polar.add_order(ada_at_polar, receipt=True)
    client = Client(
        conf.POLAR_BASE_URL, Secret(token_of(fake_polar, ada_at_polar)), time.monotonic() + 60, orders=ORDERS
    )
    page = ask(fake_polar, client, "/v1/customer-portal/orders/?limit=50")
    body = next(each for each in page["items"] if each["id"] == str(order.id))
    where = data.draw(st.sampled_from(["", "billing_address", "items", "customer", "product"]))
    record = {"": body, "items": body["items"][0]}.get(where) or body.get(where) or body
    name = data.draw(st.sampled_from(sorted(record)))
    assume(name != "customer_id" or wrong is not None)
    record[name] = wrong
    fake_polar.fail("GET", f"/orders/{order.id}", status=200, json=body, times=None)
    fake_polar.fail("GET", "/orders/", status=200, json={**page, "items": [body]}, times=None)
    try:
        opened = browser(ada)
        root = f"/billing/orders/{order.id}/"
        for address in ("/billing/orders/", root, root + "billing-details/"):
            for accept in (HTML, JSON):
                answer = opened.get(address, headers=accept)
                assert answer.status_code in {200, 409, 503}
                assert "alert(1)</script>" not in answer.text or accept is JSON
                assert MARK not in str(dict(answer.headers))
        for portal in (CustomerPortal(ada), OrganizationPortal()):
            for act in (portal.invoice, portal.generate_invoice):
                assert MARK not in str(attempt(act, order.id))
    finally:
        fake_polar.clear_failures()
    log_is_sound(caplog)
    # What was kept of it can be read and shown.
    for row in Order.objects.all():
        assert str(row)
        assert len(row.status) <= 50
        assert len(row.number) <= 255
    Order.objects.all().delete()


def token_of(polar: FakePolar, customer: FakeCustomer) -> str:
    return polar.create_session(customer).token


def ask(polar: FakePolar, client: Client, path: str) -> Any:
    """The body of an answer of the fake's own, to spoil."""
    answer = client._exchange("GET", path, None, time.monotonic() + 60)
    return json.loads(json.dumps(answer.data))  # type: ignore[union-attr]


@EACH
@given(data=st.data(), wrong=REPLACED)
def test_a_session_with_any_field_replaced_is_one_or_polar_talks_nonsense(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, data: st.DataObject, wrong: Any
) -> None:
    cache.clear()
    CustomerSession.objects.all().delete()
    client = Client(conf.POLAR_BASE_URL, conf.POLAR_ACCESS_TOKEN, time.monotonic() + 60, orders=ORDERS)
    who = {"external_customer_id": str(ada.pk)}
    body: Any = client._exchange("POST", "/v1/customer-sessions/", who, time.monotonic() + 60).data  # type: ignore[union-attr]
    record = data.draw(st.sampled_from([body, body["customer"]]))
    name = data.draw(st.sampled_from(sorted(record)))
    record[name] = wrong
    fake_polar.clear_calls()
    fake_polar.fail("POST", "/customer-sessions/", status=201, json=body, times=None)
    try:
        assert isinstance(attempt(CustomerPortal(ada).orders), (Page, PolarUnavailable))
        assert isinstance(attempt(CustomerPortal(ada).hosted_url), (str, PolarUnavailable))
    finally:
        fake_polar.clear_failures()
    for call in fake_polar.calls:
        assert all(value.isprintable() for value in call.headers.values())


# Logs, lines and keys


FORGED_BODIES: list[dict[str, Any]] = [
    {"error": INJECTION, "detail": INJECTION},
    {"error": "NotPermitted" + INJECTION},
    {"error": "insufficient_scope", "detail": INJECTION},
    {"error": "PolarRequestValidationError", "detail": [{"loc": ["body", INJECTION], "msg": INJECTION}]},
    {"error": "RequestValidationError", "detail": [{"loc": ["body", "billing_name"], "msg": INJECTION}]},
    {"error": "RequestValidationError", "detail": [{"loc": ["body", "billing_address", INJECTION], "msg": "Odd"}]},
    {"error": "PolarRequestValidationError", "detail": [{"loc": ["body", "customer_id"], "msg": INJECTION}]},
    {
        "error": "PolarRequestValidationError",
        "detail": [{"loc": ["body", "member_id"], "msg": f"is required{INJECTION}"}],
    },
    {"url": f"https://s3.example/{INJECTION}"},
    {"token": INJECTION, "customer_id": INJECTION},
    {"id": INJECTION, "status": INJECTION},
]


@pytest.mark.parametrize("body", FORGED_BODIES, ids=range(len(FORGED_BODIES)))
@pytest.mark.parametrize("status", [200, 201, 202, 401, 403, 404, 409, 422, 429, 500])
def test_nothing_that_polar_says_forges_a_line_of_the_log(
    fake_polar: FakePolar,
    ada: User,
    kept: CustomerPortal,
    caplog: pytest.LogCaptureFixture,
    body: dict[str, Any],
    status: int,
) -> None:
    caplog.set_level(logging.DEBUG)
    order = ORDER_ID
    headers = {
        "WWW-Authenticate": f'Bearer scope="{MARK} \u2028 x"',
        "Retry-After": MARK,
        "Date": MARK,
        "X-Error": MARK,
    }
    fake_polar.fail(
        status=status,
        json=body,
        headers={name: value.replace("\u2028", "") for name, value in headers.items()},
        times=None,
    )
    acts: list[Any] = [
        lambda: kept.invoice(order), lambda: kept.receipt(order), lambda: kept.generate_invoice(order),
        lambda: kept.order(order), lambda: kept.orders(), lambda: kept.hosted_url(),
        lambda: kept.update_billing_details(order, name="Eve", address={"country": "FR"}),
        lambda: OrganizationPortal().invoice(order),
    ]  # fmt: skip
    for act in acts:
        cache.clear()
        attempt(act)
    assert lines(caplog)
    for line in lines(caplog):
        assert line.isprintable(), ascii(line)
        # A scope's name is the one word of Polar's that is repeated: it names what the token lacks.
        assert MARK not in line or "lacks the scope" in line
        assert "\n" not in line


def test_keys_of_the_cache_are_ours_whatever_polar_says(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: set[str] = set()
    genuine = type(cache._connections[cache._alias]).make_key  # type: ignore[attr-defined]

    def make_key(self: Any, key: str, version: Any = None) -> str:
        keys.add(key)
        return str(genuine(self, key, version=version))

    monkeypatch.setattr(type(cache._connections[cache._alias]), "make_key", make_key)  # type: ignore[attr-defined]
    text = INJECTION.rstrip("\x00")
    order = fake_polar.add_order(ada_at_polar, product=text, invoice=True)
    order.invoice_number = order.receipt_number = text
    order.status = text
    CustomerPortal(ada).orders()
    CustomerPortal(ada).invoice(order.id)
    fake_polar.fail(status=500, json={"error": INJECTION}, times=3)
    with pytest.raises(PolarUnavailable):
        CustomerPortal(ada).receipt(order.id)
    assert keys
    for key in keys:
        # What Memcached takes: no spaces, no control characters, at most 250 with Django's own prefix.
        assert re.fullmatch(r"polar_portal:1:[0-9a-f]{64}:[a-z0-9:-]{1,120}", key), key


# What is shown of it


@EACH
@given(amount=st.integers(-(2**63), 2**63 - 1), word=st.text(max_size=8) | HOSTILE)
@example(amount=-1, word="")
def test_amounts_and_words_of_any_kind_can_be_shown(amount: int, word: str) -> None:
    for shown in (
        texts.amount_text(amount, word), texts.status_text(word), texts.country_text(word), texts.state_text(word),
    ):  # fmt: skip
        assert isinstance(shown, str)
        assert not hasattr(shown, "__html__"), "it is escaped where it is shown"
