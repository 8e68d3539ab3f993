"""The JavaScript of the page for single-page front ends, as it stands there, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

from playwright.sync_api import Error

from tests.browser.conftest import Somebody, Stage, listening

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGE = Path(__file__).parent.parent.parent / "docs" / "howto" / "single-page-front-end.md"
FUNCTIONS, CALL = re.findall(r"```js\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def front_end(browser: Browser, address: str) -> Iterator[Page]:
    with browser.new_context(base_url=address) as context:
        page = context.new_page()
        with listening(page):
            yield page


def sign_in(page: Page, somebody: Somebody, address: str) -> None:
    page.context.add_cookies([{"name": "sessionid", "value": somebody.session, "url": address}])
    page.goto("/purchases/")  # a page with a form, which sets the cookie of the CSRF token


def test_it_has_an_invoice_made_and_opens_it(front_end: Page, stage: Stage, address: str) -> None:
    ada = stage.customer({})
    sign_in(front_end, ada, address)
    with front_end.expect_download() as started:
        front_end.evaluate(f"async (orderId) => {{ {FUNCTIONS} {CALL} }}", ada.orders[0])
    assert started.value.suggested_filename.endswith(".pdf")
    assert stage.do("count", "POST", f"{ada.orders[0]}/invoice") == 1


def test_it_is_told_by_its_code_what_is_in_the_way(front_end: Page, stage: Stage, address: str) -> None:
    bob = stage.customer({"billing_name": None, "billing_address": None}, name="Bob Ross")
    sign_in(front_end, bob, address)
    with pytest.raises(Error, match="billing_details_missing"):
        front_end.evaluate(f"async (orderId) => {{ {FUNCTIONS} {CALL} }}", bob.orders[0])
