"""A customer's orders: the list, one of them, and what is known when Polar is away."""

from __future__ import annotations

import threading
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from polar_portal import mirror
from polar_portal.api.schemas import PortalOrder
from polar_portal.models import CustomerSession, Order
from polar_portal.portal import CustomerPortal
from polar_portal.testing import FakeCustomer, FakeMember, FakePolar
from polar_portal.testing.records import Status
from tests.conftest import JSON, asked

LIST = "/billing/orders/"


def get(user: User | None, path: str = LIST, **headers: str) -> Any:
    client = Client()
    if user:
        client.force_login(user)
    return client.get(path, headers=headers)


def test_list_has_twenty_a_page_newest_first(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    now = datetime(2026, 11, 1, tzinfo=timezone.utc)
    added = [fake_polar.add_order(ada_at_polar, created_at=now - timedelta(days=age)) for age in range(45)]
    for page, expected in ((1, added[:20]), (2, added[20:40]), (3, added[40:]), (4, [])):
        body = get(ada, f"{LIST}?page={page}", **JSON).json()
        assert [item["id"] for item in body["items"]] == [str(order.id) for order in expected]
        assert (body["page"], body["pages"], body["total"]) == (page, 3, 45)
    # Up to fifty orders cost one call.
    assert asked(fake_polar) == ["POST session"] + ["GET orders"] * 4


def test_pages_stay_full_where_drafts_lie_between(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    now = datetime(2026, 11, 1, tzinfo=timezone.utc)
    for age in range(130):
        status: Status = "draft" if age % 3 == 0 else "paid"
        fake_polar.add_order(ada_at_polar, status=status, created_at=now - timedelta(days=age))
    seen: list[str] = []
    for page in range(1, 6):
        body = get(ada, f"{LIST}?page={page}", **JSON).json()
        assert {item["status"] for item in body["items"]} == {"paid"}
        assert len(body["items"]) == (20 if page < 5 else 6)
        seen += [item["id"] for item in body["items"]]
    assert len(set(seen)) == 86
    assert (body["pages"], body["total"]) == (5, 86)


@pytest.mark.parametrize("page", ["0", "-1", "x", "", "99999999999", "1.5"])
def test_odd_page_numbers_do_no_harm(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, page: str) -> None:
    fake_polar.add_order(ada_at_polar)
    assert len(get(ada, f"{LIST}?page={page}", **JSON).json()["items"]) == 1


def test_a_page_far_beyond_the_last_costs_one_call(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    for _ in range(60):
        fake_polar.add_order(ada_at_polar)
    body = get(ada, f"{LIST}?page=999999", **JSON).json()
    assert (body["items"], body["total"]) == ([], 60)
    assert fake_polar.count("GET", "/orders/") == 1
    assert "There are no orders on this page." in get(ada, f"{LIST}?page=999999").text


def test_an_order_as_json(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(
        ada_at_polar, amount=4900, tax_amount=980, created_at=datetime(2026, 11, 1, tzinfo=timezone.utc), receipt=True
    )
    draft = fake_polar.add_order(ada_at_polar, status="draft", receipt=False)
    expected = {
        "id": str(order.id),
        "number": order.invoice_number,
        "status": "paid",
        "created_at": "2026-11-01T00:00:00Z",
        "currency": "usd",
        "total_amount": 5880,
        "refunded_amount": 0,
        "description": "Pro Plan",
        "invoice": f"/billing/orders/{order.id}/invoice/",
        "receipt": f"/billing/orders/{order.id}/receipt/",
    }
    assert get(ada, f"{LIST}{order.id}/", **JSON).json() == expected
    assert get(ada, LIST, **JSON).json()["items"] == [expected]
    body = get(ada, f"{LIST}{draft.id}/", **JSON).json()
    assert (body["invoice"], body["receipt"]) == (None, None)


@pytest.mark.parametrize(
    ("currency", "amount", "language", "shown"),
    [
        ("usd", 5880, "en", "$58.80"),
        ("eur", 5880, "de", "58,80\xa0€"),
        ("jpy", 5880, "en", "¥5,880"),
        ("jpy", 5880, "de", "5.880\xa0¥"),
        ("krw", 100, "en", "₩100"),
        ("usd", 5880, "xx", "$58.80"),
        ("xyz", 100, "en", "XYZ1.00"),
    ],
)
def test_amounts_are_in_the_customers_language(currency: str, amount: int, language: str, shown: str) -> None:
    from django.utils.translation import override

    from polar_portal.texts import amount_text

    with override(language):
        assert amount_text(amount, currency) == shown


def test_pages_show_amounts_status_and_refunds(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar, amount=4900, tax_amount=980, status="paid", receipt=True)
    fake_polar.refund(order, 1000)
    for page in (get(ada).text, get(ada, f"{LIST}{order.id}/").text):
        assert "$58.80" in page
        assert "Partially refunded" in page
        assert f"${(order.refunded_amount + order.refunded_tax_amount) / 100:.2f}" in page


def test_unknown_status_of_a_future_polar_is_shown_as_it_is(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    order.status = "under_review"
    assert "Under review" in get(ada, f"{LIST}{order.id}/").text


def test_hostile_text_from_polar_stays_text(fake_polar: FakePolar, ada: User) -> None:
    customer = fake_polar.add_customer(external_id=str(ada.pk), billing_name="<script>alert(1)</script>")
    order = fake_polar.add_order(customer, product="<img src=x onerror=alert(1)>")
    for path in (LIST, f"{LIST}{order.id}/", f"{LIST}{order.id}/invoice/", f"{LIST}{order.id}/billing-details/"):
        page = get(ada, path).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page


def test_who_is_no_customer_sees_a_friendly_empty_page(fake_polar: FakePolar, ada: User) -> None:
    response = get(ada)
    assert response.status_code == 200
    assert "There is nothing to show yet" in response.text
    assert get(ada, **JSON).json() == {"items": [], "page": 1, "pages": 1, "total": 0}


def test_list_waits_for_a_session_that_another_click_is_making(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polar_portal.cache.LONGEST_WAIT", 0.01)
    lock = CustomerPortal(ada)._identity().key("session") + ":attempt"
    cache.add(lock, "somebody", 11)
    threading.Timer(0.2, cache.delete, [lock]).start()
    assert get(ada).status_code == 200


def test_customer_without_orders(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    assert "You have no orders yet." in get(ada).text
    assert get(ada, **JSON).json() == {"items": [], "page": 1, "pages": 1, "total": 0}


def test_nobody_is_sent_to_sign_in(fake_polar: FakePolar) -> None:
    assert get(None)["Location"] == "/sign-in/?next=/billing/orders/"
    assert get(None, **JSON).status_code == 401


def test_another_customers_order_is_not_found(
    fake_polar: FakePolar, ada: User, bob: User, ada_at_polar: FakeCustomer, bob_at_polar: FakeCustomer
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    get(ada, f"{LIST}{order.id}/")  # it is in the mirror now
    assert get(bob, f"{LIST}{order.id}/").status_code == 404
    assert get(bob, f"{LIST}{order.id}/", **JSON).json()["error"] == "order_not_found"
    assert get(bob, **JSON).json()["items"] == []


# When Polar is away


def test_list_shows_what_is_known_when_polar_is_away(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        fake_polar.add_order(ada_at_polar)
    before = get(ada, **JSON).json()
    fake_polar.fail(status=503, times=None)
    body = get(ada, **JSON).json()
    # What a link to a receipt needs is known here too, so that the lists are the same.
    assert body == before | {"stale": True}
    page = get(ada)
    assert page.status_code == 200
    assert "what we know from your last visit" in page.text
    assert sum(record.name == "polar_portal.portal" for record in caplog.records) == 2  # one for each of the clicks


def test_refunds_read_the_same_when_polar_is_away(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar, amount=4900, tax_amount=980, receipt=True)
    fake_polar.refund(order, 1000)
    refunded = f"${(order.refunded_amount + order.refunded_tax_amount) / 100:.2f}"
    assert order.refunded_tax_amount
    assert refunded in get(ada).text
    fake_polar.fail(status=503, times=None)
    assert refunded in get(ada).text


def test_without_anything_known_polar_away_is_a_503(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    fake_polar.add_order(ada_at_polar)
    fake_polar.fail(status=503, times=None)
    assert get(ada).status_code == 503
    assert get(ada, **JSON).json()["error"] == "polar_unavailable"


def test_only_what_polar_has_listed_to_this_very_user_is_shown(
    fake_polar: FakePolar, ada: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two users are the same customer; Polar has listed the orders to one of them.
    customer = fake_polar.add_customer(external_id="shared")
    fake_polar.add_order(customer)
    monkeypatch.setattr("polar_portal.customers.by_primary_key", lambda user: {"external_customer_id": "shared"})
    get(ada)
    CustomerPortal(bob).order(Order.objects.get().pk)  # he has a session of the same customer
    fake_polar.fail("GET", "/orders/", status=503, times=None)
    assert len(get(ada, **JSON).json()["items"]) == 1
    assert get(bob, **JSON).status_code == 503


def test_a_403_clears_what_was_listed(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    fake_polar.add_order(ada_at_polar)
    get(ada)
    assert CustomerSession.objects.get().listed_orders != []
    fake_polar.fail("GET", "/orders/", status=403, json={"error": "NotPermitted", "detail": "…"})
    assert get(ada).status_code == 403
    assert CustomerSession.objects.get().listed_orders == []
    fake_polar.fail("GET", "/orders/", status=503, times=None)
    assert get(ada).status_code == 503


def test_member_without_a_billing_role(fake_polar: FakePolar, ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_polar.member_model = True
    plain = FakeMember(role="member", external_id="ada")
    team = fake_polar.add_customer(external_id="team", type="team", members=[FakeMember(role="owner"), plain])
    fake_polar.add_order(team)
    answer = {"external_customer_id": "team", "external_member_id": "ada"}
    monkeypatch.setattr("polar_portal.customers.by_primary_key", lambda user: answer)
    assert get(ada).status_code == 403


def test_remembered_limit_shows_what_is_known_without_a_call(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    fake_polar.add_order(ada_at_polar)
    get(ada)
    fake_polar.fail("GET", "/orders/", status=429, body=b"")
    fake_polar.clear_calls()
    for _ in range(3):
        assert get(ada, **JSON).json()["stale"] is True
    assert asked(fake_polar) == ["GET orders"]


# The mirror


def portal_order(**values: Any) -> PortalOrder:
    moment = datetime(2026, 11, 1, tzinfo=timezone.utc)
    return PortalOrder(
        **{
            "id": uuid.UUID(int=7),
            "polar_customer_id": uuid.UUID(int=1),
            "status": "paid",
            "created_at": moment,
            "modified_at": moment,
            **values,
        }
    )


def test_older_data_never_replaces_newer(db: None) -> None:
    later = datetime(2026, 11, 2, tzinfo=timezone.utc)
    mirror.mirror([portal_order(status="refunded", modified_at=later)])
    mirror.mirror([portal_order(status="paid")])
    assert Order.objects.get().status == "refunded"
    mirror.mirror([portal_order(status="partially_refunded", modified_at=later + timedelta(seconds=1))])
    assert Order.objects.get().status == "partially_refunded"


def test_older_data_never_replaces_newer_in_a_race(db: None) -> None:
    moment = datetime(2026, 11, 2, tzinfo=timezone.utc)
    mirror.mirror([portal_order()])

    def meanwhile(execute: Any, sql: str, *args: Any) -> Any:
        result = execute(sql, *args)
        if sql.startswith("SELECT"):
            Order.objects.update(status="refunded", modified_at=moment + timedelta(days=1))
        return result

    with connection.execute_wrapper(meanwhile):
        mirror.mirror([portal_order(status="void", modified_at=moment)])
    assert Order.objects.get().status == "refunded"


@pytest.mark.django_db(transaction=True)
def test_what_is_known_costs_one_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    mirror.mirror([portal_order()])
    with django_assert_num_queries(1):
        mirror.mirror([portal_order()])


def test_what_is_too_long_for_a_column_is_cut(db: None) -> None:
    mirror.mirror([portal_order(number="9" * 1000, status="s" * 1000)])
    assert (len(Order.objects.get().number), len(Order.objects.get().status)) == (255, 50)


def test_orders_are_kept_without_time_zones_too(db: None, settings: Settings) -> None:
    settings.USE_TZ = False
    mirror.mirror([portal_order()])
    mirror.mirror([portal_order(modified_at=datetime(2026, 11, 3, tzinfo=timezone.utc), number="N")])
    assert Order.objects.get().number == "N"
