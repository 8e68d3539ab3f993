"""The demo, started as `make demo` starts it: it serves, delivers its webhooks to itself, and ends when told to."""

from __future__ import annotations

import http.cookiejar
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from example_project.demo import deliveries
from polar_portal.testing import FakePolar

ROOT = Path(__file__).parent.parent


class Demo:
    """A running demo and a visitor's browser without JavaScript."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self.log = log
        self.address = self._told(r"The shop is at (http://127\.0\.0\.1:\d+)/")
        self.leave()

    def leave(self) -> None:
        """Begin anew, signed out."""
        # No proxy of the environment: everything is on this machine.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        )

    def _told(self, pattern: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(pattern, line):
                return found[1]
        raise AssertionError(self.log.read_text(encoding="utf-8"))

    def get(self, path: str, data: dict[str, str] | None = None) -> tuple[int, str]:
        encoded = urllib.parse.urlencode(data).encode() if data else None
        try:
            with self._opener.open(self.address + path, data=encoded, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def post(self, page: str, path: str, **data: str) -> tuple[int, str]:
        """Send a form that is on `page`."""
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(page)[1])
        assert found
        return self.get(path, {"csrfmiddlewaretoken": found[1], **data})

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=20)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("POLAR_", "DJANGO_"))}
    log = tmp_path / "log"
    with (
        log.open("w", encoding="utf-8") as stderr,
        subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "example_project.demo", "--port", "0"],
            cwd=ROOT,
            env=environment | {"TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        try:
            yield Demo(process, log)
        finally:
            process.kill()


def sign_in(demo: Demo, name: str) -> None:
    demo.leave()
    status, page = demo.post("/sign-in/", "/sign-in/", username=name, password="demo")
    assert (status, "My purchases" in page) == (200, True)


def until(demo: Demo, path: str, pattern: str) -> str:
    """Look at a page until it says so."""
    ends_at = time.monotonic() + 60
    while not re.search(pattern, page := demo.get(path)[1]):
        assert time.monotonic() < ends_at, demo.log.read_text(encoding="utf-8")
        time.sleep(0.2)
    return page


def listening(pid: int) -> list[str]:
    """Return the addresses at which the process listens, as the kernel tells."""
    tables = ""
    for table in ("tcp", "tcp6"):
        tables += Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii")
    rows = [line.split() for line in tables.splitlines() if ":" in line.split()[1]]
    at = {row[9]: row[1] for row in rows if row[3] == "0A"}
    links = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]
    return [at[inode] for link in links if (inode := link.removeprefix("socket:[").removesuffix("]")) in at]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_it_sells_delivers_and_ends(demo: Demo, number: int, tmp_path: Path) -> None:
    sign_in(demo, "bob")
    status, page = demo.post("/", "/demo/buy/", product="Oolong")
    assert status == 200
    assert "Thank you!" in page
    assert page.count("Oolong") == 1
    sign_in(demo, "admin")
    told = until(demo, "/admin/polar_portal/webhookdelivery/", r"\b17 webhook deliveries")  # the order's is the last
    assert set(re.findall(r'field-outcome">(.*?)<', told)) == {"applied", "nothing to do"}
    if Path("/proc").is_dir():
        local = "0100007F"  # 127.0.0.1, as the kernel writes it
        assert [address.partition(":")[0] for address in listening(demo.process.pid)] == [local, local]
    assert demo.end(number) == 0
    log = demo.log.read_text(encoding="utf-8")
    assert "Traceback" not in log
    assert "Error" not in log
    assert not list(tmp_path.glob("polar-portal-demo-*")), "its database is gone with it"


def test_a_delivery_tells_that_an_invoice_is_made(demo: Demo) -> None:
    status, page = demo.post("/demo/what-can-go-wrong/", "/demo/what-can-go-wrong/being-prepared/")
    assert status == 202
    number = re.search(r'data-polar-waiting="/billing/orders/([0-9a-f-]{36})/invoice/"', page)
    assert number
    # The customer has closed the page: nobody asks Polar.
    sign_in(demo, "admin")
    until(demo, f"/admin/polar_portal/order/?q={number[1]}&is_invoice_generated__exact=1", r"\b1 order\b")


def test_each_trouble_has_its_page_and_its_line(demo: Demo) -> None:
    page = demo.get("/demo/what-can-go-wrong/")[1]
    promised = re.findall(r'<h2 id="([\w-]+)">.*?Status (\d+)(?:, in the log <code>(\w+)</code>)?', page, re.DOTALL)
    assert len(promised) >= 12
    for name, status, code in promised:
        before = len(demo.log.read_text(encoding="utf-8"))
        answer = demo.post("/demo/what-can-go-wrong/", f"/demo/what-can-go-wrong/{name}/")
        assert answer[0] == int(status), name
        said = demo.log.read_text(encoding="utf-8")[before:]
        lines = re.findall(r" (?:DEBUG|INFO|WARNING|ERROR) polar_portal\.\w+: (\w+): ", said)
        assert lines == ([code] if code else []), name
    secrets = r"polar_(oat|cst|mst)_\w|whsec_|X-Amz-|@"
    assert not re.search(secrets, demo.log.read_text(encoding="utf-8"))
    # All is well again: the last trouble, which lasted, is over.
    assert demo.post("/demo/what-can-go-wrong/", "/demo/what-can-go-wrong/end/")[0] == 200
    assert demo.get("/billing/orders/")[0] == 200


def test_without_its_own_polar_there_is_no_page_of_what_can_go_wrong() -> None:
    code = (
        "import django; django.setup();"
        "from django.conf import settings as s;"
        "print(s.ROOT_URLCONF, 'example_project.demo' in s.INSTALLED_APPS)"
    )
    environment: dict[str, Any] = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "example_project.demo.settings",
        "POLAR_ACCESS_TOKEN": "polar_oat_of_the_tests",
    }
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout == "example_project.urls False\n"


def test_a_taken_port_is_told() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = subprocess.run(
            [sys.executable, "-m", "example_project.demo", "--port", port],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "TMPDIR": tempfile.gettempdir()},
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == 1
    assert f"can't use port {port}" in result.stderr


def test_a_refused_delivery_comes_again_and_none_is_skipped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deliveries, "RETRY_AFTER", 0.01)
    answers = iter([503, 204, 302, 204])
    taken: list[tuple[str, int]] = []
    all_taken = threading.Event()

    class Shop(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            taken.append((self.headers["webhook-id"], status := next(answers, 500)))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()
            if len(taken) == 4:
                all_taken.set()

        def log_message(self, *args: Any) -> None:
            pass

    polar = FakePolar()
    polar.add_order(polar.add_customer())
    first, second = (event.id for event in polar.events)
    with HTTPServer(("127.0.0.1", 0), Shop) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        with deliveries.delivering(polar, f"http://127.0.0.1:{server.server_port}/"):
            assert all_taken.wait(30)
        server.shutdown()
        thread.join()
    assert taken[:4] == [(first, 503), (first, 204), (second, 302), (second, 204)]
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == [
        "customer.created was answered with 503",
        "order.created was answered with 302",
    ]
