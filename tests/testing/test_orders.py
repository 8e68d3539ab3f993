"""Orders: lists, one order, billing details."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from polar_portal.testing import FakeCustomer, FakeOrder, FakePolar
from tests.testing.conftest import Api

PORTAL = "/v1/customer-portal/orders/"
MERCHANT = "/v1/orders/"
PARIS = {
    "line1": "1 rue des Écoles",
    "line2": None,
    "postal_code": "75005",
    "city": "Paris",
    "state": None,
    "country": "FR",
}


@pytest.fixture
def order(polar: FakePolar, ada: FakeCustomer) -> FakeOrder:
    return polar.add_order(ada)


def problems(response: Any) -> list[tuple[str, list[Any], str]]:
    assert response.status_code == 422
    return [(problem["type"], problem["loc"], problem["msg"]) for problem in response.json()["detail"]]


class TestOneOrder:
    def test_what_its_customer_sees(self, api: Api, ada: FakeCustomer, order: FakeOrder) -> None:
        body = api("GET", f"{PORTAL}{order.id}", by=ada).json()
        assert body["id"] == str(order.id)
        assert (body["status"], body["paid"], body["currency"]) == ("paid", True, "usd")
        assert (body["subtotal_amount"], body["tax_amount"], body["total_amount"]) == (4900, 980, 5880)
        assert (body["billing_name"], body["billing_address"]) == ("Ada Lovelace", PARIS)
        assert body["invoice_number"] == order.invoice_number
        assert body["is_invoice_generated"] is False
        assert body["created_at"] == "2026-09-21T14:13:20Z"
        assert body["product"]["name"] == body["description"] == body["items"][0]["label"] == "Pro Plan"
        assert body["product"]["organization"]["name"] == "Acme"
        assert "customer" not in body

    def test_what_the_merchant_sees(self, api: Api, ada: FakeCustomer, order: FakeOrder) -> None:
        body = api("GET", f"{MERCHANT}{order.id}").json()
        assert body["customer"]["external_id"] == "1"
        assert body["customer"]["id"] == body["customer_id"] == str(ada.id)
        assert "organization" not in body["product"]

    def test_id_is_read_in_any_spelling(self, api: Api, ada: FakeCustomer, order: FakeOrder) -> None:
        for spelling in (str(order.id).upper(), order.id.hex):
            assert api("GET", PORTAL + spelling, by=ada).json()["id"] == str(order.id)

    @pytest.mark.parametrize(
        ("text", "complaint"), [("abc", "uuid_parsing"), ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "uuid_version")]
    )
    def test_malformed_id(self, api: Api, ada: FakeCustomer, text: str, complaint: str) -> None:
        for path in (text, f"{text}/invoice", f"{text}/receipt"):
            [(kind, where, _)] = problems(api("GET", PORTAL + path, by=ada))
            assert (kind, where) == (complaint, ["path", "id"])

    @pytest.mark.parametrize(
        ("method", "suffix"),
        [("GET", ""), ("PATCH", ""), ("GET", "/invoice"), ("POST", "/invoice"), ("GET", "/receipt")],
    )
    def test_someone_elses_order_is_like_none(
        self, api: Api, polar: FakePolar, order: FakeOrder, method: str, suffix: str
    ) -> None:
        bob = polar.add_customer("2")
        body = {"billing_name": "Bob"} if method == "PATCH" else None
        for order_id in (order.id, "3f2504e0-4f89-41d3-9a0c-0305e82c3301"):
            response = api(method, f"{PORTAL}{order_id}{suffix}", by=bob, json=body)
            assert response.status_code == 404
            assert response.json() == {"error": "ResourceNotFound", "detail": "Not found"}
        assert order.billing_name == "Ada Lovelace"

    def test_statuses_have_the_numbers_the_server_gives_them(self, polar: FakePolar, ada: FakeCustomer) -> None:
        draft, void, refunded = (polar.add_order(ada, status=status) for status in ("draft", "void", "refunded"))
        assert (draft.invoice_number, draft.receipt_number) == (None, None)
        assert (void.invoice_number, void.receipt_number) == (f"ACME-{ada.short_id}-0001", None)
        assert refunded.receipt_number == f"RCPT-{ada.short_id}-0001"
        assert (refunded.refunded_amount, refunded.refunded_tax_amount) == (4900, 980)


class TestLists:
    def ids(self, response: Any) -> list[str]:
        return [item["id"] for item in response.json()["items"]]

    def test_newest_first_and_only_their_own(self, api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
        old = polar.add_order(ada, created_at=datetime(2020, 1, 1, tzinfo=timezone.utc))
        first, second = polar.add_order(ada), polar.add_order(ada)
        his = polar.add_order(polar.add_customer("2"))
        assert self.ids(api("GET", PORTAL, by=ada)) == [str(second.id), str(first.id), str(old.id)]
        assert self.ids(api("GET", MERCHANT)) == [str(his.id), str(second.id), str(first.id), str(old.id)]

    def test_pages(self, api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
        orders = [polar.add_order(ada) for _ in range(12)]
        assert len(self.ids(api("GET", PORTAL, by=ada))) == 10
        response = api("GET", f"{PORTAL}?limit=5&page=3", by=ada)
        assert self.ids(response) == [str(orders[1].id), str(orders[0].id)]
        assert response.json()["pagination"] == {"total_count": 12, "max_page": 3}
        beyond = api("GET", f"{PORTAL}?limit=5&page=9", by=ada).json()
        assert beyond == {"items": [], "pagination": {"total_count": 12, "max_page": 3}}

    def test_limit_is_cut_to_a_hundred(self, api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
        for _ in range(101):
            polar.add_order(ada)
        response = api("GET", f"{PORTAL}?limit=500", by=ada)
        assert len(self.ids(response)) == 100
        assert response.json()["pagination"] == {"total_count": 101, "max_page": 2}

    @pytest.mark.parametrize(
        ("query", "complaint", "where"),
        [
            ("limit=0", "greater_than", ["query", "limit"]),
            ("page=0", "greater_than", ["query", "page"]),
            ("page=x", "int_parsing", ["query", "page"]),
            ("sorting=foo", "enum", ["query", "sorting", 0]),
            ("sorting=-status", "enum", ["query", "sorting", 0]),
        ],
    )
    def test_bad_parameters(self, api: Api, ada: FakeCustomer, query: str, complaint: str, where: list[object]) -> None:
        [(kind, place, _)] = problems(api("GET", f"{PORTAL}?{query}", by=ada))
        assert (kind, place) == (complaint, where)

    def test_sorting(self, api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
        orders = [polar.add_order(ada, amount=amount) for amount in (300, 100, 200)]
        expected = [str(orders[index].id) for index in (1, 2, 0)]
        assert self.ids(api("GET", f"{PORTAL}?sorting=amount", by=ada)) == expected
        assert self.ids(api("GET", f"{PORTAL}?sorting=-amount", by=ada)) == expected[::-1]

    def test_merchants_filters(self, api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
        hers = polar.add_order(ada, status="void")
        bob = polar.add_customer("2")
        his = polar.add_order(bob, created_at=polar.now - timedelta(days=2))
        yesterday = (polar.now - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        for query, order in (
            ("external_customer_id=1", hers),
            (f"customer_id={bob.id}", his),
            ("status=void", hers),
            (f"created_after={yesterday}", hers),
            (f"created_before={yesterday}", his),
        ):
            assert self.ids(api("GET", f"{MERCHANT}?{query}")) == [str(order.id)], query


class TestBillingDetails:
    def patch(self, api: Api, order: FakeOrder, body: object) -> Any:
        return api("PATCH", f"{PORTAL}{order.id}", by=order.customer, json=body)

    def test_name_alone(self, api: Api, polar: FakePolar, order: FakeOrder) -> None:
        response = self.patch(api, order, {"billing_name": "Analytical Engines Ltd"})
        assert response.status_code == 200
        assert response.json()["billing_name"] == "Analytical Engines Ltd"
        assert response.json()["billing_address"] == PARIS
        assert response.json()["modified_at"] is not None
        assert polar.events[-1].data["billing_name"] == "Analytical Engines Ltd"

    def test_empty_change_is_200_and_tells_webhooks_but_modifies_nothing(
        self, api: Api, polar: FakePolar, order: FakeOrder
    ) -> None:
        before = len(polar.events)
        assert self.patch(api, order, {}).json()["modified_at"] is None
        assert [event.type for event in polar.events[before:]] == ["order.updated"]

    @pytest.mark.parametrize("name", ["", "   ", None])
    def test_any_name_is_stored_as_it_is(self, api: Api, order: FakeOrder, name: str | None) -> None:
        assert self.patch(api, order, {"billing_name": name}).json()["billing_name"] == name

    def test_address_is_replaced_whole(self, api: Api, order: FakeOrder) -> None:
        response = self.patch(api, order, {"billing_address": {"country": "FR", "line1": "only this"}})
        assert response.json()["billing_address"] == {**dict.fromkeys(PARIS), "country": "FR", "line1": "only this"}

    def test_country_is_locked_once_there_is_an_address(self, api: Api, order: FakeOrder) -> None:
        response = self.patch(api, order, {"billing_address": {**PARIS, "country": "DE"}})
        where = ["body", "billing_address", "country"]
        assert problems(response) == [("value_error", where, "Country cannot be changed")]
        assert response.json()["error"] == "PolarRequestValidationError"
        assert order.billing_address == PARIS

    def test_missing_state_is_locked_too(self, api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
        order = polar.add_order(ada, billing_address={"country": "US"})
        response = self.patch(api, order, {"billing_address": {"country": "US", "state": "CA"}})
        assert problems(response) == [
            ("value_error", ["body", "billing_address", "state"], "State cannot be changed"),
        ]
        assert response.json()["detail"][0]["input"] == "US-CA"

    def test_null_lifts_the_lock(self, api: Api, order: FakeOrder) -> None:
        assert self.patch(api, order, {"billing_address": None}).json()["billing_address"] is None
        canada = {"country": "ca", "state": "QC", "city": "Montréal", "line1": ""}
        address = self.patch(api, order, {"billing_address": canada}).json()["billing_address"]
        assert address == {**dict.fromkeys(PARIS), "country": "CA", "state": "CA-QC", "city": "Montréal"}

    @pytest.mark.parametrize(
        ("address", "kind", "field"),
        [
            ({"country": "XX"}, "enum", "country"),
            ({"country": "RU"}, "enum", "country"),
            ({"city": "Lyon"}, "missing", "country"),
            ({"country": "FR", "line1": 1}, "string_type", "line1"),
        ],
    )
    def test_address_of_the_wrong_form(
        self, api: Api, order: FakeOrder, address: dict[str, object], kind: str, field: str
    ) -> None:
        response = self.patch(api, order, {"billing_address": address})
        assert [entry[:2] for entry in problems(response)] == [(kind, ["body", "billing_address", field])]
        assert response.json()["error"] == "RequestValidationError"

    @pytest.mark.parametrize(
        ("country", "state", "message"),
        [
            ("US", "ZZ", "Value error, Invalid US state"),
            ("CA", "qc", "Value error, Invalid CA subdivision"),  # only the country is put in upper case
        ],
    )
    def test_unknown_state(
        self, api: Api, polar: FakePolar, ada: FakeCustomer, country: str, state: str, message: str
    ) -> None:
        order = polar.add_order(ada, billing_address=None)
        response = self.patch(api, order, {"billing_address": {"country": country, "state": state}})
        assert problems(response) == [("value_error", ["body", "billing_address"], message)]

    def test_no_body(self, api: Api, ada: FakeCustomer, order: FakeOrder) -> None:
        response = api("PATCH", f"{PORTAL}{order.id}", by=ada, headers={"Content-Length": "0"})
        assert problems(response) == [("missing", ["body"], "Field required")]

    def test_merchant_may_with_the_scope(self, api: Api, polar: FakePolar, order: FakeOrder) -> None:
        polar.scopes.add("orders:write")
        response = api("PATCH", f"{MERCHANT}{order.id}", json={"billing_name": "Bob M."})
        assert (response.status_code, response.json()["billing_name"]) == (200, "Bob M.")


def test_seller_can_pay_an_order(polar: FakePolar, ada: FakeCustomer) -> None:
    order = polar.add_order(ada, status="pending")
    polar.update_order(order, status="paid", billing_name=None, billing_address=None)
    assert order.receipt_number is not None
    assert order.billing_details == (None, None)
    assert [event.type for event in polar.events[-2:]] == ["order.updated", "order.paid"]


def test_address_that_polar_would_refuse_is_an_error(polar: FakePolar, ada: FakeCustomer) -> None:
    with pytest.raises(ValueError, match="country"):
        polar.add_order(ada, billing_address={"city": "Lyon"})
