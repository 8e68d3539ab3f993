"""How long a signed URL is handed out again, to whom, and what is remembered meanwhile."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from pytest_django import Settings

from polar_portal.exceptions import (
    DocumentPending,
    InvoiceNotGenerated,
    NotACustomer,
    OrderNotFound,
    PolarError,
    PolarUnavailable,
    RateLimited,
)
from polar_portal.portal import CustomerPortal, OrganizationPortal
from polar_portal.testing import FakeCustomer, FakePolar
from tests.conftest import asked

pytestmark = pytest.mark.usefixtures("now")


def test_url_is_used_again_until_its_last_minute(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, now: time_machine.Traveller
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    portal = CustomerPortal(ada)
    first = portal.invoice(order.id)
    assert first.expires_at == datetime(2026, 11, 22, 12, 10, tzinfo=timezone.utc)
    now.shift(539)
    assert portal.invoice(order.id) == first
    assert fake_polar.count("GET", "/invoice") == 1
    now.shift(2)
    assert portal.invoice(order.id) != first
    assert fake_polar.count("GET", "/invoice") == 2


def test_margin_is_a_setting_and_read_at_each_click(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, now: time_machine.Traveller, settings: Settings
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    portal = CustomerPortal(ada)
    first = portal.invoice(order.id)
    now.shift(301)
    assert portal.invoice(order.id) == first
    settings.POLAR_URL_MIN_LIFE = 300
    assert portal.invoice(order.id) != first


def test_no_url_is_handed_out_dead(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, now: time_machine.Traveller
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    for _ in range(40):
        now.shift(37)
        assert fake_polar.download(CustomerPortal(ada).invoice(order.id).url).status == 200


@pytest.mark.parametrize("wrong", [timedelta(minutes=-10), timedelta(minutes=10)])
def test_wrong_clock_neither_stops_clicks_nor_stretches_a_url(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, now: time_machine.Traveller, wrong: timedelta
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    fake_polar.advance(wrong.total_seconds())  # Polar's clock is right, ours is ten minutes off
    portal = CustomerPortal(ada)
    for _ in range(30):
        assert fake_polar.download(portal.invoice(order.id).url).status == 200
        now.shift(60)
    # Half an hour of clicks, a URL for nine minutes each, one session.
    assert fake_polar.count("GET", "/invoice") == 4
    assert fake_polar.count("POST", "/customer-sessions/") == 1


def test_url_that_does_not_tell_its_end_is_used_for_a_minute(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, now: time_machine.Traveller
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    fake_polar.fail("GET", "/invoice", status=200, json={"url": "https://s3.example/plain.pdf"}, times=2)
    portal = CustomerPortal(ada)
    assert portal.invoice(order.id).expires_at is None
    now.shift(59)
    portal.invoice(order.id)
    assert fake_polar.count("GET", "/invoice") == 1
    now.shift(2)
    portal.invoice(order.id)
    assert fake_polar.count("GET", "/invoice") == 2


def test_fresh_url_is_handed_out_whatever_its_life(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    fake_polar.url_seconds = 20
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    portal = CustomerPortal(ada)
    assert portal.invoice(order.id).url != portal.invoice(order.id).url or fake_polar.count("GET", "/invoice") == 2
    assert fake_polar.count("GET", "/invoice") == 2


def test_another_users_click_never_sees_the_url(
    fake_polar: FakePolar, ada: User, bob: User, ada_at_polar: FakeCustomer, bob_at_polar: FakeCustomer
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    CustomerPortal(ada).invoice(order.id)
    OrganizationPortal().invoice(order.id)
    with pytest.raises(OrderNotFound):
        CustomerPortal(bob).invoice(order.id)


def test_remapped_user_meets_neither_the_old_customers_url_nor_session(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, bob_at_polar: FakeCustomer, settings: Settings
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    CustomerPortal(ada).invoice(order.id)
    settings.POLAR_CUSTOMER_RESOLVER = "tests.test_documents.always_the_other"
    always_the_other.customer_id = str(bob_at_polar.id)  # type: ignore[attr-defined]
    with pytest.raises(OrderNotFound):
        CustomerPortal(ada).invoice(order.id)
    assert fake_polar.count("POST", "/customer-sessions/") == 2


def always_the_other(user: User) -> dict[str, str]:
    return {"customer_id": always_the_other.customer_id}  # type: ignore[attr-defined]


def test_another_server_is_another_scope(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    CustomerPortal(ada).invoice(order.id)
    other = FakePolar()
    with other.installed(), pytest.raises(NotACustomer):
        CustomerPortal(ada).invoice(order.id)


def test_staff_use_the_organizations_own_endpoints(fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    document = OrganizationPortal().invoice(order.id)
    assert fake_polar.download(document.url).status == 200
    assert [(call.path, call.token) for call in fake_polar.calls] == [
        (f"/v1/orders/{order.id}/invoice", fake_polar.access_token)
    ]


def test_order_id_may_be_a_string(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    portal = CustomerPortal(ada)
    assert portal.invoice(str(order.id).upper()) == portal.invoice(order.id)


@pytest.mark.parametrize("order_id", ["", "abc", "../../customers/me", "é", None, 7])
def test_malformed_id_is_no_order_and_no_call(fake_polar: FakePolar, ada: User, order_id: Any) -> None:
    with pytest.raises(OrderNotFound):
        CustomerPortal(ada).invoice(order_id)
    assert fake_polar.calls == []


def test_while_it_is_made_polar_is_asked_every_few_seconds(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, now: time_machine.Traveller
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    fake_polar.render_seconds = 60
    portal = CustomerPortal(ada)
    portal.generate_invoice(order.id)
    for _ in range(30):  # ten tabs, once a second each, for thirty seconds
        for _ in range(10):
            with pytest.raises(DocumentPending) as pending:
                portal.invoice(order.id)
            assert pending.value.retry_after in {1, 2, 3}
        now.shift(1)
    assert fake_polar.count("GET", "/invoice") == 9


def test_after_two_minutes_without_a_file_it_is_offered_again(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, now: time_machine.Traveller
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    fake_polar.render_seconds = 1000
    portal = CustomerPortal(ada)
    portal.generate_invoice(order.id)
    now.shift(119)
    with pytest.raises(DocumentPending):
        portal.invoice(order.id)
    now.shift(2)
    with pytest.raises(InvoiceNotGenerated):
        portal.invoice(order.id)


def test_pressing_again_after_a_while_asks_again(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, now: time_machine.Traveller
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    portal = CustomerPortal(ada)
    portal.generate_invoice(order.id)
    now.shift(14)
    portal.generate_invoice(order.id)
    assert fake_polar.count("POST", "/invoice") == 1
    now.shift(2)
    portal.generate_invoice(order.id)
    assert fake_polar.count("POST", "/invoice") == 2


def test_limit_is_remembered_for_all_of_that_customers_questions(
    fake_polar: FakePolar,
    ada: User,
    bob: User,
    ada_at_polar: FakeCustomer,
    bob_at_polar: FakeCustomer,
    now: time_machine.Traveller,
) -> None:
    orders = [fake_polar.add_order(ada_at_polar, invoice=True) for _ in range(3)]
    fake_polar.fail("GET", "/invoice", status=429, body=b"", headers={"Retry-After": "60"})
    for order in orders:
        with pytest.raises(RateLimited):
            CustomerPortal(ada).invoice(order.id)
        with pytest.raises(RateLimited):
            CustomerPortal(ada).generate_invoice(order.id)
    assert asked(fake_polar) == ["POST session", "GET invoice"]
    now.shift(20)
    with pytest.raises(RateLimited) as limited:
        CustomerPortal(ada).invoice(orders[0].id)
    assert limited.value.retry_after == 40
    # Not for anybody else.
    CustomerPortal(bob).invoice(fake_polar.add_order(bob_at_polar, invoice=True).id)
    now.shift(41)
    CustomerPortal(ada).invoice(orders[0].id)


def test_limit_of_the_organization_holds_for_sessions_and_staff(
    fake_polar: FakePolar, ada: User, bob: User, ada_at_polar: FakeCustomer, bob_at_polar: FakeCustomer
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    CustomerPortal(bob).invoice(fake_polar.add_order(bob_at_polar, invoice=True).id)
    fake_polar.clear_calls()
    fake_polar.fail("POST", "/customer-sessions/", status=429, body=b"", headers={"Retry-After": "60"})
    for act in (CustomerPortal(ada).invoice, CustomerPortal(ada).invoice, OrganizationPortal().invoice):
        with pytest.raises(RateLimited):
            act(order.id)
    assert asked(fake_polar) == ["POST session"]
    # Who has a session needs nothing of the organization.
    with pytest.raises(OrderNotFound):
        CustomerPortal(bob).invoice(order.id)


def test_not_a_customer_is_believed_for_a_minute(fake_polar: FakePolar, ada: User, now: time_machine.Traveller) -> None:
    for _ in range(3):
        with pytest.raises(NotACustomer, match="external_customer_id=str"):
            CustomerPortal(ada).invoice(uuid4())
    assert asked(fake_polar) == ["POST session"]
    now.shift(61)
    order = fake_polar.add_order(fake_polar.add_customer(external_id=str(ada.pk)), invoice=True)
    CustomerPortal(ada).invoice(order.id)


def test_failure_is_not_remembered(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    fake_polar.fail("GET", "/invoice", status=500)
    with pytest.raises(PolarUnavailable):
        CustomerPortal(ada).invoice(order.id)
    CustomerPortal(ada).invoice(order.id)


def test_failures_tell_the_order(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar)
    with pytest.raises(PolarError) as failure:
        CustomerPortal(ada).invoice(order.id)
    assert failure.value.polar_order_id == order.id


@pytest.mark.parametrize(
    "rubbish",
    [
        7.5,
        "text",
        {},
        {"url": 7},
        {"url": "javascript:alert(1)", "expires_at": None, "fetched_at": 2e9},
        {"url": "https://s3.example/x.pdf", "expires_at": "never", "fetched_at": 0},
        {"url": "https://s3.example/x.pdf", "expires_at": 1e30, "fetched_at": 0},
        {"url": "https://s3.example/x.pdf", "expires_at": None, "fetched_at": None},
    ],
)
def test_rubbish_in_the_cache_is_not_believed(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, rubbish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    monkeypatch.setattr(LocMemCache, "get", lambda *args: rubbish)
    monkeypatch.setattr(LocMemCache, "get_many", lambda self, keys: dict.fromkeys(keys, rubbish))
    document = CustomerPortal(ada).invoice(order.id)
    assert fake_polar.download(document.url).status == 200


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("limit", 1e12),
        ("limit", float("inf")),
        ("limit", 10**400),
        ("invoice", {"url": "https://s3.example/x.pdf", "expires_at": None, "fetched_at": float("nan")}),
        ("invoice", {"url": "https://s3.example/x.pdf", "expires_at": None, "fetched_at": float("inf")}),
        ("invoice", {"url": "https://s3.example/x.pdf", "expires_at": None, "fetched_at": 10**400}),
        ("invoice", {"settles_at": 10**400}),
        ("invoice-pending", {"since": float("nan"), "asked": 0}),
        ("invoice-pending", {"since": 10**400, "asked": 0}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_impossible_numbers_in_the_cache_are_not_believed(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, kind: str, value: Any
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    identity = CustomerPortal(ada)._identity()
    cache.set(identity.limit_key if kind == "limit" else identity.key(kind, order.id), value)
    assert fake_polar.download(CustomerPortal(ada).invoice(order.id).url).status == 200


def test_mark_of_a_host_whose_clock_is_ahead_makes_nobody_wait_longer(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    ahead = datetime.now(timezone.utc).timestamp() + 600
    cache.set(CustomerPortal(ada)._identity().key("invoice-pending", order.id), {"since": ahead, "asked": ahead})
    with pytest.raises(DocumentPending) as pending:
        CustomerPortal(ada).invoice(order.id)
    assert pending.value.retry_after == 3
