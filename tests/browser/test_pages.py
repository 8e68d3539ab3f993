"""Every page, in the shop's look and in the app's own: axe-core finds nothing against WCAG 2.2 AA, light and dark.

`pytest tests/browser/test_pages.py --pictures FOLDER` keeps pictures of them all, wide and narrow, to be looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pytest

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytest.importorskip("axe_playwright_python", reason="axe-playwright-python, which brings axe-core, is not installed")

from axe_playwright_python.base import AXE_SCRIPT, AxeResults  # type: ignore[import-untyped]
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

    from tests.browser.conftest import Stage

WCAG_22_AA = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
#: What can differ between light and dark.
OF_COLOURS = ["color-contrast", "link-in-text-block"]
WIDE, NARROW = 1280, 390
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

LONG = "Rinderkennzeichnungsfleischetikettierungsüberwachungsaufgabenübertragungsgesetz, bound in leather, signed"
ORDERS: list[dict[str, Any]] = [
    {"product": "Earl Grey", "invoice": True},
    {"product": LONG, "amount": 123456789, "created_at": "2026-02-01T12:00:00+00:00"},
    {"product": "Tea of the month", "status": "pending", "created_at": "2026-01-31T12:00:00+00:00"},
    {"product": "Six cups", "status": "partially_refunded", "created_at": "2026-01-30T12:00:00+00:00"},
    {"product": "Kettle", "status": "void", "created_at": "2026-01-29T12:00:00+00:00"},
    *({"product": f"Oolong {number}", "created_at": "2026-01-02T12:00:00+00:00"} for number in range(37)),
]
WITHOUT_DETAILS: dict[str, Any] = {"product": "Oolong", "billing_name": None, "billing_address": None}

Visit = Callable[..., None]
Arrange: TypeAlias = "Callable[[Page, Stage, Visit], None]"
PAGES: dict[str, Arrange] = {}


def shows(arrange: Arrange) -> Arrange:
    """Add a page to PAGES: a function that brings `page` there, `visit` being the way as a new customer with orders."""
    PAGES[arrange.__name__] = arrange
    return arrange


@shows
def orders(page: Page, stage: Stage, visit: Visit) -> None:
    visit("/billing/orders/", *ORDERS)


@shows
def orders_page_2(page: Page, stage: Stage, visit: Visit) -> None:
    visit("/billing/orders/?page=2", *ORDERS)


@shows
def orders_none(page: Page, stage: Stage, visit: Visit) -> None:
    visit("/billing/orders/")


@shows
def orders_of_a_stranger(page: Page, stage: Stage, visit: Visit) -> None:
    visit("/billing/orders/", stranger=True)


@shows
def orders_while_polar_is_away(page: Page, stage: Stage, visit: Visit) -> None:
    visit("/billing/orders/", *ORDERS[:5])
    stage.do("fail", 503)
    page.reload()


@shows
def order_refunded(page: Page, stage: Stage, visit: Visit) -> None:
    visit("/billing/orders/{}/", ORDERS[3])


@shows
def order_with_a_long_name(page: Page, stage: Stage, visit: Visit) -> None:
    visit("/billing/orders/{}/", ORDERS[1])


@shows
def order_void(page: Page, stage: Stage, visit: Visit) -> None:
    visit("/billing/orders/{}/", ORDERS[4])


@shows
def order_without_details(page: Page, stage: Stage, visit: Visit) -> None:
    visit("/billing/orders/{}/", WITHOUT_DETAILS)


@shows
def offer(page: Page, stage: Stage, visit: Visit) -> None:
    visit("/billing/orders/{}/invoice/", {"product": "Sencha"})


@shows
def offer_without_details(page: Page, stage: Stage, visit: Visit) -> None:
    visit("/billing/orders/{}/invoice/", WITHOUT_DETAILS)


@shows
def billing_details(page: Page, stage: Stage, visit: Visit) -> None:
    visit("/billing/orders/{}/billing-details/", WITHOUT_DETAILS)


@shows
def billing_details_refused(page: Page, stage: Stage, visit: Visit) -> None:
    visit("/billing/orders/{}/billing-details/", WITHOUT_DETAILS)
    page.get_by_label("Name or company").fill("Ada Lovelace")
    page.get_by_label("Country").select_option("US")
    page.get_by_role("button", name="Save and make invoice").click()
    expect(page.get_by_role("alert")).to_be_visible()


@shows
def billing_details_locked(page: Page, stage: Stage, visit: Visit) -> None:
    address = {"line1": "1 Main St", "city": "Boise", "postal_code": "83702", "state": "US-ID", "country": "US"}
    visit("/billing/orders/{}/billing-details/", {"billing_address": address})


@shows
def waiting(page: Page, stage: Stage, visit: Visit) -> None:
    visit("/billing/orders/{}/invoice/", {"product": "Sencha"})
    stage.do("hold_jobs")
    page.get_by_role("button", name="Make invoice").click()
    expect(page.get_by_role("heading", name="Your invoice is being prepared")).to_be_visible()


@shows
def waiting_given_up(page: Page, stage: Stage, visit: Visit) -> None:
    waiting(page, stage, visit)
    page.goto(page.url.replace("?waiting=0", "?waiting=20"))


@shows
def ready(page: Page, stage: Stage, visit: Visit) -> None:
    visit("/billing/orders/{}/invoice/?waiting=0", {"invoice": True})


@shows
def portal(page: Page, stage: Stage, visit: Visit) -> None:
    page.route(f"{stage.do('portals_address')}?*", lambda route: route.fulfill(status=204))  # it leads there at once
    visit("/billing/orders/", *ORDERS[:1])
    page.get_by_role("button", name="Open billing portal").click()
    expect(page.get_by_role("heading", name="Opening the billing portal")).to_be_visible()


@shows
def failure_not_found(page: Page, stage: Stage, visit: Visit) -> None:
    visit("/billing/orders/00000000-0000-4000-8000-000000000000/")


@shows
def failure_not_eligible(page: Page, stage: Stage, visit: Visit) -> None:
    visit("/billing/orders/{}/invoice/", ORDERS[4])


@shows
def failure_away(page: Page, stage: Stage, visit: Visit) -> None:
    stage.do("fail", 503)
    visit("/billing/orders/{}/invoice/", ORDERS[0])


def shop_home(page: Page, stage: Stage, visit: Visit) -> None:
    visit("/")


def shop_sign_in(page: Page, stage: Stage, visit: Visit) -> None:
    page.goto(f"{stage.address}/sign-in/")


def shop_purchases(page: Page, stage: Stage, visit: Visit) -> None:
    visit("/purchases/", *ORDERS[:5])


def shop_purchase(page: Page, stage: Stage, visit: Visit) -> None:
    visit("/purchases/", *ORDERS[:1])
    page.get_by_role("link", name="Earl Grey").click()


SHOP = {each.__name__: each for each in (shop_home, shop_sign_in, shop_purchases, shop_purchase)}


@pytest.fixture(scope="module")
def profile(browser: Browser) -> Iterator[BrowserContext]:
    """One for all pages, because that is faster. axe-core is put into them, which their own policy would forbid."""
    with browser.new_context(locale="en-US", bypass_csp=True) as context:
        yield context


@pytest.mark.parametrize("name", [*PAGES, *SHOP])
def test_page_in_the_shops_look(name: str, stage: Stage, profile: BrowserContext, pytestconfig: pytest.Config) -> None:
    look_at(name, (PAGES | SHOP)[name], stage, profile, pytestconfig.getoption("--pictures", None))


@pytest.mark.parametrize("name", PAGES)
def test_page_in_its_own_look(name: str, own_look: Stage, profile: BrowserContext, pytestconfig: pytest.Config) -> None:
    look_at(f"own_{name}", PAGES[name], own_look, profile, pytestconfig.getoption("--pictures", None))


def look_at(name: str, arrange: Arrange, stage: Stage, profile: BrowserContext, pictures: str | None) -> None:
    profile.clear_cookies()
    page = profile.new_page()

    def visit(address: str, *orders: dict[str, Any], stranger: bool = False) -> None:
        somebody = stage.stranger() if stranger else stage.customer(*orders)
        profile.add_cookies([{"name": "sessionid", "value": somebody.session, "url": stage.address}])
        page.goto(stage.address + address.format(*somebody.orders))

    arrange(page, stage, visit)
    examine(page, pictures and str(Path(pictures) / name))
    page.close()


def examine(page: Page, picture: str | None = None) -> None:
    """Look at a page wide and narrow, light and dark. picture: how the names of its pictures begin."""
    page.evaluate(AXE_SCRIPT)
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        for width in (WIDE, NARROW):
            page.set_viewport_size({"width": width, "height": 800})
            if picture:
                page.screenshot(path=f"{picture}-{width}-{scheme}.png", full_page=True)
            # Nothing is wider than the screen, so that nobody has to scroll in two directions (WCAG 1.4.10).
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        rules = {"runOnly": WCAG_22_AA} if scheme == "light" else {"runOnly": {"type": "rule", "values": OF_COLOURS}}
        found = AxeResults(page.evaluate("options => axe.run(options)", {**rules, "resultTypes": ["violations"]}))
        assert found.violations_count == 0, found.generate_report()


def test_pages_speak_the_browsers_language(own_look: Stage, browser: Browser) -> None:
    """In German: what Django and Babel say; our own texts are told by the tests of the catalogues."""
    ada = own_look.customer({"product": "Sencha", "amount": 1234567, "tax_amount": 0, "billing_name": None})
    with browser.new_context(base_url=own_look.address, locale="de-DE") as context:
        context.add_cookies([{"name": "sessionid", "value": ada.session, "url": own_look.address}])
        page = context.new_page()
        page.goto("/billing/orders/")
        expect(page.locator("html")).to_have_attribute("lang", "de")
        expect(page.get_by_role("listitem")).to_contain_text("12.345,67\u00a0$")
        page.goto(f"/billing/orders/{ada.orders[0]}/billing-details/")
        page.locator("form.polar-portal-form button").click()
        expect(page.locator("[name=name]")).to_have_accessible_description("Dieses Feld ist zwingend erforderlich.")
