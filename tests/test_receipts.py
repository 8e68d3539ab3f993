"""Receipts: Polar renders one at each question that finds no file, so there is one asker, and a slow one."""

from __future__ import annotations

from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.test import Client

from polar_portal.exceptions import DocumentPending, OrderNotFound, ReceiptUnavailable
from polar_portal.portal import CustomerPortal, OrganizationPortal
from polar_portal.testing import FakeCustomer, FakePolar
from tests.conftest import JSON, asked

pytestmark = pytest.mark.usefixtures("now")


def get(user: User, order_id: Any, query: str = "", **headers: str) -> Any:
    client = Client()
    client.force_login(user)
    return client.get(f"/billing/orders/{order_id}/receipt/{query}", headers=headers)


def test_a_receipt_is_rendered_waited_for_and_handed_out(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, now: time_machine.Traveller
) -> None:
    order = fake_polar.add_order(ada_at_polar, receipt=True)
    address = f"/billing/orders/{order.id}/receipt/"
    response = get(ada, order.id)
    assert (response.status_code, response["Refresh"]) == (202, f"6; url={address}?waiting=1")
    assert "Your receipt is being prepared" in response.text
    now.shift(6)
    response = get(ada, order.id, "?waiting=1")
    assert (response.status_code, response["Refresh"]) == (200, f"0; url={address}")
    assert "Your receipt is ready" in response.text
    response = get(ada, order.id)
    assert response.status_code == 302
    assert response["Referrer-Policy"] == "no-referrer"
    assert fake_polar.download(response["Location"]).body.startswith(b"%PDF")
    assert asked(fake_polar) == ["POST session", "GET receipt", "GET receipt"]


def test_any_number_of_tabs_ask_once_every_six_seconds(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, now: time_machine.Traveller
) -> None:
    order = fake_polar.add_order(ada_at_polar, receipt=True)
    fake_polar.render_seconds = 60
    for _ in range(30):
        for _ in range(5):
            with pytest.raises(DocumentPending):
                CustomerPortal(ada).receipt(order.id)
        now.shift(1)
    assert fake_polar.count("GET", "/receipt") == 5


def test_order_without_a_receipt(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar, receipt=False)
    response = get(ada, order.id)
    assert response.status_code == 404
    assert "There is no receipt for this order" in response.text
    assert get(ada, order.id, **JSON).json()["error"] == "receipt_unavailable"


def test_receipt_as_json(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, now: time_machine.Traveller
) -> None:
    order = fake_polar.add_order(ada_at_polar, receipt=True)
    response = get(ada, order.id, **JSON)
    assert (response.status_code, response.json()["error"], response.json()["retry_after"]) == (202, "pending", 6)
    now.shift(6)
    assert fake_polar.download(get(ada, order.id, **JSON).json()["url"]).status == 200


def test_another_customers_receipt_is_not_found(
    fake_polar: FakePolar,
    ada: User,
    bob: User,
    ada_at_polar: FakeCustomer,
    bob_at_polar: FakeCustomer,
    now: time_machine.Traveller,
) -> None:
    order = fake_polar.add_order(ada_at_polar, receipt=True)
    get(ada, order.id)
    now.shift(6)
    get(ada, order.id)
    assert get(bob, order.id).status_code == 404
    with pytest.raises(OrderNotFound):
        CustomerPortal(bob).receipt(order.id)


def test_receipt_and_invoice_are_kept_apart(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, now: time_machine.Traveller
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True, receipt=True)
    invoice = CustomerPortal(ada).invoice(order.id)
    with pytest.raises(DocumentPending):
        CustomerPortal(ada).receipt(order.id)
    assert CustomerPortal(ada).invoice(order.id) == invoice
    now.shift(6)
    assert CustomerPortal(ada).receipt(order.id).url != invoice.url


def test_prefetch_renders_nothing(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar, receipt=True)
    assert get(ada, order.id, **{"sec-purpose": "prefetch"}).status_code == 503
    assert fake_polar.calls == []


def test_staff_get_receipts_too(fake_polar: FakePolar, ada_at_polar: FakeCustomer, now: time_machine.Traveller) -> None:
    order = fake_polar.add_order(ada_at_polar, receipt=True)
    with pytest.raises(DocumentPending):
        OrganizationPortal().receipt(order.id)
    now.shift(6)
    assert fake_polar.download(OrganizationPortal().receipt(order.id).url).status == 200
    with pytest.raises(ReceiptUnavailable):
        OrganizationPortal().receipt(fake_polar.add_order(ada_at_polar, receipt=False).id)


def test_waiting_ends_with_a_way_out(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar, receipt=True)
    response = get(ada, order.id, "?waiting=20")
    assert response.status_code == 202
    assert "Refresh" not in response
    assert "This takes longer than usual" in response.text
