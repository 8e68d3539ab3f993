"""What can go wrong, reached by clicking as a visitor of the demo does; each page is looked at, its log line read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytest.importorskip("axe_playwright_python", reason="axe-playwright-python, which brings axe-core, is not installed")

from playwright.sync_api import expect

from tests.browser.conftest import text_of
from tests.browser.test_pages import examine

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Response

PAGE = "/demo/what-can-go-wrong/"

#: What each button leads to: the heading, what stands there besides, and the line of the log.
TROUBLES = {
    "Invoice not made yet": ("Your invoice has not been made yet", "Make invoice", "DEBUG invoice_not_generated"),
    "Invoice being prepared": ("Your invoice is being prepared", "You can stay on this page", ""),
    "Billing details missing": ("Your invoice has not been made yet", "Add billing details", "DEBUG invoice_not"),
    "Billing details refused": ("Billing details", "Save and make invoice", ""),
    "Draft order": ("This order gets no invoice", "not completed", "INFO order_not_eligible"),
    "Void order": ("This order gets no invoice", "cancelled", "INFO order_not_eligible"),
    "Refunded order": ("Sencha", "Refunded amount", ""),
    "No receipt": ("There is no receipt for this order", "paid online", "DEBUG receipt_unavailable"),
    "Another customer's order": ("Order not found", "no such order in your account", "INFO order_not_found"),
    "Not a customer": ("Order not found", "no such order in your account", "WARNING not_a_customer"),
    "No billing role": ("You may not see this order's billing", "ask one of them", "INFO not_permitted"),
    "Rate limit reached": ("Too many requests at the moment", "Try again", "WARNING rate_limited"),
    "Polar is away": ("Your documents can't be reached at the moment", "Try again", "WARNING polar_unavailable"),
    "The shop is misconfigured": ("Something is wrong on our side", "not something you did", "ERROR misconfigured"),
}


@pytest.fixture(scope="module")
def address(demo: str) -> str:
    return demo


@pytest.fixture(scope="module")
def profile(browser: Browser, address: str) -> Iterator[BrowserContext]:
    with browser.new_context(base_url=address, locale="en-US", bypass_csp=True) as context:
        yield context


def bring_about(page: Page, title: str) -> Response:
    """Click the button beside this title; give the answer of the page that it leads to."""
    page.goto("/")
    page.get_by_role("link", name="What can go wrong").click()
    row = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=title, exact=True))
    with page.expect_event(
        "response", lambda response: response.request.is_navigation_request() and response.request.method == "GET"
    ) as answered:
        row.get_by_role("button", name="Show it").click()
    page.wait_for_load_state()
    answer: Response = answered.value
    return answer


@pytest.fixture(autouse=True)
def _well_again(page: Page) -> Iterator[None]:
    yield
    page.goto(PAGE)
    end = page.get_by_role("button", name=re.compile("^End: "))
    if end.is_visible():
        end.click()
        expect(page.get_by_role("status")).to_have_text("All is well again.")


def test_every_trouble_is_looked_at(page: Page) -> None:
    page.goto(PAGE)
    titles = page.get_by_role("main").get_by_role("heading", level=2)
    expect(titles).to_have_text(list(TROUBLES))
    examine(page)


@pytest.mark.parametrize("title", TROUBLES)
def test_trouble_is_a_click_away(page: Page, demo_log: Path, title: str) -> None:
    heading, text, line = TROUBLES[title]
    before = len(demo_log.read_text(encoding="utf-8"))
    answer = bring_about(page, title)
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    expect(page.get_by_role("main")).to_contain_text(text)
    said = demo_log.read_text(encoding="utf-8")[before:]
    examine(page)
    page.goto(PAGE)
    row = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=title, exact=True))
    expect(row).to_contain_text(f"Status {answer.status}")
    level, _, code = line.partition(" ")
    lines = re.findall(r" (DEBUG|INFO|WARNING|ERROR) polar_portal\.portal: (\w+): ", said)
    assert [(each, name.startswith(code)) for each, name in lines] == ([(level, True)] if line else [])


def test_an_invoice_that_is_prepared_is_downloaded_in_the_end(page: Page) -> None:
    bring_about(page, "Invoice not made yet")
    with page.expect_download() as started:
        page.get_by_role("button", name="Make invoice").click()
    assert "Ada Lovelace" in text_of(started.value.path())


def test_a_refusal_stands_beside_its_field(page: Page, demo_log: Path) -> None:
    bring_about(page, "Billing details refused")
    for label, typed in (("Name or company", "Ada"), ("Street and number", "1"), ("Postal code", "1"), ("City", "Nil")):
        page.get_by_label(label).fill(typed)
    page.get_by_label("Country").select_option("FR")
    page.get_by_role("button", name="Save and make invoice").click()
    expect(page.get_by_label("City")).to_have_accessible_description("There is no such city")
    examine(page)
    assert "INFO polar_portal.portal: billing_details_invalid: " in demo_log.read_text(encoding="utf-8")


@pytest.mark.parametrize("title", ["Rate limit reached", "Polar is away", "The shop is misconfigured"])
def test_what_lasts_can_be_ended(page: Page, title: str) -> None:
    failed = bring_about(page, title)
    assert failed.status >= 500
    address = page.url
    page.get_by_role("button", name=f"End: {title}").click()
    expect(page.get_by_role("status")).to_have_text("All is well again.")
    with page.expect_download():
        page.evaluate("address => { window.location.href = address }", address)


def test_what_is_bought_is_paid_listed_and_has_an_invoice(page: Page) -> None:
    bring_about(page, "Refunded order")  # signs Ada in
    page.goto("/")
    page.get_by_role("button", name="Buy Oolong").click()
    expect(page.get_by_role("status")).to_contain_text("Thank you!")
    first = page.get_by_role("main").get_by_role("listitem").first
    expect(first).to_contain_text("Oolong")
    examine(page)
    first.get_by_role("link", name="Download invoice").click()
    expect(page.get_by_role("button", name="Make invoice")).to_be_visible()


def test_a_refund_arrives_by_webhook(page: Page) -> None:
    bring_about(page, "Refunded order")
    page.goto("/purchases/")
    for _second in range(30):
        if page.get_by_role("main").get_by_role("listitem").first.filter(has_text="Refunded").is_visible():
            break
        page.wait_for_timeout(1000)
        page.reload()
    expect(page.get_by_role("main").get_by_role("listitem").first).to_contain_text("Refunded")
