"""Take the README's pictures from the demo: `make pictures`, or

    python -m example_project.demo.pictures docs/images

Needs Playwright and a Chromium.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIZE = {"width": 640, "height": 390}
#: Kilobytes: they are looked at before anything is installed, on any line.
LARGEST = 200


def main(folder: Path) -> None:
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
    command = [sys.executable, "-m", "example_project.demo", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as demo:  # noqa: S603 - our own command
        try:
            address = address_of(demo)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                page = browser.new_page(base_url=address, viewport=SIZE, device_scale_factor=2, locale="en-US")  # type: ignore[arg-type]
                sign_in(page)
                take(page, folder, "purchases")
                page.get_by_role("listitem").filter(has_text="Sencha").get_by_role("link", name="Download").click()
                page.get_by_role("button", name="Make invoice").click()
                page.get_by_role("heading", name="Your invoice is being prepared").wait_for()
                take(page, folder, "waiting")
                browser.close()
        finally:
            demo.send_signal(signal.SIGINT)


def address_of(demo: subprocess.Popen[str]) -> str:
    assert demo.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
    for line in demo.stdout:
        if found := re.search(r"The shop is at (http://\S+)/ ", line):
            return found[1]
    raise SystemExit("The demo does not start; start it by hand to see why: make demo")


def sign_in(page: Page) -> None:
    page.goto("/sign-in/")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill("demo")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="My purchases").wait_for()


def take(page: Page, folder: Path, name: str) -> None:
    for scheme, path in (("light", folder / f"{name}.png"), ("dark", folder / f"{name}-dark.png")):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.screenshot(path=path)
        size = path.stat().st_size // 1024
        sys.stdout.write(f"{path}: {size} kB\n")
        if size > LARGEST:
            raise SystemExit(f"{path} is larger than {LARGEST} kB.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
