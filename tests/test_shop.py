"""The example shop: what it makes of the app's signals, and settings that can be copied."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from example_project.middleware import POLICY
from example_project.shop.apps import ShopConfig
from example_project.shop.models import Purchase
from example_project.shop.receivers import keep_purchase, note_download
from polar_portal.models import Order
from polar_portal.portal import CustomerPortal, OrganizationPortal
from polar_portal.signals import document_handed_out, order_changed
from polar_portal.testing import FakeCustomer, FakeOrder, FakePolar

if TYPE_CHECKING:
    from pytest_django import Settings

ROOT = Path(__file__).parent.parent

# Our signals are sent after the commit.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _shop(settings: Settings) -> Iterator[None]:
    """The shop as it is, on its own addresses: elsewhere the tests have it keep quiet."""
    settings.ROOT_URLCONF = "example_project.urls"
    ShopConfig.ready(apps.get_app_config("shop"))  # type: ignore[arg-type]
    yield
    order_changed.disconnect(keep_purchase)
    document_handed_out.disconnect(note_download)


def deliver(polar: FakePolar, event: Any, data: Any = None) -> None:
    body, headers = polar.webhook(event, data)
    response = Client().post(
        reverse("polar_portal:webhook"), data=body, content_type="application/json", headers=headers
    )
    assert response.status_code == 204


def come_back(user: User) -> Any:
    """Follow the way back from the checkout."""
    client = Client()
    client.force_login(user)
    return client.get(reverse("shop:thanks"), follow=True)


def test_who_comes_back_from_the_checkout_finds_the_purchase(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    order = fake_polar.add_order(ada_at_polar, product="Sencha", amount=1000, tax_amount=190)
    response = come_back(ada)
    assert response.redirect_chain == [("/purchases/", 302)]
    assert "Thank you!" in response.content.decode()
    purchase = Purchase.objects.get()
    assert (purchase.user, purchase.polar_order_id, purchase.polar_customer_id) == (ada, order.id, ada_at_polar.id)
    assert (purchase.product_name, purchase.amount, purchase.status) == ("Sencha", 1190, "paid")
    come_back(ada)
    assert Purchase.objects.count() == 1


def test_who_comes_back_while_polar_is_away_is_thanked_all_the_same(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    fake_polar.fail(status=503, times=None)
    response = come_back(ada)
    assert response.status_code == 200
    assert "Thank you!" in response.content.decode()


def test_a_purchase_follows_its_order(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar, status="pending")
    come_back(ada)
    assert Purchase.objects.get().status == "pending"
    fake_polar.update_order(order, status="paid")
    paid = fake_polar.events[-1]
    fake_polar.refund(order)
    deliver(fake_polar, fake_polar.events[-1])
    assert Purchase.objects.get().status == "refunded"
    deliver(fake_polar, paid)  # late
    assert Purchase.objects.get().status == "refunded"


def test_of_two_versions_told_at_once_the_newer_one_stays(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    fake_polar.add_order(ada_at_polar)
    come_back(ada)
    older = Order.objects.get()
    Order.objects.update(status="refunded")  # by another process, before this one's receiver has come to its turn
    keep_purchase(order=older, created=False)
    assert Purchase.objects.get().status == "refunded"


def test_the_next_order_of_a_known_customer_is_added_by_webhook(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    fake_polar.add_order(ada_at_polar, product="Tea of the month")
    come_back(ada)
    renewal = fake_polar.add_order(ada_at_polar, product="Tea of the month")
    deliver(fake_polar, "order.paid", renewal)
    deliver(fake_polar, "order.updated", renewal)
    assert Purchase.objects.filter(user=ada).count() == 2
    assert Purchase.objects.filter(user=ada, polar_order_id=renewal.id).exists()


def test_a_first_order_that_is_later_than_its_buyer_is_added_by_webhook(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    come_back(ada)
    assert not Purchase.objects.exists()
    order = fake_polar.add_order(ada_at_polar)
    deliver(fake_polar, "order.paid", order)
    assert Purchase.objects.get().user == ada


@pytest.mark.parametrize("status", ["draft", "paid"])
def test_neither_drafts_nor_orders_of_nobody_known_are_added(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, bob_at_polar: FakeCustomer, status: Any
) -> None:
    CustomerPortal(ada).orders()
    whose = ada_at_polar if status == "draft" else bob_at_polar
    deliver(fake_polar, "order.created", fake_polar.add_order(whose, status=status))
    assert Order.objects.count() == 1
    assert not Purchase.objects.exists()


@pytest.fixture
def ready(fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> FakeOrder:
    return fake_polar.add_order(ada_at_polar, invoice=True)


def test_who_got_which_document_is_in_the_log(
    ready: FakeOrder, ada: User, sam: User, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "example_project")
    CustomerPortal(ada).invoice(ready.id)
    OrganizationPortal(sam).invoice(ready.id)
    OrganizationPortal().invoice(ready.id)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("example_project")] == [
        f"invoice of order {ready.id} handed out to user {user}" for user in (ada.pk, sam.pk, "-")
    ]


def test_a_cancelled_purchase_has_no_button(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    for status in ("paid", "void"):
        fake_polar.add_order(ada_at_polar, status=status)
    page = come_back(ada).content.decode()
    assert page.count("<h2>") == 2
    assert page.count("Download invoice") == 1


# Settings


def test_each_variable_is_explained_and_each_explained_is_read() -> None:
    source = (ROOT / "example_project" / "settings.py").read_text(encoding="utf-8")
    read = re.findall(r"\benv(?:\.\w+)?\(\s*\"(\w+)\"", source)
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    told = {}
    for before, line in itertools.pairwise(lines):
        if found := re.fullmatch(r"#?([A-Z_]+)=.*", line):
            told[found[1]] = before
    assert sorted(told) == sorted(read)
    for name, before in told.items():
        assert re.match(r"# \w", before), name


def with_settings(code: str, **environment: str) -> str:
    """Print what `code` prints, with nothing in the environment but this."""
    result = subprocess.run(
        [sys.executable, "-W", "error", *code.split()]
        if code.startswith("manage.py")
        else [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "example_project.settings", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


PRODUCTION = {
    "DEBUG": "False",
    "SECRET_KEY": "of-the-tests-" + "x0y1z2" * 10,
    "ALLOWED_HOSTS": "shop.example",
    "CACHE_URL": "rediscache://127.0.0.1:6379/0?socket_timeout=1",
    "POLAR_ACCESS_TOKEN": "polar_oat_of_the_tests",
    "POLAR_WEBHOOK_SECRET": "whsec_of_the_tests_old,whsec_of_the_tests_new",
}


def test_djangos_own_check_for_production_finds_nothing() -> None:
    assert "no issues" in with_settings("manage.py check --deploy --fail-level WARNING", **PRODUCTION)


def test_cookies_travel_by_https_alone_unless_debugging() -> None:
    code = (
        "from django.conf import settings as s;"
        "print(s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.SECURE_SSL_REDIRECT, s.SECURE_HSTS_SECONDS > 0)"
    )
    assert with_settings(code, **PRODUCTION) == "True True True True\n"
    assert with_settings(code, **PRODUCTION | {"DEBUG": "True"}) == "False False False False\n"
    assert with_settings(code, **PRODUCTION | {"HTTPS": "False"}) == "False False False False\n"


def test_a_proxys_word_on_https_is_taken_only_when_asked_for() -> None:
    code = "from django.conf import settings as s; print(s.SECURE_PROXY_SSL_HEADER)"
    assert with_settings(code, **PRODUCTION) == "None\n"
    assert with_settings(code, **PRODUCTION, BEHIND_PROXY="True") == "('HTTP_X_FORWARDED_PROTO', 'https')\n"


def test_no_template_needs_what_the_policy_forbids() -> None:
    templates = [*(ROOT / "example_project").rglob("*.html")]
    assert len(templates) > 10
    for path in templates:
        source = path.read_text(encoding="utf-8")
        assert not re.search(r"<style|<script(?! src)|\bstyle=|\bon\w+=|https?://", source), path


def test_every_page_has_the_policy(settings: Settings, client: Client) -> None:
    settings.MIDDLEWARE = ["example_project.middleware.content_security_policy", *settings.MIDDLEWARE]
    assert client.get("/sign-in/")["Content-Security-Policy"] == POLICY
