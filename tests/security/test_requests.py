"""Requests that no honest browser sends: forged, guessed, misshapen, with another method than they say."""

from __future__ import annotations

import unicodedata
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from hypothesis import example, given
from hypothesis import strategies as st
from pytest_django import Settings

from polar_portal import urls
from polar_portal.portal import CustomerPortal
from polar_portal.testing import FakeCustomer, FakeOrder, FakePolar
from tests.conftest import JSON

from .conftest import HTML, browser, quick

GOOD = {"name": "Eve", "line1": "1 Evil St", "city": "Paris", "postal_code": "75002", "country": "FR"}
CSRF = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def order(fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> FakeOrder:
    return fake_polar.add_order(ada_at_polar)


def pages(order: FakeOrder) -> dict[str, str]:
    """Every address of ours, by the name of its view."""
    root = f"/billing/orders/{order.id}/"
    return {
        "order_list": "/billing/orders/",
        "order_detail": root,
        "invoice": f"{root}invoice/",
        "receipt": f"{root}receipt/",
        "billing_details": f"{root}billing-details/",
        "portal": "/billing/portal/",
        "webhook": "/billing/webhook/",
    }


def changed(polar: FakePolar) -> list[str]:
    """What Polar was asked to make or to change, apart from the session that any question needs."""
    return [
        f"{call.method} {call.path}"
        for call in polar.calls
        if call.method not in {"GET", "HEAD"} and call.path != "/v1/customer-sessions/"
    ]


def test_these_are_all_addresses_that_there_are(fake_polar: FakePolar, order: FakeOrder) -> None:
    assert {pattern.name for pattern in urls.urlpatterns if pattern.name} == set(pages(order))


# Forged


FORGED: list[dict[str, Any]] = [
    {},
    {"headers": {"x-csrftoken": CSRF}},
    {"headers": {"x-csrftoken": "of another session"}, "cookie": CSRF},
    {"data": {"csrfmiddlewaretoken": ""}, "cookie": CSRF},
    {"headers": {"origin": "https://evil.example", "x-csrftoken": CSRF}, "cookie": CSRF},
    {"headers": {"origin": "null", "x-csrftoken": CSRF}, "cookie": CSRF},
    {"headers": {"referer": "https://evil.example/", "x-csrftoken": CSRF}, "cookie": CSRF, "secure": True},
    {"headers": {"content-type": "text/plain"}},
    {"headers": {"accept": "application/json", "content-type": "application/json"}},
]


@pytest.mark.parametrize("forged", FORGED, ids=range(len(FORGED)))
@pytest.mark.parametrize("hosts_own", [True, False], ids=["with the host's middleware", "without"])
@pytest.mark.parametrize("page", ["invoice", "billing_details", "portal"])
def test_forged_post_reaches_nothing(
    fake_polar: FakePolar,
    ada: User,
    order: FakeOrder,
    settings: Settings,
    forged: dict[str, Any],
    hosts_own: bool,
    page: str,
) -> None:
    if not hosts_own:
        settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "Csrf" not in name]
    client = browser(ada, enforce_csrf_checks=True)
    if "cookie" in forged:
        client.cookies["csrftoken"] = forged["cookie"]
    response = client.post(
        pages(order)[page],
        {**GOOD, **forged.get("data", {})},
        headers={**HTML, **forged.get("headers", {})},
        secure=forged.get("secure", False),
        content_type=forged.get("headers", {}).get("content-type", "multipart/form-data; boundary=BoUnDaRyStRiNg"),
    )
    assert response.status_code == 403
    assert fake_polar.calls == []
    if not hosts_own:
        assert response["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize("page", ["invoice", "billing_details", "portal"])
@pytest.mark.parametrize("hosts_own", [True, False], ids=["with the host's middleware", "without"])
def test_what_a_form_of_ours_sends_is_let_in(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings, page: str, hosts_own: bool
) -> None:
    # The other side of the test above: it does not pass because nothing would be let in.
    order = fake_polar.add_order(ada_at_polar, billing_name=None, billing_address=None)
    if not hosts_own:
        settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "Csrf" not in name]
    client = browser(ada, enforce_csrf_checks=True)
    client.cookies["csrftoken"] = CSRF
    response = client.post(pages(order)[page], {**GOOD, "csrfmiddlewaretoken": CSRF}, headers=HTML)
    assert response.status_code in {200, 303}


# Guessed


GUESSES: list[dict[str, str]] = [
    {"sec-purpose": "prefetch"},
    {"sec-purpose": "prefetch;prerender"},
    {"sec-purpose": "prefetch;anonymous-client-ip"},
    {"sec-purpose": "Prefetch"},
    {"sec-purpose": "PREFETCH;PRERENDER"},
    {"sec-purpose": "other, prefetch"},
    {"sec-purpose": " prefetch "},
    {"purpose": "prefetch"},
    {"purpose": "prefetch", "sec-purpose": "prefetch"},
    {"x-purpose": "preview"},
    {"x-moz": "prefetch"},
]


@pytest.mark.parametrize("guess", GUESSES, ids=str)
@pytest.mark.parametrize("page", ["order_list", "order_detail", "invoice", "receipt", "billing_details"])
@pytest.mark.parametrize("accept", [HTML, JSON], ids=["html", "json"])
def test_guess_of_a_browser_does_not_even_ask_polar(
    fake_polar: FakePolar, ada: User, order: FakeOrder, guess: dict[str, str], page: str, accept: dict[str, str]
) -> None:
    client = browser(ada)
    for query in ("", "?waiting=0", "?page=2"):
        for method in (client.get, client.head):
            response = method(pages(order)[page] + query, headers={**accept, **guess})
            assert response.status_code == 503
            assert response["Retry-After"] == "1"
            assert response["Cache-Control"] == "private, no-store"
    assert fake_polar.calls == []


def test_guess_is_not_what_a_post_is_for(fake_polar: FakePolar, ada: User, order: FakeOrder) -> None:
    # No browser guesses a POST; who sends one with such a header means it.
    response = browser(ada).post(pages(order)["invoice"], headers={**HTML, "sec-purpose": "prefetch"})
    assert response.status_code == 303
    assert len(changed(fake_polar)) == 1


@pytest.mark.parametrize("value", ["navigate", "", "pre-fetch", "document"])
def test_other_purposes_are_served(fake_polar: FakePolar, ada: User, order: FakeOrder, value: str) -> None:
    assert browser(ada).get(pages(order)["order_detail"], headers={**HTML, "sec-purpose": value}).status_code == 200


# With another method


@pytest.mark.parametrize("page", ["order_list", "order_detail", "invoice", "receipt", "billing_details", "portal"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "DELETE", "PURGE", "get"])
def test_no_method_but_post_makes_anything(
    fake_polar: FakePolar, ada: User, order: FakeOrder, page: str, method: str
) -> None:
    client = browser(ada)
    override = {"x-http-method-override": "POST", "x-method-override": "POST", "x-http-method": "POST"}
    for accept in (HTML, JSON):
        address = f"{pages(order)[page]}?_method=POST&method=POST"
        response = client.generic(method, address, b"_method=POST", headers={**accept, **override})
        assert response.status_code in {200, 202, 404, 405}
        assert response["Cache-Control"] == "private, no-store"
        assert {"Accept", "Cookie"} <= set(response["Vary"].split(", "))
    assert changed(fake_polar) == []


def test_a_post_by_another_spelling_needs_its_token_too(fake_polar: FakePolar, ada: User, order: FakeOrder) -> None:
    client = browser(ada, enforce_csrf_checks=True)
    for method in ("POST", "post", "PoSt"):
        assert client.generic(method, pages(order)["invoice"], headers=HTML).status_code == 403
    assert fake_polar.calls == []


# Never somebody else's


FAILURES: list[dict[str, Any]] = [
    {"status": 429, "body": b""},
    {"status": 500},
    {"status": 403, "json": {"error": "NotPermitted"}},
    {"status": 404, "json": {"detail": "Not Found"}},
    {"status": 200, "json": {"url": "javascript:alert(1)"}},
]


@pytest.mark.parametrize("accept", [HTML, JSON], ids=["html", "json"])
def test_no_answer_may_be_kept_for_somebody_else(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, accept: dict[str, str]
) -> None:
    ready = fake_polar.add_order(ada_at_polar, invoice=True)
    others = [fake_polar.add_order(ada_at_polar), fake_polar.add_order(ada_at_polar, status="draft")]
    CustomerPortal(ada).orders()
    clients = {user: browser(user) for user in (ada, User.objects.create_user("carol"), None)}
    seen: set[int] = set()

    def ask(user: User | None, method: str, address: str) -> None:
        response = getattr(clients[user], method)(address, headers=accept)
        seen.add(response.status_code)
        assert response["Cache-Control"] == "private, no-store", (method, address, response.status_code)
        assert {"Accept", "Cookie"} <= set(response["Vary"].split(", "))

    for name, address in pages(ready).items():
        if name == "webhook":
            continue
        for method in ("get", "head", "options", "post", "put"):
            for user in clients:
                ask(user, method, address)
        for order in others:
            ask(ada, "get", pages(order)[name])
        for failure in FAILURES:
            cache.clear()
            fake_polar.fail("GET", **failure)
            ask(ada, "get", address)
            fake_polar.clear_failures()
        cache.clear()
    assert seen >= {200, 202, 404, 405, 403, 409, 422, 500, 503}
    assert seen & {302, 401}


def test_json_says_that_it_is_json(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    # That no browser takes it for HTML all the same is X-Content-Type-Options, which Django's SecurityMiddleware sends.
    order = fake_polar.add_order(ada_at_polar, product="<script>alert(1)</script>")
    for page in ("order_list", "order_detail", "invoice", "billing_details"):
        response = browser(ada).get(pages(order)[page], headers=JSON)
        assert response["Content-Type"] == "application/json"
        assert response["X-Content-Type-Options"] == "nosniff"
        assert "Content-Disposition" not in response


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        ("", False), ("*/*", False), ("text/*", False), ("application/json", True), ("application/*", True),
        ("text/html;q=0, application/json", True), ("text/html;q=0", False), ("application/json;q=0", False),
        ("application/json;q=nan", None), ("a" * 10_000, False), (",;=,,/;q=/", False), ("text/html\t;q=0.1,*/*", None),
        ("application/json, text/html", None), ("application/json;charset=utf-8", None),
    ],
)  # fmt: skip
def test_accept_of_any_kind_is_answered(
    fake_polar: FakePolar, ada: User, order: FakeOrder, accept: str, json: bool | None
) -> None:
    response = browser(ada).get(pages(order)["order_detail"], headers={"accept": accept})
    assert response.status_code == 200
    assert json is None or (response["Content-Type"] == "application/json") is json


@quick(30)
@given(
    accept=st.lists(
        st.sampled_from('text/html application/json */* ; , q= 0 1 nan inf -1 1e400 = " * /'.split()), max_size=14
    ).map("".join)
    | st.text(st.characters(max_codepoint=255, exclude_characters="\r\n")),
    query=st.text(max_size=20),
)
@example(accept="", query="page=" + "9" * 5000)
def test_nothing_in_accept_or_query_is_a_stack_trace(
    fake_polar: FakePolar, ada: User, order: FakeOrder, accept: str, query: str
) -> None:
    client = browser(ada)
    for page in ("order_list", "invoice"):
        for name in ("page", "waiting"):
            response = client.get(pages(order)[page], {name: query}, headers={"accept": accept})
            assert response.status_code in {200, 202, 404}
    assert changed(fake_polar) == []


# Bodies


def post(client: Client, address: str, body: bytes, content_type: str, **headers: str) -> Any:
    return client.generic("POST", address, body, content_type=content_type, headers={**HTML, **headers})


BODIES: list[tuple[bytes, str]] = [
    (b"", ""),
    (b"", "application/x-www-form-urlencoded"),
    (b"&" * 5000, "application/x-www-form-urlencoded"),
    (b"name=a&" * 5000, "application/x-www-form-urlencoded"),
    (b"name=" + b"a" * 3_000_000, "application/x-www-form-urlencoded"),
    (b"name[]=a&name=b&name=c", "application/x-www-form-urlencoded"),
    (b"name=%00%ff%fe&line1=%ed%a0%80", "application/x-www-form-urlencoded"),
    (b"name=a", "application/x-www-form-urlencoded; charset=no-such"),
    (b"name=a", "multipart/form-data"),
    (b"name=a", "multipart/form-data; boundary="),
    (b"--x\r\n", "multipart/form-data; boundary=x"),
    (b'--x\r\nContent-Disposition: form-data; name="name"; filename="../../etc/passwd"\r\n\r\na\r\n--x--\r\n',
     "multipart/form-data; boundary=x"),
    (b'--x\r\nContent-Disposition: form-data; name="name"\r\nContent-Transfer-Encoding: base64\r\n\r\n!\r\n--x--\r\n',
     "multipart/form-data; boundary=x"),
    (b"\xff\xfe" * 1000, "multipart/form-data; boundary=\xff"),
    (b'{"name": {"$gt": ""}}', "application/json"),
    (b"[" * 100_000, "application/json"),
    (b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>", "text/xml"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "content_type"), BODIES, ids=range(len(BODIES)))
@pytest.mark.parametrize("page", ["invoice", "billing_details", "portal"])
def test_body_of_any_size_or_shape_is_no_stack_trace_and_no_change(
    fake_polar: FakePolar, ada: User, order: FakeOrder, body: bytes, content_type: str, page: str
) -> None:
    client = browser(ada, enforce_csrf_checks=True)
    client.cookies["csrftoken"] = CSRF
    response = post(client, pages(order)[page], body, content_type, **{"x-csrftoken": CSRF})
    assert response.status_code in {200, 303, 400, 413, 422}
    # What these two do does not depend on a body; the form changes nothing for one that is not filled in.
    if page == "billing_details":
        assert response.status_code in {400, 413, 422}
        assert changed(fake_polar) == []
    assert order.billing_name == "Ada Lovelace"


@quick(40)
@given(
    data=st.dictionaries(
        st.sampled_from([*GOOD, "state", "line2", "id", "order", "customer_id", "locked", "billing_name"]),
        st.text(max_size=300) | st.sampled_from(["US", "CA", "FR", "US-CA", "\x00", "\u202e", "<script>"]),
    ),
    filled=st.booleans(),
)
def test_form_with_any_text_changes_what_it_says_or_nothing(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, data: dict[str, str], filled: bool
) -> None:
    order = fake_polar.add_order(ada_at_polar, billing_name=None, billing_address=None)
    given = {**GOOD, **data} if filled else data
    fake_polar.clear_calls()
    response = browser(ada).post(pages(order)["billing_details"], given, headers=HTML)
    patches = [call for call in fake_polar.calls if call.method == "PATCH"]
    assert response.status_code in {303, 422}
    if response.status_code == 422:
        assert patches == []
        assert order.billing_name is None
        return
    (patch,) = patches
    assert patch.path == f"/v1/customer-portal/orders/{order.id}"
    assert patch.body.keys() == {"billing_name", "billing_address"}
    assert patch.body["billing_name"] == given["name"].strip()
    assert set(patch.body["billing_address"]) == {"line1", "line2", "postal_code", "city", "state", "country"}
    # Nothing in it that turns text around or can't be seen.
    for value in (patch.body["billing_name"], *patch.body["billing_address"].values()):
        assert len(value or "") <= 255
        assert not any(unicodedata.category(each) == "Cc" or each in "\u202e\u2066" for each in value or "")


# Everything is behind the door


def test_each_view_of_ours_asks_who_comes(fake_polar: FakePolar, ada: User) -> None:
    for pattern in urls.urlpatterns:
        view: Any = pattern.callback
        cls = view.view_class
        if cls.__name__ == "WebhookView":
            continue
        assert getattr(view, "login_required", True) is False, "the answer to strangers is ours"
        assert not getattr(view, "csrf_exempt", False), cls.__name__


def test_prefetch_of_what_is_in_the_cache_costs_nothing(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    CustomerPortal(ada).invoice(order.id)
    fake_polar.clear_calls()
    response = browser(ada).get(pages(order)["invoice"], headers={**HTML, "purpose": "prefetch"})
    assert response.status_code == 302
    assert fake_polar.calls == []
    # And of somebody else's order there is nothing in it.
    assert (
        browser(ada)
        .get(pages(order)["invoice"].replace(str(order.id), str(uuid.uuid4())), headers={**HTML, "purpose": "prefetch"})
        .status_code
        == 503
    )
