"""The cache as a convenience, and one attempt at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache, caches
from django.core.cache.backends.locmem import LocMemCache
from django.db import connections
from pytest_django import Settings

from polar_portal.cache import ClickCache
from polar_portal.exceptions import DocumentPending, PolarMisconfigured, PolarUnavailable, RateLimited
from polar_portal.portal import CustomerPortal
from polar_portal.testing import FakeCustomer, FakePolar
from tests.conftest import asked

BUDGET = 10.0


def click_cache() -> ClickCache:
    return ClickCache(time.monotonic() + BUDGET)


def at_once(number: int, act: Callable[[], Any]) -> list[Any]:
    """Let `number` threads do `act` together; give what each got, an exception included."""
    together = threading.Barrier(number)

    def one() -> Any:
        try:
            cache.get("nothing")  # connects, where there is something to connect to
            together.wait()
            return act()
        except Exception as failure:  # noqa: BLE001 - it is what is looked at
            return failure
        finally:
            hang_up()

    with ThreadPoolExecutor(number) as pool:
        return [future.result() for future in [pool.submit(one) for _ in range(number)]]


def lapse() -> None:
    """The lock, at its end."""
    cache.delete("key:attempt")
    hang_up()


def hang_up() -> None:
    """Close what a thread has opened, as the end of a request does."""
    caches.close_all()
    connections.close_all()


class Work:
    """Something slow that only one may do at a time; it remembers how often it was done."""

    #: Seconds: long enough for the others to arrive.
    takes = 0.2

    def __init__(self, failure: Exception | None = None, *, keeps: bool = True) -> None:
        self.done = 0
        self.failure = failure
        self.keeps = keeps

    def find(self) -> str | None:
        found: str | None = cache.get("result")
        return found

    def __call__(self) -> str:
        self.done += 1
        time.sleep(self.takes)
        if self.failure:
            raise self.failure
        if self.keeps:
            cache.set("result", "made")
        return "made"


def test_one_works_and_all_get_the_result() -> None:
    work = Work()
    results = at_once(20, lambda: click_cache().once("key", work.find, work))
    assert results == ["made"] * 20
    assert work.done == 1


@pytest.mark.parametrize(
    "failure",
    [PolarUnavailable("away", retry_after=7), RateLimited("slowly", retry_after=7), PolarMisconfigured("token")],
)
def test_failure_is_shared_with_those_who_waited(failure: Exception) -> None:
    work = Work(failure)
    results = at_once(20, lambda: click_cache().once("key", work.find, work))
    assert work.done == 1
    assert {type(result) for result in results} == {type(failure)}
    assert {str(result) for result in results} == {str(failure)}
    assert {getattr(result, "retry_after", None) for result in results} == {getattr(failure, "retry_after", None)}
    # One log line: only the one who met it has to write it.
    assert sorted(result.remembered for result in results) == [False] + [True] * 19


def test_failure_is_not_shared_with_those_who_come_later() -> None:
    work = Work(PolarUnavailable("away"))
    for _ in range(2):
        with pytest.raises(PolarUnavailable):
            click_cache().once("key", work.find, work)
    assert work.done == 2


def test_result_that_is_not_kept_is_shared_all_the_same() -> None:
    work = Work(keeps=False)
    results = at_once(
        10, lambda: click_cache().once("key", work.find, work, lambda made: {"it": made}, lambda seen: seen["it"])
    )
    assert results == ["made"] * 10
    assert work.done == 1


def test_an_exception_that_is_no_failure_of_ours_frees_the_way() -> None:
    work = Work(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        click_cache().once("key", work.find, work)
    assert click_cache().once("key", work.find, Work()) == "made"


def test_who_has_waited_long_enough_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polar_portal.cache.LONGEST_WAIT", 0.05)
    cache.add("key:attempt", "somebody", 11)
    with pytest.raises(DocumentPending) as pending:
        click_cache().once("key", lambda: None, Work())
    assert pending.value.retry_after == 1


def test_holder_that_died_holds_nobody_longer_than_its_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    cache.add("key:attempt", "died", 11)
    threading.Timer(0.1, lapse).start()
    assert click_cache().once("key", lambda: None, Work()) == "made"


@pytest.mark.parametrize(("budget", "life"), [(0.3, 2), (1, 2), (5, 6), (9.5, 11), (10, 11)])
def test_lock_outlives_the_longest_click_in_whole_seconds(settings: Settings, budget: float, life: int) -> None:
    settings.POLAR_CLICK_BUDGET = budget
    lives = []

    def work() -> str:
        key = cache.make_key("key:attempt")
        lives.append(cache._expire_info[key] - time.time())  # type: ignore[attr-defined]
        return "made"

    click_cache().once("key", lambda: None, work)
    assert life - 1 < lives[0] <= life


def test_holder_deletes_its_lock_only_while_it_is_surely_its_own(settings: Settings) -> None:
    settings.POLAR_CLICK_BUDGET = 0.5  # the lock lives 2 s
    clock = time.monotonic

    def slow() -> str:
        cache.set("key:attempt", "the next holder", 11)
        pytest.MonkeyPatch.setattr(patch, time, "monotonic", lambda: clock() + 1.2)
        return "made"

    with pytest.MonkeyPatch.context() as patch:
        click_cache().once("key", lambda: None, slow)
    assert cache.get("key:attempt") == "the next holder"


def test_lock_is_gone_after_success_and_failure() -> None:
    click_cache().once("key", lambda: None, lambda: "made")
    assert cache.get("key:attempt") is None
    with pytest.raises(PolarUnavailable):
        click_cache().once("key", lambda: None, Work(PolarUnavailable("away")))
    assert cache.get("key:attempt") is None


class Broken(LocMemCache):
    """A cache that fails at the commands in `at`, by raising, and counts how often it was asked."""

    at: frozenset[str] = frozenset()
    asked = 0

    def _ask(self, command: str, *args: Any, **kwargs: Any) -> Any:
        type(self).asked += 1
        if command in self.at:
            raise ConnectionError("redis://:password@cache.example refused")
        return getattr(LocMemCache, command)(self, *args, **kwargs)

    def get(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("get", *args, **kwargs)

    def set(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("set", *args, **kwargs)

    def add(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("add", *args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("delete", *args, **kwargs)

    def get_many(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("get_many", *args, **kwargs)


@pytest.mark.parametrize("at", [{"get"}, {"add"}, {"get_many"}, {"set"}, {"delete"}, {"get", "set", "add", "delete"}])
def test_cache_that_fails_costs_speed_and_never_the_answer(
    fake_polar: FakePolar,
    ada: User,
    ada_at_polar: FakeCustomer,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    at: set[str],
) -> None:
    settings.CACHES = {"default": {"BACKEND": "tests.test_cache.Broken"}}
    monkeypatch.setattr(Broken, "at", frozenset(at))
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    for _ in range(2):
        assert fake_polar.download(CustomerPortal(ada).invoice(order.id).url).status == 200
    lines = [record for record in caplog.records if record.name == "polar_portal.cache"]
    assert 1 <= len(lines) <= 4
    assert "ConnectionError" in lines[0].getMessage()
    assert "password" not in caplog.text


def test_after_its_first_failure_a_click_does_without_the_cache(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CACHES = {"default": {"BACKEND": "tests.test_cache.Broken"}}
    monkeypatch.setattr(Broken, "at", frozenset({"get"}))
    monkeypatch.setattr(Broken, "asked", 0)
    CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    assert Broken.asked == 1


class Forgetful(LocMemCache):
    """What a client that hides its errors does when its server is away: nothing is kept, nothing raised."""

    commands = 0

    def get(self, *args: Any, **kwargs: Any) -> Any:
        type(self).commands += 1

    def get_many(self, *args: Any, **kwargs: Any) -> Any:
        type(self).commands += 1
        return {}

    def add(self, *args: Any, **kwargs: Any) -> Any:
        type(self).commands += 1
        return False

    def set(self, *args: Any, **kwargs: Any) -> Any:
        type(self).commands += 1


def test_cache_that_hides_its_failures_is_seen_through(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CACHES = {"default": {"BACKEND": "tests.test_cache.Forgetful"}}
    monkeypatch.setattr(Forgetful, "commands", 0)
    assert CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    assert Forgetful.commands < 20


def test_patient_click_waits_for_the_holder_as_long_as_it_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polar_portal.cache.LONGEST_WAIT", 0.05)
    cache.add("key:attempt", "somebody", 11)
    threading.Timer(0.3, lapse).start()
    patient = click_cache()
    patient.patient = True
    assert patient.once("key", lambda: None, lambda: "made") == "made"


def test_patient_click_that_waited_in_vain_says_so() -> None:
    cache.add("key:attempt", "somebody", 11)
    patient = ClickCache(time.monotonic() + 0.1)
    patient.patient = True
    with pytest.raises(PolarUnavailable):
        patient.once("key", lambda: None, lambda: "made")


def test_who_waited_looks_once_more_before_giving_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polar_portal.cache.LONGEST_WAIT", 0.05)
    cache.add("key:attempt", "somebody", 11)
    assert click_cache().once("key", lambda: "there meanwhile", lambda: "made") == "there meanwhile"


def test_slow_add_that_succeeds_is_still_a_lock_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polar_portal.cache.TOO_SLOW", -1)
    assert click_cache().once("key", lambda: None, lambda: "made") == "made"
    assert cache.get("key:attempt") is None


def test_a_slow_cache_is_asked_once_a_click(
    fake_polar: FakePolar,
    ada: User,
    ada_at_polar: FakeCustomer,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.CACHES = {"default": {"BACKEND": "tests.test_cache.Broken"}}
    monkeypatch.setattr(Broken, "asked", 0)
    monkeypatch.setattr("polar_portal.cache.TOO_SLOW", -1)
    CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    assert Broken.asked == 1
    assert [record.levelno for record in caplog.records if record.name == "polar_portal.cache"] == [logging.WARNING]


@pytest.mark.parametrize(("budget", "asked"), [(10, 4), (1, 1)])
def test_a_cache_takes_four_seconds_of_a_click_or_half_of_it(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, budget: float, asked: int
) -> None:
    settings.CACHES = {"default": {"BACKEND": "tests.test_cache.Broken"}}
    really, late = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: really() + late[0])
    monkeypatch.setattr(Broken, "_ask", lambda self, *args: late.append(late.pop() + 1.0))
    slow = ClickCache(time.monotonic() + budget)
    for _ in range(9):
        slow.get("key")
    assert late == [asked]


def test_one_line_tells_of_a_cache_that_fails_again_at_the_end(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CACHES = {"default": {"BACKEND": "tests.test_cache.Broken"}}
    monkeypatch.setattr(Broken, "at", frozenset({"set", "delete"}))
    work = Work(PolarUnavailable("away"))
    with pytest.raises(PolarUnavailable):
        click_cache().once("key", work.find, work)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_cache_that_cannot_be_opened_costs_speed_and_one_line(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings, tmp_path: Path, caplog: Any
) -> None:
    (tmp_path / "cache").write_text("a file, where there should be a folder")
    backend = "django.core.cache.backends.filebased.FileBasedCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": str(tmp_path / "cache")}}
    CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    (line,) = [record for record in caplog.records if record.name == "polar_portal.cache"]
    assert "can't be opened (FileExistsError)" in line.getMessage()


def test_commands_of_a_warm_and_a_cold_click(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CACHES = {"default": {"BACKEND": "tests.test_cache.Counting"}}
    CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    Counting.commands.clear()
    CustomerPortal(ada).invoice(order.id)
    assert Counting.commands == ["get", "add", "get_many", "set", "delete"]
    Counting.commands.clear()
    CustomerPortal(ada).invoice(order.id)
    assert Counting.commands == ["get"]


def test_a_click_on_what_is_being_prepared_leaves_nothing_in_the_cache(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    portal = CustomerPortal(ada)
    portal.generate_invoice(order.id)
    with pytest.raises(DocumentPending):
        portal.invoice(order.id)
    settings.CACHES = {"default": {"BACKEND": "tests.test_cache.Counting"}}
    Counting.commands.clear()
    # Ten tabs wait; Django's caches of this machine hold 300 entries, and make room by dropping any.
    with pytest.raises(DocumentPending):
        portal.invoice(order.id)
    assert Counting.commands == ["get", "add", "get_many", "delete"]


class Counting(LocMemCache):
    """Remembers which commands it was given; one that carries out another, as get_many does here, counts once."""

    commands: list[str] = []
    within = False

    def _note(self, command: str, *args: Any, **kwargs: Any) -> Any:
        if self.within:
            return getattr(LocMemCache, command)(self, *args, **kwargs)
        self.commands.append(command)
        self.within = True
        try:
            return getattr(LocMemCache, command)(self, *args, **kwargs)
        finally:
            self.within = False

    def get(self, *args: Any, **kwargs: Any) -> Any:
        return self._note("get", *args, **kwargs)

    def set(self, *args: Any, **kwargs: Any) -> Any:
        return self._note("set", *args, **kwargs)

    def add(self, *args: Any, **kwargs: Any) -> Any:
        return self._note("add", *args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        return self._note("delete", *args, **kwargs)

    def get_many(self, *args: Any, **kwargs: Any) -> Any:
        return self._note("get_many", *args, **kwargs)


def test_cache_keys_hold_no_personal_data_and_suit_memcached(
    fake_polar: FakePolar, ada: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = fake_polar.add_customer(external_id="ada@shop.example")
    monkeypatch.setattr(
        "polar_portal.customers.by_primary_key", lambda user: {"external_customer_id": "ada@shop.example"}
    )
    order = fake_polar.add_order(customer, invoice=True)
    CustomerPortal(ada).invoice(order.id)
    pending = fake_polar.add_order(customer)
    CustomerPortal(ada).generate_invoice(pending.id)
    with pytest.raises(DocumentPending):
        CustomerPortal(ada).invoice(pending.id)
    keys = list(cache._cache)  # type: ignore[attr-defined]
    values = "".join(map(repr, cache._cache.values()))  # type: ignore[attr-defined]
    assert any(order.id.hex in key for key in keys)
    for key in keys:
        assert key.startswith(":1:polar_portal:1:")
        assert len(key) < 250
        assert "@" not in key
        assert not set(key) & set(" \t\r\n")
    assert "shop.example" not in values
    assert "polar_cst" not in values


@pytest.mark.django_db(transaction=True)
def test_a_crowd_on_one_cold_document_makes_one_call(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)  # so that there is a session
    fake_polar.clear_calls()
    # Nothing of it asks the database: SQLite in memory has a connection for each thread, which nobody would close.
    session = CustomerPortal(ada)._identity()._find_session()
    monkeypatch.setattr("polar_portal.identity.CustomerIdentity._find_session", lambda self, **kwargs: session)
    monkeypatch.setattr("polar_portal.edits.edited_at", lambda polar_order_id: None)
    results = at_once(50, lambda: CustomerPortal(ada).invoice(order.id))
    assert len({result.url for result in results}) == 1
    assert asked(fake_polar) == ["GET invoice"]
