"""Where a browser is sent, and what stands in the headers that send it there."""

from __future__ import annotations

import re
import uuid
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.cache import cache
from django.core.exceptions import DisallowedHost
from django.template import Context, Template
from django.test import RequestFactory
from hypothesis import example, given
from hypothesis import strategies as st
from pytest_django import Settings

from polar_portal import views
from polar_portal.exceptions import PolarUnavailable
from polar_portal.portal import CustomerPortal
from polar_portal.testing import FakeCustomer, FakePolar
from tests.api.test_presigned import HOSTILE
from tests.conftest import JSON

from .conftest import HTML, browser, quick

ELSEWHERE = [
    "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example",
    "https:evil.example", "https:/evil.example", "javascript:alert(1)", "data:text/html,x", "https://shop.example@evil.example",
    "https://shop.example\\@evil.example", "%2f%2fevil.example", "/%09/evil.example",
    "/%0d%0aLocation:%20//evil.example",
]  # fmt: skip
PAGES = ["orders/", "orders/{}/", "orders/{}/invoice/", "orders/{}/receipt/", "orders/{}/billing-details/", "portal/"]


# Signing in, and trying again


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
@pytest.mark.parametrize("page", PAGES)
def test_signing_in_leads_back_here(db: None, fake_polar: FakePolar, elsewhere: str, page: str) -> None:
    path = f"/billing/{page.format(uuid.uuid4())}"
    asked = {"next": elsewhere, "return_url": elsewhere, "page": elsewhere, "waiting": elsewhere}
    for method in ("get", "post"):
        response = getattr(browser(None), method)(path, asked, headers={"referer": elsewhere})
        assert response.status_code == 302
        there = urlsplit(response["Location"])
        assert (there.scheme, there.netloc, there.path) == ("", "", "/sign-in/")
        (back,) = parse_qs(there.query)["next"]
        assert (urlsplit(back).scheme, urlsplit(back).netloc) == ("", "")
        assert urlsplit(back).path in {path, "/billing/orders/"}


@pytest.mark.parametrize("path", ["//evil.example/orders/", "///evil.example/", "/\\evil.example/", "//evil.example@/"])
@pytest.mark.parametrize("signed_in", [True, False])
def test_an_address_that_begins_with_two_slashes_is_not_another_site(
    fake_polar: FakePolar, ada: User, rf: RequestFactory, path: str, signed_in: bool
) -> None:
    # As `path("<path:tenant>/", include("polar_portal.urls"))` lets it in.
    request = rf.get("/", headers=HTML)
    request.path = request.path_info = path
    request.user = ada if signed_in else AnonymousUser()
    fake_polar.fail(status=500, times=None)
    response: Any = views.OrderListView.as_view()(request)
    if signed_in:
        (link,) = re.findall(r'href="([^"]*)">Try again', response.text)
    else:
        (link,) = parse_qs(urlsplit(response["Location"]).query)["next"]
    assert urlsplit(link).netloc == ""
    assert not re.match(r"/[/\\]", link)


# The way back from Polar's portal


def test_way_back_is_no_visitors_to_choose(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings
) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    for elsewhere in ELSEWHERE[:5]:
        browser(ada).post(
            f"/billing/portal/?return_url={elsewhere}&next={elsewhere}",
            {"return_url": elsewhere, "next": elsewhere, "back": elsewhere},
            headers={"referer": elsewhere, "x-forwarded-host": "evil.example", "forwarded": "host=evil.example"},
        )
    assert len(fake_polar.calls) == 5
    assert {call.body["return_url"] for call in fake_polar.calls} == {"http://testserver/billing/orders/"}


@pytest.mark.parametrize(
    "host",
    [
        "evil.example@testserver", "testserver/evil", "testserver\\evil", "testserver\r\nX-Evil: 1", "test server",
        "a,b",
        "testserver:80:90", "[::1", "testserver:port", "testserver\x00", "é.example", "<script>",
        "testserver?",
    ],
)  # fmt: skip
def test_host_that_is_none_reaches_nothing_even_where_all_are_allowed(
    fake_polar: FakePolar,
    ada: User,
    ada_at_polar: FakeCustomer,
    settings: Settings,
    rf: RequestFactory,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert browser(ada).post("/billing/portal/", headers={**HTML, "host": host}).status_code == 400
    # Nor without the middleware that looks at it first.
    request = rf.post("/billing/portal/", headers={**HTML, "host": host})
    request.user = ada
    monkeypatch.setattr(request, "_dont_enforce_csrf_checks", True, raising=False)
    with pytest.raises(DisallowedHost):
        views.HostedPortalView.as_view()(request)
    assert fake_polar.calls == []


def test_hosts_of_all_kinds_do_not_matter_where_the_way_back_is_set(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings
) -> None:
    # A visitor whose own browser names another host harms nobody but themselves. Still, it need not be believed:
    # SECURITY.md says what to set where ALLOWED_HOSTS allows all.
    settings.ALLOWED_HOSTS = ["*"]
    response = browser(ada).post("/billing/portal/", headers={**HTML, "host": "evil.example"})
    assert fake_polar.calls[0].body["return_url"] == "http://evil.example/billing/orders/"
    assert "evil.example" not in response.text + str(dict(response.headers))
    settings.POLAR_RETURN_URL = "https://shop.example/account/"
    browser(ada).post("/billing/portal/", headers={**HTML, "host": "evil.example"})
    assert fake_polar.calls[1].body["return_url"] == "https://shop.example/account/"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80"])
def test_no_address_of_ours_depends_on_the_host(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings, host: str
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    ready, unmade = fake_polar.add_order(ada_at_polar, invoice=True), fake_polar.add_order(ada_at_polar)
    for user in (ada, None):
        for order in (ready, unmade):
            for page in PAGES:
                for query in ("", "?waiting=0"):
                    for accept in (HTML, JSON):
                        address = f"/billing/{page.format(order.id)}{query}"
                        response = browser(user).get(
                            address, headers={**accept, "host": host, "x-forwarded-host": host}
                        )
                        assert "evil.example" not in response.text + str(dict(response.headers))


@pytest.mark.parametrize(
    "odd", ["//evil.example", "javascript:alert(1)", "a\r\nX-Evil: 1", "\x00", "é", "http://[", " "]
)
def test_odd_way_back_of_the_hosts_own_stays_in_the_question(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings, odd: str
) -> None:
    settings.POLAR_RETURN_URL = odd
    client = browser(ada, raise_request_exception=False)
    response = client.post("/billing/portal/", headers=HTML)
    assert response.status_code in {200, 500, 503}
    for call in fake_polar.calls:
        assert "x-evil" not in call.headers
    assert "evil" not in str(dict(response.headers)).lower()


# Where Polar's answers lead

#: All but the empty one, and the one that the fake can't send.
ODD_URLS = [url for url in HOSTILE if url and "\ud800" not in url]


@pytest.mark.parametrize("url", ODD_URLS, ids=lambda url: ascii(url[:40]))
@pytest.mark.parametrize("kind", ["invoice", "receipt"])
def test_no_way_leads_to_a_hostile_document(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, kind: str, url: str
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    fake_polar.fail("GET", f"/{kind}", status=200, json={"url": url}, times=None)
    client, address = browser(ada), f"/billing/orders/{order.id}/{kind}/"
    key = CustomerPortal(ada)._identity().key(kind, order.id)
    for poisoned in (False, True):
        if poisoned:
            # As if somebody had written it into the cache.
            until = datetime.now(timezone.utc).timestamp() + 500
            cache.set(key, {"url": url, "expires_at": until, "fetched_at": until - 500})
        for query in ("", "?waiting=0"):
            for headers in (HTML, JSON, {**HTML, "sec-purpose": "prefetch"}):
                response = client.get(address + query, headers=headers)
                assert response.status_code == 503
                assert "Location" not in response.headers
                assert "Refresh" not in response.headers
                assert url not in response.text
        if kind == "invoice":
            context = Context({"user": ada, "order": order.id})
            page = Template("{% load polar_portal %}{% polar_invoice order as invoice %}{{ invoice.document_url }}")
            assert page.render(context) == "None"


@pytest.mark.parametrize("url", ODD_URLS, ids=lambda url: ascii(url[:40]))
def test_no_way_leads_to_a_hostile_portal(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, url: str
) -> None:
    session = {
        "token": "polar_cst_x", "customer_id": str(ada_at_polar.id), "customer_portal_url": url,
        "created_at": "2026-11-22T12:00:00Z", "expires_at": "2026-11-22T13:00:00Z",
    }  # fmt: skip
    fake_polar.fail("POST", "/customer-sessions/", status=201, json=session, times=None)
    for headers in (HTML, JSON):
        response = browser(ada).post("/billing/portal/", headers=headers)
        assert response.status_code == 503
        assert "Refresh" not in response.headers
        assert url not in response.text
    with pytest.raises(PolarUnavailable):
        CustomerPortal(ada).hosted_url()


# What stands in a header

TOKEN = re.compile(r"[\t -~]*")
HEADERS = {
    "Retry-After": re.compile(r"[1-9][0-9]{0,2}|[1-2][0-9]{3}|3[0-5][0-9]{2}|3600"),
    "Refresh": re.compile(
        r"[0-9]{1,4}; url=(/billing/orders/[0-9a-f-]{36}/(invoice|receipt)/([?]waiting=[0-9]{1,2})?)"
    ),
    "Cache-Control": re.compile("private, no-store"),
    "Content-Type": re.compile(r"text/html; charset=utf-8|application/json"),
    "Referrer-Policy": re.compile("no-referrer|same-origin"),
}
ODD = "\r\nX-Evil: 1\x00\x1b[31mé\u2028"


def headers_are_sound(response: Any) -> None:
    assert not {name.lower() for name in response.headers} & {"x-evil", "set-cookie", "content-disposition"}
    for name, value in response.headers.items():
        assert TOKEN.fullmatch(value), name
        assert name not in HEADERS or HEADERS[name].fullmatch(value), f"{name}: {value}"
    location = response.headers.get("Location", "")
    assert not location or location.startswith(("https://", "/billing/", "/sign-in/"))


@quick(40)
@given(
    retry_after=st.text(st.characters(max_codepoint=255), max_size=30)
    | st.integers(-(10**12), 10**12).map(str)
    | st.datetimes().map(lambda moment: moment.strftime("%a, %d %b %Y %H:%M:%S GMT"))
    | st.floats().map(str),
    status=st.sampled_from([429, 500, 503, 404, 403, 202, 200]),
    word=st.text(max_size=20),
)
@example(retry_after="9" * 400, status=429, word=ODD)
@example(retry_after="\u0663", status=503, word="")
@example(retry_after="Thu, 01 Jan 9999 00:00:00 GMT", status=503, word="")
def test_nothing_that_polar_sends_is_repeated_in_a_header(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, retry_after: str, status: int, word: str
) -> None:
    cache.clear()
    order = fake_polar.add_order(ada_at_polar, invoice=True, product=word or "x", billing_name=word)
    order.invoice_number = order.receipt_number = word
    odd = {"Retry-After": retry_after, "X-Evil": word, "Location": f"//evil.example/{word}", "Refresh": "0; url=//evil"}
    ascii_only = {name: value.encode("ascii", "ignore").decode() for name, value in odd.items()}
    for page in ("invoice/", "receipt/", "invoice/?waiting=1", "billing-details/", ""):
        fake_polar.fail("GET", status=status, json={"error": word, "detail": word, "url": word}, headers=ascii_only)
        for accept in (HTML, JSON):
            headers_are_sound(browser(ada).get(f"/billing/orders/{order.id}/{page}", headers=accept))
        fake_polar.clear_failures()


def test_headers_of_every_page_are_sound(fake_polar: FakePolar, ada: User) -> None:
    customer = fake_polar.add_customer(external_id=str(ada.pk), name=f"Ada{ODD}", email=f"ada{ODD}@shop.example")
    orders = [
        fake_polar.add_order(customer, invoice=True, product=f"Plan{ODD}", billing_name=f"Ada{ODD}"),
        fake_polar.add_order(customer, product=f"Plan{ODD}"),
        fake_polar.add_order(customer, status="draft", product=f"Plan{ODD}"),
    ]
    for user in (ada, None):
        client = browser(user)
        for order in orders:
            for page in PAGES:
                for accept in (HTML, JSON):
                    for method in (client.get, client.post, client.head, client.options):
                        address = f"/billing/{page.format(order.id)}?waiting={ODD}&page={ODD}"
                        response = method(address, headers={**accept, "referer": "//evil"})
                        if not (page == "portal/" and "Refresh" in response.headers):
                            headers_are_sound(response)
