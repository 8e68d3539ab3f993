"""The webhook endpoint: what is let in, what is stored, and that each delivery takes effect once."""

from __future__ import annotations

import io
import json
import logging
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import OperationalError, transaction
from django.test import Client, RequestFactory
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import Settings
from pytest_django.fixtures import DjangoAssertNumQueries

from polar_portal import events, mirror, views
from polar_portal.models import Order, WebhookDelivery
from polar_portal.signals import webhook_received
from polar_portal.testing import Event, FakeCustomer, FakeOrder, FakePolar
from tests.conftest import ReadsFromReplica, signed

pytestmark = pytest.mark.django_db

URL = "/billing/webhook/"
STATUSES = ["draft", "pending", "paid", "partially_refunded", "refunded", "void"]


@pytest.fixture
def order(fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> FakeOrder:
    return fake_polar.add_order(ada_at_polar)


def send(body: bytes, headers: dict[str, str], url: str = URL, **extra: Any) -> Any:
    """As Polar sends it: no session, no CSRF token, from nowhere in particular."""
    content_type = headers.get("content-type", "application/json")
    client = Client(enforce_csrf_checks=True)
    return client.post(url, body, content_type=content_type, headers=headers, **extra)


def deliver(polar: FakePolar, *what: Any, **how: Any) -> Any:
    return send(*polar.webhook(*what, **how))


# What is let in


@pytest.mark.parametrize("scheme", ["standard", "utf8"])
@pytest.mark.parametrize("url", [URL, "/billing/webhook"])
def test_a_delivery_is_stored_and_applied(fake_polar: FakePolar, order: FakeOrder, scheme: str, url: str) -> None:
    assert reverse("polar_portal:webhook") == URL
    body, headers = fake_polar.webhook("order.paid", order, scheme=scheme)  # type: ignore[arg-type]
    response = send(body, headers, url)
    assert (response.status_code, response.content) == (204, b"")
    delivery = WebhookDelivery.objects.get()
    assert (delivery.delivery_id, delivery.type, delivery.outcome) == (headers["webhook-id"], "order.paid", "applied")
    assert (delivery.body, delivery.error, delivery.attempts) == (None, "", 1)
    assert Order.objects.get().pk == order.id
    assert fake_polar.calls == [], "Polar waits for the answer and is not asked meanwhile"


def test_order_that_is_new_costs_few_queries(
    fake_polar: FakePolar, order: FakeOrder, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    given = fake_polar.webhook("order.paid", order)
    # Three savepoints of two each, the row twice, the order looked for and inserted, an edit, the kept scopes.
    with django_assert_num_queries(11):
        assert send(*given).status_code == 204


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "head", "options"])
def test_other_methods_are_none_of_its(method: str) -> None:
    assert getattr(Client(), method)(URL).status_code == 405


def test_what_is_not_signed_is_refused(
    fake_polar: FakePolar, order: FakeOrder, caplog: pytest.LogCaptureFixture
) -> None:
    body, headers = fake_polar.webhook("order.paid", order)
    for forged in (
        (body, {}),
        (body + b" ", headers),
        (body, headers | {"webhook-id": "other"}),
        (b"", headers),
    ):
        response = send(*forged)
        assert response.status_code == 403
        assert response.json()["error"] == "webhook_not_verified"
    assert WebhookDelivery.objects.count() == Order.objects.count() == 0
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("polar_portal")]
    assert len(lines) == 4
    assert all(line.startswith("webhook_not_verified: ") for line in lines)


def test_replay_is_refused(fake_polar: FakePolar, order: FakeOrder) -> None:
    body, headers = fake_polar.webhook("order.paid", order)
    signed_at = int(headers["webhook-timestamp"])
    for age, status in ((300, 204), (301, 403)):
        with mock.patch("polar_portal.events.time.time", return_value=signed_at + age):
            assert send(body, headers).status_code == status


@pytest.mark.parametrize("secret", [None, "", [], [""]])
def test_without_a_secret_everything_is_refused(
    fake_polar: FakePolar, order: FakeOrder, settings: Settings, caplog: pytest.LogCaptureFixture, secret: Any
) -> None:
    given = fake_polar.webhook("order.paid", order)
    settings.POLAR_WEBHOOK_SECRET = secret
    assert send(*given).status_code == 403
    assert "POLAR_WEBHOOK_SECRET is not set" in caplog.text


def test_a_secret_that_can_not_be_read_is_said_to_be_ours(
    fake_polar: FakePolar, order: FakeOrder, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    given = fake_polar.webhook("order.paid", order)
    settings.POLAR_WEBHOOK_SECRET = 7
    response = send(*given)
    assert (response.status_code, response.json()["error"]) == (500, "misconfigured")
    assert "POLAR_WEBHOOK_SECRET must be" in caplog.text


def test_several_secrets_while_rotating(fake_polar: FakePolar, order: FakeOrder, settings: Settings) -> None:
    given = fake_polar.webhook("order.paid", order)
    settings.POLAR_WEBHOOK_SECRET = ["whsec_bmV3IG5ldyBuZXcgbmV3IG5ldw==", fake_polar.webhook_secret]
    assert send(*given).status_code == 204


@pytest.mark.parametrize("told", [True, False], ids=["with its length", "with a length that lies"])
def test_large_body_is_refused_and_no_more_than_that_is_read(
    fake_polar: FakePolar, told: bool, rf: RequestFactory
) -> None:
    body, headers = signed(fake_polar, b"x" * (10 * 1024 * 1024))
    stream = io.BytesIO(body)
    request = rf.post(URL, content_type="application/json", headers=headers)
    request.META["CONTENT_LENGTH"] = str(len(body)) if told else "7"
    request._stream = stream
    response = views.WebhookView.as_view()(request)
    assert response.status_code == 413
    assert stream.tell() == (0 if told else 1024 * 1024 + 1)


def test_body_of_one_mebibyte_is_read_whatever_the_host_allows(fake_polar: FakePolar, settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    body = json.dumps({"type": "any", "data": "x" * 1024 * 1023}).encode()
    assert send(*signed(fake_polar, body.ljust(1024 * 1024))).status_code == 204
    assert send(*signed(fake_polar, body.ljust(1024 * 1024 + 1))).status_code == 413


def test_body_that_breaks_off(fake_polar: FakePolar, rf: RequestFactory) -> None:
    request = rf.post(URL, headers=fake_polar.webhook("any")[1])
    request._stream = mock.Mock(read=mock.Mock(side_effect=OSError("the client has gone")))
    assert views.WebhookView.as_view()(request).status_code == 400


def test_a_form_with_cookies_is_no_way_in(ada: User) -> None:
    client = Client()
    client.force_login(ada)
    assert client.post(URL, {"type": "order.paid"}).status_code == 403


# What it contains


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\xff\xfe\xff", "no JSON"),
        (b"not json", "no JSON"),
        (b"", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"9" * 5000, "no JSON"),
        (b"[]", "no object with a type"),
        (b'"order.paid"', "no object with a type"),
        (b"{}", "no object with a type"),
        (b'{"type":7}', "no object with a type"),
        (b'{"type":"a\\u0000b"}', "no object with a type"),
        (b'{"type":"\\ud800"}', "no object with a type"),
        (b'{"type":"order.paid"}', "the body is no object"),
        (b'{"type":"order.paid","data":[]}', "the body is no object"),
        (b'{"type":"order.paid","data":{}}', "id"),
        (b'{"type":"customer.deleted","data":{"id":"7"}}', "id"),
    ],
)
def test_nonsense_is_stored_as_failed(
    fake_polar: FakePolar, caplog: pytest.LogCaptureFixture, body: bytes, said: str
) -> None:
    given, headers = signed(fake_polar, body)
    assert send(given, headers).status_code == 204
    delivery = WebhookDelivery.objects.get()
    assert (delivery.outcome, bytes(delivery.body or b"")) == ("failed", body)
    assert said in delivery.error
    (line,) = [record for record in caplog.records if record.name == "polar_portal.events"]
    assert line.levelno == logging.ERROR
    assert line.exc_info is None
    assert delivery.delivery_id in line.getMessage()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "no-id"), ("id", None), ("status", 7), ("status", None), ("total_amount", "1"), ("total_amount", 2**64),
        ("total_amount", 1.5), ("created_at", "yesterday"), ("modified_at", "9999-12-31T23:59:59Z"), ("items", {}),
        ("billing_address", "Paris"), ("description", "a\0b"), ("customer_id", "x"), ("currency", []),
    ],
)  # fmt: skip
def test_field_of_the_wrong_type(fake_polar: FakePolar, order: FakeOrder, name: str, value: Any) -> None:
    data = fake_polar.merchant_order_body(order) | {name: value}
    assert deliver(fake_polar, "order.updated", data).status_code == 204
    delivery = WebhookDelivery.objects.get()
    assert delivery.outcome == "failed"
    assert Order.objects.count() == 0


@pytest.mark.parametrize("missing", ["modified_at", "invoice_number", "receipt_number", "description", "items"])
def test_field_that_is_not_needed(fake_polar: FakePolar, order: FakeOrder, missing: str) -> None:
    data = fake_polar.merchant_order_body(order)
    del data[missing]
    assert deliver(fake_polar, "order.updated", data).status_code == 204
    assert Order.objects.get().pk == order.id


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("benefit_grant.created", {"id": 7}), ("customer.updated", None), ("order.something_new", {"order_id": "7"}),
        ("order.something_new", None), ("a" * 100, {}), ("subscription.uncanceled", [1]),
    ],
)  # fmt: skip
def test_type_that_means_nothing_here(fake_polar: FakePolar, name: str, data: Any) -> None:
    assert send(*signed(fake_polar, json.dumps({"type": name, "data": data}).encode())).status_code == 204
    delivery = WebhookDelivery.objects.get()
    assert (delivery.type, delivery.outcome, delivery.body) == (name, "ignored", None)


def test_order_of_a_future_polar(fake_polar: FakePolar, order: FakeOrder) -> None:
    data = fake_polar.merchant_order_body(order) | {"status": "disputed", "new_field": {"a": [1]}}
    assert deliver(fake_polar, "order.disputed", data).status_code == 204
    assert (WebhookDelivery.objects.get().outcome, Order.objects.get().status) == ("applied", "disputed")


# Once


def test_a_repeated_delivery_takes_effect_once(fake_polar: FakePolar, order: FakeOrder) -> None:
    fake_polar.update_order(order, status="refunded")
    event: Event = next(each for each in fake_polar.events if each.type == "order.updated")
    with mock.patch.object(mirror, "write", wraps=mirror.write) as write:
        for _ in range(3):
            fake_polar.advance(20)
            assert deliver(fake_polar, event).status_code == 204
    assert write.call_count == 1
    assert WebhookDelivery.objects.get().attempts == 1


def test_a_fault_of_ours_is_kept_and_run_again_when_it_is_mended(
    fake_polar: FakePolar, order: FakeOrder, caplog: pytest.LogCaptureFixture
) -> None:
    body, headers = fake_polar.webhook("order.paid", order)
    with mock.patch.object(mirror, "write", side_effect=ZeroDivisionError(order.customer.email)):
        assert send(body, headers).status_code == 204
    delivery = WebhookDelivery.objects.get()
    assert (delivery.outcome, delivery.type, bytes(delivery.body or b"")) == ("failed", "order.paid", body)
    assert "ZeroDivisionError in " in delivery.error
    assert order.customer.email not in delivery.error + caplog.text
    delivery = events.run_again(delivery)
    assert (delivery.outcome, delivery.error, delivery.body, delivery.attempts) == ("applied", "", None, 2)
    assert Order.objects.get().pk == order.id
    # And once more: nothing is left to do.
    with mock.patch.object(mirror, "write") as write:
        assert events.run_again(delivery).attempts == 2
    assert write.call_count == 0


def test_what_failed_takes_effect_when_it_is_sent_again(fake_polar: FakePolar, order: FakeOrder) -> None:
    event = fake_polar.events[-1]
    with mock.patch.object(mirror, "write", side_effect=ZeroDivisionError):
        deliver(fake_polar, event)
    assert deliver(fake_polar, event).status_code == 204
    assert (WebhookDelivery.objects.get().outcome, Order.objects.count()) == ("applied", 1)


def test_what_is_known_of_a_delivery_is_read_from_where_it_was_written(
    fake_polar: FakePolar, settings: Settings
) -> None:
    settings.DATABASE_ROUTERS = [ReadsFromReplica()]
    applied, failed = fake_polar.webhook("benefit_grant.created"), signed(fake_polar, b"?")
    for delivery in (applied, failed, applied, failed):
        assert send(*delivery).status_code == 204
    outcomes = WebhookDelivery.objects.using("default").order_by("pk").values_list("outcome", "attempts")
    assert list(outcomes) == [("ignored", 1), ("failed", 2)]


def test_effects_of_what_fails_half_way_are_undone(fake_polar: FakePolar, order: FakeOrder) -> None:
    with mock.patch("polar_portal.documents.heed", side_effect=ZeroDivisionError):
        deliver(fake_polar, "order.paid", order)
    assert (WebhookDelivery.objects.get().outcome, Order.objects.count()) == ("failed", 0)


def test_database_that_is_away_has_polar_send_it_again(
    fake_polar: FakePolar, order: FakeOrder, caplog: pytest.LogCaptureFixture
) -> None:
    body, headers = fake_polar.webhook("order.paid", order)
    for broken in ("polar_portal.mirror.write", "polar_portal.models.WebhookDelivery.save"):
        with mock.patch(broken, side_effect=OperationalError("server closed the connection to ada@shop.example")):
            response = send(body, headers)
        assert (response.status_code, response["Retry-After"]) == (503, "30")
        assert WebhookDelivery.objects.count() == 0
    assert "ada@" not in caplog.text
    assert caplog.text.count("webhook_not_stored") == 2
    assert send(body, headers).status_code == 204


def test_cache_that_is_away_changes_nothing(fake_polar: FakePolar, order: FakeOrder, settings: Settings) -> None:
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"}
    }
    assert deliver(fake_polar, "order.refunded", order).status_code == 204
    assert WebhookDelivery.objects.get().outcome == "applied"


def test_wrong_setting_of_ours_is_named_in_the_delivery(
    fake_polar: FakePolar, order: FakeOrder, settings: Settings
) -> None:
    settings.POLAR_CACHE_ALIAS = "nowhere"
    assert deliver(fake_polar, "order.refunded", order).status_code == 204
    assert "POLAR_CACHE_ALIAS" in WebhookDelivery.objects.get().error


# Any order


class Undone(Exception):
    """Takes back what an example has written."""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_order_of_any_deliveries_ends_in_the_same_mirror(fake_polar: FakePolar, data: st.DataObject) -> None:
    polar = FakePolar(webhook_secret=fake_polar.webhook_secret)
    customers = [polar.add_customer(str(number)) for number in range(2)]
    for _ in range(data.draw(st.integers(1, 6))):
        act = data.draw(st.sampled_from(["add", "change", "refund", "invoice", "wait", "delete"]))
        if act == "add":
            polar.add_order(data.draw(st.sampled_from(customers)), status=data.draw(st.sampled_from(STATUSES)))
        elif act == "wait":
            polar.advance(1)
        elif act == "delete":
            polar.delete_customer(data.draw(st.sampled_from(customers)))
        elif polar.orders:
            order = data.draw(st.sampled_from(list(polar.orders.values())))
            if act == "change":
                polar.update_order(order, status=data.draw(st.sampled_from(STATUSES)))
            elif act == "refund" and order.is_paid and order.refunded_amount < order.amount:
                polar.refund(order, 1)
            elif act == "invoice":
                polar.request_invoice(order)
                polar.finish_jobs()
    happened = polar.events
    assert mirrored(polar, happened) == mirrored(
        polar, data.draw(st.permutations(happened + data.draw(st.lists(st.sampled_from(happened)))))
    )


def mirrored(polar: FakePolar, events: list[Event]) -> list[dict[str, Any]]:
    """What is known here after these deliveries."""
    rows: list[dict[str, Any]] = []
    try:
        with transaction.atomic():
            for event in events:
                assert deliver(polar, event).status_code == 204
            assert not WebhookDelivery.objects.filter(outcome="failed").exists()
            rows += [{**row} for row in Order.objects.order_by("pk").values()]
            raise Undone
    except Undone:
        return rows


# Signals


@pytest.mark.django_db(transaction=True)
def test_receivers_are_told_once_after_the_commit_and_one_that_fails_harms_nobody(
    fake_polar: FakePolar, order: FakeOrder
) -> None:
    heard: list[tuple[str, str, int]] = []

    def fails(**told: Any) -> None:
        raise ZeroDivisionError

    def hears(delivery_id: str, type: str, **told: Any) -> None:  # noqa: A002 - the argument's public name
        from django.db import connection

        assert not connection.in_atomic_block
        heard.append((delivery_id, type, WebhookDelivery.objects.filter(outcome="applied").count()))

    for receiver in (fails, hears):
        webhook_received.connect(receiver)
    try:
        event = fake_polar.events[-1]
        for _ in range(2):
            assert deliver(fake_polar, event).status_code == 204
    finally:
        for receiver in (fails, hears):
            webhook_received.disconnect(receiver)
    assert heard == [(event.id, "order.created", 1)]


# The command


def test_command_runs_what_failed_again(
    fake_polar: FakePolar, order: FakeOrder, capsys: pytest.CaptureFixture[str]
) -> None:
    with mock.patch.object(mirror, "write", side_effect=ZeroDivisionError):
        deliver(fake_polar, "order.paid", order)
    send(*signed(fake_polar, b"nonsense"))
    with pytest.raises(CommandError, match="2 run again, 1 now applied, 1 still failed"):
        call_command("polar_rerun_webhooks")
    assert "(unreadable): It makes no sense: the body is no JSON" in capsys.readouterr().err
    applied, failed = WebhookDelivery.objects.order_by("outcome")
    assert (applied.outcome, failed.outcome, failed.attempts) == ("applied", "failed", 2)
    with pytest.raises(CommandError, match=f"No failed delivery is called {applied.delivery_id}"):
        call_command("polar_rerun_webhooks", "--delivery", applied.delivery_id)
    failed.delete()
    call_command("polar_rerun_webhooks")
    assert capsys.readouterr().out == "0 run again, 0 now applied, 0 still failed.\n"
