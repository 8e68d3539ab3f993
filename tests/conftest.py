from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from polar_portal.testing import FakeCustomer, FakePolar

JSON = {"accept": "application/json"}


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada")


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_user("bob")


@pytest.fixture
def sam(db: None) -> User:
    """Staff who may look at purchases and download invoices."""
    staff = User.objects.create_user("sam", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__in=["view_purchase", "download_invoice"]))
    return staff


@pytest.fixture
def ada_at_polar(fake_polar: FakePolar, ada: User) -> FakeCustomer:
    return fake_polar.add_customer(external_id=str(ada.pk), name="Ada Lovelace", email="ada@shop.example")


@pytest.fixture
def bob_at_polar(fake_polar: FakePolar, bob: User) -> FakeCustomer:
    return fake_polar.add_customer(external_id=str(bob.pk), name="Bob Martin", email="bob@shop.example")


class Clock:
    """Time that passes only where somebody waits, or says so."""

    def __init__(self, traveller: time_machine.Traveller) -> None:
        self.traveller = traveller
        self.waits: list[float] = []

    def pause(self, seconds: float, stopped: threading.Event | None = None) -> None:
        self.waits.append(seconds)
        self.traveller.shift(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """A clock that stands still, save where exports and sync runs wait."""
    with time_machine.travel(datetime(2026, 11, 25, 12, tzinfo=timezone.utc), tick=False) as traveller:
        clock = Clock(traveller)
        monkeypatch.setattr("polar_portal.pace.pause", clock.pause)
        yield clock


@pytest.fixture
def now() -> Iterator[time_machine.Traveller]:
    """A clock that stands still until it is shifted."""
    with time_machine.travel(datetime(2026, 11, 22, 12, tzinfo=timezone.utc), tick=False) as traveller:
        yield traveller


class Terminal(io.StringIO):
    """What a command writes to where somebody watches."""

    def isatty(self) -> bool:
        return True


Click = Callable[..., Any]


@pytest.fixture
def click() -> Click:
    """Open an order's invoice as a user, the way a browser does; `json=True` the way a front end does."""

    def click(user: User | None, order_id: UUID, query: str = "", *, json: bool = False, **headers: str) -> Any:
        client = Client()
        if user:
            client.force_login(user)
        asked = {**(JSON if json else {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}), **headers}
        return client.get(reverse("polar_portal:invoice", args=[order_id]) + query, headers=asked)

    return click


@pytest.fixture
def press() -> Click:
    """Press "Make invoice" on an order's page, with Django's CSRF check really made."""

    def press(user: User, order_id: UUID, *, json: bool = False) -> Any:
        client = Client(enforce_csrf_checks=True)
        client.force_login(user)
        client.cookies["csrftoken"] = "0123456789abcdef0123456789abcdef"
        return client.post(
            reverse("polar_portal:invoice", args=[order_id]),
            headers={**(JSON if json else {"accept": "text/html"}), "x-csrftoken": "0123456789abcdef0123456789abcdef"},
        )

    return press


class ReadsFromReplica:
    """A host whose reads go to another database; here it has none, so that each such read would fail."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


def asked(polar: FakePolar) -> list[str]:
    """What Polar was asked, shortened: `GET invoice`, `POST invoice`, `GET order`, `POST session`."""
    short = {"customer-sessions": "session"}
    return [
        f"{call.method} {short.get(name := call.path.rstrip('/').rsplit('/', 1)[-1], 'order' if '-' in name else name)}"
        for call in polar.calls
    ]


def signed(polar: FakePolar, body: bytes) -> tuple[bytes, dict[str, str]]:
    """A genuine delivery of any bytes at all."""
    with mock.patch("polar_portal.testing.fake.dump", return_value=body):
        return polar.webhook("any")


ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is built for an index."""
    build = pytest.importorskip(
        "hatchling.builders.wheel", reason="hatchling, which builds the wheel, is not installed"
    )
    return Path(next(build.WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")))))
