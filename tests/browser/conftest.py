"""A real browser on the demo, started as a person starts it, and on a stage that tests direct."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", metavar="FOLDER", help="for tests/browser: keep a picture of every page there")


@contextmanager
def started(*command: str, log: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("POLAR_", "DJANGO_"))}
    with (
        Path(log or os.devnull).open("w", encoding="utf-8") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        yield process


# Of the package, not of the session: while Playwright runs, Django refuses the other tests their database.
@pytest.fixture(scope="package")
def demo_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the demo's window would show."""
    return tmp_path_factory.mktemp("demo") / "log"


@pytest.fixture(scope="package")
def demo(demo_log: Path) -> Iterator[str]:
    """The address of the demo's shop; it runs until the tests have ended, and then on request."""
    with started("example_project.demo", "--port", "0", log=demo_log) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if found := re.search(r"The shop is at (http://127\.0\.0\.1:\d+)/", line):
                    yield found[1]
                    break
            else:
                pytest.fail("the demo ended before it said where the shop is")
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 0


@dataclass
class Somebody:
    """A user of the stage, signed in by the key of their session."""

    session: str
    orders: list[str]


class Stage:
    """The demo's shop on a Polar that obeys; see `tests/browser/stage.py`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.address: str = self._answer()

    def customer(self, *orders: dict[str, Any], name: str = "Ada Lovelace") -> Somebody:
        """Add a customer with these orders: arguments of `FakePolar.add_order`."""
        return Somebody(**self.do("customer", name, list(orders)))

    def stranger(self) -> Somebody:
        """Add a user whom Polar does not know."""
        return Somebody(**self.do("stranger"))

    def tidy_up(self) -> None:
        self.do("recover")
        self.do("release_jobs")

    def do(self, act: str, *given: object) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([act, *given]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the stage ended; start it by hand to see why"
        return json.loads(line)


@contextmanager
def set_up(*options: str) -> Iterator[Stage]:
    with started("tests.browser.stage", *options) as process:
        yield Stage(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=20) == 0


@pytest.fixture(scope="package")
def _shop() -> Iterator[Stage]:
    with set_up() as stage:
        yield stage


@pytest.fixture(scope="package")
def _own_look() -> Iterator[Stage]:
    with set_up("--own-look") as stage:
        yield stage


@pytest.fixture
def stage(_shop: Stage) -> Iterator[Stage]:
    """The shop; after each test its Polar is as before."""
    yield _shop
    _shop.tidy_up()


@pytest.fixture
def own_look(_own_look: Stage) -> Iterator[Stage]:
    """A shop that does not replace the app's own base.html; likewise."""
    yield _own_look
    _own_look.tidy_up()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine (Debian: apt install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-gpu",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(_shop: Stage) -> str:
    """Where `page` is; a module may say otherwise."""
    return _shop.address


@contextmanager
def listening(page: Page) -> Iterator[None]:
    """The page must say nothing in its console, as it does when the Content-Security-Policy blocks something."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    yield
    assert [text for text in said if "Failed to load resource" not in text] == []


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without JavaScript"], scope="module")
def profile(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[BrowserContext]:
    """A browser profile with JavaScript, and one without; shared by a module's tests, because that is faster."""
    with browser.new_context(base_url=address, java_script_enabled=request.param, locale="en-US") as context:
        yield context


@pytest.fixture
def page(profile: BrowserContext) -> Iterator[Page]:
    """A page at `address`, nobody being signed in; with and without JavaScript."""
    profile.clear_cookies()
    page = profile.new_page()
    with listening(page):
        yield page
        page.close()


class SignIn(Protocol):
    def __call__(self, somebody: Somebody) -> None: ...


@pytest.fixture
def sign_in(page: Page, address: str) -> SignIn:
    """Sign the page in as somebody of the stage."""

    def sign_in(somebody: Somebody) -> None:
        page.context.clear_cookies()
        page.context.add_cookies([{"name": "sessionid", "value": somebody.session, "url": address}])

    return sign_in


def text_of(pdf: Path) -> str:
    """Return what a customer reads in the PDF."""
    import pypdf

    content = pdf.read_bytes()
    assert content.startswith(b"%PDF")
    return "\n".join(each.extract_text() for each in pypdf.PdfReader(io.BytesIO(content)).pages)
