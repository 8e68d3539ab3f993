"""What a customer, another customer and staff do with an order's invoice, in Chromium."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pypdf
import pytest

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Download, Page


def sign_in(page: Page, name: str) -> None:
    page.goto("/sign-in/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill("demo")
    page.get_by_role("button", name="Sign in").click()


def open_purchase(page: Page, title: str) -> str:
    """Open the purchase's own page from the list; give its address."""
    page.goto("/purchases/")
    page.get_by_role("link", name=re.compile(f"^{re.escape(title)}")).first.click()
    return page.url


def text_of(download: Download) -> str:
    content = Path(download.path()).read_bytes()
    assert content.startswith(b"%PDF")
    return "\n".join(each.extract_text() for each in pypdf.PdfReader(io.BytesIO(content)).pages)


def number_in(name: str) -> str:
    found = re.fullmatch(r"Invoice-(.+)\.pdf", name)
    assert found
    return found[1]


def test_a_ready_invoice_is_downloaded(page: Page) -> None:
    sign_in(page, "ada")
    open_purchase(page, "Earl Grey")
    with page.expect_download() as started:
        page.get_by_role("link", name="Download invoice").click()
    assert number_in(started.value.suggested_filename) in text_of(started.value)


def test_an_invoice_is_made_waited_for_and_comes_by_itself(page: Page, request: pytest.FixtureRequest) -> None:
    # Each of the two walks has an order of its own: an invoice is made once.
    sign_in(page, "bob" if "without" in request.node.callspec.id else "ada")
    open_purchase(page, "Tea of the month" if "without" in request.node.callspec.id else "Sencha")
    link = page.locator("a[href*='/invoice/']").first
    link.click()
    expect(page.get_by_role("heading", name="Your invoice has not been made yet")).to_be_visible()
    with page.expect_download(timeout=30_000) as started:
        page.get_by_role("button", name="Make invoice").click()
        expect(page.get_by_role("heading", name="Your invoice is being prepared")).to_be_visible()
    assert number_in(started.value.suggested_filename) in text_of(started.value)
    # The page left behind tells the truth, and signing out works from it.
    expect(page.get_by_role("heading", name="Your invoice is ready")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in").first).to_be_visible()


def test_another_customer_cannot_reach_it(page: Page) -> None:
    sign_in(page, "ada")
    open_purchase(page, "Earl Grey")
    href = page.get_by_role("link", name="Download invoice").get_attribute("href")
    assert href
    page.context.clear_cookies()
    page.goto(href)
    assert "/sign-in/" in page.url
    sign_in(page, "bob")
    response = page.goto(href)
    assert response is not None
    assert response.status == 404
    expect(page.get_by_role("heading", name="Order not found")).to_be_visible()


def test_staff_open_a_selected_order(page: Page, request: pytest.FixtureRequest) -> None:
    if "without" in request.node.callspec.id:
        pytest.skip("the admin's own list needs JavaScript for its actions")
    page.goto("/admin/")
    page.get_by_label("Username").fill("sam")
    page.get_by_label("Password").fill("demo")
    page.get_by_role("button", name="Log in").click()
    page.goto("/admin/shop/purchase/")
    page.get_by_role("row", name=re.compile("Earl Grey")).get_by_role("checkbox").check()
    page.get_by_label("Action:").select_option(label="Download invoice")
    with page.expect_download() as started:
        page.get_by_role("button", name="Run").or_(page.get_by_role("button", name="Go")).click()
    assert number_in(started.value.suggested_filename) in text_of(started.value)
