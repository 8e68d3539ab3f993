"""What this site knows of orders ends up the same however news comes, and who listens is told once."""

from __future__ import annotations

import itertools
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.dispatch import Signal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoCaptureOnCommitCallbacks

from polar_portal import mirror
from polar_portal.api.schemas import PortalOrder
from polar_portal.mirror import LIFE, MIRRORED, Written
from polar_portal.models import Order
from polar_portal.signals import invoice_ready, order_changed

MOMENT = datetime(2026, 11, 1, tzinfo=timezone.utc)


def version(which: int = 7, *, minutes: int = 0, **values: Any) -> PortalOrder:
    """One version of an order. which: of them; minutes: after which it was changed."""
    given = {"polar_customer_id": uuid.UUID(int=1), "status": "paid", "currency": "usd", **values}
    return PortalOrder(
        id=uuid.UUID(int=which), created_at=MOMENT, modified_at=MOMENT + timedelta(minutes=minutes), **given
    )


def rows() -> list[dict[str, Any]]:
    return list(Order.objects.order_by("pk").values("polar_order_id", *MIRRORED))


# Whatever the order in which news comes

# Few values of each, so that versions often share a moment, and often are the same.
VERSIONS = st.builds(
    version,
    st.integers(1, 2),
    minutes=st.integers(0, 1),
    status=st.sampled_from([*LIFE, "of_the_future"]),
    refunded_amount=st.integers(0, 1),
    number=st.sampled_from(["", "A-1"]),
    is_invoice_generated=st.booleans(),
    description=st.sampled_from(["", "Tea"]),
)


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[PortalOrder], list[list[PortalOrder]]]:
    """Versions of orders, and a way in which they come: in any order, repeated, several at once or one by one."""
    versions = draw(st.lists(VERSIONS, min_size=1, max_size=6))
    repeated = versions + draw(st.lists(st.sampled_from(versions), max_size=4))
    shuffled = draw(st.permutations(repeated))
    cuts = sorted(draw(st.lists(st.integers(0, len(shuffled)), max_size=4)))
    batches = [list(shuffled[start:end]) for start, end in itertools.pairwise([0, *cuts, len(shuffled)])]
    return versions, batches


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deliveries())
def test_news_in_any_order_and_repeated_at_will_ends_in_the_same_rows(
    db: None, came: tuple[list[PortalOrder], list[list[PortalOrder]]]
) -> None:
    versions, batches = came
    Order.objects.all().delete()
    for each in versions:
        mirror.write([each])
    one_by_one = rows()
    Order.objects.all().delete()
    counted = [mirror.write(batch, synced_at=MOMENT if number % 2 else None) for number, batch in enumerate(batches)]
    assert rows() == one_by_one
    assert sum(each.new for each in counted) == len(one_by_one)
    newest = {order.id: max(order.modified_at, *(other.modified_at for other in versions if other.id == order.id))
              for order in versions}  # fmt: skip
    assert {row["polar_order_id"]: row["modified_at"] for row in rows()} == newest
    assert mirror.write(versions) == Written(new=0, changed=0)


def test_of_two_versions_in_one_answer_the_newer_stays(db: None) -> None:
    old, new = version(status="paid"), version(minutes=1, status="refunded")
    assert mirror.write([new, old]) == Written(new=1, changed=0)
    assert Order.objects.get().status == "refunded"


def test_of_two_versions_from_one_moment_the_one_further_on_stays(db: None) -> None:
    for order in ([version(status="paid"), version(status="refunded")], [version(9), version(9, refunded_amount=1)]):
        for each in (*order, order[0]):
            mirror.write([each])
    assert Order.objects.get(pk=uuid.UUID(int=7)).status == "refunded"
    assert Order.objects.get(pk=uuid.UUID(int=9)).refunded_amount == 1


def test_order_without_a_customer_is_nobodys_and_not_kept(db: None) -> None:
    assert mirror.write([version(polar_customer_id=None)]) == Written(0, 0)
    assert not Order.objects.exists()


def test_a_run_notes_when_it_was_on_new_and_on_known_orders(db: None) -> None:
    mirror.write([version(1), version(2)])
    mirror.write([version(1), version(3)], synced_at=MOMENT)
    assert dict(Order.objects.values_list("pk", "synced_at")) == {
        uuid.UUID(int=1): MOMENT, uuid.UUID(int=2): None, uuid.UUID(int=3): MOMENT
    }  # fmt: skip
    mirror.write([version(1, minutes=5)])
    assert Order.objects.get(pk=uuid.UUID(int=1)).synced_at == MOMENT, "news from elsewhere is no run"


def test_what_waits_for_an_edit_stays(db: None) -> None:
    mirror.write([version()])
    Order.objects.update(edited_at=MOMENT, edit_posted=True)
    mirror.write([version(minutes=1, status="refunded")])
    order = Order.objects.get()
    assert (order.status, order.edited_at, order.edit_posted) == ("refunded", MOMENT, True)


# Several workers


@contextmanager
def meanwhile(kind: str, act: Callable[[], object], *, times: int = 1) -> Iterator[None]:
    """Let another worker act right after our next statements of this kind."""
    left = times

    def wrapper(execute: Any, sql: str, *args: Any) -> Any:
        nonlocal left
        result = execute(sql, *args)
        if sql.startswith(kind) and left:
            left -= 1
            act()
        return result

    with connection.execute_wrapper(wrapper):
        yield


@pytest.mark.parametrize("theirs", [0, 1, 2])
def test_two_workers_that_bring_the_same_new_order_keep_the_newer(db: None, theirs: int) -> None:
    ours = [version(1, minutes=1, number="ours"), version(2, minutes=1, number="ours")]
    with meanwhile("SELECT", lambda: mirror.write([version(1, minutes=theirs, number="theirs")])):
        written = mirror.write(ours)
    assert Order.objects.get(pk=uuid.UUID(int=2)).number == "ours", "the race lost one, not both"
    # From one moment, and no further on: the greater one, which is a rule as good as any.
    assert Order.objects.get(pk=uuid.UUID(int=1)).number == ("ours" if theirs == 0 else "theirs")
    assert written == Written(new=1, changed=1 if theirs == 0 else 0)


def test_a_lost_race_leaves_the_hosts_transaction_usable(db: None) -> None:
    with transaction.atomic():
        with meanwhile("SELECT", lambda: mirror.write([version(1)])):
            mirror.write([version(1), version(2)])
        assert Order.objects.count() == 2


def test_what_another_worker_has_brought_meanwhile_is_never_overwritten_by_something_older(db: None) -> None:
    # All three from the same moment, and the same but for what `_version` looks at last.
    mirror.write([version(description="Apple tea")])
    with meanwhile("SELECT", lambda: mirror.write([version(description="Zebra tea")])):
        mirror.write([version(description="Mint tea")])
    assert Order.objects.get().description == "Zebra tea"


def test_order_that_another_worker_deletes_meanwhile_does_no_harm(db: None) -> None:
    mirror.write([version(1), version(2)])
    with meanwhile("SELECT", lambda: Order.objects.filter(pk=uuid.UUID(int=1)).delete()):
        assert mirror.write([version(1, minutes=1), version(2, minutes=1)]) == Written(new=0, changed=1)


def test_what_the_database_refuses_is_raised_by_write_and_borne_by_mirror(
    db: None, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(execute: Any, sql: str, *args: Any) -> Any:
        raise IntegrityError("ada@shop.example is refused")

    def refuse_ours(execute: Any, sql: str, *args: Any) -> Any:
        return refuse(execute, sql) if "polar_portal" in sql else execute(sql, *args)

    with connection.execute_wrapper(refuse), pytest.raises(IntegrityError):
        mirror.write([version()])
    with transaction.atomic(), connection.execute_wrapper(refuse_ours):
        mirror.mirror([version()])
    assert [record.getMessage() for record in caplog.records] == ["Orders can't be kept (IntegrityError)."]


# Who is told


class Heard(list[tuple[Any, ...]]):
    """What receivers were told: the name of the signal and what it says."""

    def order_changed(self, order: Order, created: bool, **_: Any) -> None:
        self.append(("changed", order.pk.int, order.status, created))

    def invoice_ready(self, polar_order_id: uuid.UUID, **_: Any) -> None:
        self.append(("ready", polar_order_id.int))


@contextmanager
def listening(*receivers: tuple[Signal, Callable[..., None]]) -> Iterator[None]:
    for signal, receiver in receivers:
        signal.connect(receiver, weak=False)
    try:
        yield
    finally:
        for signal, receiver in receivers:
            signal.disconnect(receiver)


@pytest.fixture
def heard() -> Iterator[Heard]:
    heard = Heard()
    receivers: list[Callable[..., None]] = [heard.order_changed, heard.invoice_ready]
    with listening((order_changed, receivers[0]), (invoice_ready, receivers[1])):
        yield heard


@pytest.mark.django_db(transaction=True)
def test_each_change_is_told_once(heard: Heard) -> None:
    mirror.write([version(1), version(2)])
    mirror.write([version(1), version(1)])  # nothing new
    mirror.write([version(1, minutes=1, is_invoice_generated=True), version(1)])
    mirror.write([version(1, minutes=2, is_invoice_generated=True, status="refunded")])
    assert heard == [
        ("changed", 1, "paid", True),
        ("changed", 2, "paid", True),
        ("changed", 1, "paid", False),
        ("ready", 1),
        ("changed", 1, "refunded", False),
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("as_news", "told"), [(True, [("ready", 1)]), (False, [])])
def test_invoice_of_an_unknown_order_has_become_ready_only_where_that_is_news(
    heard: Heard, as_news: bool, told: Sequence[object]
) -> None:
    mirror.write([version(1, is_invoice_generated=True), version(2)], as_news=as_news)
    assert [each for each in heard if each[0] == "ready"] == told


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("theirs", [1, 3])
def test_two_workers_tell_of_one_invoice_once(heard: Heard, theirs: int) -> None:
    mirror.write([version()])
    heard.clear()
    with meanwhile("SELECT", lambda: mirror.write([version(minutes=theirs, is_invoice_generated=True)])):
        mirror.write([version(minutes=2, is_invoice_generated=True, status="refunded")])
    assert heard.count(("ready", 7)) == 1


@pytest.mark.django_db(transaction=True)
def test_two_workers_tell_of_one_new_order_once(heard: Heard) -> None:
    with meanwhile("SELECT", lambda: mirror.write([version()], as_news=True)):
        mirror.write([version()], as_news=True)
    assert heard == [("changed", 7, "paid", True)]


def test_it_is_told_after_the_commit_and_not_after_a_rollback(
    db: None, heard: Heard, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        mirror.write([version(is_invoice_generated=True)], as_news=True)
        assert heard == []
    assert (len(callbacks), heard) == (2, [("changed", 7, "paid", True), ("ready", 7)])
    heard.clear()
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        mirror.write([version(minutes=1, status="refunded")])
        transaction.set_rollback(True)
    assert heard == []


@pytest.mark.django_db(transaction=True)
def test_a_receiver_that_fails_harms_nobody(heard: Heard, caplog: pytest.LogCaptureFixture) -> None:
    def fail(**_: Any) -> None:
        raise ZeroDivisionError

    with listening((order_changed, fail), (invoice_ready, fail)):
        assert mirror.write([version(1), version(2, is_invoice_generated=True)], as_news=True) == Written(2, 0)
    assert Order.objects.count() == 2
    assert heard == [("changed", 1, "paid", True), ("changed", 2, "paid", True), ("ready", 2)]
    assert {(record.name, record.levelno) for record in caplog.records} == {("django.dispatch", logging.ERROR)}
