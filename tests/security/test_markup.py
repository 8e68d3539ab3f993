"""Whatever Polar, a customer or a seller has typed is text on every page: no element and no attribute comes of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.http import HttpResponse
from django.test import override_settings
from django.utils import translation

from example_project.shop.models import Purchase
from polar_portal import customers
from polar_portal.portal import CustomerPortal
from polar_portal.testing import FakeOrder, FakePolar

from .conftest import HTML, browser

EVIL = (
    "'\"><svg/onload=alert(1)> onmouseover=alert(1) javascript:alert(1) </title></textarea></select></style></script>"
    "<script>alert(1)</script><img src=x onerror=alert(1)><!-- --!> ]]> &lt;b&gt; {{ 7|add:7 }}{% now 'Y' %}\u2028`"
)
GOOD = "Plain words".ljust(len(EVIL), "x")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: A visitor's own query, percent-encoded, in the link to try again.
QUERY = re.compile(r"(?<=[?]waiting=)[!#-;=?-~]*")
#: Attributes that lead somewhere or do something: their values count too.
LEADS = {"href", "src", "action", "formaction", "content", "http-equiv", "rel", "type", "name", "method", "id", "class"}


class Shape(HTMLParser):
    """A page's elements with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Any] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = [(name, QUERY.sub("", UUID.sub("ID", value or "")) if name in LEADS else "…") for name, value in attrs]
        self.elements.append((tag, told))
        self.words += [value or "" for name, value in attrs if name not in LEADS]

    def handle_endtag(self, tag: str) -> None:
        self.elements.append(f"/{tag}")

    def handle_comment(self, data: str) -> None:
        self.elements.append("comment")

    def handle_decl(self, decl: str) -> None:
        self.elements.append(decl)

    def unknown_decl(self, data: str) -> None:
        self.elements.append("unknown")

    def handle_pi(self, data: str) -> None:
        self.elements.append("instruction")

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


class Stage:
    """An order of Ada's in which every text is the same one, and her browser."""

    def __init__(self, polar: FakePolar, user: User, text: str) -> None:
        cache.clear()
        self.polar, self.user, self.text = polar, user, text
        polar.clear_failures()
        self.customer = polar.add_customer(external_id=f"ext {text}", name=text, email=f"{text}@shop.example")
        self.address = {
            **dict.fromkeys(("line1", "line2", "postal_code", "city", "state"), text),
            "country": "FR",
        }

    def order(self, **how: Any) -> FakeOrder:
        given = {"billing_name": self.text, "billing_address": self.address, "product": self.text, **how}
        order = self.polar.add_order(self.customer, **given)
        order.invoice_number = self.text
        if order.receipt_number:
            order.receipt_number = self.text
        order.currency = self.text
        return order

    def get(self, path: str) -> HttpResponse:
        return browser(self.user).get(f"/billing/orders/{path}", headers=HTML)  # type: ignore[return-value]

    def post(self, path: str, data: Any = None) -> HttpResponse:
        return browser(self.user).post(f"/billing/{path}", data, headers=HTML)  # type: ignore[return-value]


def listed(stage: Stage) -> HttpResponse:
    for _ in range(25):
        stage.order()
    stage.polar.refund(stage.order(), 100)
    return stage.get("")


def listed_when_polar_is_away(stage: Stage) -> HttpResponse:
    stage.order()
    CustomerPortal(stage.user).orders()
    stage.polar.fail(status=500, json={"error": stage.text, "detail": stage.text}, times=None)
    return stage.get("")


def one_order(stage: Stage) -> HttpResponse:
    order = stage.order(receipt=True, invoice=True)
    stage.polar.refund(order, 100)
    return stage.get(f"{order.id}/")


def one_of_an_unknown_status(stage: Stage) -> HttpResponse:
    order = stage.order()
    order.status = stage.text
    return stage.get(f"{order.id}/")


def one_of_an_unknown_country(stage: Stage) -> HttpResponse:
    order = stage.order()
    assert order.billing_address
    order.billing_address["country"] = stage.text
    return stage.get(f"{order.id}/")


def offered(stage: Stage) -> HttpResponse:
    return stage.get(f"{stage.order().id}/invoice/")


def offered_without_details(stage: Stage) -> HttpResponse:
    return stage.get(f"{stage.order(billing_name=None, billing_address=None, receipt=True).id}/invoice/")


def form(stage: Stage) -> HttpResponse:
    return stage.get(f"{stage.order().id}/billing-details/")


def form_with_mistakes(stage: Stage) -> HttpResponse:
    order = stage.order(billing_name=None, billing_address=None)
    typed = dict.fromkeys(("name", "line1", "line2", "postal_code", "country", "state", "city"), stage.text * 2)
    return stage.post(f"orders/{order.id}/billing-details/", {**typed, "city": ""})


def form_that_polar_refuses(stage: Stage) -> HttpResponse:
    order = stage.order(billing_name=None, billing_address=None)
    text = stage.text[:90]
    places = [
        ["body", "billing_name"], ["body", "billing_address", "line1"], ["body", "billing_address", stage.text],
        ["body", "billing_address"], ["body", "billing_name", stage.text], ["body", stage.text],
    ]  # fmt: skip
    detail = [{"type": stage.text, "loc": place, "msg": text, "input": stage.text} for place in places]
    stage.polar.fail("PATCH", status=422, json={"error": "RequestValidationError", "detail": detail})
    good = {"name": stage.text[:90], "line1": "1", "city": "Paris", "postal_code": "75002", "country": "FR"}
    response = stage.post(f"orders/{order.id}/billing-details/", good)
    assert response.status_code == 422
    return response


def waited_for(stage: Stage) -> HttpResponse:
    order = stage.order()
    CustomerPortal(stage.user).generate_invoice(order.id)
    return stage.get(f"{order.id}/invoice/?waiting={stage.text}")


def ready(stage: Stage) -> HttpResponse:
    return stage.get(f"{stage.order(invoice=True).id}/invoice/?waiting={stage.text}")


def failed(status: int, error: str | None = None, **headers: str) -> Callable[[Stage], HttpResponse]:
    def page(stage: Stage) -> HttpResponse:
        order = stage.order()
        CustomerPortal(stage.user).order(order.id)
        body = {"error": error or stage.text, "detail": stage.text, "error_description": stage.text}
        given = {name.replace("_", "-"): value + stage.text[:40].split("\u2028")[0] for name, value in headers.items()}
        stage.polar.fail("GET", status=status, json=body, headers=given, times=None)
        return stage.get(f"{order.id}/invoice/?waiting={stage.text}")

    page.__name__ = f"failed_{status}_{error}"
    return page


def opened_portal(stage: Stage) -> HttpResponse:
    # What a URL may hold, and a page has to write otherwise.
    odd = "".join(re.findall(r"[!-\[\]-~]", stage.text))
    answer = {
        "token": "polar_cst_x", "customer_id": str(stage.customer.id), "created_at": "2026-11-22T12:00:00Z",
        "expires_at": "2026-11-22T13:00:00Z", "customer_portal_url": f"https://polar.example/?a={odd}",
    }  # fmt: skip
    stage.polar.fail("POST", "/customer-sessions/", status=201, json=answer)
    response = stage.post("portal/")
    assert response.status_code == 200
    (link,) = [dict(each[1]) for each in Shape(response.content.decode()).elements if each[0] == "a"][:1]
    assert link["href"] == f"https://polar.example/?a={odd}"
    # It is the page's one address that Polar chooses; all the rest is compared.
    return HttpResponse(re.sub(r'href="https://polar.example/[^"]*"', 'href="…"', response.content.decode()))


PAGES = [
    listed, listed_when_polar_is_away, one_order, one_of_an_unknown_status, one_of_an_unknown_country, offered,
    offered_without_details, form, form_with_mistakes, form_that_polar_refuses, waited_for, ready, opened_portal,
    failed(500), failed(404, "ResourceNotFound"), failed(404), failed(403, "NotPermitted"), failed(409),
    failed(403, "insufficient_scope", www_authenticate="Bearer scope="), failed(429, retry_after=""), failed(422),
    failed(200),
]  # fmt: skip
#: Pages on which none of Polar's or the customer's words are shown.
SILENT = {"waited_for", "ready", "offered_without_details", "opened_portal"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.__name__)
@pytest.mark.parametrize("language", ["en", "de"])
def test_no_element_comes_of_a_text(
    fake_polar: FakePolar, ada: User, monkeypatch: pytest.MonkeyPatch, page: Callable[[Stage], Any], language: str
) -> None:
    shapes = []
    for text in (GOOD, EVIL):
        stage = Stage(fake_polar, ada, text)
        monkeypatch.setattr(
            customers, "by_primary_key", lambda user, stage=stage: {"customer_id": str(stage.customer.id)}
        )
        with translation.override(language), override_settings(LANGUAGE_CODE=language):
            response = page(stage)
        assert response["Content-Type"].startswith("text/html")
        shapes.append(Shape(response.content.decode()))
    good, evil = shapes
    assert evil.elements == good.elements
    assert not [each for each in evil.elements if each[0] in {"svg", "img", "iframe", "object", "base"}]
    assert all(not name.startswith("on") for each in evil.elements if isinstance(each, tuple) for name, _ in each[1])
    if page.__name__ not in SILENT and not page.__name__.startswith("failed"):
        assert GOOD[:60].lower() in good.text.lower()
        # In full, with what looks like a template's own language as it was written.
        assert EVIL[:60].lower() in evil.text.lower()
    assert "alert(1)" not in str([value for name, value in response.headers.items() if name != "Refresh"])


def test_what_looks_like_a_template_is_not_run(
    fake_polar: FakePolar, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(fake_polar, ada, EVIL)
    monkeypatch.setattr(customers, "by_primary_key", lambda user: {"customer_id": str(stage.customer.id)})
    for page in (listed, one_order, offered, form):
        text = Shape(page(stage).content.decode()).text
        assert "{{ 7|add:7 }}{% now 'Y' %}" in text


@pytest.mark.parametrize("status", [403, 404, 409, 422, 500])
def test_no_element_comes_of_what_the_admin_is_told(
    fake_polar: FakePolar, ada: User, ada_at_polar: Any, status: int
) -> None:
    staff = User.objects.create_user("sam", is_staff=True)
    staff.user_permissions.add(
        Permission.objects.get(codename="view_purchase"), Permission.objects.get(codename="download_invoice")
    )
    shapes = []
    for text in (GOOD, EVIL):
        Purchase.objects.all().delete()
        order = fake_polar.add_order(ada_at_polar)
        purchase = Purchase.objects.create(user=ada, product_name=text, amount=1, polar_order_id=order.id)
        detail = [{"loc": ["body", text], "msg": text, "input": text}]
        headers = {"www-authenticate": f'Bearer scope="{text[:40]}"'}
        for error in (text, "insufficient_scope"):
            fake_polar.fail("GET", status=status, json={"error": error, "detail": detail}, headers=headers)
        client = browser(staff)
        action = {"action": "download_invoices", "_selected_action": [purchase.pk]}
        messages = [client.post("/admin/shop/purchase/", action, follow=True).text for _ in range(2)]
        fake_polar.clear_failures()
        assert all("No invoice." in page for page in messages)
        shapes += [Shape(page) for page in messages]
    for good, evil in zip(shapes[:2], shapes[2:], strict=True):
        # Without the names of the one row, which Django makes of its key.
        assert [each[0] for each in evil.elements] == [each[0] for each in good.elements]
        assert EVIL[:60] in evil.text, "the host's own product name"
