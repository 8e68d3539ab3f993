"""Exports and sync runs use at most half of the organization's limit, whoever else does, and wait out a 429."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from pytest_django import Settings

from polar_portal import pace as pace_module
from polar_portal.api.schemas import OrderPage
from polar_portal.exceptions import OrderNotFound, PolarMisconfigured, RateLimited
from polar_portal.identity import OrganizationIdentity
from polar_portal.pace import WINDOW, HalfReached, Pace, Stopped, calls_for_us
from polar_portal.portal import CustomerPortal
from polar_portal.testing import FakeCustomer, FakePolar
from polar_portal.testing.records import Limits
from tests.conftest import Clock


@pytest.fixture(autouse=True)
def _clock(clock: Clock) -> None:
    """Nothing here really waits."""


def ask(pace: Pace) -> OrderPage:
    """What a sync run asks again and again."""
    return pace.ask(lambda client: client.orders(page=1, limit=100))


def another_process() -> None:
    """Forget what only this process knows; the cache is shared."""
    pace_module._asked_here.clear()


class Noting:
    """Notes when Polar was asked, by wrapping what answers."""

    def __init__(self, polar: FakePolar, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moments: list[float] = []
        really = polar.handle

        def handle(request: Any) -> Any:
            self.moments.append(polar.now.timestamp())
            return really(request)

        monkeypatch.setattr(polar, "handle", handle)

    def most_within(self, seconds: float) -> int:
        return max(sum(start <= each <= start + seconds for each in self.moments) for start in self.moments)


@pytest.mark.parametrize(
    ("base_url", "server", "calls"),
    [
        ("https://api.polar.sh", "production", 250),
        ("https://api.polar.sh", "sandbox", 250),
        ("https://sandbox-api.polar.sh", "production", 50),
        ("https://proxy.example", "production", 250),
        ("http://127.0.0.1:9000", "sandbox", 50),
    ],
)
def test_half_of_what_polar_allows(settings: Settings, base_url: str, server: str, calls: int) -> None:
    settings.POLAR_SERVER = server
    assert calls_for_us(base_url) == calls


def test_a_burst_is_not_slowed_down_as_long_as_there_is_room(fake_polar: FakePolar, clock: Clock) -> None:
    pace = Pace()
    for _ in range(250):
        ask(pace)
    assert clock.waits == []
    ask(pace)
    assert clock.waits == [WINDOW]
    assert len(fake_polar.calls) == 251
    assert {call.token for call in fake_polar.calls} == {fake_polar.access_token}


def test_in_no_60_seconds_are_more_calls_made(
    fake_polar: FakePolar, clock: Clock, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.POLAR_SERVER = "sandbox"
    fake_polar.limits = Limits.sandbox()
    noted = Noting(fake_polar, monkeypatch)
    for number in range(400):
        if number % 7 == 0:
            another_process()
        ask(Pace())
        clock.traveller.shift(0.9 if number % 90 < 30 else 0.05)
    assert noted.most_within(60) == 50
    assert len(fake_polar.calls) == 400
    assert all(call.status == 200 for call in fake_polar.calls)


def test_it_goes_on_when_there_is_room_for_an_orders_calls(
    fake_polar: FakePolar, clock: Clock, settings: Settings
) -> None:
    settings.POLAR_SERVER = "sandbox"
    pace = Pace()
    for _ in range(50):
        ask(pace)
        clock.traveller.shift(1)
    ask(pace)
    assert clock.waits == [pytest.approx(WINDOW - 50 + 2)]


def test_processes_that_share_the_cache_share_the_half(fake_polar: FakePolar, settings: Settings) -> None:
    settings.POLAR_SERVER = "sandbox"
    for _ in range(50):
        ask(Pace())
    another_process()
    with pytest.raises(HalfReached):
        OrganizationAsk().once()
    assert len(fake_polar.calls) == 50


class OrganizationAsk:
    """One question, not waited for."""

    def once(self) -> OrderPage:
        return Pace().identity().call(lambda client: client.orders(page=1, limit=100))


def test_threads_do_not_take_the_same_place_twice(
    fake_polar: FakePolar, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.POLAR_SERVER = "sandbox"
    settings.CACHES = {"default": {"BACKEND": "tests.test_pace.Slow"}}
    # Each thread as a process of its own: only the lock in the cache keeps them apart.
    monkeypatch.setattr(pace_module, "_asked_here", NothingKept())
    refused = []

    def run() -> None:
        for _ in range(10):
            try:
                OrganizationAsk().once()
            except HalfReached:
                refused.append(1)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(fake_polar.calls), len(refused)) == (50, 30)


class Slow(LocMemCache):
    """A cache that is asked over a network, so that what was read is old when something is written."""

    def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        value = super().get(key, *args, **kwargs)
        if key.endswith(":pace"):
            time.sleep(0.001)
        return value


class NothingKept(dict[str, list[float]]):
    def __missing__(self, key: str) -> list[float]:
        return []

    def __setitem__(self, key: str, value: list[float]) -> None:
        pass


@pytest.mark.parametrize("backend", ["Broken", "Forgetful", "dummy"])
def test_without_a_cache_each_process_keeps_to_it_alone(
    fake_polar: FakePolar, settings: Settings, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    settings.POLAR_SERVER = "sandbox"
    path = "django.core.cache.backends.dummy.DummyCache" if backend == "dummy" else f"tests.test_cache.{backend}"
    settings.CACHES = {"default": {"BACKEND": path}}
    monkeypatch.setattr("tests.test_cache.Broken.at", frozenset({"get", "set", "add", "delete", "get_many"}))
    slept: list[float] = []
    monkeypatch.setattr("polar_portal.pace.time.sleep", slept.append)
    for _ in range(50):
        OrganizationAsk().once()
    with pytest.raises(HalfReached):
        OrganizationAsk().once()
    assert len(fake_polar.calls) == 50
    assert len(slept) <= 51 * 9, "it is seen through, and not waited for until its lock lapses"


@pytest.mark.parametrize("command", ["get", "set", "add", "delete"])
def test_a_cache_that_fails_at_one_command_costs_no_call_too_many(
    fake_polar: FakePolar, settings: Settings, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    settings.POLAR_SERVER = "sandbox"
    settings.CACHES = {"default": {"BACKEND": "tests.test_cache.Broken"}}
    monkeypatch.setattr("tests.test_cache.Broken.at", frozenset({command}))
    monkeypatch.setattr(pace_module, "LOCK_LIFE", 0.01)
    for _ in range(50):
        OrganizationAsk().once()
    with pytest.raises(HalfReached):
        OrganizationAsk().once()


def test_what_the_cache_has_lost_this_process_still_knows(fake_polar: FakePolar, settings: Settings) -> None:
    settings.POLAR_SERVER = "sandbox"
    for number in range(50):
        OrganizationAsk().once()
        if number == 30:
            cache.clear()
    with pytest.raises(HalfReached):
        OrganizationAsk().once()


@pytest.mark.parametrize(
    "rubbish", ["x", 7, {"a": 1}, ["x", None, float("nan"), float("inf"), -1.0, 1e12, True], [1e12] * 300]
)
def test_rubbish_in_the_cache_counts_for_nothing(fake_polar: FakePolar, clock: Clock, rubbish: object) -> None:
    cache.set(OrganizationIdentity().key("pace"), rubbish, 600)
    ask(Pace())
    assert clock.waits == []


def test_one_who_died_while_counting_does_not_stop_the_others(
    fake_polar: FakePolar, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = f"{OrganizationIdentity().key('pace')}:lock"
    cache.set(key, 1, None)
    monkeypatch.setattr(pace_module, "LOCK_LIFE", 0.05)
    ask(Pace())
    assert len(fake_polar.calls) == 1
    assert cache.get(key) == 1, "it is not ours to take away"


def test_a_call_that_is_made_again_is_counted_again(fake_polar: FakePolar, settings: Settings) -> None:
    settings.POLAR_SERVER = "sandbox"
    fake_polar.fail("GET", "/v1/orders/", status=503, times=1)
    for _ in range(49):
        OrganizationAsk().once()
    assert len(fake_polar.calls) == 50
    with pytest.raises(HalfReached):
        OrganizationAsk().once()
    assert len(fake_polar.calls) == 50


def test_a_failed_call_is_not_made_again_where_there_is_no_room(fake_polar: FakePolar, settings: Settings) -> None:
    settings.POLAR_SERVER = "sandbox"
    for _ in range(49):
        OrganizationAsk().once()
    fake_polar.fail("GET", "/v1/orders/", status=503, times=1)
    with pytest.raises(HalfReached):
        OrganizationAsk().once()
    assert len(fake_polar.calls) == 50


def test_customers_are_not_held_back_by_it(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.POLAR_SERVER = "sandbox"
    fake_polar.limits = Limits.sandbox()
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    for _ in range(50):
        OrganizationAsk().once()
    with pytest.raises(HalfReached):
        OrganizationAsk().once()
    assert CustomerPortal(ada).invoice(order.id)
    assert OrganizationIdentity().call(lambda client: client.order(order.id))
    assert caplog.text == ""


# Polar's own limit


def test_a_429_is_waited_out_and_the_same_is_asked_again(fake_polar: FakePolar, clock: Clock) -> None:
    fake_polar.fail("GET", status=429, headers={"retry-after": "60"}, times=2)
    assert ask(Pace()).total == 0
    assert clock.waits == [60, 60]
    assert len(fake_polar.calls) == 3


def test_a_429_that_others_have_met_is_waited_out_without_asking(fake_polar: FakePolar, clock: Clock) -> None:
    fake_polar.fail("GET", status=429, headers={"retry-after": "60"}, times=1)
    with pytest.raises(RateLimited):
        OrganizationAsk().once()
    clock.traveller.shift(20)
    assert ask(Pace()).total == 0
    assert clock.waits == [40]
    assert len(fake_polar.calls) == 2


def test_what_is_refused_three_times_in_a_row_is_given_up(fake_polar: FakePolar, clock: Clock) -> None:
    fake_polar.fail("GET", status=429, headers={"retry-after": "7"}, times=None)
    with pytest.raises(RateLimited):
        ask(Pace())
    assert clock.waits == [7, 7]
    assert len(fake_polar.calls) == 3


def test_nobody_waits_an_hour(fake_polar: FakePolar, clock: Clock) -> None:
    fake_polar.fail("GET", status=429, headers={"retry-after": "121"}, times=None)
    with pytest.raises(RateLimited):
        ask(Pace())
    assert clock.waits == []
    assert len(fake_polar.calls) == 1


def test_who_is_held_back_again_and_again_gives_up(fake_polar: FakePolar, clock: Clock) -> None:
    def refuse() -> None:
        raise HalfReached(30)

    with pytest.raises(RateLimited):
        Pace().patiently(refuse)
    assert clock.waits == [30] * 9


@pytest.mark.parametrize("breaks", ["order", "token"])
def test_other_failures_are_not_waited_for(fake_polar: FakePolar, clock: Clock, breaks: str) -> None:
    if breaks == "token":
        fake_polar.revoke_access_token()
    pace = Pace()
    with pytest.raises(OrderNotFound if breaks == "order" else PolarMisconfigured):
        pace.ask(lambda client: client.order(uuid.uuid4()))
    assert clock.waits == []


def test_a_wait_that_nobody_wants_any_more_ends(fake_polar: FakePolar) -> None:
    stopped = threading.Event()
    stopped.set()
    fake_polar.fail("GET", status=429, times=None)
    with pytest.raises(Stopped):
        ask(Pace(stopped))
    assert len(fake_polar.calls) == 1


def test_pause_really_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    waited: list[float] = []
    monkeypatch.setattr("polar_portal.pace.time.sleep", waited.append)
    pace_module.pause(7)
    assert waited == [7]
    stopped = threading.Event()
    threading.Timer(0.02, stopped.set).start()
    pace_module.pause(600, stopped)
    assert stopped.is_set()
