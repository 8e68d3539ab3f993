"""Staff download the invoices of selected orders, with the organization's own token."""

from __future__ import annotations

import csv
import io
import re
import uuid
import zipfile
from pathlib import Path
from typing import Any

import pytest
import time_machine
from asgiref.sync import async_to_sync
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import HttpRequest
from django.test import AsyncClient, Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from pytest_django import Settings

import polar_portal
from example_project.shop.admin import PurchaseAdmin
from example_project.shop.models import Purchase
from polar_portal.admin import InvoiceActionMixin
from polar_portal.admin.invoice_action import MOST_AT_ONCE
from polar_portal.api.schemas import PortalOrder
from polar_portal.mirror import write
from polar_portal.models import CustomerSession, Order
from polar_portal.portal import OrganizationPortal
from polar_portal.testing import FakeCustomer, FakeOrder, FakePolar

CHANGELIST = "/admin/shop/purchase/"


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


def test_what_is_in_the_way_is_said_on_the_list(
    fake_polar: FakePolar, sam: User, ada: User, ada_at_polar: FakeCustomer
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    fake_polar.revoke_access_token()
    client, response = run(sam, buy(ada, order.id))
    assert (response.status_code, response["Location"]) == (302, CHANGELIST)
    page = client.get(CHANGELIST).text
    assert "Polar refuses POLAR_ACCESS_TOKEN" in page
    assert fake_polar.access_token not in page
    assert client.get(f"{CHANGELIST}polar-invoice/{order.id}/")["Location"] == CHANGELIST


def test_purchase_that_was_not_made_through_polar(fake_polar: FakePolar, sam: User, ada: User) -> None:
    client, response = run(sam, buy(ada, None))
    assert (response.status_code, response["Location"]) == (302, CHANGELIST)
    assert "There is no order at Polar for this one" in client.get(CHANGELIST).text
    assert fake_polar.calls == []


# One whose invoice has not been made


@pytest.fixture
def page(sam: User) -> Page:
    return Page(sam)


class Page:
    """A browser of staff: knows the form of the page it is on. Django's CSRF check is really made."""

    def __init__(self, staff: User) -> None:
        self.client = Client(enforce_csrf_checks=True)
        self.client.force_login(staff)
        self.response: Any = None
        self.address = CHANGELIST

    def get(self, address: str) -> Any:
        self.address = address
        self.response = self.client.get(address)
        return self.response

    def select(self, *purchases: Purchase, address: str = CHANGELIST, **more: str) -> Any:
        """Choose the action on the list, as its form sends it."""
        self.get(address)
        chosen = [str(purchase.pk) for purchase in purchases]
        fields = {"action": "download_invoices", "index": "0", "select_across": "0", "_selected_action": chosen, **more}
        return self.post(fields)

    def press(self, button: str) -> Any:
        """Press a button of the page, by its text."""
        assert self.response.text.count("<form") == 2, "one is Django's own, to sign out"
        form = self.response.text.split('<form method="post">')[1].split("</form>")[0]
        name, value = re.findall(rf'type="submit".* name="(\w+)" value="({button})"', form)[0]
        fields: dict[str, Any] = {}
        for field, hidden in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form):
            fields.setdefault(field, []).append(hidden)
        return self.post({**fields, name: value})

    def post(self, fields: dict[str, Any]) -> Any:
        fields["csrfmiddlewaretoken"] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', self.response.text)[0]
        self.response = self.client.post(self.address, fields)
        return self.response

    def come_back(self) -> Any:
        """Go where the page leads by itself."""
        return self.get(self.response["Refresh"].partition("; url=")[2])


def test_one_without_invoice_is_made_and_waited_for(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, page: Page, now: time_machine.Traveller
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    response = page.select(buy(ada, order.id))
    assert response.status_code == 200
    assert "This order has no invoice yet" in response.text
    assert "no-store" in response["Cache-Control"]
    assert fake_polar.count("POST") == 0
    response = page.press("Make invoice")
    assert response.status_code == 303
    address = f"{CHANGELIST}polar-invoice/{order.id}/"
    assert response["Location"] == f"{address}?waiting=0"
    assert fake_polar.count("POST", "/invoice") == 1
    response = page.get(response["Location"])
    assert response.status_code == 202
    assert "no-store" in response["Cache-Control"]
    assert response["Refresh"] == f"3; url={address}?waiting=1"
    assert "Your invoice is being prepared" in response.text
    now.shift(3)
    assert page.come_back()["Refresh"] == f"3; url={address}?waiting=2"
    now.shift(3)
    response = page.come_back()
    assert (response.status_code, response["Refresh"]) == (200, f"0; url={address}")
    assert "X-Amz" not in response.text
    assert fake_polar.download(page.come_back()["Location"]).body.startswith(b"%PDF")
    assert {call.token for call in fake_polar.calls} == {fake_polar.access_token}
    assert CustomerSession.objects.count() == 0


def test_one_that_is_being_made_already_is_waited_for(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, page: Page, now: time_machine.Traveller
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    OrganizationPortal().generate_invoice(order.id)
    assert page.select(buy(ada, order.id))["Location"] == f"{CHANGELIST}polar-invoice/{order.id}/?waiting=0"


def test_waiting_ends(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, page: Page, now: time_machine.Traveller
) -> None:
    fake_polar.hold_jobs()
    order = fake_polar.add_order(ada_at_polar)
    page.select(buy(ada, order.id))
    page.get(page.press("Make invoice")["Location"])
    for _ in range(20):
        assert "Refresh" in page.response
        now.shift(3)
        page.come_back()
    assert "Refresh" not in page.response
    assert "This takes longer than usual" in page.response.text
    assert f'href="{CHANGELIST}polar-invoice/{order.id}/?waiting=0"' in page.response.text


def test_without_a_cache_it_is_believed_for_a_while_that_it_is_being_made(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, page: Page, settings: Settings
) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    address = f"{CHANGELIST}polar-invoice/{fake_polar.add_order(ada_at_polar).id}/"
    assert page.get(f"{address}?waiting=5").status_code == 202
    assert page.get(f"{address}?waiting=6")["Location"] == CHANGELIST


@pytest.mark.parametrize("waiting", ["x", "-1", "99999", "", "1e3"])
def test_odd_addresses_lead_to_the_pdf(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, page: Page, waiting: str
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    assert page.get(f"{CHANGELIST}polar-invoice/{order.id}/?waiting={waiting}").status_code == 302


def test_one_that_can_not_be_made_says_why(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, page: Page
) -> None:
    order = fake_polar.add_order(ada_at_polar, billing_name=None)
    page.select(buy(ada, order.id))
    response = page.press("Make invoice")
    assert (response.status_code, response["Location"]) == (302, CHANGELIST)
    assert "Billing details are missing" in page.get(CHANGELIST).text


def test_draft_or_void_order_says_so(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, page: Page) -> None:
    page.select(buy(ada, fake_polar.add_order(ada_at_polar, status="void").id))
    assert "This order gets no invoice" in page.get(CHANGELIST).text


# Several


def summary(response: Any) -> tuple[zipfile.ZipFile, list[dict[str, str]]]:
    archive = zipfile.ZipFile(io.BytesIO(b"".join(response.streaming_content)))
    return archive, list(csv.DictReader(io.StringIO(archive.read("summary.csv").decode())))


@pytest.mark.usefixtures("clock")
def test_several_come_as_one_zip(
    fake_polar: FakePolar, ada: User, bob: User, ada_at_polar: FakeCustomer, bob_at_polar: FakeCustomer, page: Page
) -> None:
    orders = [fake_polar.add_order(whose, invoice=True) for whose in (ada_at_polar, bob_at_polar, bob_at_polar)]
    purchases = [buy(ada, orders[0].id), buy(bob, orders[1].id), buy(bob, orders[2].id), buy(ada, None)]
    response = page.select(*purchases)
    assert response.streaming
    assert response["Content-Type"] == "application/zip"
    assert response["Content-Disposition"].startswith("attachment")
    assert "no-store" in response["Cache-Control"]
    archive, rows = summary(response)
    # As the list has them: the newest first.
    assert [(row["row"], row["outcome"], row["file"]) for row in rows] == [
        (str(purchases[3].pk), "no_order_id", ""),
        *(
            (str(purchases[number].pk), "downloaded", f"Invoice-{orders[number].invoice_number}.pdf")
            for number in (2, 1, 0)
        ),
    ]
    assert archive.testzip() is None
    assert len(archive.namelist()) == 4
    assert {call.token for call in fake_polar.calls} == {fake_polar.access_token}
    assert [call.path.rsplit("/")[-1] for call in fake_polar.calls] == ["invoice"] * 3
    assert fake_polar.sessions == {}
    assert CustomerSession.objects.count() == 0


def known(polar: FakePolar, *orders: FakeOrder) -> None:
    """Let this site know what Polar knows of these orders now."""
    write(PortalOrder.from_json(polar.merchant_order_body(order)) for order in orders)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("generate", [True, False])
def test_where_invoices_are_known_to_be_missing_staff_are_asked_first(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, page: Page, generate: bool
) -> None:
    made = [fake_polar.add_order(ada_at_polar, invoice=True) for _ in range(2)]
    missing = [fake_polar.add_order(ada_at_polar) for _ in range(3)]
    void = fake_polar.add_order(ada_at_polar, status="void")
    unknown = fake_polar.add_order(ada_at_polar, invoice=True)
    known(fake_polar, *made, *missing, void)
    everything = [*made, *missing, void, unknown]
    response = page.select(*(buy(ada, order.id) for order in everything))
    assert response.status_code == 200
    assert "3 of the 7 selected orders have no invoice yet." in response.text
    assert "no-store" in response["Cache-Control"]
    assert fake_polar.calls == []
    button = "Make what is missing and download all" if generate else "Download what is there"
    archive, rows = summary(page.press(button))
    outcomes = {row["polar_order_id"]: row["outcome"] for row in rows}
    there = "downloaded" if generate else "invoice_not_generated"
    assert [outcomes[str(order.id)] for order in everything] == [
        "downloaded", "downloaded", there, there, there, "order_not_eligible", "downloaded",
    ]  # fmt: skip
    assert archive.testzip() is None
    assert fake_polar.count("POST", "/invoice") == (3 if generate else 0)


def test_one_of_several_is_told_as_one(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, page: Page
) -> None:
    orders = [fake_polar.add_order(ada_at_polar), fake_polar.add_order(ada_at_polar, invoice=True)]
    known(fake_polar, *orders)
    page.select(*(buy(ada, order.id) for order in orders))
    assert "1 of the 2 selected orders has no invoice yet." in page.response.text


@pytest.mark.usefixtures("clock")
def test_all_that_match_are_meant_also_after_the_page_that_asks(
    fake_polar: FakePolar, ada: User, bob: User, ada_at_polar: FakeCustomer, page: Page, settings: Settings
) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    orders = [fake_polar.add_order(ada_at_polar, invoice=number != 3) for number in range(5)]
    known(fake_polar, *orders)
    purchases = [
        Purchase.objects.create(pk=41_000 + number, user=ada, product_name="Tea", amount=1, polar_order_id=order.id)
        for number, order in enumerate(orders)
    ]
    other = buy(bob, fake_polar.add_order(ada_at_polar, invoice=True).id)
    # One is ticked, then "Select all 5 purchases" of those that the search has found.
    page.select(purchases[0], address=f"{CHANGELIST}?q=Tea", select_across="1")
    assert "1 of the 5 selected orders" in page.response.text
    late = Purchase.objects.create(user=ada, product_name="Tea, ordered since", amount=1, polar_order_id=uuid.uuid4())
    _archive, rows = summary(page.press("Download what is there"))
    assert {row["row"] for row in rows} == {str(purchase.pk) for purchase in purchases}
    assert not {str(other.pk), str(late.pk)} & {row["row"] for row in rows}


def test_too_many_are_refused_with_the_name_of_the_command(fake_polar: FakePolar, ada: User, page: Page) -> None:
    assert MOST_AT_ONCE == 500
    Purchase.objects.bulk_create(
        Purchase(user=ada, product_name="Tea", amount=1, polar_order_id=uuid.uuid4()) for _ in range(501)
    )
    with CaptureQueriesContext(connection) as captured:
        response = page.select(Purchase.objects.all()[0], select_across="1")
    chosen = [query["sql"] for query in captured if "polar_order_id" in query["sql"].split("FROM")[0]]
    assert chosen[-1].endswith("LIMIT 501"), "not all of a million"
    assert (response.status_code, response["Location"]) == (302, CHANGELIST)
    text = page.get(CHANGELIST).text
    assert "at most 500 orders" in text
    assert "polar_export_invoices" in text
    assert fake_polar.calls == []


def test_for_several_too_a_wrong_token_is_told_on_the_list(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, page: Page
) -> None:
    purchases = [buy(ada, fake_polar.add_order(ada_at_polar, invoice=True).id) for _ in range(3)]
    fake_polar.revoke_access_token()
    response = page.select(*purchases)
    assert (response.status_code, response["Location"]) == (302, CHANGELIST)
    assert "Polar refuses POLAR_ACCESS_TOKEN" in page.get(CHANGELIST).text
    assert len(fake_polar.calls) == 1


@pytest.mark.usefixtures("clock")
def test_several_are_sent_when_what_is_known_of_them_can_not_be_read(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, page: Page
) -> None:
    purchases = [buy(ada, fake_polar.add_order(ada_at_polar, invoice=True).id) for _ in range(2)]
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE polar_portal_order RENAME TO elsewhere")
    archive, rows = summary(page.select(*purchases))
    assert [row["outcome"] for row in rows] == ["downloaded"] * 2
    assert len(archive.namelist()) == 3


def test_without_the_permission_there_is_no_zip_by_any_path(
    fake_polar: FakePolar, sam: User, ada: User, ada_at_polar: FakeCustomer, page: Page
) -> None:
    orders = [fake_polar.add_order(ada_at_polar), fake_polar.add_order(ada_at_polar)]
    known(fake_polar, *orders)
    purchases = [buy(ada, order.id) for order in orders]
    page.select(*purchases)
    asking_several = page.response
    page.select(purchases[0])
    asking_one = page.response
    fake_polar.clear_calls()
    sam.user_permissions.remove(Permission.objects.get(codename="download_invoice"))
    for asking, button in [(asking_several, "Make what is missing and download all"), (asking_one, "Make invoice")]:
        page.response = asking
        response = page.press(button)
        assert not response.streaming
        assert "polar-invoice" not in response.get("Location", "")
    assert not page.select(*purchases).streaming
    assert not page.select(*purchases, generate="1", select_across="1").streaming
    assert page.get(f"{CHANGELIST}polar-invoice/{orders[0].id}/?waiting=0").status_code == 403
    request = RequestFactory().post("/", {"generate": "1"})
    request.user = User.objects.get(pk=sam.pk)
    with pytest.raises(PermissionDenied):
        PurchaseAdmin(Purchase, admin.site).download_invoices(request, Purchase.objects.all())
    assert fake_polar.calls == []


def test_under_asgi_the_zip_is_sent_by_a_thread_of_its_own(
    fake_polar: FakePolar, sam: User, ada: User, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polar_portal.edits.edited_at", lambda polar_order_id: None)
    purchases = [buy(ada, fake_polar.add_order(ada_at_polar, invoice=True).id) for _ in range(3)]
    client = AsyncClient()
    client.force_login(sam)

    async def download() -> bytes:
        fields = {"action": "download_invoices", "_selected_action": [purchase.pk for purchase in purchases]}
        response: Any = await client.post(CHANGELIST, fields)
        assert response.is_async
        return b"".join([piece async for piece in response.streaming_content])

    archive = zipfile.ZipFile(io.BytesIO(async_to_sync(download)()))
    assert archive.testzip() is None
    assert len(archive.namelist()) == 4


# Whose admin it is


class NamedAdmin(InvoiceActionMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """A host that keeps the ids as text, with whatever has got into it."""

    polar_order_id_field = "product_name"


class OrderAdmin(InvoiceActionMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["number"]


class Site(admin.AdminSite):
    def has_permission(self, request: HttpRequest) -> bool:
        return True


site = Site(name="staff")
site.register(Purchase, NamedAdmin)
site.register(Order, OrderAdmin)
urlpatterns = [path("admin/", admin.site.urls), path("staff/", site.urls), path("", include("polar_portal.urls"))]


@pytest.mark.usefixtures("clock")
def test_values_that_are_no_id_are_named_in_the_summary(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, page: Page, settings: Settings
) -> None:
    settings.ROOT_URLCONF = __name__
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    texts = [f" {order.id} ", "", "  ", "paid in cash", "=HYPERLINK(1)", "12345"]
    purchases = [Purchase.objects.create(user=ada, product_name=text, amount=1) for text in texts]
    archive, rows = summary(page.select(*purchases, address="/staff/shop/purchase/"))
    assert {row["row"]: row["outcome"] for row in rows} == {
        str(purchase.pk): "downloaded" if number == 0 else "no_order_id" for number, purchase in enumerate(purchases)
    }
    assert len(archive.namelist()) == 2
    assert "HYPERLINK" not in archive.read("summary.csv").decode()


@pytest.mark.parametrize(("text", "told"), [("  ", "it has no id"), ("paid in cash", "Order not found")])
def test_value_that_is_no_id_is_told_on_the_list(
    fake_polar: FakePolar, ada: User, page: Page, settings: Settings, text: str, told: str
) -> None:
    settings.ROOT_URLCONF = __name__
    address = "/staff/shop/purchase/"
    purchase = Purchase.objects.create(user=ada, product_name=text, amount=1)
    assert page.select(purchase, address=address)["Location"] == address
    assert told in page.get(address).text
    assert fake_polar.calls == []


@pytest.mark.usefixtures("clock")
def test_our_own_orders_have_the_action_too(
    fake_polar: FakePolar, sam: User, ada_at_polar: FakeCustomer, page: Page, settings: Settings
) -> None:
    settings.ROOT_URLCONF = __name__
    sam.user_permissions.add(Permission.objects.get(codename="view_order"))
    orders = [fake_polar.add_order(ada_at_polar, invoice=number > 0) for number in range(3)]
    known(fake_polar, *orders)
    address = "/staff/polar_portal/order/"
    response = page.select(*Order.objects.filter(is_invoice_generated=True), address=address)  # type: ignore[arg-type]
    archive, rows = summary(response)
    assert {row["row"] for row in rows} == {str(order.id) for order in orders[1:]}
    assert set(archive.namelist()) == {*(f"Invoice-{order.invoice_number}.pdf" for order in orders[1:]), "summary.csv"}
    page.select(Order.objects.get(is_invoice_generated=False), address=address)  # type: ignore[arg-type]
    waiting = page.press("Make invoice")["Location"]
    assert waiting == f"{address}polar-invoice/{orders[0].id}/?waiting=0"
    assert f'href="{address}"' in page.get(waiting).text
    assert 'href="/admin/' not in page.response.text, "staff stay in the admin they are in"


def test_pages_have_no_script_or_style_of_their_own() -> None:
    for template in (Path(polar_portal.__file__).parent / "templates" / "admin" / "polar_portal").iterdir():
        source = template.read_text(encoding="utf-8")
        assert source.startswith('{% extends "admin/base_site.html" %}')
        assert not re.search(r"<script|<style|style=| on\w+=", source), template.name


def test_action_joins_those_of_the_host() -> None:
    class WithItsOwn(InvoiceActionMixin, admin.ModelAdmin):  # type: ignore[type-arg]
        actions = ["ship"]

    class WithNone(InvoiceActionMixin, admin.ModelAdmin):  # type: ignore[type-arg]
        actions = None

    assert WithItsOwn.actions == ["ship", "download_invoices"]
    assert WithNone.actions is None
    assert PurchaseAdmin.actions == ["download_invoices"]
