"""Invoices and receipts: when they are there, what they say, how long their addresses live."""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from pypdf import PdfReader

from polar_portal.testing import FakeCustomer, FakeOrder, FakePolar
from polar_portal.testing.records import Status
from tests.testing.conftest import Api

MISSING = "Billing name and address are required to generate an invoice for this order."


@pytest.fixture
def order(polar: FakePolar, ada: FakeCustomer) -> FakeOrder:
    return polar.add_order(ada)


def path(order: FakeOrder, kind: str = "invoice") -> str:
    return f"/v1/customer-portal/orders/{order.id}/{kind}"


def ask(api: Api, order: FakeOrder, kind: str = "invoice") -> requests.Response:
    return api("GET", path(order, kind), by=order.customer)


def generate(api: Api, order: FakeOrder) -> requests.Response:
    return api("POST", path(order), by=order.customer)


def read(content: bytes) -> str:
    return PdfReader(io.BytesIO(content), strict=True).pages[0].extract_text()


class TestInvoice:
    def test_it_is_made_on_request_and_takes_its_time(self, api: Api, polar: FakePolar, order: FakeOrder) -> None:
        missing = {"error": "InvoiceDoesNotExist", "detail": f"No invoice exists for order {order.id}."}
        assert (ask(api, order).status_code, ask(api, order).json()) == (404, missing)
        polar.advance(60)
        assert ask(api, order).status_code == 404
        response = generate(api, order)
        assert (response.status_code, response.json()) == (202, None)
        polar.advance(4.9)
        assert ask(api, order).json() == missing
        polar.advance(0.1)
        response = ask(api, order)
        assert response.status_code == 200
        assert list(response.json()) == ["url"]
        assert order.is_invoice_generated
        assert order.modified_at == polar.now

    def test_webhook_tells_when_it_is_there(self, api: Api, polar: FakePolar, order: FakeOrder) -> None:
        generate(api, order)
        before = len(polar.events)
        polar.advance(5)
        [event] = polar.events[before:]
        assert (event.type, event.data["is_invoice_generated"]) == ("order.updated", True)

    def test_asking_again_with_nothing_changed_does_nothing(
        self, api: Api, polar: FakePolar, ada: FakeCustomer
    ) -> None:
        order = polar.add_order(ada, invoice=True)
        before, modified_at = len(polar.events), order.modified_at
        assert generate(api, order).status_code == 202
        polar.advance(60)
        assert (len(polar.events), order.modified_at) == (before, modified_at)

    @pytest.mark.parametrize("status", ["draft", "void"])
    def test_draft_and_void_orders_get_none(
        self, api: Api, polar: FakePolar, ada: FakeCustomer, status: Status
    ) -> None:
        order = polar.add_order(ada, status=status, billing_name=None)
        response = generate(api, order)
        assert (response.status_code, response.json()["error"]) == (409, "OrderNotEligibleForInvoice")
        assert response.json()["detail"].endswith(f"(current status: {status}).")
        assert ask(api, order).json()["error"] == "InvoiceDoesNotExist"

    @pytest.mark.parametrize("status", ["pending", "refunded", "partially_refunded"])
    def test_other_orders_do(self, api: Api, polar: FakePolar, ada: FakeCustomer, status: Status) -> None:
        order = polar.add_order(ada, status=status)
        assert generate(api, order).status_code == 202
        polar.advance(5)
        assert ask(api, order).status_code == 200

    @pytest.mark.parametrize("missing", ["billing_name", "billing_address"])
    def test_name_and_address_are_needed(self, api: Api, polar: FakePolar, ada: FakeCustomer, missing: str) -> None:
        order = polar.add_order(ada)
        setattr(order, missing, None)
        response = generate(api, order)
        assert response.status_code == 422
        assert response.json() == {"error": "MissingInvoiceBillingDetails", "detail": MISSING}

    def test_empty_name_and_bare_country_are_enough(self, api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
        order = polar.add_order(ada, billing_name="", billing_address={"country": "FR"})
        assert generate(api, order).status_code == 202

    def test_it_says_what_it_should(self, api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
        address = {"line1": "12 Main St", "line2": "Suite 3", "city": "Austin", "state": "TX", "country": "US"}
        order = polar.add_order(ada, product="Hosting (yearly)", billing_address=address, invoice=True)
        text = read(api("GET", ask(api, order).json()["url"], by="").content)
        lines = ("Ada Lovelace", "12 Main St", "Suite 3", "Austin US-TX", "Hosting (yearly)", "Total 58.80 USD")
        for line in (f"Invoice number {order.invoice_number}", *lines):
            assert line in text

    def test_after_an_edit_the_old_file_is_handed_out_until_the_new_one_is_made(
        self, api: Api, polar: FakePolar, ada: FakeCustomer
    ) -> None:
        order = polar.add_order(ada, invoice=True)
        url = ask(api, order).json()["url"]
        old = api("GET", url, by="")
        body = api("PATCH", path(order).removesuffix("/invoice"), by=ada, json={"billing_name": "New Name"}).json()
        assert body["is_invoice_generated"] is True
        assert api("GET", url, by="").content == old.content
        generate(api, order)
        polar.advance(4)
        assert ask(api, order).status_code == 200
        assert "Ada Lovelace" in read(api("GET", url, by="").content)
        polar.advance(1)
        new = api("GET", url, by="")
        assert "New Name" in read(new.content)
        assert new.headers["etag"] != old.headers["etag"]
        assert new.headers["last-modified"] != old.headers["last-modified"]
        assert api("GET", f"/v1/orders/{order.id}").json()["modified_at"] > body["modified_at"]

    def test_edit_while_the_job_runs_is_not_in_the_document(self, api: Api, polar: FakePolar, order: FakeOrder) -> None:
        polar.hold_jobs()
        generate(api, order)
        polar.advance(60)
        polar.update_order(order, billing_name="Changed Meanwhile")
        assert ask(api, order).status_code == 404
        polar.advance(1)
        polar.release_jobs()
        assert order.modified_at == polar.now
        url = ask(api, order).json()["url"]
        assert "Ada Lovelace" in read(polar.download(url).body)
        assert order.billing_name == "Changed Meanwhile"
        assert polar.events[-1].data["billing_name"] == "Ada Lovelace"
        generate(api, order)
        polar.finish_jobs()
        assert "Changed Meanwhile" in read(polar.download(url).body)

    def test_modified_at_moves_on_even_when_no_time_passes(self, api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
        polar.render_seconds = 0
        order = polar.add_order(ada, invoice=True)
        polar.update_order(order, billing_name="New Name")
        before = order.modified_at
        generate(api, order)
        assert before is not None
        assert order.modified_at == before + timedelta(microseconds=1)

    def test_merchant_has_the_same(self, api: Api, polar: FakePolar, order: FakeOrder) -> None:
        merchant = f"/v1/orders/{order.id}/invoice"
        assert api("GET", merchant).json()["error"] == "InvoiceDoesNotExist"
        assert api("POST", merchant).status_code == 202
        polar.advance(5)
        assert api("GET", api("GET", merchant).json()["url"], by="").content.startswith(b"%PDF")


class TestReceipt:
    def test_it_is_rendered_when_asked_for(self, api: Api, polar: FakePolar, order: FakeOrder) -> None:
        before = len(polar.events)
        response = ask(api, order, "receipt")
        assert (response.status_code, response.content) == (202, b"")
        assert "content-type" not in response.headers
        assert response.headers["content-length"] == "0"
        polar.advance(5)
        url = ask(api, order, "receipt").json()["url"]
        download = api("GET", url, by="")
        assert f"Receipt number {order.receipt_number}" in read(download.content)
        assert download.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert f'filename="Receipt-{order.receipt_number}.pdf"' in download.headers["content-disposition"]
        assert len(polar.events) == before
        assert order.modified_at == polar.now

    def test_every_question_without_a_file_renders_another(self, api: Api, polar: FakePolar, order: FakeOrder) -> None:
        for _ in range(3):
            assert ask(api, order, "receipt").status_code == 202
            polar.advance(1)
        names = set()
        for _ in range(5):
            polar.advance(1)
            answer = ask(api, order, "receipt")
            names |= {urlsplit(answer.json()["url"]).path} if answer.status_code == 200 else set()
        assert len(names) == 3

    @pytest.mark.parametrize("status", ["pending", "void"])
    def test_orders_without_a_number_have_none(
        self, api: Api, polar: FakePolar, ada: FakeCustomer, status: Status
    ) -> None:
        order = polar.add_order(ada, status=status)
        response = ask(api, order, "receipt")
        assert response.status_code == 404
        detail = f"No receipt allocated for order {order.id}."
        assert response.json() == {"error": "ReceiptNotAllocated", "detail": detail}

    def test_it_needs_no_billing_details(self, api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
        order = polar.add_order(ada, billing_name=None, billing_address=None)
        ask(api, order, "receipt")
        polar.advance(5)
        assert ask(api, order, "receipt").status_code == 200

    def test_refund_makes_a_new_object(self, api: Api, polar: FakePolar, order: FakeOrder) -> None:
        polar.render_seconds = 0
        ask(api, order, "receipt")
        before = ask(api, order, "receipt").json()["url"]
        polar.refund(order, 1000)
        after = ask(api, order, "receipt").json()["url"]
        assert "Refunded" not in read(polar.download(before).body)
        assert "Refunded 12.00 USD" in read(polar.download(after).body)
        body = api("GET", f"/v1/orders/{order.id}").json()
        assert (body["status"], body["refunded_amount"], body["refunded_tax_amount"]) == (
            "partially_refunded",
            1000,
            200,
        )
        assert (body["refundable_amount"], body["refundable_tax_amount"]) == (3900, 780)
        assert {event.type for event in polar.events[-2:]} == {"order.updated", "order.refunded"}
        polar.refund(order)
        assert (order.status, order.refunded_amount) == ("refunded", 4900)
        with pytest.raises(ValueError, match="0 left"):
            polar.refund(order)


class TestPresignedUrl:
    @pytest.fixture
    def url(self, api: Api, polar: FakePolar, ada: FakeCustomer) -> str:
        return str(ask(api, polar.add_order(ada, invoice=True)).json()["url"])

    def test_its_shape_is_that_of_s3(self, api: Api, polar: FakePolar, url: str) -> None:
        query = parse_qs(urlsplit(url).query)
        assert list(query) == [
            "response-content-disposition",
            "response-content-type",
            *("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders"),
            "X-Amz-Signature",
        ]
        assert query["X-Amz-Date"] == ["20260921T141320Z"]
        assert query["X-Amz-Expires"] == ["600"]
        assert query["X-Amz-SignedHeaders"] == ["host"]
        assert len(query["X-Amz-Signature"][0]) == 64
        assert "%20filename" in url
        assert url.startswith(polar.document_base + "/polar-customer-invoices/Invoice-ACME-")

    def test_it_is_signed_anew_at_each_call(self, api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
        order = polar.add_order(ada, invoice=True)
        first = ask(api, order).json()["url"]
        polar.advance(1)
        second = ask(api, order).json()["url"]
        assert first != second
        assert [api("GET", url, by="").status_code for url in (first, second)] == [200, 200]

    def test_the_file_comes_as_an_attachment(self, api: Api, url: str) -> None:
        response = api("GET", url, by="")
        assert response.content.startswith(b"%PDF")
        assert response.headers["content-type"] == "application/pdf"
        assert response.headers["content-disposition"].startswith('attachment; filename="Invoice-ACME-')
        assert response.headers["content-length"] == str(len(response.content))

    def test_it_lives_for_600_seconds(self, api: Api, polar: FakePolar, url: str) -> None:
        polar.advance(599)
        assert api("GET", url, by="").status_code == 200
        polar.advance(1)
        response = api("GET", url, by="")
        assert response.status_code == 403
        assert response.headers["content-type"] == "application/xml"
        assert b"Request has expired" in response.content

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("X-Amz-Expires=600", "X-Amz-Expires=6000"),
            ("Invoice-ACME", "Invoice-OTHER"),
            ("X-Amz-Signature=", "X-Amz-Signature=0"),
            ("X-Amz-Signature=", "X-Amz-Other="),
        ],
    )
    def test_altered_it_is_refused(self, api: Api, url: str, old: str, new: str) -> None:
        assert api("GET", url.replace(old, new), by="").status_code == 403

    def test_it_is_not_good_for_head(self, api: Api, url: str) -> None:
        response = api("HEAD", url, by="")
        assert (response.status_code, response.content) == (403, b"")

    @pytest.mark.parametrize(
        ("range_", "status", "part"),
        [
            ("bytes=0-3", 206, b"%PDF"),
            ("bytes=-6", 206, b"%%EOF\n"),
            ("bytes=99999-", 416, None),
            ("lines=1", 200, None),
        ],
    )
    def test_part_of_the_file(self, api: Api, url: str, range_: str, status: int, part: bytes | None) -> None:
        response = api("GET", url, by="", headers={"Range": range_})
        assert response.status_code == status
        if part is not None:
            assert response.content == part
            assert response.headers["content-range"].startswith("bytes ")

    def test_downloads_are_kept_apart_from_calls(self, api: Api, polar: FakePolar, url: str) -> None:
        polar.clear_calls()
        api("GET", url, by="")
        polar.download(url, method="HEAD")
        assert [(call.method, call.status) for call in polar.downloads] == [("GET", 200), ("HEAD", 403)]
        assert polar.calls == []


def test_lives_can_be_set(polar: FakePolar, ada: FakeCustomer) -> None:
    polar.url_seconds, polar.session_seconds = 30, 90
    session = polar.create_session(ada)
    assert session.expires_at == polar.now + timedelta(seconds=90)
    assert isinstance(session.expires_at, datetime)
    order = polar.add_order(ada, invoice=True)
    with polar.serve() as base_url:
        url = requests.get(
            f"{base_url}{path(order)}", headers={"Authorization": f"Bearer {session.token}"}, timeout=5
        ).json()["url"]
    assert "X-Amz-Expires=30" in url
