"""What a customer, another customer and staff do with an order's invoice in the demo, as a person starts it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

from playwright.sync_api import expect

from tests.browser.conftest import text_of

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def address(demo: str) -> str:
    return demo


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


def number_in(name: str) -> str:
    found = re.fullmatch(r"Invoice-(.+)\.pdf", name)
    assert found
    return found[1]


def test_a_ready_invoice_is_downloaded(page: Page) -> None:
    sign_in(page, "ada")
    open_purchase(page, "Earl Grey")
    with page.expect_download() as started:
        page.get_by_role("link", name="Download invoice").click()
    assert number_in(started.value.suggested_filename) in text_of(started.value.path())


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


def run_action(page: Page, *titles: str) -> None:
    """Run the action on the first purchases with these titles, as staff do."""
    page.goto("/admin/")
    page.get_by_label("Username").fill("sam")
    page.get_by_label("Password").fill("demo")
    page.get_by_role("button", name="Log in").click()
    page.goto("/admin/shop/purchase/")
    for title in titles:
        page.get_by_role("row", name=re.compile(title)).last.get_by_role("checkbox").check()
    page.get_by_label("Action:").select_option(label="Download invoice")
    page.get_by_role("button", name="Run").or_(page.get_by_role("button", name="Go")).click()


# The admin's own list needs JavaScript for its actions.
with_javascript = pytest.mark.parametrize("profile", [True], indirect=True, ids=["with JavaScript"])


@with_javascript
def test_staff_open_a_selected_order(page: Page) -> None:
    with page.expect_download() as started:
        run_action(page, "Earl Grey")
    assert number_in(started.value.suggested_filename) in text_of(started.value.path())


@with_javascript
def test_staff_have_what_is_missing_made(page: Page) -> None:
    run_action(page, "Tea of the month", "Earl Grey")
    expect(page.get_by_role("heading", name="Not every order has an invoice yet")).to_be_visible()
    buttons = page.locator(".submit-row input")
    expect(buttons).to_have_count(2)
    for button in buttons.all():
        box = button.bounding_box()
        assert box
        assert box["height"] > 30, "as high as the admin's own"
    with page.expect_download() as started:
        page.get_by_role("button", name="Download what is there").click()
    assert started.value.suggested_filename.endswith(".zip")
