"""What one hostile user can cost: Polar's limits are the whole organization's, so nobody may use them up alone."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User

from polar_portal.api.client import Client
from polar_portal.exceptions import NotACustomer, PolarUnavailable, RateLimited
from polar_portal.portal import CustomerPortal
from polar_portal.testing import FakeCustomer, FakePolar

NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


def test_clicks_at_once_cause_no_more_sessions_than_clicks_in_a_row(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = Client.create_customer_session
    asking: list[Client] = []

    def while_another_click_comes(self: Client, *args: Any, **kwargs: Any) -> Any:
        asking.append(self)
        CustomerPortal(ada).hosted_url()  # before Polar has answered this one
        return genuine(self, *args, **kwargs)

    monkeypatch.setattr(Client, "create_customer_session", while_another_click_comes)
    with pytest.raises(RateLimited):
        CustomerPortal(ada).hosted_url()
    assert len(asking) == 6, "the seventh was refused while six were on their way"


@time_machine.travel(NOON, tick=False)
def test_what_polar_did_not_make_is_not_counted(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    fake_polar.fail("POST", "/customer-sessions/", status=500, times=10)
    for _ in range(10):
        with pytest.raises(PolarUnavailable):
            CustomerPortal(ada).hosted_url()
    for _ in range(6):
        CustomerPortal(ada).hosted_url()
    with pytest.raises(RateLimited):
        CustomerPortal(ada).hosted_url()


def test_slot_of_a_clock_that_was_wrong_is_taken_over(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with time_machine.travel(NOON + timedelta(hours=1), tick=False):
        for _ in range(6):
            CustomerPortal(ada).hosted_url()
    with time_machine.travel(NOON, tick=False):
        for _ in range(6):
            CustomerPortal(ada).hosted_url()
        with pytest.raises(RateLimited):
            CustomerPortal(ada).hosted_url()


def test_limits_of_one_user_are_not_anothers(
    fake_polar: FakePolar, ada: User, bob: User, ada_at_polar: FakeCustomer, bob_at_polar: FakeCustomer
) -> None:
    for _ in range(6):
        CustomerPortal(ada).hosted_url()
    with pytest.raises(RateLimited):
        CustomerPortal(ada).hosted_url()
    CustomerPortal(bob).hosted_url()


def test_remapping_a_user_brings_no_new_slots(
    fake_polar: FakePolar, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        fake_polar.add_customer(external_id=str(number))
        monkeypatch.setattr("polar_portal.customers.by_primary_key", lambda user: {"external_customer_id": str(number)})  # noqa: B023
        if number < 6:
            CustomerPortal(ada).hosted_url()
        else:
            with pytest.raises(RateLimited):
                CustomerPortal(ada).hosted_url()


def test_who_is_no_customer_costs_the_organization_one_call_a_minute(fake_polar: FakePolar, ada: User) -> None:
    with time_machine.travel(NOON, tick=False) as now:
        for minute in range(1, 4):
            for _ in range(10):
                for act in (CustomerPortal(ada).orders, CustomerPortal(ada).hosted_url):
                    with pytest.raises(NotACustomer):
                        act()
            assert len(fake_polar.calls) == minute
            now.shift(61)


def test_after_a_429_nothing_is_asked_until_it_is_over(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    portal = CustomerPortal(ada)
    portal.orders()
    fake_polar.clear_calls()
    fake_polar.fail("GET", "/invoice", status=429, body=b"", headers={"Retry-After": "50"})
    acts: list[Any] = [
        lambda: portal.invoice(order.id), lambda: portal.receipt(order.id), lambda: portal.generate_invoice(order.id),
        lambda: portal.order(order.id), lambda: portal.hosted_url(),
        lambda: portal.update_billing_details(order.id, name="Eve", address={"country": "FR"}),
    ]  # fmt: skip
    with time_machine.travel(NOON, tick=False) as now:
        for _ in range(49):
            for act in acts:
                with pytest.raises(RateLimited) as limited:
                    act()
                assert 1 <= (limited.value.retry_after or 0) <= 50
            now.shift(1)
        assert portal.orders().failure is not None, "the list shows what it knows"
        assert len(fake_polar.calls) == 1
        now.shift(2)
        portal.invoice(order.id)
