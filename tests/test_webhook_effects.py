"""What deliveries change for a customer who waits: waits get shorter, what is stale is dropped, nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.dispatch import Signal

from polar_portal import events, signals
from polar_portal.exceptions import DocumentPending
from polar_portal.models import CustomerSession, Order, WebhookDelivery
from polar_portal.portal import CustomerPortal, OrganizationPortal
from polar_portal.testing import Event, FakeCustomer, FakeOrder, FakePolar
from tests.conftest import asked

# Signals are sent after a commit, so there have to be commits.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("now")]

OTHER = {"line1": "12 rue de la Paix", "postal_code": "75002", "city": "Paris", "country": "FR"}


@pytest.fixture
def heard() -> Iterator[list[dict[str, Any]]]:
    """What our signals have told, oldest first, with the signal's name."""
    told: list[dict[str, Any]] = []
    ours = {name: signal for name, signal in vars(signals).items() if isinstance(signal, Signal)}
    receivers = {}
    for name, signal in ours.items():

        def hear(sender: Any, signal: Any, _name: str = name, **arguments: Any) -> None:
            told.append({"signal": _name, **arguments})

        receivers[name] = hear
        signal.connect(hear)
    yield told
    for name, signal in ours.items():
        signal.disconnect(receivers[name])


def names(heard: list[dict[str, Any]]) -> list[str]:
    return [each["signal"] for each in heard]


def deliver(polar: FakePolar, *what: Any) -> WebhookDelivery:
    body, headers = polar.webhook(*what)
    delivery = events.receive(headers, body)
    assert delivery.outcome == "applied", delivery.error
    return delivery


def of_type(polar: FakePolar, name: str) -> list[Event]:
    return [event for event in polar.events if event.type == name]


@pytest.fixture
def order(fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> FakeOrder:
    return fake_polar.add_order(ada_at_polar)


# The wait for an invoice


def test_an_invoice_that_is_told_to_be_there_is_asked_for_at_once(
    fake_polar: FakePolar, ada: User, order: FakeOrder, heard: list[dict[str, Any]]
) -> None:
    portal = CustomerPortal(ada)
    portal.generate_invoice(order.id)
    with pytest.raises(DocumentPending):
        portal.invoice(order.id)
    fake_polar.finish_jobs()
    fake_polar.clear_calls()
    with pytest.raises(DocumentPending):
        portal.invoice(order.id)
    assert asked(fake_polar) == [], "it was asked a moment ago"
    deliver(fake_polar, fake_polar.events[-1])
    assert portal.invoice(order.id).url
    assert asked(fake_polar) == ["GET invoice"]
    assert names(heard) == ["order_changed", "invoice_ready", "webhook_received", "document_handed_out"]
    assert heard[0]["order"].pk == heard[1]["polar_order_id"] == order.id
    assert heard[3].items() >= {"user": ada, "polar_order_id": order.id, "kind": "invoice"}.items()


def test_an_order_that_is_told_without_its_invoice_is_waited_for_as_before(
    fake_polar: FakePolar, ada: User, order: FakeOrder
) -> None:
    portal = CustomerPortal(ada)
    portal.generate_invoice(order.id)
    fake_polar.clear_calls()
    deliver(fake_polar, "order.updated", order)
    with pytest.raises(DocumentPending):
        portal.invoice(order.id)
    assert asked(fake_polar) == []


def test_a_customers_delivery_shortens_nobody_elses_wait(
    fake_polar: FakePolar, ada: User, bob: User, ada_at_polar: FakeCustomer, bob_at_polar: FakeCustomer
) -> None:
    orders = [fake_polar.add_order(customer) for customer in (ada_at_polar, bob_at_polar)]
    for user, each in zip((ada, bob), orders, strict=True):
        CustomerPortal(user).generate_invoice(each.id)
    fake_polar.finish_jobs()
    fake_polar.clear_calls()
    deliver(fake_polar, "order.updated", orders[0])
    with pytest.raises(DocumentPending):
        CustomerPortal(bob).invoice(orders[1].id)
    assert asked(fake_polar) == []


def test_staff_wait_no_longer_either(fake_polar: FakePolar, order: FakeOrder) -> None:
    OrganizationPortal().generate_invoice(order.id)
    fake_polar.finish_jobs()
    deliver(fake_polar, fake_polar.events[-1])
    assert OrganizationPortal().invoice(order.id).url


def test_without_webhooks_the_next_look_tells_that_it_is_ready_once(
    fake_polar: FakePolar, ada: User, order: FakeOrder, now: time_machine.Traveller, heard: list[dict[str, Any]]
) -> None:
    portal = CustomerPortal(ada)
    portal.order(order.id)
    portal.generate_invoice(order.id)
    now.shift(10)
    for _ in range(2):
        portal.invoice(order.id)
    assert names(heard).count("invoice_ready") == 1
    late = of_type(fake_polar, "order.updated")[-1]
    deliver(fake_polar, late)
    assert names(heard).count("invoice_ready") == 1


def test_orders_that_are_only_looked_at_are_no_news(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, heard: list[dict[str, Any]]
) -> None:
    fake_polar.add_order(ada_at_polar, invoice=True)
    CustomerPortal(ada).orders()
    assert names(heard) == ["order_changed"]
    assert heard[0]["created"] is True
    CustomerPortal(ada).orders()
    assert len(heard) == 1


# After an edit


@pytest.fixture
def edited(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> FakeOrder:
    """An order with an invoice, whose name was changed a moment ago; Polar is making it again."""
    order = fake_polar.add_order(ada_at_polar, invoice=True, billing_address=OTHER)
    CustomerPortal(ada).update_billing_details(order.id, name="Ada King", address=OTHER)
    assert Order.objects.get().edited_at is not None
    return order


def test_the_edits_own_delivery_does_not_end_the_wait(fake_polar: FakePolar, ada: User, edited: FakeOrder) -> None:
    deliver(fake_polar, of_type(fake_polar, "order.updated")[-1])
    fake_polar.clear_calls()
    with pytest.raises(DocumentPending):
        CustomerPortal(ada).invoice(edited.id)
    assert Order.objects.get().edited_at is not None
    assert asked(fake_polar) == []


def test_the_delivery_of_the_new_file_ends_it(
    fake_polar: FakePolar, ada: User, edited: FakeOrder, heard: list[dict[str, Any]]
) -> None:
    fake_polar.finish_jobs()
    fake_polar.clear_calls()
    deliver(fake_polar, fake_polar.events[-1])
    assert Order.objects.get().edited_at is None
    assert names(heard).count("invoice_ready") == 1
    CustomerPortal(ada).invoice(edited.id)
    assert asked(fake_polar) == ["GET invoice"]


def test_a_file_that_is_to_be_made_once_more_is_still_waited_for(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    order = fake_polar.add_order(ada_at_polar, billing_address=OTHER)
    portal = CustomerPortal(ada)
    portal.generate_invoice(order.id)
    portal.update_billing_details(order.id, name="Ada King", address=OTHER)
    assert Order.objects.get().edit_post_again
    fake_polar.finish_jobs()
    deliver(fake_polar, of_type(fake_polar, "order.updated")[-1])
    assert Order.objects.get().edited_at is not None


def test_a_delivery_between_the_edit_and_its_note_hides_no_running_job(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True, billing_address=OTHER)
    fake_polar.update_order(order, billing_name="Ada L.")
    portal = CustomerPortal(ada)
    portal.generate_invoice(order.id)
    change_billing = fake_polar.change_billing

    def and_tell(*given: Any) -> None:
        change_billing(*given)
        deliver(fake_polar, fake_polar.events[-1])

    monkeypatch.setattr(fake_polar, "change_billing", and_tell)
    portal.update_billing_details(order.id, name="Ada King", address=OTHER)
    assert Order.objects.get().edit_post_again


# A refund


def test_a_receipt_from_before_a_refund_is_not_used_again(
    fake_polar: FakePolar, ada: User, order: FakeOrder, now: time_machine.Traveller
) -> None:
    portal = CustomerPortal(ada)
    fake_polar.request_receipt(order)
    fake_polar.finish_jobs()
    before = portal.receipt(order.id).url
    assert portal.receipt(order.id).url == before
    fake_polar.refund(order)
    deliver(fake_polar, of_type(fake_polar, "order.refunded")[-1])
    fake_polar.clear_calls()
    # Polar still has the old one: handed out, for want of another, but not kept.
    portal.receipt(order.id)
    now.shift(30)
    after = portal.receipt(order.id).url
    assert after.partition("?")[0] != before.partition("?")[0]
    assert asked(fake_polar) == ["GET receipt", "GET receipt"]
    now.shift(31)
    for _ in range(2):
        portal.receipt(order.id)
    assert asked(fake_polar) == ["GET receipt"] * 3, "from now on it is kept as ever"


def test_a_refund_leaves_the_invoice_alone(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    url = CustomerPortal(ada).invoice(order.id).url
    fake_polar.refund(order)
    deliver(fake_polar, of_type(fake_polar, "order.refunded")[-1])
    assert CustomerPortal(ada).invoice(order.id).url == url


# A customer who is no more


def test_the_sessions_of_a_deleted_customer_are_deleted(
    fake_polar: FakePolar,
    ada: User,
    bob: User,
    order: FakeOrder,
    ada_at_polar: FakeCustomer,
    bob_at_polar: FakeCustomer,
) -> None:
    for user in (ada, bob):
        CustomerPortal(user).orders()
    fake_polar.delete_customer(ada_at_polar)
    deliver(fake_polar, of_type(fake_polar, "customer.deleted")[-1])
    assert CustomerSession.objects.get().user == bob
    assert Order.objects.get().pk == order.id, "the seller's books keep the order"


# Old news


def test_a_late_delivery_overwrites_nothing_newer(fake_polar: FakePolar, order: FakeOrder) -> None:
    fake_polar.advance(5)
    fake_polar.refund(order)
    created, refunded = fake_polar.events[-3], fake_polar.events[-1]
    assert (created.type, refunded.type) == ("order.created", "order.refunded")
    deliver(fake_polar, refunded)
    deliver(fake_polar, created)
    assert Order.objects.get().status == "refunded"
