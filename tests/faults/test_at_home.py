"""Faults on our own side: the cache, the database, keys, clocks, processes. Polar is well; a click works all the same.

For each: what the customer gets, what Polar was asked, what the log says, and that nothing secret is in it.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.cache.backends.locmem import LocMemCache
from django.db import (
    DatabaseError,
    DataError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
    connections,
)
from django.test import Client
from pytest_django import Settings

from polar_portal.models import CustomerSession
from tests.api.server import RawServer, silence

from .clicks import calls, click, leaks, lines
from .polar import ACCESS_TOKEN, FILES, HIDDEN, ORDER_ID, RawPolar, called
from .rows import issued, then, wait

ROOT = Path(__file__).parent.parent.parent
SESSION, INVOICE = "POST session", "GET invoice"
#: Seconds beyond its budget that a click may take on a machine that is busy with other things.
TOLERANCE = 1.5


@pytest.fixture(autouse=True)
def shop(polar: RawPolar, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    polar.listen()
    settings.POLAR_BASE_URL = polar.url
    settings.POLAR_ACCESS_TOKEN = ACCESS_TOKEN


class Customer:
    """A signed-in customer who opens invoices, and all that this makes known."""

    def __init__(self, user: User, polar: RawPolar, caplog: pytest.LogCaptureFixture) -> None:
        self.client = Client()
        self.client.force_login(user)
        self._polar, self._caplog = polar, caplog

    def opens(self, order_id: str = ORDER_ID, *, act: str = "invoice", as_json: bool = False) -> Any:
        self._caplog.clear()
        response = click(self.client, act, order_id, json=as_json)
        assert leaks(response, self._caplog, given=response.status_code < 400) == ""
        return response

    def gets_the_invoice(self, order_id: str = ORDER_ID) -> tuple[str, ...]:
        """Open it, and return what Polar was asked for it."""
        response = self.opens(order_id)
        assert response.status_code == 302
        assert urlsplit(response["Location"]).hostname == FILES
        return calls(self._polar)

    def log(self) -> list[tuple[str, str]]:
        """What our loggers said to the one on call at the last click; no line has a traceback."""
        assert not any(line.exc_info for line in lines(self._caplog))
        return [(line.name, line.levelname) for line in lines(self._caplog, logging.INFO)]


@pytest.fixture
def customer(ada: User, polar: RawPolar, caplog: pytest.LogCaptureFixture) -> Customer:
    return Customer(ada, polar, caplog)


def another() -> str:
    return str(uuid.uuid4())


# The cache


class Faulty(LocMemCache):
    """Local memory that can be made to fail: `do` is asked instead of each command."""

    do: Callable[..., Any]
    within = False

    def _ask(self, command: str, *args: Any, **kwargs: Any) -> Any:
        really = getattr(LocMemCache, command)
        if self.within:  # get_many is made of get, and so on
            return really(self, *args, **kwargs)
        self.within = True
        try:
            return type(self).do(command, lambda: really(self, *args, **kwargs), *args)
        finally:
            self.within = False


for _command in ("get", "get_many", "add", "set", "set_many", "delete", "delete_many"):
    setattr(Faulty, _command, lambda self, *args, _command=_command, **kwargs: self._ask(_command, *args, **kwargs))


@pytest.fixture
def faulty(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[..., Any]], None]]:
    """Let the cache do this instead of each command: `do(command, really, *args)`."""

    def use(do: Callable[..., Any]) -> None:
        monkeypatch.setattr(Faulty, "do", staticmethod(do), raising=False)
        settings.CACHES = {"default": {"BACKEND": "tests.faults.test_at_home.Faulty", "LOCATION": "faulty"}}

    yield use
    LocMemCache("faulty", {}).clear()


CACHE = ("polar_portal.cache", "WARNING")
#: What a cache may raise: its server is away, what it kept can't be read, the machine has had enough.
RAISED = [
    ConnectionError(f"redis://:{HIDDEN}@cache.example is away"),
    TimeoutError(HIDDEN),
    pickle.UnpicklingError(HIDDEN),
    AttributeError(f"Can't get attribute '{HIDDEN}' on <module 'shop'>"),
    ModuleNotFoundError(HIDDEN),
    EOFError(),
    MemoryError(),
    UnicodeDecodeError("utf-8", HIDDEN.encode(), 0, 1, "rubbish"),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("at", "calls_again"),
    [
        ({"get", "get_many", "add", "set", "set_many", "delete", "delete_many"}, (INVOICE,)),
        ({"get"}, (INVOICE,)),
        ({"get_many"}, (INVOICE,)),
        ({"add", "set"}, (INVOICE,)),
        ({"add"}, (INVOICE,)),
        ({"set"}, (INVOICE,)),
        ({"delete"}, ()),
    ],
    ids=lambda at: (
        "+".join(sorted(at)) if isinstance(at, set) and len(at) < 7 else "all" if isinstance(at, set) else ""
    ),
)
def test_cache_that_raises(
    customer: Customer, faulty: Callable[..., None], at: set[str], calls_again: tuple[str, ...], error: Exception
) -> None:
    def do(command: str, really: Callable[[], Any], *args: Any) -> Any:
        if command in at:
            raise error
        return really()

    faulty(do)
    assert customer.gets_the_invoice() == (SESSION, INVOICE)
    assert customer.log() == [CACHE]
    assert customer.gets_the_invoice() == calls_again
    assert customer.log() == [CACHE] * bool(calls_again)


def test_cache_that_is_gone(customer: Customer, settings: Settings) -> None:
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"}
    }
    assert customer.gets_the_invoice() == (SESSION, INVOICE)
    assert customer.log() == [CACHE]
    assert customer.gets_the_invoice() == (INVOICE,)
    assert customer.log() == [CACHE]


def test_cache_that_accepts_and_says_nothing_costs_its_own_timeout(customer: Customer, settings: Settings) -> None:
    with RawServer(silence) as redis:
        settings.CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": f"redis://127.0.0.1:{redis.port}",
                "OPTIONS": {"socket_timeout": 0.2, "socket_connect_timeout": 0.2},
            }
        }
        started = time.monotonic()
        assert customer.gets_the_invoice() == (SESSION, INVOICE)
        assert time.monotonic() - started < 0.2 + TOLERANCE
        assert customer.log() == [CACHE]


def test_cache_whose_folder_is_a_file(customer: Customer, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": str(tmp_path / "cache"),
        }
    }
    assert customer.gets_the_invoice() == (SESSION, INVOICE)
    assert customer.log() == [CACHE]


@pytest.mark.parametrize(
    ("rubbish", "log"),
    [
        (b"", []),  # Django takes it for none, and the next one for one that has expired
        (pickle.dumps(0), []),
        (b"rubbish", [CACHE]),
        (b"\x80\x04cshop\nNoSuchClass\n.", [CACHE]),
    ],
    ids=["empty", "expired", "rubbish", "no such class"],
)
def test_cache_whose_files_are_damaged(
    customer: Customer, settings: Settings, tmp_path: Path, rubbish: bytes, log: list[tuple[str, str]]
) -> None:
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": str(tmp_path)}
    }
    customer.gets_the_invoice()
    for file in tmp_path.glob("*.djcache"):
        file.write_bytes(rubbish)
    assert customer.gets_the_invoice() == (INVOICE,)
    assert customer.log() == log


@pytest.mark.parametrize(
    ("each", "budget", "log"),
    [(0.2, 10, []), (2.0, 10, [CACHE]), (0.2, 1, [CACHE])],
)
def test_slow_cache_takes_no_more_than_half_of_a_click(
    customer: Customer,
    faulty: Callable[..., None],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    each: float,
    budget: float,
    log: list[tuple[str, str]],
) -> None:
    settings.POLAR_CLICK_BUDGET = budget
    really_monotonic, lost = time.monotonic, [0.0]
    # So many seconds pass at each command, for whoever looks at the clock.
    monkeypatch.setattr(time, "monotonic", lambda: really_monotonic() + lost[0])

    def do(command: str, really: Callable[[], Any], *args: Any) -> Any:
        lost[0] += each
        return really()

    faulty(do)
    assert customer.gets_the_invoice() == (SESSION, INVOICE)
    # Giving up is noticed after a command, and the lock is deleted all the same.
    assert lost[0] <= budget / 2 + 2 * each
    assert customer.log() == log


@pytest.mark.parametrize(
    ("cache", "log"),
    [
        ({"BACKEND": "django.core.cache.backends.dummy.DummyCache"}, []),
        ({"BACKEND": "tests.test_cache.Forgetful"}, [CACHE]),
        (
            {
                "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
                "LOCATION": "full",
                "OPTIONS": {"MAX_ENTRIES": 1, "CULL_FREQUENCY": 1},
            },
            [],
        ),
    ],
    ids=["keeps nothing", "keeps nothing and says so", "full"],
)
def test_cache_that_forgets_at_once(
    customer: Customer, settings: Settings, cache: dict[str, Any], log: list[tuple[str, str]]
) -> None:
    settings.CACHES = {"default": cache}
    assert customer.gets_the_invoice() == (SESSION, INVOICE)
    assert customer.log() == log
    assert customer.gets_the_invoice(another()) == (INVOICE,)


def test_cache_that_forgets_at_random(customer: Customer, faulty: Callable[..., None]) -> None:
    chance = random.Random(5)  # noqa: S311 - no secret, but the same at each run

    def do(command: str, really: Callable[[], Any], *args: Any) -> Any:
        if command in {"add", "set", "delete"}:
            done = really()
            return chance.choice([done, True]) if command == "add" else done
        found = really()
        if command == "get_many":
            return {key: value for key, value in found.items() if chance.random() < 0.5}
        return found if chance.random() < 0.5 else None

    faulty(do)
    orders = [another() for _ in range(3)]
    asked = [customer.gets_the_invoice(orders[number % 3]) for number in range(30)]
    assert asked[0] == (SESSION, INVOICE)
    assert set(asked[1:]) == {(), (INVOICE,)}


RUBBISH: list[Any] = [
    "text", b"bytes", 7, -1, 7.5, float("nan"), float("inf"), 10**400, True, (), [], [1], {}, set(), object(), print,
    ValueError(HIDDEN), datetime(2026, 11, 22), uuid.UUID(int=7), {7: 8}, {"url": 7}, {None: None},  # noqa: DTZ001
    {"url": f"javascript:{HIDDEN}", "expires_at": None, "fetched_at": 2e9},
    {"url": None, "expires_at": 2e9, "fetched_at": 2e9},
    {"url": "https://s3.example/1.pdf", "expires_at": float("nan"), "fetched_at": 2e9},
    {"url": "https://s3.example/1.pdf", "expires_at": 10**400, "fetched_at": 2e9},
    {"url": "https://s3.example/1.pdf", "expires_at": "soon", "fetched_at": "now"},
    {"url": "https://s3.example/1.pdf", "expires_at": None, "fetched_at": 10**400},
    {"since": "now", "asked": None}, {"since": 10**400, "asked": 10**400}, {"settles_at": float("nan")},
    {"settles_at": 10**400}, {"absent": 7}, {"failure": 7}, {"failure": "rate_limited", "retry_after": "soon"},
]  # fmt: skip


@pytest.mark.parametrize("rubbish", RUBBISH, ids=lambda rubbish: repr(rubbish)[:40])
def test_cache_that_returns_rubbish(customer: Customer, faulty: Callable[..., None], rubbish: Any) -> None:
    def do(command: str, really: Callable[[], Any], *args: Any) -> Any:
        if command == "get":
            return rubbish
        return dict.fromkeys(args[0], rubbish) if command == "get_many" else really()

    faulty(do)
    assert customer.gets_the_invoice() == (SESSION, INVOICE)
    assert customer.log() == []


@pytest.mark.parametrize("rubbish", [None, "text", 7, [1], object()], ids=repr)
@pytest.mark.parametrize("at", ["get_many", "set", "delete"])
def test_cache_whose_commands_return_rubbish(
    customer: Customer, faulty: Callable[..., None], at: str, rubbish: Any
) -> None:
    faulty(lambda command, really, *args: (really(), rubbish)[1] if command == at else really())
    assert customer.gets_the_invoice() == (SESSION, INVOICE)
    assert customer.log() == []


def test_outcome_of_another_click_that_is_rubbish_is_not_believed(
    customer: Customer, faulty: Callable[..., None]
) -> None:
    """Somebody holds the lock, and what they leave behind makes no sense."""
    state = {"held": True}

    def do(command: str, really: Callable[[], Any], *args: Any) -> Any:
        if command == "add" and state["held"]:
            return False
        if command == "get" and state["held"]:
            return "somebody"
        if command == "get_many" and state["held"]:
            state["held"] = False
            return {key: {"failure": "rate_limited", "fields": 7, "polar_order_id": HIDDEN} for key in args[0]}
        return really()

    faulty(do)
    assert customer.gets_the_invoice() == (SESSION, INVOICE)
    assert customer.log() == []


def test_cache_that_there_is_not(customer: Customer, settings: Settings, polar: RawPolar) -> None:
    settings.POLAR_CACHE_ALIAS = "elsewhere"
    assert customer.opens().status_code == 500
    assert customer.opens(as_json=True).json()["error"] == "misconfigured"
    assert customer.log() == [("polar_portal.portal", "ERROR")]
    assert calls(polar) == ()


# The database

MODELS = ("polar_portal.database", "WARNING")


def test_database_that_is_read_only(customer: Customer) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = ON")
    try:
        assert customer.gets_the_invoice() == (SESSION, INVOICE)
        assert customer.log() == [MODELS]
        # The address is in the cache; a session is made for each document that is not.
        assert customer.gets_the_invoice() == ()
        assert customer.gets_the_invoice(another()) == (SESSION, INVOICE)
        assert customer.log() == [MODELS]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA query_only = OFF")
    assert customer.gets_the_invoice(another()) == (SESSION, INVOICE)
    assert customer.gets_the_invoice(another()) == (INVOICE,)
    assert customer.log() == []


KINDS = [DatabaseError, DataError, InterfaceError, InternalError, OperationalError, ProgrammingError]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("act", "asked", "status"),
    [
        ("invoice", (SESSION, INVOICE), 302),
        ("receipt", (SESSION, "GET receipt"), 302),
        ("orders", (SESSION, "GET orders"), 200),
        ("make", (SESSION, "POST invoice"), 303),
        ("portal", (SESSION,), 200),
    ],
)
def test_database_that_refuses_to_write(
    customer: Customer, polar: RawPolar, kind: type[Exception], act: str, asked: tuple[str, ...], status: int
) -> None:
    def refuse(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        if "polar_portal" in sql and not sql.startswith("SELECT"):
            raise kind(f"cannot execute in a read-only transaction: {HIDDEN}")
        return execute(sql, *args)

    with connection.execute_wrapper(refuse):
        response = customer.opens(act=act)
    assert response.status_code == status
    assert calls(polar) == asked
    # Neither the session nor, of the list, the orders.
    assert customer.log() == [MODELS] * (2 if act == "orders" else 1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", [InterfaceError, OperationalError])
@pytest.mark.parametrize("survives", range(2, 7))
def test_database_that_is_gone_between_two_queries(
    customer: Customer, polar: RawPolar, kind: type[Exception], survives: int
) -> None:
    """The first two bring the user who is signed in; without those there is no click of ours."""
    queries = iter(range(1000))

    def gone(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        if next(queries) >= survives:
            raise kind(f"server closed the connection unexpectedly: {HIDDEN}")
        return execute(sql, *args)

    with connection.execute_wrapper(gone):
        assert customer.gets_the_invoice() == (SESSION, INVOICE)
        failed = next(queries) - survives
    # A line for each thing that could not be looked up or kept.
    assert set(customer.log()) <= {MODELS}
    assert 1 <= len(customer.log()) <= failed
    assert customer.gets_the_invoice() == ()


@pytest.fixture
def database_file(transactional_db: None, tmp_path: Path) -> Iterator[Path]:
    """The database in a file, which other threads and processes can use too."""
    path = tmp_path / "db.sqlite3"
    connection.ensure_connection()
    with closing(sqlite3.connect(path)) as copy:
        connection.connection.backup(copy)
    in_memory, name = connections["default"], connections.settings["default"]["NAME"]
    connections.settings["default"]["NAME"] = str(path)
    connections["default"] = connections.create_connection("default")
    yield path
    connections["default"].close()
    connections.settings["default"]["NAME"] = name
    connections["default"] = in_memory


def test_two_workers_renew_one_session_at_once(
    database_file: Path, ada: User, polar: RawPolar, caplog: pytest.LogCaptureFixture
) -> None:
    workers = [Customer(ada, polar, caplog) for _ in range(2)]
    assert workers[0].gets_the_invoice(another()) == (SESSION, INVOICE)
    polar.refused.add(f"polar_cst_1{HIDDEN}")
    # Long enough for the second to come meanwhile.
    polar.play({SESSION: [then(wait(0.3), issued(token=f"polar_cst_2{HIDDEN}"))]})
    together = threading.Barrier(2)

    def work(worker: Customer) -> int:
        together.wait()
        try:
            return int(click(worker.client, "invoice", another(), json=False).status_code)
        finally:
            connections.close_all()

    caplog.clear()
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, workers)) == [302, 302]
    assert sorted(calls(polar)) == [INVOICE] * 4 + [SESSION]
    assert lines(caplog, logging.INFO) == []
    assert CustomerSession.objects.count() == 1


# Keys


@pytest.mark.parametrize("damaged", ["", "rubbish", "é", "gAAAAA" + "A" * 200])
def test_session_that_cannot_be_decrypted_is_replaced(customer: Customer, damaged: str) -> None:
    customer.gets_the_invoice()
    CustomerSession.objects.update(encrypted_token=damaged)
    assert customer.gets_the_invoice(another()) == (SESSION, INVOICE)
    assert customer.log() == []
    assert customer.gets_the_invoice(another()) == (INVOICE,)


def test_new_secret_key_with_its_fallback(customer: Customer, settings: Settings) -> None:
    customer.gets_the_invoice()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "the next one"
    # Nobody is signed out and no session is made; only addresses in the cache are not found again.
    assert customer.gets_the_invoice() == (INVOICE,)
    assert customer.gets_the_invoice() == ()
    assert customer.log() == []


def test_new_secret_key_without_a_fallback(customer: Customer, ada: User, settings: Settings) -> None:
    customer.gets_the_invoice()
    settings.SECRET_KEY = "the next one"
    assert customer.opens()["Location"].startswith("/sign-in/")  # Django's own sessions are worth nothing either
    customer.client.force_login(ada)
    assert customer.gets_the_invoice() == (SESSION, INVOICE)
    assert customer.gets_the_invoice(another()) == (INVOICE,)
    assert customer.log() == []


# Clocks


@pytest.mark.parametrize("ahead", [-600, -300, 600], ids=["ours is ahead", "half as much", "ours is behind"])
def test_clock_that_is_ten_minutes_off(customer: Customer, polar: RawPolar, ahead: float) -> None:
    polar.ahead = ahead
    asked: list[str] = []
    with time_machine.travel(datetime(2026, 11, 22, 12, tzinfo=timezone.utc), tick=True) as clock:
        for _ in range(30):
            response = customer.opens(as_json=True)
            signed = parse_qs(urlsplit(response.json()["url"]).query)["X-Amz-Date"][0]
            signed_at = datetime.strptime(signed, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()
            # By the store's clock, which is Polar's, it is good for another minute.
            assert signed_at + 600 - (time.time() + ahead) >= 59
            # And by ours, what the front end is told.
            assert (
                59
                <= datetime.fromisoformat(response.json()["expires_at"][:-1] + "+00:00").timestamp() - time.time()
                <= 600
            )
            asked += calls(polar)
            assert customer.log() == []
            clock.shift(60)
    # Half an hour of clicks, one session, an address for nine minutes each.
    assert asked == [SESSION, *[INVOICE] * 4]


# Processes


@pytest.fixture
def shared_cache(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> dict[str, Any]:
    """A cache that another process shares."""
    if request.param == "files":
        backend, location = "filebased.FileBasedCache", str(tmp_path / "cache")
    else:
        backend, location = "redis.RedisCache", os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
        redis = pytest.importorskip("redis", reason="redis, the client, is not installed")
        try:
            redis.Redis.from_url(location).ping()
        except redis.exceptions.ConnectionError:
            pytest.skip("no Redis answers at REDIS_URL, by default 127.0.0.1:6379")
    cache = {"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": location, "KEY_PREFIX": uuid.uuid4().hex}
    settings.CACHES = {"default": cache}
    return cache


@pytest.mark.parametrize(
    ("shared_cache", "killed_at"), [("files", INVOICE), ("Redis", SESSION)], indirect=["shared_cache"]
)
def test_process_that_is_killed_while_it_holds_the_lock(
    database_file: Path,
    shared_cache: dict[str, Any],
    ada: User,
    polar: RawPolar,
    settings: Settings,
    customer: Customer,
    killed_at: str,
) -> None:
    settings.POLAR_CLICK_BUDGET = budget = 2
    polar.play({killed_at: [silence]})
    changes = {
        "DATABASE": str(database_file),
        "CACHES": {"default": shared_cache},
        "POLAR_BASE_URL": polar.url,
        "POLAR_ACCESS_TOKEN": ACCESS_TOKEN,
        "POLAR_CLICK_BUDGET": budget,
    }
    holder = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.worker", json.dumps(changes), str(ada.pk), ORDER_ID],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)},
    )
    give_up_at = time.monotonic() + 60
    try:
        while killed_at not in map(called, polar.heard):
            assert holder.poll() is None
            assert time.monotonic() < give_up_at
            time.sleep(0.01)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    heard = calls(polar)
    assert heard == (SESSION, INVOICE)[: len(heard)]
    polar.recover()

    started, status = time.monotonic(), 202
    while status == 202 and time.monotonic() < started + 30:
        began = time.monotonic()
        response = customer.opens()
        status = response.status_code
        assert time.monotonic() - began < budget + TOLERANCE
        assert customer.log() == []
        if status == 202:
            assert (response["Retry-After"], calls(polar)) == ("1", ())
    assert status == 302
    assert calls(polar) == ((INVOICE,) if killed_at == INVOICE else (SESSION, INVOICE))
