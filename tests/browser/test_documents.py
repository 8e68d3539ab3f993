"""The whole life of a document: made, waited for, corrected; each ends with the PDF in the customer's hands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

from playwright.sync_api import expect

from tests.browser.conftest import text_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import SignIn, Stage

WITHOUT_DETAILS: dict[str, Any] = {"billing_name": None, "billing_address": None}


def test_an_invoice_is_offered_made_and_downloaded(page: Page, stage: Stage, sign_in: SignIn) -> None:
    ada = stage.customer({"product": "Sencha"})
    sign_in(ada)
    page.goto(f"/billing/orders/{ada.orders[0]}/")
    page.get_by_role("link", name="Download invoice").click()
    expect(page.get_by_role("heading", name="Your invoice has not been made yet")).to_be_visible()
    expect(page.locator("address")).to_contain_text("Ada Lovelace")
    assert stage.do("count", "POST", ada.orders[0]) == 0
    with page.expect_download() as started:
        page.get_by_role("button", name="Make invoice").click()
        expect(page.get_by_role("heading", name="Your invoice is being prepared")).to_be_visible()
    assert "Ada Lovelace" in text_of(started.value.path())
    assert stage.do("count", "POST", ada.orders[0]) == 1
    # The page left behind tells the truth, and signing out works from it.
    expect(page.get_by_role("heading", name="Your invoice is ready")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in").first).to_be_visible()


def test_missing_details_are_asked_for_and_nothing_typed_is_lost(page: Page, stage: Stage, sign_in: SignIn) -> None:
    ada = stage.customer({"product": "Oolong", **WITHOUT_DETAILS})
    sign_in(ada)
    page.goto(f"/billing/orders/{ada.orders[0]}/invoice/")
    # What can be had at once comes first.
    expect(page.get_by_role("main").get_by_role("link").first).to_have_text("Download receipt")
    page.get_by_role("link", name="Add billing details").click()
    page.get_by_label("Name or company").fill("Countess of <Lovelace>")
    page.get_by_label("Street and number").fill("   ")
    page.get_by_label("Postal code").fill("90210")
    page.get_by_label("Country").select_option("US")
    page.get_by_role("button", name="Save and make invoice").click()
    expect(page).to_have_title(re.compile("^Error: Billing details"))
    expect(page.get_by_role("alert")).to_contain_text("Please look at the messages beside the fields.")
    for label, message in (
        ("Street and number", "This field is required."),
        ("City", "This field is required."),
        ("State or province", "An address in this country needs its state or province."),
    ):
        field = page.get_by_label(label)
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_have_accessible_description(message)
    page.get_by_role("alert").get_by_role("link", name="City").click()
    expect(page.get_by_label("City")).to_be_focused()
    expect(page.get_by_label("Name or company")).to_have_value("Countess of <Lovelace>")
    expect(page.get_by_label("Postal code")).to_have_value("90210")
    expect(page.get_by_label("Country")).to_have_value("US")
    assert stage.do("count", "PATCH", ada.orders[0]) == 0

    page.get_by_label("Street and number").fill("1 Analytical Way")
    page.get_by_label("City").fill("Beverly Hills")
    page.get_by_label("State or province").select_option("US-CA")
    with page.expect_download() as started:
        page.get_by_role("button", name="Save and make invoice").click()
    text = text_of(started.value.path())
    assert "Countess of <Lovelace>" in text
    assert "1 Analytical Way" in text
    expect(page.get_by_role("heading", name="Your invoice is ready")).to_be_visible()


def test_polars_refusal_stands_beside_its_field(page: Page, stage: Stage, sign_in: SignIn) -> None:
    ada = stage.customer({"product": "Oolong", **WITHOUT_DETAILS})
    sign_in(ada)
    page.goto(f"/billing/orders/{ada.orders[0]}/billing-details/")
    stage.do("refuse", "city", "No such city")
    for label, typed in (("Name or company", "Ada"), ("Street and number", "1"), ("Postal code", "1"), ("City", "Nil")):
        page.get_by_label(label).fill(typed)
    page.get_by_label("Country").select_option("FR")
    page.get_by_role("button", name="Save and make invoice").click()
    expect(page.get_by_label("City")).to_have_accessible_description("No such city")
    expect(page.get_by_label("City")).to_have_value("Nil")


def test_a_corrected_invoice_is_never_the_old_one(page: Page, stage: Stage, sign_in: SignIn) -> None:
    ada = stage.customer({"product": "Earl Grey", "invoice": True})
    sign_in(ada)
    page.goto(f"/billing/orders/{ada.orders[0]}/")
    with page.expect_download() as started:
        page.get_by_role("link", name="Download invoice").click()
    assert "Ada Lovelace" in text_of(started.value.path())
    page.get_by_role("link", name="Correct billing details").click()
    expect(page.get_by_label("Country")).to_be_disabled()
    expect(page.get_by_label("Country")).to_have_accessible_description("Can't be changed any more.")
    page.get_by_label("Name or company").fill("Analytical Engines Ltd")
    stage.do("hold_jobs")
    page.get_by_role("button", name="Save and make invoice").click()
    expect(page.get_by_role("heading", name="Your invoice is being prepared")).to_be_visible()
    # Whoever goes back and clicks again waits too.
    page.goto(f"/billing/orders/{ada.orders[0]}/")
    page.get_by_role("link", name="Download invoice").click()
    expect(page.get_by_role("heading", name="Your invoice is being prepared")).to_be_visible()
    with page.expect_download() as started:
        stage.do("release_jobs")
    text = text_of(started.value.path())
    assert "Analytical Engines Ltd" in text
    assert "Ada Lovelace" not in text


def test_locked_state_is_shown(page: Page, stage: Stage, sign_in: SignIn) -> None:
    address = {"line1": "1 Main St", "city": "Boise", "postal_code": "83702", "state": "US-ID", "country": "US"}
    ada = stage.customer({"billing_address": address})
    sign_in(ada)
    page.goto(f"/billing/orders/{ada.orders[0]}/billing-details/")
    for label, value in (("Country", "US"), ("State or province", "US-ID")):
        expect(page.get_by_label(label)).to_be_disabled()
        expect(page.get_by_label(label)).to_have_value(value)


def test_a_receipt_is_waited_for_and_downloaded(page: Page, stage: Stage, sign_in: SignIn) -> None:
    ada = stage.customer({"product": "Teapot"})
    sign_in(ada)
    page.goto(f"/billing/orders/{ada.orders[0]}/")
    with page.expect_download() as started:
        page.get_by_role("link", name="Download receipt").click()
        expect(page.get_by_role("heading", name="Your receipt is being prepared")).to_be_visible()
    assert started.value.suggested_filename.startswith("Receipt-")
    assert "Receipt number" in text_of(started.value.path())
    expect(page.get_by_role("heading", name="Your receipt is ready")).to_be_visible()


def test_an_order_without_a_receipt_says_so(page: Page, stage: Stage, sign_in: SignIn) -> None:
    ada = stage.customer({"product": "Tea of the month", "status": "pending"})
    sign_in(ada)
    page.goto(f"/billing/orders/{ada.orders[0]}/")
    expect(page.get_by_role("link", name="Download receipt")).to_have_count(0)
    response = page.goto(f"/billing/orders/{ada.orders[0]}/receipt/")
    assert response
    assert response.status == 404
    expect(page.get_by_role("heading", name="There is no receipt for this order")).to_be_visible()
