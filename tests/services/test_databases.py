"""What is asked of a database: workers that do the same at once, and values at their limits."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import OperationalError, connection, connections, models, transaction
from pytest_django import Settings

from polar_portal import customers, documents, events, mirror
from polar_portal.api.schemas import IssuedSession, PortalOrder
from polar_portal.conf import Secret
from polar_portal.models import CustomerSession, Order, WebhookDelivery
from polar_portal.testing import Event, FakeCustomer, FakeOrder, FakePolar
from tests.services.conftest import needs_database

pytestmark = [needs_database, pytest.mark.django_db(transaction=True)]

NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
CUSTOMER = uuid.UUID("1d1f2f3f-4f4f-4f4f-8f8f-9f9f9f9f9f9f")
#: Seconds that one worker stays in its transaction while another comes.
WHILE = 0.3


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Let each act run in a thread of its own, together; give what each got, an exception included."""
    together = threading.Barrier(len(acts))

    def one(act: Callable[[], Any]) -> Any:
        together.wait(10)
        try:
            return act()
        except Exception as failure:  # noqa: BLE001 - it is what is looked at
            return failure
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(acts)) as pool:
        return [future.result() for future in [pool.submit(one, act) for act in acts]]


def portal_order(**values: Any) -> PortalOrder:
    usual = {"id": uuid.UUID(int=7), "polar_customer_id": CUSTOMER, "status": "paid", "currency": "eur"}
    return PortalOrder(**{**usual, "created_at": NOON, "modified_at": NOON, **values})


def later(microseconds: int, **values: Any) -> PortalOrder:
    return portal_order(modified_at=NOON + timedelta(microseconds=microseconds), **values)


@pytest.fixture(params=["", "REPEATABLE READ"])
def isolation(request: pytest.FixtureRequest) -> Iterator[str]:
    """Django asks for READ COMMITTED; a project may leave MariaDB at its own default, and have PostgreSQL do so too."""
    if request.param and connection.vendor == "sqlite":
        pytest.skip("SQLite has no other isolation than its own")
    options = connection.settings_dict["OPTIONS"]
    connection.close()
    if request.param:
        level = None
        if connection.vendor == "postgresql":
            from django.db.backends.postgresql.psycopg_any import IsolationLevel

            level = IsolationLevel.REPEATABLE_READ
        connection.settings_dict["OPTIONS"] = {**options, "isolation_level": level}
    yield request.param
    connection.close()
    connection.settings_dict["OPTIONS"] = options


# Sessions


def keep(user: User, token: str) -> None:
    issued = IssuedSession(Secret(token), CUSTOMER, 3600, Secret(""))
    customers.keep_session(user, "of the tests", 0, issued, datetime.now(timezone.utc))


def test_sessions_made_at_once_are_all_kept(ada: User) -> None:
    users = [User.objects.create(username=f"user {number}") for number in range(32)]
    at_once(*[lambda user=user: keep(user, "token") for user in users])
    assert CustomerSession.objects.count() == 32


def test_two_sessions_of_one_user_made_at_once_leave_one_row(ada: User, isolation: str) -> None:
    for _ in range(5):
        CustomerSession.objects.all().delete()
        at_once(*[lambda: keep(ada, "token")] * 4)
        assert CustomerSession.objects.count() == 1


def test_a_session_that_loses_the_race_leaves_the_hosts_transaction_usable(ada: User, isolation: str) -> None:
    kept = threading.Event()

    def first() -> None:
        with transaction.atomic():
            keep(ada, "first")
            kept.set()
            time.sleep(WHILE)

    def second() -> int:
        kept.wait(10)
        with transaction.atomic():
            keep(ada, "second")
            return User.objects.filter(pk=ada.pk).update(first_name="Ada")

    assert at_once(first, second) == [None, 1]
    assert CustomerSession.objects.count() == 1
    ada.refresh_from_db()
    assert ada.first_name == "Ada"


# Orders


@pytest.mark.parametrize("inside", [False, True], ids=["", "each in a transaction"])
def test_a_new_order_that_two_workers_write_at_once_is_there_in_its_newer_version(inside: bool, isolation: str) -> None:
    if inside and connection.vendor == "sqlite":
        pytest.skip("SQLite has one transaction that writes at a time: the other one fails")
    both_have_looked, older_is_there = threading.Barrier(2), threading.Event()
    bulk_create = models.QuerySet.bulk_create

    def insert(rows: models.QuerySet[Order], new: list[Order], **kwargs: Any) -> Any:
        both_have_looked.wait(10)
        if new[0].status == "refunded":
            older_is_there.wait(10)
        return bulk_create(rows, new, **kwargs)

    def write(order: PortalOrder) -> None:
        with transaction.atomic() if inside else nullcontext():
            mirror.write([order])
        older_is_there.set()

    with mock.patch.object(models.QuerySet, "bulk_create", insert):
        older, newer = at_once(lambda: write(portal_order()), lambda: write(later(1, status="refunded")))
    assert older is None
    if inside and isolation and connection.vendor == "postgresql":
        assert isinstance(newer, OperationalError), "PostgreSQL has it tried again, and so do we"
        write(later(1, status="refunded"))
    else:
        assert newer is None
    assert Order.objects.get().status == "refunded"


def test_an_order_that_changed_since_the_transaction_began_is_still_brought_up_to_date(isolation: str) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite lets nobody else write meanwhile")
    tried_again = isolation and connection.vendor == "postgresql"
    mirror.write([portal_order()])
    with pytest.raises(OperationalError, match="serialize") if tried_again else nullcontext(), transaction.atomic():
        assert Order.objects.get().status == "paid"  # from here on REPEATABLE READ sees it so
        at_once(lambda: mirror.write([later(1, status="partially_refunded")]))
        mirror.write([later(2, status="refunded")])
    assert Order.objects.get().status == "partially_refunded" if tried_again else "refunded"


def test_versions_of_one_order_that_come_at_once_leave_the_newest_and_nobody_is_refused(isolation: str) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one transaction that writes at a time: the other one fails")
    statuses = ["pending", "paid", "partially_refunded", "refunded"]

    def write(version: int) -> None:
        with transaction.atomic():
            mirror.write([later(version, number=f"N-{version}", status=statuses[version % 4])])

    for _ in range(10):
        Order.objects.all().delete()
        mirror.write([portal_order()])
        refused = [each for each in at_once(*[partial(write, version) for version in range(1, 9)]) if each is not None]
        if isolation and connection.vendor == "postgresql":
            assert {type(each) for each in refused} <= {OperationalError}  # to be begun anew
            write(8)
        else:
            assert refused == []
        assert Order.objects.get().number == "N-8"


# Deliveries


@pytest.fixture
def event(fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> Event:
    fake_polar.add_order(ada_at_polar)
    return fake_polar.events[-1]


def receive(polar: FakePolar, event: Event) -> WebhookDelivery:
    body, headers = polar.webhook(event)
    return events.receive(headers, body)


def test_a_delivery_that_two_workers_receive_at_once_takes_effect_once(
    fake_polar: FakePolar, event: Event, isolation: str
) -> None:
    with mock.patch.object(mirror, "write", wraps=mirror.write) as write:
        received = at_once(*[lambda: receive(fake_polar, event)] * 4)
    assert [delivery.outcome for delivery in received] == ["applied"] * 4
    assert write.call_count == 1
    assert (WebhookDelivery.objects.get().attempts, Order.objects.count()) == (1, 1)


@pytest.mark.parametrize("ends", ["commits", "rolls back"])
def test_a_delivery_waits_for_the_worker_that_has_it_already(
    fake_polar: FakePolar, event: Event, isolation: str, ends: str
) -> None:
    applying = threading.Event()
    heed = documents.heed

    def slowly(*given: Any, **kwargs: Any) -> Any:
        if not applying.is_set():
            applying.set()
            time.sleep(WHILE)
            if ends == "rolls back":
                raise OperationalError("the connection has gone")
        return heed(*given, **kwargs)

    def second() -> WebhookDelivery:
        applying.wait(10)
        return receive(fake_polar, event)

    with (
        mock.patch.object(documents, "heed", slowly),
        mock.patch.object(mirror, "write", wraps=mirror.write) as write,
    ):
        one, other = at_once(lambda: receive(fake_polar, event), second)
    assert other.outcome == "applied"
    if ends == "commits":
        assert (one.outcome, write.call_count) == ("applied", 1)
    else:
        assert (type(one), write.call_count) == (OperationalError, 2)
    assert (WebhookDelivery.objects.get().attempts, Order.objects.count()) == (1, 1)


def test_deliveries_about_one_order_that_come_at_once_all_take_effect(
    fake_polar: FakePolar, event: Event, isolation: str
) -> None:
    order: FakeOrder = next(iter(fake_polar.orders.values()))
    fake_polar.advance(1)
    fake_polar.refund(order)
    told = [event, *fake_polar.events[-2:]]
    got = at_once(*[lambda each=each: receive(fake_polar, each) for each in told])
    for each, delivery in zip(told, got, strict=True):
        if isinstance(delivery, OperationalError):  # a deadlock: Polar is answered 503 and sends it again
            receive(fake_polar, each)
    assert list(WebhookDelivery.objects.values_list("outcome", flat=True)) == ["applied"] * len(told)
    assert Order.objects.get().status == "refunded"


def test_a_failed_delivery_that_two_workers_run_again_takes_effect_once(
    fake_polar: FakePolar, event: Event, isolation: str
) -> None:
    with mock.patch.object(mirror, "write", side_effect=ZeroDivisionError):
        failed = receive(fake_polar, event)
    with mock.patch.object(mirror, "write", wraps=mirror.write) as write:
        ended = at_once(*[lambda: events.run_again(failed)] * 4)
    if isolation and connection.vendor == "postgresql":
        ended = [delivery for delivery in ended if not isinstance(delivery, OperationalError)]  # told to try again
    assert {delivery.outcome for delivery in ended} == {"applied"}
    assert write.call_count == 1
    assert WebhookDelivery.objects.get().attempts == 2


def test_deliveries_whose_ids_differ_in_case_are_two(fake_polar: FakePolar, event: Event) -> None:
    for each in ("msg_2AbC", "msg_2aBc"):
        assert receive(fake_polar, replace(event, id=each)).delivery_id == each
    assert set(WebhookDelivery.objects.values_list("delivery_id", flat=True)) == {"msg_2AbC", "msg_2aBc"}
    assert WebhookDelivery.objects.get(delivery_id="msg_2aBc").attempts == 1


# Values


@pytest.mark.parametrize("use_tz", [True, False], ids=["with USE_TZ", "without USE_TZ"])
def test_what_is_kept_of_an_order_comes_back_as_it_was(use_tz: bool, settings: Settings) -> None:
    settings.USE_TZ = use_tz
    written = portal_order(
        number="№" * 254 + "🧾",
        receipt_number="🧾" * 255,
        description="Tee 🫖 " * 100,
        status="ø" * 50,
        total_amount=2**63 - 1,
        refunded_amount=-(2**63),
        created_at=NOON + timedelta(microseconds=1),
        modified_at=datetime(9998, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc),
    )
    mirror.write([written])
    assert mirror.from_row(Order.objects.get()) == written


def test_the_longest_id_of_a_delivery_is_kept(fake_polar: FakePolar, event: Event) -> None:
    for _ in range(2):
        assert receive(fake_polar, replace(event, id="~" * 255)).delivery_id == "~" * 255
    assert WebhookDelivery.objects.get().delivery_id == "~" * 255


# Migrations


def test_migrations_lead_from_nothing_to_the_models_and_back() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
    call_command("migrate", "polar_portal", "zero", verbosity=0)
    assert not [name for name in connection.introspection.table_names() if name.startswith("polar_portal")]
    call_command("migrate", "polar_portal", verbosity=0)
    mirror.write([portal_order()])
    assert Order.objects.get().status == "paid"
