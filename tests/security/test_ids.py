"""An order's id is a UUID and nothing else, whichever way it comes in: in an address, a tag, a call."""

from __future__ import annotations

import re
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.template import Context, Template
from hypothesis import example, given
from hypothesis import strategies as st

from polar_portal.exceptions import OrderNotFound
from polar_portal.portal import CustomerPortal, OrganizationPortal
from polar_portal.testing import FakeCustomer, FakePolar

from .conftest import HTML, browser, quick

ID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
PAGES = ["", "invoice/", "receipt/", "billing-details/"]
#: What may follow the root of the endpoints: one canonical id.
PATH = re.compile(r"/v1/(customer-portal/)?orders/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(/invoice|/receipt)?")


class Crooked(uuid.UUID):
    """A UUID that shows itself as a path to elsewhere."""

    def __str__(self) -> str:
        return "../../customers/me"

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return str(self)


class Wordy(str):
    """A string whose every method leads elsewhere."""

    __slots__ = ()

    def __str__(self) -> str:
        return "../../customers/me"

    def replace(self, *args: Any, **kwargs: Any) -> str:
        raise ZeroDivisionError

    strip = lower = replace


class Broken:
    @property
    def polar_order_id(self) -> str:
        raise LookupError("ada@shop.example")


class Everything:
    """Has every attribute, and each is itself."""

    def __getattr__(self, name: str) -> Everything:
        return self

    def __str__(self) -> str:
        return ID


def render(source: str, user: User, order: Any) -> str:
    return Template("{% load polar_portal %}" + source).render(Context({"user": user, "order": order}))


def went_only_to_orders(polar: FakePolar) -> bool:
    return all(PATH.fullmatch(call.path) or call.path == "/v1/customer-sessions/" for call in polar.calls)


# In an address


@pytest.mark.parametrize(
    "order_id",
    [
        ID.upper(), "{" + ID + "}", f"urn:uuid:{ID}", ID.replace("-", ""), f"{ID}%0a", f"{ID}%00", f"%20{ID}",
        f"{ID}%20", "..%2f..%2fcustomers%2fme", "..%252f..%252fcustomers%252fme", "..\\..\\customers\\me",
        f"{ID}%2f..%2f..", f"{ID};a=b", "%EF%BC%93" + ID[1:], "%D9%A3" + ID[1:], f"{ID}\u200b", f"{ID}%3F", f"{ID}%23",
        "0" * 5000, f"{ID}/../{ID}", f"//{ID}",
    ],
    ids=range(21),
)  # fmt: skip
@pytest.mark.parametrize("page", PAGES)
def test_an_address_with_anything_but_a_plain_id_leads_nowhere(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, order_id: str, page: str
) -> None:
    client = browser(ada)
    for method in (client.get, client.post):
        assert method(f"/billing/orders/{order_id}/{page}", headers=HTML).status_code == 404
    assert fake_polar.calls == []


# In the service layer and the tags

SPELLINGS = [
    ID.upper(), "{" + ID + "}", f"urn:uuid:{ID}", ID.replace("-", ""), f"{ID}", Wordy(ID), Crooked(ID), uuid.UUID(ID),
    SimpleNamespace(polar_order_id=Crooked(ID)), SimpleNamespace(polar_order_id=Wordy(ID)),
]  # fmt: skip


@pytest.mark.parametrize("given_id", SPELLINGS, ids=range(len(SPELLINGS)))
def test_however_an_id_is_written_polar_sees_it_in_one_way(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, given_id: Any
) -> None:
    assert render("{% polar_invoice_url order %}", ada, given_id) == f"/billing/orders/{ID}/invoice/"
    assert render("{% polar_receipt_url order %}", ada, given_id) == f"/billing/orders/{ID}/receipt/"
    render("{% polar_invoice order as invoice %}{{ invoice.url }}", ada, given_id)
    if not isinstance(given_id, SimpleNamespace):
        portal = CustomerPortal(ada)
        for act in (
            portal.invoice,
            portal.receipt,
            portal.order,
            portal.generate_invoice,
            OrganizationPortal().invoice,
        ):
            with pytest.raises(OrderNotFound):
                act(given_id)
    asked = [call.path for call in fake_polar.calls if "customer-sessions" not in call.path]
    assert asked
    assert all(f"/orders/{ID}" in path for path in asked)
    assert went_only_to_orders(fake_polar)


NONE = [
    "..%2f..%2fcustomers%2fme", "../../customers/me", f"{ID}/../..", f"{ID}\n{ID}", "", " ", "0" * 5000, "{}",
    "urn:uuid:", 7, 1.5, True, ID.encode(), [ID], {ID: ID}, object(), Everything(), type, len, int(uuid.UUID(ID)),
    SimpleNamespace(polar_order_id=Everything()), SimpleNamespace(polar_order_id=7),
]  # fmt: skip


@pytest.mark.parametrize("given_id", NONE, ids=range(len(NONE)))
def test_what_is_no_id_is_no_order_and_no_call(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, given_id: Any
) -> None:
    assert render("{% polar_invoice_button order %}{% polar_receipt_button order %}", ada, given_id) == ""
    assert render("{% polar_invoice order as invoice %}{{ invoice.status }}", ada, given_id) == "not_found"
    for act in (CustomerPortal(ada).invoice, CustomerPortal(ada).order, OrganizationPortal().receipt):
        with pytest.raises(OrderNotFound):
            act(given_id)
    assert fake_polar.calls == []


def test_an_attribute_that_fails_does_not_fail_the_page(
    fake_polar: FakePolar, ada: User, caplog: pytest.LogCaptureFixture
) -> None:
    page = render("{% polar_invoice order as invoice %}{{ invoice.status }} {{ invoice.url }}", ada, Broken())
    assert page == "unavailable "
    assert "LookupError" in caplog.text
    assert "ada@" not in caplog.text


ALMOST = st.text(alphabet="0123456789abcdef-{}\u0663_ \n", min_size=30, max_size=40)
ANYTHING = st.one_of(
    *(st.text(), st.binary(), st.integers(), st.floats(), st.none(), st.lists(st.text(), max_size=2)),
    *(st.uuids(), st.uuids().map(str), st.uuids().map(lambda each: each.urn)),
    st.uuids().map(lambda each: SimpleNamespace(polar_order_id=each)),
    *(st.text(max_size=3).map(lambda text: ID + text), ALMOST),
)


@quick(60)
@given(order=ANYTHING)
@example(order="\u0663" * 32)
@example(order="3" * 31 + "\n")
@example(order="3_" * 15 + "33")
def test_any_object_is_a_canonical_id_or_none(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, order: Any
) -> None:
    fake_polar.clear_calls()
    url = render("{% polar_invoice_url order %}", ada, order)
    assert url == "" or re.fullmatch(r"/billing/orders/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/invoice/", url)
    status = render("{% polar_invoice order as invoice %}{{ invoice.status }}", ada, order)
    assert status == "not_found"
    with pytest.raises(OrderNotFound):
        CustomerPortal(ada).invoice(order)
    assert went_only_to_orders(fake_polar)
    assert bool(fake_polar.calls) == bool(url)
