"""The page that waits: quiet with JavaScript, coming back by itself without, and not for ever."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

from playwright.sync_api import expect

from tests.browser.conftest import text_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

    from tests.browser.conftest import SignIn, Somebody, Stage

with_javascript = pytest.mark.parametrize("profile", [True], indirect=True, ids=["with JavaScript"])
without_javascript = pytest.mark.parametrize("profile", [False], indirect=True, ids=["without JavaScript"])


@pytest.fixture
def waiting(page: Page, stage: Stage, sign_in: SignIn) -> Somebody:
    """The page waits for an invoice that is not finished before `release_jobs`."""
    ada = stage.customer({"product": "Sencha"})
    sign_in(ada)
    page.goto(f"/billing/orders/{ada.orders[0]}/invoice/")
    stage.do("hold_jobs")
    page.get_by_role("button", name="Make invoice").click()
    expect(page.get_by_role("heading", name="Your invoice is being prepared")).to_be_visible()
    return ada


def asks(page: Page, order: str) -> list[str]:
    """Collect how the page asks for the order's invoice from now on: quietly, or by loading itself again."""
    seen: list[str] = []

    def note(request: Request) -> None:
        if f"/{order}/invoice/" in request.url:
            seen.append("again" if request.is_navigation_request() else "quietly")

    page.on("request", note)
    return seen


@with_javascript
def test_the_page_asks_quietly(page: Page, stage: Stage, waiting: Somebody) -> None:
    seen = asks(page, waiting.orders[0])
    page.wait_for_timeout(2500)
    assert len(seen) >= 2
    assert set(seen) == {"quietly"}  # it does not go where the Refresh header leads
    status = page.get_by_role("status")
    expect(status).to_contain_text("Your invoice is being prepared")
    with page.expect_download() as started:
        stage.do("release_jobs")
    assert "Ada Lovelace" in text_of(started.value.path())
    expect(status).to_have_text("Your invoice is ready The download starts by itself.", use_inner_text=True)
    expect(page).to_have_title(re.compile("^Your invoice is ready .* Leaf & Kettle$"))
    expect(page.get_by_role("link", name="Download invoice")).to_be_visible()
    expect(page.locator(".polar-portal-spinner")).to_be_hidden()
    assert page.url.endswith("/invoice/?waiting=0")


def test_the_page_gives_up_with_a_way_out(browser: Browser, stage: Stage) -> None:
    ada = stage.customer({"product": "Sencha"})
    with browser.new_context(base_url=stage.address, locale="en-US") as context:  # of its own, for it gets a clock
        context.clock.install()
        context.add_cookies([{"name": "sessionid", "value": ada.session, "url": stage.address}])
        page = context.new_page()
        page.goto(f"/billing/orders/{ada.orders[0]}/invoice/")
        stage.do("hold_jobs")
        page.get_by_role("button", name="Make invoice").click()
        expect(page.get_by_role("heading", name="Your invoice is being prepared")).to_be_visible()
        seen = asks(page, ada.orders[0])
        way_out = page.get_by_role("link", name="Look again")
        for _second in range(2000):  # more than are needed: the answers come in real time
            if way_out.is_visible():
                break
            page.clock.run_for(1000)
        expect(page.get_by_role("status")).to_contain_text("This takes longer than usual.")
        expect(page.locator(".polar-portal-spinner")).to_be_hidden()
        assert seen == ["quietly"] * 20


@without_javascript
def test_the_page_comes_back_and_gives_up_with_a_way_out(page: Page, stage: Stage, waiting: Somebody) -> None:
    page.wait_for_url("**/invoice/?waiting=2")
    page.goto(f"/billing/orders/{waiting.orders[0]}/invoice/?waiting=19")
    page.wait_for_url("**/invoice/?waiting=20")
    expect(page.get_by_role("status")).to_contain_text("This takes longer than usual.")
    expect(page.get_by_role("link", name="Look again")).to_be_visible()
    expect(page.locator(".polar-portal-spinner")).to_have_count(0)
    seen = asks(page, waiting.orders[0])
    page.wait_for_timeout(1500)
    assert seen == []


def test_a_failure_leads_to_the_page_that_says_so_and_on(page: Page, stage: Stage, waiting: Somebody) -> None:
    stage.do("fail", 503)
    expect(page.get_by_role("heading", name="Your documents can't be reached at the moment")).to_be_visible()
    stage.do("release_jobs")
    stage.do("recover")
    with page.expect_download() as started:
        page.get_by_role("link", name="Try again").click()
    assert "Ada Lovelace" in text_of(started.value.path())
    expect(page.get_by_role("heading", name="Your invoice is ready")).to_be_visible()


def test_who_is_signed_out_meanwhile_is_led_to_sign_in(page: Page, waiting: Somebody) -> None:
    page.context.clear_cookies()
    page.wait_for_url(re.compile(r"/sign-in/\?next=/billing/orders/.*invoice/"))
