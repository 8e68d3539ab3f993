"""A site served by uvicorn, whose Polar answers late over real HTTP, and whose clients go away."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from polar_portal.testing import FakePolar
from polar_portal.testing.wire import Answer, Request
from tests.services.servers import SQLITE_OPTIONS

ROOT = Path(__file__).parent.parent.parent
#: Clicks at once: more than a loop's default executor has threads (`min(32, cpus + 4)`).
MANY = 40
#: Seconds after which what does not come is not waited for any more.
LONGEST = 60


class SlowPolar(FakePolar):
    """Holds every question for an invoice back until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self._held = threading.Semaphore(0)
        self._let_go = threading.Event()

    def handle(self, request: Request) -> Answer:
        if request.path.endswith("/invoice"):
            self._held.release()
            assert self._let_go.wait(LONGEST)
        return super().handle(request)

    def wait_until_held(self, number: int) -> None:
        for count in range(number):
            assert self._held.acquire(timeout=LONGEST), f"Polar was asked {count} times"

    def let_go(self) -> None:
        self._let_go.set()


@dataclass(frozen=True)
class Visitor:
    """A customer who is signed in, and an order of theirs."""

    session: str
    order: uuid.UUID


@dataclass(frozen=True)
class Site:
    port: int
    process: subprocess.Popen[str]
    visitors: list[Visitor]

    def ask(self, path: str, visitor: Visitor) -> http.client.HTTPConnection:
        browser = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONGEST)
        browser.request("GET", path, headers={"Cookie": f"sessionid={visitor.session}", "Accept": "text/html"})
        return browser

    def get(self, path: str, visitor: Visitor) -> tuple[int, str]:
        """Return the status, and where it leads or what it says."""
        with closing(self.ask(path, visitor)) as browser:
            response = browser.getresponse()
            return response.status, response.getheader("Location") or response.read().decode()

    def told(self) -> list[Any]:
        """Wait for the next that happens there: what, the path, and how many database connections are open then."""
        assert self.process.stdout
        told: list[Any] = json.loads(self.process.stdout.readline())
        return told


@pytest.fixture
def polar() -> Iterator[SlowPolar]:
    polar = SlowPolar()
    with polar.serve():
        yield polar
        polar.let_go()


@pytest.fixture
def site(polar: SlowPolar, transactional_db: None, tmp_path: Path) -> Iterator[Site]:
    visitors = []
    for number in range(MANY):
        user = User.objects.create(username=f"visitor-{number}")
        client = Client()
        client.force_login(user)
        order = polar.add_order(polar.add_customer(external_id=str(user.pk)), invoice=True)
        visitors.append(Visitor(client.cookies["sessionid"].value, order.id))
    # In a file, which the threads of another process can use, and whose connections are really closed.
    file = tmp_path / "db.sqlite3"
    connection.ensure_connection()
    with closing(sqlite3.connect(file)) as copy:
        connection.connection.backup(copy)
    different = {
        "ROOT_URLCONF": "tests.asgi.urls",
        "ALLOWED_HOSTS": ["127.0.0.1"],
        "DATABASES": {"default": {**settings.DATABASES["default"], "NAME": str(file), "OPTIONS": SQLITE_OPTIONS}},
        "POLAR_BASE_URL": polar.document_base,
        "POLAR_ACCESS_TOKEN": polar.access_token,
        "POLAR_REQUEST_TIMEOUT": LONGEST,
        "POLAR_CLICK_BUDGET": LONGEST,
    }
    listener = socket.create_server(("127.0.0.1", 0), backlog=2 * MANY)
    command = [sys.executable, "-m", "uvicorn", "tests.asgi.site:application", "--fd", str(listener.fileno())]
    with (
        listener,
        subprocess.Popen(
            [*command, "--lifespan", "off", "--log-level", "warning"],
            cwd=ROOT,
            env={**os.environ, "ASGI_SETTINGS": json.dumps(different)},
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            yield Site(listener.getsockname()[1], process, visitors)
        finally:
            polar.let_go()
            process.terminate()
            try:
                process.wait(LONGEST)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.mark.parametrize(
    ("view", "status"),
    [("invoice/{}/", 200), ("page/{}/", 200), ("billing/orders/{}/invoice/", 302)],
    ids=["a twin", "the template tag", "our own view"],
)
def test_while_polar_is_slow_others_are_answered(site: Site, polar: SlowPolar, view: str, status: int) -> None:
    with ThreadPoolExecutor(MANY) as people:
        clicks = [people.submit(site.get, f"/{view.format(each.order)}", each) for each in site.visitors]
        polar.wait_until_held(MANY)
        assert site.get("/quick/", site.visitors[0]) == (200, "quick")
        assert site.told() == ["ended", "/quick/", MANY]
        assert site.get("/who/", site.visitors[0]) == (200, "visitor-0")
        assert not any(click.done() for click in clicks)
        polar.let_go()
        for click, visitor in zip(clicks, site.visitors, strict=True):
            answered, address = click.result()
            assert (answered, str(polar.orders[visitor.order].invoice_key) in address) == (status, True)


def test_connections_are_closed_when_a_request_ends(site: Site, polar: SlowPolar) -> None:
    polar.let_go()
    for visitor in site.visitors[:3]:
        path = f"/invoice/{visitor.order}/"
        assert site.get(path, visitor)[0] == 200
        assert site.told() == ["ended", path, 0]


def test_client_that_goes_away_leaves_neither_lock_nor_connection(site: Site, polar: SlowPolar) -> None:
    visitor = site.visitors[0]
    path = f"/invoice/{visitor.order}/"
    # Of the first question nothing is left in the cache that would spare the second one the lock.
    polar.fail("GET", "/invoice", status=500)
    browser = site.ask(path, visitor)
    polar.wait_until_held(1)
    browser.close()
    assert site.told() == ["cancelled", path, 1]
    # The thread is still asking Polar. Nobody waits for it but the end of its own request.
    assert site.get("/quick/", visitor) == (200, "quick")
    assert site.told() == ["ended", "/quick/", 1]
    polar.let_go()
    assert site.told() == ["ended", path, 0]
    assert site.get(path, visitor)[0] == 200
    assert polar.count("GET", "/invoice") == 2


def test_of_a_client_that_goes_away_nothing_more_is_begun(site: Site, polar: SlowPolar) -> None:
    visitor = site.visitors[0]
    path = f"/both/{visitor.order}/{site.visitors[1].order}/"
    browser = site.ask(path, visitor)
    polar.wait_until_held(1)
    browser.close()
    assert site.told() == ["cancelled", path, 1]
    polar.let_go()
    assert site.told() == ["ended", path, 0]
    assert polar.count("GET", "/invoice") == 1
