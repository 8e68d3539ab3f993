"""The tutorial, followed word for word: its files are written, its commands run, its button is clicked over HTTP."""

from __future__ import annotations

import html
import os
import re
import socket
import subprocess
import sys
import sysconfig
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import requests

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
PASSWORD = "of the tutorial"

INSTALL = "pip install django-polar-portal"
CREATE_SUPERUSER = "python manage.py createsuperuser --username ada --email ada@example.com"
FAKE = "python polar.py"
RUNSERVER = "python manage.py runserver"
#: What needs an account at Polar.
NOT_RUN = [
    "unset POLAR_BASE_URL",
    "export POLAR_ACCESS_TOKEN=polar_oat_…",
    'curl https://sandbox-api.polar.sh/v1/checkouts/ -H "Authorization: Bearer $POLAR_ACCESS_TOKEN" '
    '-H "Content-Type: application/json" '
    """-d '{"products": ["the id of your product"], "external_customer_id": "1"}'""",
]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


class Reader:
    """Somebody who does what the page says, in one terminal and, for what does not end, in more of them."""

    def __init__(self, folder: Path, wheel: Path, stack: ExitStack) -> None:
        self.folder, self.wheel, self.stack = folder, wheel, stack
        # The page's own ports may be taken on this machine.
        self.ports = {"8000": free_port(), "8001": free_port()}
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
        }
        self.output = ""
        self.order_id = ""
        self.servers: list[subprocess.Popen[str]] = []
        self.not_run: list[str] = []

    @property
    def shop(self) -> str:
        return f"http://127.0.0.1:{self.ports['8000']}"

    def blocks(self, page: str) -> Iterator[tuple[str, str]]:
        for language, text in re.findall(r"^ *```(\w+)\n(.*?)^ *```$", page, re.DOTALL | re.MULTILINE):
            for said, ours in self.ports.items():
                text = text.replace(said, str(ours))
            yield language, textwrap.dedent(text)

    def follow(self, page: str) -> None:
        for language, text in self.blocks(page):
            if language == "console":
                for line in text.splitlines():
                    assert line.startswith("$ "), line
                    self.type(line.removeprefix("$ "))
            else:
                self.write(text)

    def write(self, text: str) -> None:
        heading, _, lines = text.partition("\n")
        name = re.fullmatch(r"(?:# |\{# )([\w./]+)(, at its end)?(?: #\})?", heading)
        assert name, f"no file's name: {heading}"
        file = self.folder / name[1]
        if name[2]:
            lines = file.read_text(encoding="utf-8") + lines
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(lines, encoding="utf-8")

    def type(self, line: str) -> None:
        if line in NOT_RUN:
            self.not_run.append(line)
        elif line == INSTALL:
            # The wheel of this very source. What it depends on is taken from the tests' own environment.
            self.run(f"pip install --quiet --no-index --no-deps '{self.wheel}'")
            self.run("python -c 'import sysconfig; print(sysconfig.get_path(\"purelib\"))'")
            (Path(self.output.strip()) / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
        elif line == CREATE_SUPERUSER:
            # The password is asked for on a terminal only.
            self.environment["DJANGO_SUPERUSER_PASSWORD"] = PASSWORD
            self.run(f"{line} --noinput")
        elif line == FAKE:
            said = self.start(line)
            assert said.stdout is not None
            match = re.search(r"Ada's order is (\S+)", said.stdout.readline())
            assert match
            self.order_id = match[1]
        elif line == RUNSERVER:
            self.end_last(RUNSERVER)
            self.start(f"{line} --noreload {self.ports['8000']}")
            self.wait_for_shop()
        else:
            self.run(line)

    def run(self, line: str) -> None:
        """Run it in a shell, and keep what it has done to the folder and the environment."""
        state = self.wheel.with_name("state")
        script = f"{line}\nstatus=$?\npwd > '{state}.folder'\nenv -0 > '{state}.environment'\nexit $status"
        result = subprocess.run(
            ["bash", "-c", script],  # noqa: S607 - as the reader's
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.output = result.stdout
        assert result.returncode == 0, f"{line}\n{result.stdout}"
        self.folder = Path(Path(f"{state}.folder").read_text(encoding="utf-8").strip())
        variables = Path(f"{state}.environment").read_text(encoding="utf-8").split("\0")
        self.environment = dict(each.split("=", 1) for each in variables if each)

    def start(self, line: str) -> subprocess.Popen[str]:
        server = subprocess.Popen(
            ["bash", "-c", f"exec {line}"],  # noqa: S607 - as the reader's
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.servers.append(server)
        self.stack.callback(end, server)
        return server

    def end_last(self, line: str) -> None:
        for server in self.servers:
            if line in str(server.args):
                end(server)

    def wait_for_shop(self) -> None:
        for _ in range(600):
            if self.servers[-1].poll() is not None:
                pytest.fail(self.servers[-1].communicate()[0])
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.ports["8000"]), timeout=1):
                return
            time.sleep(0.1)
        pytest.fail("the shop does not answer")


def end(server: subprocess.Popen[str]) -> None:
    server.kill()
    server.communicate()


class Browser:
    """Follows links, sends forms with their hidden fields, and comes back when a page's Refresh says so."""

    def __init__(self, stack: ExitStack) -> None:
        self.session = stack.enter_context(requests.Session())
        self.session.trust_env = False

    def open(self, url: str) -> requests.Response:
        return self.check(self.session.get(url, headers={"Accept": "text/html"}, timeout=30))

    def send(self, page: requests.Response, **fields: Any) -> requests.Response:
        """Send the page's last form, which is the one that these pages are about."""
        form = re.findall(r"<form.*?</form>", page.text, re.DOTALL)[-1]
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form))
        action = re.match(r'<form[^>]*action="([^"]*)"', form)
        url = urljoin(page.url, html.unescape(action[1]) if action else "")
        return self.check(self.session.post(url, data=hidden | fields, headers={"Referer": page.url}, timeout=30))

    def come_back(self, page: requests.Response) -> requests.Response:
        """Do what the Refresh headers say, until a page has none."""
        for _ in range(30):
            if "Refresh" not in page.headers:
                return page
            seconds, _, address = page.headers["Refresh"].partition("; url=")
            time.sleep(int(seconds))  # the servers are processes of their own, on the machine's clock
            page = self.open(urljoin(page.url, address))
        pytest.fail("it comes back for ever")

    def check(self, response: requests.Response) -> requests.Response:
        assert response.ok, f"{response.status_code} {response.url}\n{response.text[:2000]}"
        return response


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_the_tutorials_button_leads_to_the_invoice(tmp_path: Path, stack: ExitStack) -> None:
    build = pytest.importorskip(
        "hatchling.builders.wheel", reason="hatchling, which builds the wheel, is not installed"
    )
    wheel = Path(next(build.WheelBuilder(str(ROOT)).build(directory=str(tmp_path / "wheel"), versions=["standard"])))
    home = tmp_path / "home"
    home.mkdir()
    reader = Reader(home, wheel, stack)
    first, sandbox = PAGE.split("## With Polar's sandbox")
    reader.follow(first)

    # The page's steps by number.
    steps = re.findall(r"^\d\. (.*?)$", first, re.MULTILINE)
    assert len(steps) == 6
    assert steps[0] == "Open `http://127.0.0.1:8000/admin/purchases/purchase/add/` and sign in as Ada."
    browser = Browser(stack)
    page = browser.send(browser.open(f"{reader.shop}/admin/purchases/purchase/add/"), username="ada", password=PASSWORD)
    assert "Add purchase" in page.text
    page = browser.send(page, user="1", title="Earl Grey", polar_order_id=reader.order_id, _save="Save")
    assert "was added successfully" in page.text
    assert "Download invoice" in page.text, "the admin's action"
    page = browser.open(f"{reader.shop}/")
    (css,) = re.findall(r'<link rel="stylesheet" href="([^"]+)"', page.text)
    assert ".polar-portal-button" in browser.open(urljoin(page.url, css)).text
    (button,) = re.findall(r'Earl Grey <a class="polar-portal-button" href="([^"]+)">Download invoice</a>', page.text)
    page = browser.open(urljoin(page.url, button))
    assert "Your invoice has not been made yet" in page.text
    page = browser.send(page)
    assert page.status_code == 202
    assert "is being prepared" in page.text
    document = browser.come_back(page)
    assert document.content.startswith(b"%PDF")
    assert document.url.startswith(f"http://127.0.0.1:{reader.ports['8001']}/"), "from the Polar of the page"
    again = browser.session.get(urljoin(reader.shop, button), timeout=30)
    assert again.content.startswith(b"%PDF")
    assert [each.status_code for each in again.history] == [302], "at once"
    orders = re.findall(r'href="([^"]+)">All my orders', browser.open(f"{reader.shop}/").text)
    assert "Earl Grey" in browser.open(urljoin(reader.shop, orders[0])).text

    reader.follow(sandbox)
    assert reader.not_run == NOT_RUN
    assert reader.order_id in browser.open(f"{reader.shop}/admin/polar_portal/order/").text, "brought by the sync"
    reader.run("python -c 'import polar_portal; print(polar_portal.__file__)'")
    assert str(tmp_path) in reader.output, "it was the wheel"
