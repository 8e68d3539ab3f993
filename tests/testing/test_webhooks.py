"""Signed deliveries, checked by hand: the text is ``id.timestamp.body``, the key depends on the secret's age."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest

from polar_portal.testing import FakeCustomer, FakePolar


def signature(key: bytes, headers: dict[str, str], body: bytes) -> str:
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()


def test_delivery_about_an_order(polar: FakePolar, ada: FakeCustomer) -> None:
    order = polar.add_order(ada, invoice=True)
    body, headers = polar.webhook("order.updated", order)
    event = json.loads(body)
    assert list(event) == ["type", "timestamp", "data"]
    assert (event["type"], event["timestamp"]) == ("order.updated", "2026-09-21T14:13:20Z")
    assert event["data"]["id"] == str(order.id)
    assert event["data"]["customer"]["external_id"] == "1"
    assert event["data"]["is_invoice_generated"] is True
    assert b'", "' not in body
    assert headers["content-type"] == "application/json"
    assert headers["webhook-timestamp"] == "1790000000"


def test_standard_key_is_the_decoded_part_after_the_prefix(polar: FakePolar, ada: FakeCustomer) -> None:
    body, headers = polar.webhook("customer.deleted", ada)
    key = base64.b64decode(polar.webhook_secret.removeprefix("whsec_"))
    assert headers["webhook-signature"] == signature(key, headers, body)


def test_utf8_key_is_the_whole_secret(polar: FakePolar, ada: FakeCustomer) -> None:
    body, headers = polar.webhook("customer.deleted", ada, scheme="utf8")
    assert headers["webhook-signature"] == signature(polar.webhook_secret.encode(), headers, body)


def test_typed_in_secret_is_no_standard_key() -> None:
    polar = FakePolar(webhook_secret="correct horse battery")
    polar.webhook("order.updated", {}, scheme="utf8")
    with pytest.raises(ValueError, match="base64"):
        polar.webhook("order.updated", {})


def test_retry_has_the_same_id_and_body_but_a_new_time_and_signature(polar: FakePolar, ada: FakeCustomer) -> None:
    first_body, first = polar.webhook(polar.events[0])
    polar.advance(7)
    second_body, second = polar.webhook(polar.events[0])
    assert (first_body, first["webhook-id"]) == (second_body, second["webhook-id"])
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 7
    assert first["webhook-signature"] != second["webhook-signature"]


def test_events_tell_what_happened(polar: FakePolar, ada: FakeCustomer) -> None:
    order = polar.add_order(ada)
    polar.refund(order)
    polar.delete_customer(ada)
    assert [event.type for event in polar.events] == [
        *("customer.created", "order.created", "order.updated", "order.refunded", "customer.deleted"),
    ]
    assert polar.events[1].data["status"] == "paid"
    assert polar.events[-1].data["deleted_at"] == "2026-09-21T14:13:20Z"
    assert len({event.id for event in polar.events}) == 5
