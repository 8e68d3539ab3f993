"""What holds in each host: run by `test_hosts.py`, in a process of its own for each.

Browsers are played by the test client, with the CSRF check really made, on addresses as they stand in the pages.
"""

from __future__ import annotations

import os
import re
import sys
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from html.parser import HTMLParser
from typing import Any

import pytest
import time_machine
from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from polar_portal.database import from_field
from polar_portal.models import CustomerSession, Order, WebhookDelivery
from polar_portal.testing import FakeCustomer, FakeOrder, FakePolar
from tests.hosts.people.models import Payment, Sale

pytestmark = pytest.mark.django_db

HAS_ADMIN = apps.is_installed("django.contrib.admin")
#: What FORCE_SCRIPT_NAME says: a server takes it off before Django sees a path.
MOUNT = settings.FORCE_SCRIPT_NAME or ""


class Page(HTMLParser):
    """What a browser makes of a page; nothing in it may be what a strict policy forbids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        assert tag != "style", "a style in the page"
        assert "src" in given or given.get("type") == "application/json" or tag != "script", "a script in the page"
        assert not [name for name in given if name == "style" or name.startswith("on")], given
        if tag == "a":
            self.links.append(given.get("href", ""))
        elif tag == "form" and given.get("method", "").lower() == "post":
            self.forms.append((given.get("action", ""), {}))
        elif tag == "input" and self.forms and "name" in given:
            self.forms[-1][1][given["name"]] = given.get("value", "")


class Browser:
    def __init__(self, user: Any = None) -> None:
        self.client = Client(enforce_csrf_checks=True)
        self.address = ""
        if user:
            self.client.force_login(user)

    def open(self, address: str, **headers: str) -> Any:
        return self._show(address, self.client.get(self._path(address), headers={"accept": "text/html", **headers}))

    def submit(self, form: tuple[str, dict[str, str]], **changed: str) -> Any:
        """Submit a form of the page that is open. Where that leads is ours: elsewhere a browser would not go."""
        address, fields = form[0] or self.address, {**form[1], **changed}
        response = self._show(address, self.client.post(self._path(address), fields, headers={"accept": "text/html"}))
        while response.status_code in {302, 303}:
            response = self.open(response["Location"])
        return response

    def _path(self, address: str) -> str:
        assert re.match(r"/(?!/)", address), f"{address} is of another site"
        assert address.startswith(MOUNT)
        return address.removeprefix(MOUNT)

    def _show(self, address: str, response: Any) -> Any:
        self.address = address
        if os.environ["HOST"] == "with a strict content security policy":
            assert response["Content-Security-Policy"].startswith("default-src 'self'; form-action 'self'")
        if response["Content-Type"].startswith("text/html") and not response.streaming:
            response.page = Page(response.text)
        return response


@pytest.fixture(autouse=True)
def now() -> Iterator[time_machine.Traveller]:
    """A clock that stands still until it is shifted."""
    with time_machine.travel(datetime(2026, 11, 22, 12, tzinfo=timezone.utc), tick=False) as traveller:
        yield traveller


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    cache.clear()


def user(name: str, **fields: Any) -> Any:
    users: Any = get_user_model()
    given = {"email": f"{name}@host.example", "username": name, **fields}
    known = {field.name for field in users._meta.get_fields()}
    return users.objects.create_user(**{name: value for name, value in given.items() if name in known})


@pytest.fixture
def grace(db: None) -> Any:
    return user("grace")


@pytest.fixture
def customer(fake_polar: FakePolar, grace: Any) -> FakeCustomer:
    return fake_polar.add_customer(external_id=str(grace.pk))


def sell(buyer: Any, order: FakeOrder) -> Sale:
    sale = Sale(user=buyer)
    sale.save()
    Payment(sale=sale, order=str(order.id)).save()
    return sale


def invoice_button(browser: Browser) -> str:
    (link,) = [link for link in browser.open(reverse("sales")).page.links if "/invoice/" in link]
    return str(link)


def test_models_and_migrations_agree() -> None:
    call_command("makemigrations", "polar_portal", "--check", "--dry-run", verbosity=0)
    keys = {model: model._meta.pk.get_internal_type() for model in (CustomerSession, Order, WebhookDelivery)}
    assert keys == {CustomerSession: "BigAutoField", Order: "UUIDField", WebhookDelivery: "BigAutoField"}


def test_check_has_nothing_to_say(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("check", fail_level="WARNING")
    assert "no issues" in capsys.readouterr().out


def test_a_click_leads_from_the_button_to_the_pdf(fake_polar: FakePolar, grace: Any, customer: FakeCustomer) -> None:
    sell(grace, fake_polar.add_order(customer, invoice=True))
    browser = Browser(grace)
    for _ in range(2):  # with a session that is made, then from the cache
        response = browser.open(invoice_button(browser))
        assert response.status_code == 302
        assert fake_polar.download(response["Location"]).body.startswith(b"%PDF")
    assert CustomerSession.objects.get().user == grace
    assert fake_polar.count("POST", "customer-sessions") == 1


def test_a_click_after_the_cache_was_emptied_uses_the_kept_session(
    fake_polar: FakePolar, grace: Any, customer: FakeCustomer
) -> None:
    sell(grace, fake_polar.add_order(customer, invoice=True))
    browser = Browser(grace)
    for _ in range(2):
        cache.clear()
        assert browser.open(invoice_button(browser)).status_code == 302
    assert fake_polar.count("POST", "customer-sessions") == 1


def test_an_invoice_is_made_waited_for_and_opened(
    fake_polar: FakePolar, grace: Any, customer: FakeCustomer, now: time_machine.Traveller
) -> None:
    sell(grace, fake_polar.add_order(customer))
    browser = Browser(grace)
    offer = browser.open(invoice_button(browser))
    assert offer.status_code == 200
    (form,) = [form for form in offer.page.forms if form[0].endswith("/invoice/")]
    waiting = browser.submit(form)
    assert waiting.status_code == 202
    seconds, _, again = waiting["Refresh"].partition("; url=")
    now.shift(60)
    assert 1 <= int(seconds) <= 60
    ready = browser.open(again)
    assert ready.status_code == 200
    response = browser.open(ready["Refresh"].removeprefix("0; url="))
    assert fake_polar.download(response["Location"]).body.startswith(b"%PDF")


def test_billing_details_are_corrected(
    fake_polar: FakePolar, grace: Any, customer: FakeCustomer, now: time_machine.Traveller
) -> None:
    order = fake_polar.add_order(customer, invoice=True)
    browser = Browser(grace)
    (form,) = [
        form
        for form in browser.open(reverse("polar_portal:billing_details", args=[order.id])).page.forms
        if form[0].endswith("/billing-details/")
    ]
    assert browser.submit(form, name="Grace Hopper", country="FR").status_code == 202
    assert order.billing_name == "Grace Hopper"
    edit = Order.objects.get()
    assert edit.edited_at
    # Polar's time of that edit, and ours of waiting for it, whatever Django's fields hold.
    assert from_field(edit.edited_at) == order.modified_at
    now.shift(60)
    response = browser.open(reverse("polar_portal:invoice", args=[order.id]))
    assert fake_polar.download(response["Location"]).body.startswith(b"%PDF")


def test_orders_are_listed_and_each_has_its_page(fake_polar: FakePolar, grace: Any, customer: FakeCustomer) -> None:
    orders = [fake_polar.add_order(customer, product=f"Plan {number}") for number in range(2)]
    browser = Browser(grace)
    listed = browser.open(reverse("polar_portal:order_list"))
    for order in orders:
        address = reverse("polar_portal:order_detail", args=[order.id])
        assert address in listed.page.links
        assert order.product.name in browser.open(address).text
    answer = browser.open(reverse("polar_portal:order_detail", args=[order.id]), accept="application/json").json()
    assert answer["created_at"] == "2026-11-22T12:00:00Z"
    # When Polar is away: what is kept of them.
    fake_polar.fail(times=None)
    stale = browser.open(reverse("polar_portal:order_list"))
    assert all(order.product.name in stale.text for order in orders)


def test_the_hosted_portal_is_opened(fake_polar: FakePolar, grace: Any, customer: FakeCustomer) -> None:
    browser = Browser(grace)
    (form,) = [form for form in browser.open(reverse("sales")).page.forms if form[0].endswith("/portal/")]
    assert re.match(r"0; url=https://", browser.submit(form)["Refresh"])


def test_a_stranger_is_sent_to_sign_in(fake_polar: FakePolar) -> None:
    address = reverse("polar_portal:invoice", args=[uuid.uuid4()])
    assert Browser().open(address)["Location"].startswith(f"/sign-in/?next={address}")
    assert Browser().open(address, accept="application/json").status_code == 401


def test_a_delivery_takes_effect(fake_polar: FakePolar, customer: FakeCustomer) -> None:
    order = fake_polar.add_order(customer)
    body, headers = fake_polar.webhook("order.paid", order)
    for _ in range(2):
        response = Client(enforce_csrf_checks=True).post(
            reverse("polar_portal:webhook").removeprefix(MOUNT), body, content_type="application/json", headers=headers
        )
        assert response.status_code == 204
    delivery, kept = WebhookDelivery.objects.get(), Order.objects.get()
    assert (delivery.outcome, delivery.attempts) == ("applied", 1)
    assert from_field(kept.created_at) == order.created_at


def test_staff_download_from_the_admin_where_there_is_one(
    fake_polar: FakePolar, grace: Any, customer: FakeCustomer
) -> None:
    if not HAS_ADMIN:
        assert "polar_portal.admin" not in sys.modules
        return
    sales = [sell(grace, fake_polar.add_order(customer, invoice=True)) for _ in range(2)]
    staff = user("sam", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    staff.user_permissions.add(Permission.objects.get(codename="download_invoice"))
    browser = Browser(staff)
    address = reverse("admin:people_sale_changelist")
    (form,) = [form for form in browser.open(address).page.forms if "_selected_action" in form[1]]
    one = browser.submit(form, action="download_invoices", _selected_action=str(sales[0].pk))
    response = browser.open(one["Refresh"].removeprefix("0; url="))
    assert fake_polar.download(response["Location"]).body.startswith(b"%PDF")
    chosen: Any = [str(sale.pk) for sale in sales]
    browser.open(address)
    several = browser.submit(form, action="download_invoices", _selected_action=chosen)
    assert several["Content-Type"] == "application/zip"
    assert b"".join(several.streaming_content).count(b"%PDF") == 2


def test_staff_look_at_our_tables_where_there_is_an_admin(
    fake_polar: FakePolar, grace: Any, customer: FakeCustomer
) -> None:
    if not HAS_ADMIN:
        return
    sell(grace, fake_polar.add_order(customer, invoice=True))
    browser = Browser(grace)
    browser.open(invoice_button(browser))
    browser.open(reverse("polar_portal:order_list"))
    body, headers = fake_polar.webhook(fake_polar.events[-1])
    path = reverse("polar_portal:webhook").removeprefix(MOUNT)
    browser.client.post(path, body, content_type="application/json", headers=headers)
    root = Browser(user("root", is_staff=True, is_superuser=True))
    for model in (CustomerSession, Order, WebhookDelivery):
        name = f"admin:polar_portal_{model._meta.model_name}"
        address = reverse(f"{name}_changelist")
        row = reverse(f"{name}_change", args=[model._default_manager.get().pk])
        assert row in [link.partition("?")[0] for link in root.open(address).page.links]
        assert root.open(row).status_code == 200
        assert root.open(f"{address}?q={grace.pk}").status_code == 200
    # A session goes with its user, and its page leads there.
    session = root.open(reverse("admin:polar_portal_customersession_changelist"))
    assert str(grace.pk) in session.text
    grace.delete()
    assert not CustomerSession.objects.exists()
