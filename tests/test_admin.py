"""Staff download one selected order's invoice, with the organization's own token."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client

from example_project.shop.admin import PurchaseAdmin
from example_project.shop.models import Purchase
from polar_portal.admin import InvoiceActionMixin
from polar_portal.models import CustomerSession
from polar_portal.testing import FakeCustomer, FakePolar

CHANGELIST = "/admin/shop/purchase/"


@pytest.fixture
def sam(db: None) -> User:
    staff = User.objects.create_user("sam", is_staff=True)
    staff.user_permissions.add(
        Permission.objects.get(codename="view_purchase"), Permission.objects.get(codename="download_invoice")
    )
    return staff


def buy(user: User, polar_order_id: uuid.UUID | None) -> Purchase:
    return Purchase.objects.create(user=user, product_name="Pro Plan", amount=5880, polar_order_id=polar_order_id)


def run(staff: User, *purchases: Purchase) -> tuple[Client, Any]:
    client = Client()
    client.force_login(staff)
    response = client.post(
        CHANGELIST, {"action": "download_invoices", "_selected_action": [purchase.pk for purchase in purchases]}
    )
    return client, response


def test_one_selected_order_opens_its_pdf(
    fake_polar: FakePolar, sam: User, ada: User, ada_at_polar: FakeCustomer
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    client, response = run(sam, buy(ada, order.id))
    assert response.status_code == 200
    seconds, _, address = response["Refresh"].partition("; url=")
    assert (seconds, address) == ("0", f"{CHANGELIST}polar-invoice/{order.id}/")
    assert "X-Amz" not in response.text
    response = client.get(address)
    assert response.status_code == 302
    assert fake_polar.download(response["Location"]).body.startswith(b"%PDF")
    assert "no-store" in response["Cache-Control"]
    assert response["Referrer-Policy"] == "no-referrer"
    # Asked once, as the organization: nobody acted as the customer.
    assert [(call.path, call.token) for call in fake_polar.calls] == [
        (f"/v1/orders/{order.id}/invoice", fake_polar.access_token)
    ]
    assert CustomerSession.objects.count() == 0


def test_several_selected_orders_come_later(
    fake_polar: FakePolar, sam: User, ada: User, ada_at_polar: FakeCustomer
) -> None:
    purchases = [buy(ada, fake_polar.add_order(ada_at_polar, invoice=True).id) for _ in range(2)]
    client, response = run(sam, *purchases)
    assert response.status_code == 302
    assert "select one order" in client.get(CHANGELIST).text
    assert fake_polar.calls == []


def test_without_the_permission_there_is_no_action_and_no_way_round(
    fake_polar: FakePolar, sam: User, ada: User, ada_at_polar: FakeCustomer
) -> None:
    sam.user_permissions.remove(Permission.objects.get(codename="download_invoice"))
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    client, response = run(sam, buy(ada, order.id))
    assert "Refresh" not in response
    assert "download_invoices" not in client.get(CHANGELIST).text
    assert client.get(f"{CHANGELIST}polar-invoice/{order.id}/").status_code == 403
    assert fake_polar.calls == []


def test_customers_do_not_reach_the_address_of_staff(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    ada.user_permissions.add(Permission.objects.get(codename="download_invoice"))
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    client = Client()
    client.force_login(ada)
    assert client.get(f"{CHANGELIST}polar-invoice/{order.id}/")["Location"].startswith("/admin/login/")
    assert fake_polar.calls == []


@pytest.mark.parametrize("generated", [True, False])
def test_what_is_in_the_way_is_said_on_the_list(
    fake_polar: FakePolar, sam: User, ada: User, ada_at_polar: FakeCustomer, generated: bool
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=generated)
    if generated:
        fake_polar.revoke_access_token()
    client, response = run(sam, buy(ada, order.id))
    assert (response.status_code, response["Location"]) == (302, CHANGELIST)
    page = client.get(CHANGELIST).text
    assert ("Polar refuses POLAR_ACCESS_TOKEN" if generated else "404 InvoiceDoesNotExist") in page
    assert fake_polar.access_token not in page
    assert client.get(f"{CHANGELIST}polar-invoice/{order.id}/")["Location"] == CHANGELIST


def test_purchase_that_was_not_made_through_polar(fake_polar: FakePolar, sam: User, ada: User) -> None:
    client, response = run(sam, buy(ada, None))
    assert (response.status_code, response["Location"]) == (302, CHANGELIST)
    assert "There is no order at Polar for this one" in client.get(CHANGELIST).text
    assert fake_polar.calls == []


def test_action_joins_those_of_the_host() -> None:
    class WithItsOwn(InvoiceActionMixin, admin.ModelAdmin):  # type: ignore[type-arg]
        actions = ["ship"]

    class WithNone(InvoiceActionMixin, admin.ModelAdmin):  # type: ignore[type-arg]
        actions = None

    assert WithItsOwn.actions == ["ship", "download_invoices"]
    assert WithNone.actions is None
    assert PurchaseAdmin.actions == ["download_invoices"]
