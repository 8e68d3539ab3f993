"""Staff reach every customer's invoice, so each way to them asks for the permission first."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from example_project.shop.models import Purchase
from polar_portal.admin import InvoiceActionMixin
from polar_portal.models import CustomerSession
from polar_portal.testing import FakeCustomer, FakeOrder, FakePolar

from .conftest import HTML, browser

CHANGELIST = "/admin/shop/purchase/"


@pytest.fixture
def order(fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> FakeOrder:
    return fake_polar.add_order(ada_at_polar, invoice=True)


@pytest.fixture
def purchase(ada: User, order: FakeOrder) -> Purchase:
    return Purchase.objects.create(user=ada, product_name="Pro Plan", amount=5880, polar_order_id=order.id)


def grant(user: User, *codenames: str) -> User:
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    return User.objects.get(pk=user.pk)


WHO: dict[str, dict[str, Any]] = {
    "nobody": {},
    "a customer": {"is_staff": False},
    "a customer with the permission": {"is_staff": False, "may": ["download_invoice", "view_purchase"]},
    "staff without any permission": {"is_staff": True},
    "staff who may see": {"is_staff": True, "may": ["view_purchase"]},
    "staff who may change everything but this": {
        "is_staff": True,
        "may": [
            "view_purchase",
            "change_purchase",
            "add_purchase",
            "delete_purchase",
            "view_order",
            "view_customersession",
        ],
    },
    "staff who are away": {"is_staff": True, "is_active": False, "may": ["download_invoice", "view_purchase"]},
}


@pytest.fixture(params=WHO)
def intruder(request: pytest.FixtureRequest, db: None) -> User | None:
    given = dict(WHO[request.param])
    if not given:
        return None
    may = given.pop("may", [])
    return grant(User.objects.create_user("eve", **given), *may)


def urls_of_the_mixin(order: FakeOrder) -> list[str]:
    """Every address that a ModelAdmin with our mixin adds to those of Django's own."""
    found = []
    for model, shown in admin.site._registry.items():
        if isinstance(shown, InvoiceActionMixin):
            theirs = {pattern.name for pattern in admin.ModelAdmin(model, admin.site).get_urls()}
            for pattern in shown.get_urls():
                if pattern.name not in theirs:
                    args = [order.id] if pattern.pattern.converters else []
                    found.append(reverse(f"admin:{pattern.name}", args=args))
    return found


def invoice_of(order: FakeOrder) -> str:
    (address,) = (each for each in urls_of_the_mixin(order) if "/purchase/polar-invoice/" in each)
    return address


@pytest.mark.parametrize("method", ["get", "post", "head", "put", "options"])
def test_no_address_of_ours_opens_without_the_permission(
    fake_polar: FakePolar, order: FakeOrder, intruder: User | None, method: str
) -> None:
    assert urls_of_the_mixin(order)
    for address in urls_of_the_mixin(order):
        response = getattr(browser(intruder), method)(address, headers=HTML)
        assert response.status_code in {302, 403}
        if response.status_code == 302:
            # Django's LoginRequiredMiddleware, where the host has it, is asked before the admin.
            assert response["Location"].startswith(("/admin/login/", "/sign-in/"))
        assert "X-Amz" not in response.text
    assert fake_polar.calls == []


@pytest.mark.parametrize("chosen", ["selected", "across"])
def test_no_action_runs_without_the_permission(
    fake_polar: FakePolar, order: FakeOrder, purchase: Purchase, intruder: User | None, chosen: str
) -> None:
    data = {"action": "download_invoices", "_selected_action": [purchase.pk], "index": 0}
    if chosen == "across":
        data |= {"select_across": "1"}
    response = browser(intruder).post(CHANGELIST, data, headers=HTML)
    assert response.status_code in {302, 403, 200}
    assert "Refresh" not in response.headers
    assert str(order.id) not in response.headers.get("Location", "")
    assert fake_polar.calls == []
    if intruder and intruder.is_staff and intruder.is_active:
        page = browser(intruder).get(CHANGELIST, headers=HTML)
        assert "download_invoices" not in page.text


def test_forged_action_reaches_nothing(fake_polar: FakePolar, order: FakeOrder, purchase: Purchase) -> None:
    sam = grant(User.objects.create_user("sam", is_staff=True), "view_purchase", "download_invoice")
    client = browser(sam, enforce_csrf_checks=True)
    data = {"action": "download_invoices", "_selected_action": [purchase.pk]}
    assert client.post(CHANGELIST, data, headers={"origin": "https://evil.example"}).status_code == 403
    assert fake_polar.calls == []


def test_permission_is_asked_anew_at_each_click(fake_polar: FakePolar, order: FakeOrder, purchase: Purchase) -> None:
    sam = grant(User.objects.create_user("sam", is_staff=True), "view_purchase", "download_invoice")
    client = browser(sam)
    address = invoice_of(order)
    assert client.get(address)["Location"].startswith("https://")
    sam.user_permissions.clear()
    assert client.get(address).status_code == 403
    assert CustomerSession.objects.count() == 0, "nobody acted as the customer"


def test_what_staff_are_given_is_kept_by_no_cache(fake_polar: FakePolar, order: FakeOrder, purchase: Purchase) -> None:
    sam = grant(User.objects.create_user("sam", is_staff=True), "view_purchase", "download_invoice")
    client = browser(sam)
    data = {"action": "download_invoices", "_selected_action": [purchase.pk]}
    answers = [client.post(CHANGELIST, data)]
    answers.append(client.get(invoice_of(order)))
    fake_polar.fail(status=500, times=None)
    answers.append(client.get(invoice_of(order).replace(str(order.id), str(uuid.uuid4()))))
    assert [answer.status_code for answer in answers] == [200, 302, 302]
    for answer in answers:
        assert {"no-store", "private"} <= set(answer["Cache-Control"].split(", "))


def test_customers_own_entries_are_not_those_of_the_staff(
    fake_polar: FakePolar, ada: User, order: FakeOrder, purchase: Purchase
) -> None:
    sam = grant(User.objects.create_user("sam", is_staff=True), "view_purchase", "download_invoice")
    address = invoice_of(order)
    browser(sam).get(address)
    fake_polar.clear_calls()
    # What staff have just had is not there for a customer whose it is not, with or without the permission.
    eve = grant(User.objects.create_user("eve"), "download_invoice")
    assert browser(eve).get(f"/billing/orders/{order.id}/invoice/", headers=HTML).status_code == 404
    assert browser(ada).get(f"/billing/orders/{order.id}/invoice/", headers=HTML).status_code == 302
    assert {call.token for call in fake_polar.calls if call.path.endswith("/invoice")} <= set(fake_polar.sessions)


def test_models_of_ours_are_shown_and_not_to_be_changed(db: None) -> None:
    """Those that are registered: no form writes into them, and no column shows what is secret."""
    root = User.objects.create_superuser("root")
    for model, shown in admin.site._registry.items():
        if model._meta.app_label != "polar_portal":
            continue
        client = browser(root)
        assert not shown.has_add_permission(client.get("/admin/").wsgi_request)
        named = f"admin:polar_portal_{model._meta.model_name}"
        assert client.get(reverse(f"{named}_add")).status_code == 403
        page = client.get(reverse(f"{named}_changelist"))
        assert page.status_code == 200
        for secret in ("encrypted_token", "listed_orders", "scope", "body"):
            assert f'name="{secret}"' not in page.text
