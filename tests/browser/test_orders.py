"""A customer's orders: the list, one of them, what is said when there is nothing to see, the hosted portal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import SignIn, Stage


def test_orders_are_listed_page_by_page(page: Page, stage: Stage, sign_in: SignIn) -> None:
    teas = [
        {"product": f"Tea {number}", "created_at": f"2026-01-{number:02}T12:00:00+00:00"} for number in range(1, 24)
    ]
    sign_in(stage.customer(*teas, {"product": "Never bought", "status": "draft"}))
    page.goto("/billing/orders/")
    titles = page.get_by_role("main").get_by_role("heading", level=2)
    expect(titles).to_have_count(20)
    expect(titles.first).to_have_text("Tea 23")
    expect(page.get_by_text("Jan. 23, 2026")).to_be_visible()
    expect(page.get_by_role("listitem").first).to_contain_text("Paid $58.80")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Older orders").click()
    expect(titles).to_have_text(["Tea 3", "Tea 2", "Tea 1"])
    expect(page.get_by_text("Page 2 of 2")).to_be_visible()
    page.get_by_role("link", name="Newer orders").click()
    expect(titles.first).to_have_text("Tea 23")
    expect(page.get_by_text("Never bought")).to_have_count(0)


def test_an_order_shows_its_lines_refund_and_documents(page: Page, stage: Stage, sign_in: SignIn) -> None:
    sign_in(
        stage.customer(
            {
                "product": "Six cups",
                "status": "partially_refunded",
                "currency": "jpy",
                "amount": 5000,
                "tax_amount": 500,
            }
        )
    )
    page.goto("/billing/orders/")
    expect(page.get_by_role("listitem")).to_contain_text("¥1,100 refunded")
    page.get_by_role("link", name="Six cups").click()
    expect(page.get_by_role("heading", name="Six cups", level=1)).to_be_visible()
    table = page.get_by_role("table", name="What you bought")
    expect(table.get_by_role("row", name="Total")).to_contain_text("¥5,500")
    expect(table.get_by_role("row", name="Refunded")).to_contain_text("¥1,100")
    expect(page.locator("address")).to_contain_text("1 rue des Écoles")
    expect(page.get_by_role("link", name="Download invoice")).to_be_visible()
    expect(page.get_by_role("link", name="Download receipt")).to_be_visible()


def test_an_order_that_gets_no_invoice_says_so(page: Page, stage: Stage, sign_in: SignIn) -> None:
    ada = stage.customer({"product": "Kettle", "status": "void"})
    sign_in(ada)
    page.goto(f"/billing/orders/{ada.orders[0]}/")
    expect(page.get_by_text("Invoices are made for completed orders only.")).to_be_visible()
    expect(page.get_by_role("link", name="Download invoice")).to_have_count(0)
    for address in ("invoice", "billing-details"):
        response = page.goto(f"/billing/orders/{ada.orders[0]}/{address}/")
        assert response
        assert response.status == 409
        expect(page.get_by_role("heading", name="This order gets no invoice")).to_be_visible()
    page.get_by_role("link", name="Your orders").click()
    expect(page.get_by_role("link", name="Kettle", exact=True)).to_be_visible()


def test_who_is_no_customer_sees_a_friendly_empty_page(page: Page, stage: Stage, sign_in: SignIn) -> None:
    sign_in(stage.stranger())
    response = page.goto("/billing/orders/")
    assert response
    assert response.status == 200
    expect(page.get_by_role("heading", name="There is nothing to show yet")).to_be_visible()


def test_another_customers_order_is_not_found(page: Page, stage: Stage, sign_in: SignIn) -> None:
    ada = stage.customer({"invoice": True})
    for other in (stage.customer({}, name="Bob Ross"), stage.stranger()):
        sign_in(other)
        for what in ("", "invoice/", "receipt/", "billing-details/"):
            response = page.goto(f"/billing/orders/{ada.orders[0]}/{what}")
            assert response
            assert response.status == 404
            expect(page.get_by_role("heading", name="Order not found")).to_be_visible()


def test_orders_that_are_known_are_shown_when_polar_is_away(page: Page, stage: Stage, sign_in: SignIn) -> None:
    ada = stage.customer({"product": "Sencha"})
    sign_in(ada)
    page.goto("/billing/orders/")
    stage.do("fail", 503)
    page.reload()
    expect(page.get_by_role("status")).to_contain_text("can't be reached at the moment")
    page.get_by_role("link", name="Sencha").click()
    expect(page.get_by_role("heading", name="Your documents can't be reached at the moment")).to_be_visible()
    stage.do("recover")
    page.get_by_role("link", name="Try again").click()
    expect(page.get_by_role("heading", name="Sencha")).to_be_visible()


def test_hosted_portal_opens_and_leads_back(page: Page, stage: Stage, sign_in: SignIn) -> None:
    sign_in(stage.customer({"product": "Sencha"}))
    page.goto("/billing/orders/")
    page.get_by_role("button", name="Open billing portal").click()
    page.wait_for_url(re.compile(re.escape(stage.do("portals_address")) + r"\?.+"))
    page.go_back()
    expect(page.get_by_role("heading", name="Your orders")).to_be_visible()


def test_hosted_portal_that_is_away_can_be_tried_again(page: Page, stage: Stage, sign_in: SignIn) -> None:
    sign_in(stage.customer({"product": "Sencha"}))
    page.goto("/billing/orders/")
    stage.do("fail", 503)
    page.get_by_role("button", name="Open billing portal").click()
    expect(page.get_by_role("heading", name="Your documents can't be reached at the moment")).to_be_visible()
    stage.do("recover")
    page.get_by_role("link", name="Try again").click()
    expect(page.get_by_role("button", name="Open billing portal")).to_be_visible()
