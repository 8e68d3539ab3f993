"""`polar_clear_expired` deletes what has served its time, in small steps, and nothing that is in use."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from polar_portal.management.commands import polar_clear_expired
from polar_portal.models import CustomerSession, WebhookDelivery
from polar_portal.portal import CustomerPortal
from polar_portal.testing import FakeCustomer, FakePolar
from tests.test_model_admin import CUSTOMER

NOW = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def traveller() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


def run(**options: Any) -> str:
    out = io.StringIO()
    call_command("polar_clear_expired", stdout=out, stderr=out, **options)
    return out.getvalue()


def add_sessions(user: User, *minutes: float) -> None:
    """Add a session for each of these: the minutes that it lives on, negative when it has ended."""
    first = CustomerSession.objects.count()
    CustomerSession.objects.bulk_create(
        CustomerSession(
            user=user,
            scope=f"scope-{number}",
            polar_customer_id=CUSTOMER,
            encrypted_token="x",
            expires_at=NOW + timedelta(minutes=each),
        )
        for number, each in enumerate(minutes, start=first)
    )


def add_deliveries(*days: float, outcome: str = "applied") -> None:
    """Add a delivery for each of these ages."""
    first = WebhookDelivery.objects.count()
    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(delivery_id=f"{number}", outcome=outcome, received_at=NOW - timedelta(days=each), body=b"{}")
        for number, each in enumerate(days, start=first)
    )


def test_what_has_ended_goes_and_what_lives_stays(ada: User) -> None:
    add_sessions(ada, -60 * 24 * 365, -1, 0, 1, 60)
    add_deliveries(0, 29.9, 30, 30.1, 365)
    add_deliveries(1, 31, 32, outcome="failed")
    add_deliveries(31, outcome="ignored")
    assert run() == (
        "Deleted: 3 customer sessions that had ended, and 5 webhook deliveries older than 30 days, "
        "2 of which had failed.\n"
    )
    assert {session.expires_at - NOW for session in CustomerSession.objects.all()} == {
        timedelta(minutes=1), timedelta(hours=1)
    }  # fmt: skip
    ages = [(NOW - delivery.received_at) / timedelta(days=1) for delivery in WebhookDelivery.objects.all()]
    assert sorted(ages) == [0, 1, pytest.approx(29.9), 30]
    assert run().startswith("Deleted: 0 customer sessions that had ended, and 0 webhook deliveries")


def test_days_say_how_old_a_delivery_may_get(db: None) -> None:
    add_deliveries(0.5, 1.5, 6, 8)
    assert "1 webhook deliveries older than 7 days" in run(days=7)
    assert "2 webhook deliveries older than 1 days" in run(days=1)
    assert WebhookDelivery.objects.count() == 1


@pytest.mark.parametrize("days", [0, -1, 36501, 10**12])
def test_days_that_make_no_sense_are_refused_before_anything_is_deleted(ada: User, days: int) -> None:
    add_sessions(ada, -1)
    add_deliveries(0, 99)
    with pytest.raises(CommandError, match="it must be 1 or more"):
        run(days=days)
    with pytest.raises(CommandError, match="invalid int value"):
        call_command("polar_clear_expired", "--days", "soon")
    assert (CustomerSession.objects.count(), WebhookDelivery.objects.count()) == (1, 2)


def test_a_session_that_is_renewed_meanwhile_stays(ada: User) -> None:
    add_sessions(ada, -10, -5)

    def renew(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith("DELETE"):
            CustomerSession.objects.filter(scope="scope-1").update(expires_at=NOW + timedelta(hours=1))
        return execute(sql, *args)

    with connection.execute_wrapper(renew):
        assert run().startswith("Deleted: 1 customer sessions")
    assert CustomerSession.objects.get().scope == "scope-1"


def test_customers_go_on_after_it(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, traveller: time_machine.Traveller
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    CustomerPortal(ada).invoice(order.id)
    run()
    CustomerPortal(ada).order(order.id)
    assert fake_polar.count("POST", "/customer-sessions/") == 1, "a session that lives is used on"
    traveller.shift(3601)
    assert "Deleted: 1 customer sessions" in run()
    CustomerPortal(ada).order(order.id)
    assert fake_polar.count("POST", "/customer-sessions/") == 2
    assert CustomerSession.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_many_are_deleted_in_small_steps_by_primary_key(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polar_clear_expired, "BATCH", 10)
    # Many that ended at one moment, too: as after a restart.
    add_sessions(ada, *range(-34, 0), *[-99] * 25, 5)
    add_deliveries(*range(31, 56))
    with CaptureQueriesContext(connection) as queries:
        assert run().startswith("Deleted: 59 customer sessions that had ended, and 25 webhook deliveries")
    statements = [each["sql"] for each in queries]
    assert not any("FOR UPDATE" in sql for sql in statements)
    deleted = [sql for sql in statements if sql.startswith("DELETE")]
    assert len(deleted) == 6 + 3
    for sql in deleted:
        found = re.search(r'"id" IN \(([\d, ]+)\)', sql)
        assert found
        assert len(found[1].split(",")) <= 10
    read = [sql for sql in statements if sql.startswith("SELECT")]
    assert all(re.search(r"ORDER BY .* LIMIT 10$", sql) for sql in read)
    assert not any("encrypted_token" in sql or '"body"' in sql for sql in read), "nothing is loaded but keys"
    assert (CustomerSession.objects.count(), WebhookDelivery.objects.count()) == (1, 0)


@pytest.mark.django_db(transaction=True)
def test_each_step_is_committed_on_its_own(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was deleted before a failure stays deleted."""
    monkeypatch.setattr(polar_clear_expired, "BATCH", 10)
    add_sessions(ada, *range(-25, 0))
    deleted = 0

    def fail(execute: Any, sql: str, *args: Any) -> Any:
        nonlocal deleted
        deleted += sql.startswith("DELETE")
        if deleted == 2:
            raise ZeroDivisionError
        return execute(sql, *args)

    with connection.execute_wrapper(fail), pytest.raises(ZeroDivisionError):
        run()
    assert CustomerSession.objects.count() == 15


def test_works_without_time_zones_and_without_a_word(ada: User, settings: Settings) -> None:
    add_sessions(ada, -1, 1)
    add_deliveries(31)
    settings.USE_TZ = False
    settings.TIME_ZONE = "UTC"
    assert run(verbosity=0) == ""
    assert (CustomerSession.objects.count(), WebhookDelivery.objects.count()) == (1, 0)


def test_polar_is_not_asked(fake_polar: FakePolar, ada: User) -> None:
    add_sessions(ada, -1)
    run()
    assert fake_polar.calls == []
