"""What Polar answers becomes a typed object or Nonsense, whatever it is."""

from __future__ import annotations

import dataclasses
import json
import pickle
import typing
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polar_portal.api.schemas import (
    BillingAddress,
    Document,
    IssuedSession,
    Nonsense,
    OrderLine,
    OrderPage,
    PortalOrder,
    document_url,
)
from polar_portal.conf import Secret

ORDER_ID = "a9c28fb0-e055-4fe3-89a5-9e527ef4c742"
CUSTOMER_ID = "012fc054-f11b-4924-9987-1e3850594245"

ORDER: dict[str, Any] = {
    "id": ORDER_ID,
    "created_at": "2026-11-21T07:07:20.280677Z",
    "modified_at": "2026-11-22T07:07:20.325392Z",
    "status": "paid",
    "paid": True,
    "subtotal_amount": 5000,
    "discount_amount": 100,
    "net_amount": 4900,
    "tax_amount": 980,
    "total_amount": 5880,
    "refunded_amount": 490,
    "refunded_tax_amount": 98,
    "currency": "usd",
    "billing_name": "Ada Lovelace",
    "billing_address": {"line1": "12 rue de la Paix", "line2": None, "city": "Paris", "state": None, "country": "FR"},
    "invoice_number": "ACME-0001",
    "receipt_number": "RCPT-0001",
    "is_invoice_generated": True,
    "customer_id": CUSTOMER_ID,
    "description": "Pro Plan",
    "items": [{"label": "Pro Plan", "amount": 4900, "tax_amount": 980}],
}
#: What an order has to have; Polar may leave out, or answer null for, all else.
NEEDED = ["id", "status", "created_at"]
SESSION: dict[str, Any] = {
    "id": "eeccb650-0e0e-4b82-8a2a-93158faf106d",
    "created_at": "2026-11-22T07:20:12.866504Z",
    "expires_at": "2026-11-22T08:20:12.866504Z",
    "token": "polar_cst_EXAMPLE",
    "customer_id": CUSTOMER_ID,
    "customer_portal_url": "https://polar.example/portal?customer_session_token=polar_cst_EXAMPLE",
}
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\ud800", "\x00", 10**400])
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


def test_an_order_is_read() -> None:
    assert PortalOrder.from_json(ORDER) == PortalOrder(
        id=uuid.UUID(ORDER_ID),
        polar_customer_id=uuid.UUID(CUSTOMER_ID),
        status="paid",
        number="ACME-0001",
        receipt_number="RCPT-0001",
        created_at=datetime(2026, 11, 21, 7, 7, 20, 280677, tzinfo=timezone.utc),
        modified_at=datetime(2026, 11, 22, 7, 7, 20, 325392, tzinfo=timezone.utc),
        currency="usd",
        subtotal_amount=5000,
        discount_amount=100,
        tax_amount=980,
        total_amount=5880,
        refunded_amount=490,
        refunded_tax_amount=98,
        description="Pro Plan",
        is_invoice_generated=True,
        billing_name="Ada Lovelace",
        billing_address=BillingAddress(line1="12 rue de la Paix", city="Paris", country="FR"),
        lines=(OrderLine(label="Pro Plan", amount=4900),),
    )


def test_an_order_that_nobody_modified_has_the_time_of_its_making() -> None:
    order = PortalOrder.from_json({**ORDER, "modified_at": None})
    assert order.modified_at == order.created_at


@pytest.mark.parametrize("without", sorted({*ORDER} - {*NEEDED}))
def test_what_an_order_may_lack_is_empty(without: str) -> None:
    null = PortalOrder.from_json({**ORDER, without: None})
    missing = PortalOrder.from_json({name: value for name, value in ORDER.items() if name != without})
    assert null == missing


def test_an_order_needs_an_id_a_status_and_a_time() -> None:
    order = PortalOrder.from_json({name: ORDER[name] for name in NEEDED})
    assert (order.polar_customer_id, order.number, order.lines, order.total_amount) == (None, "", (), 0)
    assert not order.has_receipt
    assert not order.has_billing_details
    assert not order.is_invoice_generated


@pytest.mark.parametrize(
    ("name", "address", "has"),
    [
        ("Ada Lovelace", {"line1": "12 rue de la Paix", "country": "FR"}, True),
        ("Ada Lovelace", {"country": "FR"}, False),
        ("Ada Lovelace", {"line1": " ", "country": "FR"}, False),
        ("Ada Lovelace", None, False),
        ("", {"line1": "12 rue de la Paix"}, False),
        (" ", {"line1": "12 rue de la Paix"}, False),
        (None, {"line1": "12 rue de la Paix"}, False),
    ],
)
def test_an_invoice_needs_more_than_polar_asks_for(name: Any, address: Any, has: bool) -> None:
    order = PortalOrder.from_json({**ORDER, "billing_name": name, "billing_address": address})
    assert order.has_billing_details is has


@pytest.mark.parametrize("number", ["RCPT-0001", "", None])
def test_a_receipt_number_tells_that_there_is_a_receipt(number: str | None) -> None:
    assert PortalOrder.from_json({**ORDER, "receipt_number": number}).has_receipt is bool(number)


def test_an_address_goes_back_whole_with_null_for_what_is_not_known() -> None:
    assert BillingAddress(line1="12 rue de la Paix", country="FR").as_json() == {
        "line1": "12 rue de la Paix",
        "line2": None,
        "postal_code": None,
        "city": None,
        "state": None,
        "country": "FR",
    }


def test_a_page_of_orders_is_read() -> None:
    page = OrderPage.from_json({"items": [ORDER, ORDER], "pagination": {"total_count": 12, "max_page": 6}})
    assert page == OrderPage((PortalOrder.from_json(ORDER),) * 2, 12)
    assert OrderPage.from_json({"items": [], "pagination": {"total_count": 0, "max_page": 0}}) == OrderPage((), 0)


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ({"items": {}, "pagination": {"total_count": 1}}, "items"),
        ({"pagination": {"total_count": 1}}, "items"),
        ({"items": []}, "no object"),
        ({"items": [], "pagination": {}}, "total_count"),
        ({"items": [], "pagination": {"total_count": "1"}}, "total_count"),
        ({"items": [ORDER, {**ORDER, "id": 5}], "pagination": {"total_count": 2}}, "id"),
        ({"items": [None], "pagination": {"total_count": 1}}, "no object"),
    ],
)
def test_a_page_with_anything_wrong_is_nonsense(page: Any, said: str) -> None:
    with pytest.raises(Nonsense, match=said):
        OrderPage.from_json(page)


def test_a_page_that_is_not_strict_names_what_it_leaves_out_and_no_value_of_it() -> None:
    items = [ORDER, {**ORDER, "status": 5}, {**ORDER, "id": "ada@shop.example"}, None, ORDER]
    page = OrderPage.from_json({"items": items, "pagination": {"total_count": 5}}, strict=False)
    assert page.orders == (PortalOrder.from_json(ORDER),) * 2
    assert page.left_out == (
        f"{ORDER['id']} (status)",
        "no. 3 of its page (id)",
        "no. 4 of its page (the body is no object)",
    )


@pytest.mark.parametrize(
    ("status", "may"),
    [
        ("paid", True),
        ("pending", True),
        ("refunded", True),
        ("partially_refunded", True),
        ("of the future", True),
        ("draft", False),
        ("void", False),
    ],
)
def test_status_tells_whether_an_invoice_may_exist(status: str, may: bool) -> None:
    order = PortalOrder.from_json({**ORDER, "status": status})
    assert (order.status, order.may_have_invoice) == (status, may)


def test_fields_of_the_future_are_ignored() -> None:
    assert PortalOrder.from_json({**ORDER, "colour": {"of": ["the", "future"]}}) == PortalOrder.from_json(ORDER)
    assert IssuedSession.from_json({**SESSION, "colour": 1}) == IssuedSession.from_json(SESSION)
    assert document_url({"url": "https://s3.example/1.pdf", "expires_at": None}) == "https://s3.example/1.pdf"


@pytest.mark.parametrize("name", [*NEEDED, "customer_id", "currency", "total_amount", "tax_amount", "billing_name"])
@pytest.mark.parametrize("value", [[], {}, True, 1.5, "\ud800", "a\x00b"], ids=ascii)
def test_an_order_with_a_wrong_field_is_nonsense_that_names_the_field(name: str, value: Any) -> None:
    with pytest.raises(Nonsense) as caught:
        PortalOrder.from_json({**ORDER, name: value})
    assert str(caught.value) == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "../../customers/me"),
        ("id", ORDER_ID + "0"),
        ("created_at", "yesterday"),
        ("created_at", "2026-02-30T00:00:00Z"),
        ("created_at", "0001-01-01T00:00:00+23:59"),
        ("created_at", "9999-12-31T23:59:59-23:59"),
        ("created_at", "0001-01-01T00:00:00Z"),
        ("modified_at", "9999-12-31T23:59:59Z"),
        ("modified_at", "soon"),
        ("total_amount", "5880"),
        ("total_amount", 58.80),
        ("total_amount", 2**63),
        ("refunded_amount", -(2**63) - 1),
        ("status", None),
        ("status", ""),
        ("id", None),
        ("customer_id", ""),
        ("items", {}),
        ("items", "Pro Plan"),
        ("invoice_number", 7),
        ("description", ["a"]),
        ("description", "\udfff"),
    ],
    ids=ascii,
)
def test_a_value_that_no_database_or_page_could_hold_is_nonsense(name: str, value: Any) -> None:
    with pytest.raises(Nonsense, match=f"^{name}$"):
        PortalOrder.from_json({**ORDER, name: value})


def test_a_time_without_a_zone_is_utc_and_others_become_it() -> None:
    def created_at(text: str) -> datetime:
        return PortalOrder.from_json({**ORDER, "created_at": text}).created_at

    noon = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
    assert created_at("2026-11-21T12:00:00") == created_at("2026-11-21T14:00:00+02:00") == noon
    assert created_at("2026-11-21T14:00:00+02:00").tzinfo is timezone.utc


@pytest.mark.parametrize("address", [[], "12 rue de la Paix", 5, {"line1": 5}, {"city": "\x00"}])
def test_an_address_that_is_none_is_nonsense(address: Any) -> None:
    with pytest.raises(Nonsense):
        PortalOrder.from_json({**ORDER, "billing_address": address})


@pytest.mark.parametrize("line", [None, 5, {}, {"label": "Pro Plan"}, {"label": 5, "amount": 5}, {"amount": 1.5}])
def test_a_line_that_is_none_is_nonsense(line: Any) -> None:
    with pytest.raises(Nonsense):
        PortalOrder.from_json({**ORDER, "items": [line]})


def test_a_session_is_read() -> None:
    session = IssuedSession.from_json(SESSION)
    assert session.token.reveal() == "polar_cst_EXAMPLE"
    assert session.polar_customer_id == uuid.UUID(CUSTOMER_ID)
    assert session.life == 3600
    assert session.hosted_url.reveal() == SESSION["customer_portal_url"]


def test_a_session_that_ends_before_it_begins_has_no_life() -> None:
    assert IssuedSession.from_json({**SESSION, "expires_at": "2026-11-22T07:20:12Z"}).life == 0


@pytest.mark.parametrize(
    "token", [None, "", 5, "polar cst", "polar_cst\r\nHost: a", "polar_cst\x00", "polar_cst_é", "\ud800", ["polar_cst"]]
)
def test_a_token_that_no_header_could_carry_is_nonsense(token: Any) -> None:
    with pytest.raises(Nonsense, match=r"^token$"):
        IssuedSession.from_json({**SESSION, "token": token})


@pytest.mark.parametrize("name", ["created_at", "expires_at", "customer_id"])
def test_a_session_without_its_times_or_its_customer_is_nonsense(name: str) -> None:
    with pytest.raises(Nonsense, match=f"^{name}$"):
        IssuedSession.from_json({**SESSION, name: None})


def test_repr_shows_neither_url_nor_token() -> None:
    document = Document(url="https://s3.example/1.pdf?X-Amz-Signature=780933a6", expires_at=None)
    assert repr(document) == str(document) == "Document(expires_at=None)"
    session = IssuedSession.from_json(SESSION)
    assert "polar_cst" not in f"{session!r} {session}"
    order = PortalOrder.from_json(ORDER)
    assert "Lovelace" not in repr(order)
    assert "la Paix" not in repr(order)


def test_a_token_is_not_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(IssuedSession.from_json(SESSION))


def test_a_wrong_value_is_not_repeated() -> None:
    with pytest.raises(Nonsense) as caught:
        IssuedSession.from_json({**SESSION, "customer_id": "polar_cst_OTHER"})
    assert "polar_cst" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_nothing_can_be_changed_afterwards() -> None:
    order = PortalOrder.from_json(ORDER)
    with pytest.raises(dataclasses.FrozenInstanceError):
        order.status = "void"  # type: ignore[misc]  # that is the point


def somewhat_wrong(record: dict[str, Any]) -> st.SearchStrategy[Any]:
    """The record with some of its fields replaced by anything."""
    return st.dictionaries(st.sampled_from(sorted(record)), JSON, max_size=3).map(lambda wrong: {**record, **wrong})


@settings(deadline=None)
@given(data=JSON | somewhat_wrong(ORDER) | st.builds(lambda text: {**ORDER, "created_at": text}, st.text()))
@example(data={**ORDER, "created_at": "2026-11-21T07:07:20+99:99"})
@example(data={**ORDER, "id": "\ud800" * 32})
@example(data={**ORDER, "customer_id": None, "billing_address": None, "description": r"\x00"})
def test_any_json_is_an_order_or_nonsense(data: Any) -> None:
    try:
        order = PortalOrder.from_json(data)
    except Nonsense:
        return
    for name, kind in typing.get_type_hints(PortalOrder).items():
        assert isinstance(getattr(order, name), tuple if name == "lines" else kind)
    # It can be sent to a browser, stored by any database, and shown in any time zone.
    address = order.billing_address or BillingAddress()
    for text in (*vars(order).values(), *vars(address).values(), *(line.label for line in order.lines)):
        assert b"\x00" not in str(text).encode()
    for off in (-14, 14):
        order.created_at.astimezone(timezone(timedelta(hours=off)))


@settings(deadline=None)
@given(data=JSON | somewhat_wrong(SESSION))
@example(data={**SESSION, "created_at": "1970-01-01T00:00:00Z", "expires_at": "9000-01-01T00:00:00Z"})
def test_any_json_is_a_session_or_nonsense(data: Any) -> None:
    try:
        session = IssuedSession.from_json(data)
    except Nonsense:
        return
    assert isinstance(session.token, Secret)
    assert session.token.reveal()
    assert isinstance(session.polar_customer_id, uuid.UUID)
    assert session.life >= 0


@settings(deadline=None)
@given(data=JSON | st.builds(lambda url: {"url": url}, JSON))
def test_any_json_is_a_document_or_nonsense(data: Any) -> None:
    try:
        url = document_url(data)
    except Nonsense:
        return
    assert isinstance(url, str)
    assert url


@pytest.mark.parametrize("data", [None, [], "", 5, True, [ORDER], json.dumps(ORDER)])
def test_what_is_no_object_is_nonsense(data: Any) -> None:
    for read in (PortalOrder.from_json, OrderPage.from_json, IssuedSession.from_json, document_url):
        with pytest.raises(Nonsense, match="no object"):
            read(data)


@settings(deadline=None)
@given(
    data=JSON | st.builds(lambda items, total: {"items": items, "pagination": total}, JSON, JSON), strict=st.booleans()
)
def test_any_json_is_a_page_of_orders_or_nonsense(data: Any, strict: bool) -> None:
    try:
        page = OrderPage.from_json(data, strict=strict)
    except Nonsense:
        return
    assert isinstance(page.total, int)
    assert len(page.orders) + len(page.left_out) == len(data["items"])
    assert not (strict and page.left_out)
