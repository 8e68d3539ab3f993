"""`polar_sync_orders` fills the mirror: the oldest orders first, nothing twice, nothing lost in silence."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import requests
import time_machine
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from pytest_django import Settings

from polar_portal import pace
from polar_portal.exceptions import PolarUnavailable
from polar_portal.models import Order
from polar_portal.portal import CustomerPortal
from polar_portal.signals import order_changed
from polar_portal.testing import FakeCustomer, FakeOrder, FakePolar
from polar_portal.testing.records import Limits
from polar_portal.testing.wire import Answer, Request, json_answer
from tests.conftest import Terminal
from tests.test_mirror import listening

NOW = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
LIST = "/v1/orders/"


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Time passes only where the run waits; how long it has waited."""
    waits: list[float] = []
    with time_machine.travel(NOW, tick=False) as traveller:

        def pause(seconds: float, stopped: object = None) -> None:
            waits.append(seconds)
            traveller.shift(seconds)

        monkeypatch.setattr(pace, "pause", pause)
        yield waits


def run(**options: Any) -> str:
    """Run the command and return what it says where nobody watches."""
    out = io.StringIO()
    call_command("polar_sync_orders", stdout=out, stderr=out, **options)
    return out.getvalue()


def add(polar: FakePolar, customer: FakeCustomer, how_many: int, *, days: float = 0, **values: Any) -> list[FakeOrder]:
    """Add orders, the oldest first, a minute between them; the newest is so many days old."""
    newest = NOW - timedelta(days=days)
    ages = reversed(range(how_many))
    return [polar.add_order(customer, created_at=newest - timedelta(minutes=age), **values) for age in ages]


def asked(polar: FakePolar) -> list[dict[str, str]]:
    """The queries with which lists of orders were asked for; nothing else may have been asked."""
    assert {(call.method, call.path, call.token) for call in polar.calls} <= {("GET", LIST, polar.access_token)}
    return [call.query for call in polar.calls]


def pages(polar: FakePolar) -> list[tuple[int, int]]:
    """Which pages were asked for, and of how many orders."""
    return [(int(query["page"]), int(query["limit"])) for query in asked(polar)]


def ids() -> set[uuid.UUID]:
    return set(Order.objects.values_list("pk", flat=True))


# What is brought


def test_first_run_brings_all_orders_the_oldest_first(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer, bob_at_polar: FakeCustomer
) -> None:
    add(fake_polar, ada_at_polar, 120, days=9)
    add(fake_polar, bob_at_polar, 115)
    assert run() == "All orders:\nDone: 235 orders seen, 235 new, 0 changed.\n"
    assert ids() == set(fake_polar.orders)
    assert pages(fake_polar) == [(1, 100), (2, 100), (3, 100)]
    assert {query["sorting"] for query in asked(fake_polar)} == {"created_at"}
    assert not any("created_after" in query for query in asked(fake_polar))
    assert Order.objects.filter(synced_at=NOW).count() == 235
    order = next(iter(fake_polar.orders.values()))
    row = Order.objects.get(pk=order.id)
    assert (row.number, row.total_amount, row.polar_customer_id) == (order.invoice_number, 5880, ada_at_polar.id)


@pytest.mark.parametrize(("how_many", "calls"), [(0, 1), (1, 1), (99, 1), (100, 1), (101, 2), (200, 2)])
def test_as_many_calls_as_pages(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer, how_many: int, calls: int
) -> None:
    add(fake_polar, ada_at_polar, how_many)
    assert f"Done: {how_many} orders seen, {how_many} new" in run()
    assert len(pages(fake_polar)) == calls


def test_next_run_brings_what_was_made_since_with_an_hour_of_overlap(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer
) -> None:
    add(fake_polar, ada_at_polar, 150, days=1)
    run()
    fake_polar.clear_calls()
    add(fake_polar, ada_at_polar, 3)
    said = run()
    assert said == "Orders made since 2026-11-21 11:00 UTC:\nDone: 64 orders seen, 3 new, 0 changed.\n"
    assert [datetime.fromisoformat(query["created_after"]) for query in asked(fake_polar)] == [
        NOW - timedelta(days=1, hours=1)
    ]
    assert ids() == set(fake_polar.orders)


def test_what_clicks_and_webhooks_bring_does_not_move_where_the_next_run_starts(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    add(fake_polar, ada_at_polar, 1, days=9)
    run()
    missed, seen = add(fake_polar, ada_at_polar, 2)
    CustomerPortal(ada).order(seen.id)
    fake_polar.clear_calls()
    run()
    assert missed.id in ids()
    assert asked(fake_polar)[0]["created_after"].startswith("2026-11-13T11:00")


def test_order_from_the_future_does_not_stop_later_runs(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer
) -> None:
    add(fake_polar, ada_at_polar, 1, days=-4000)
    run()
    add(fake_polar, ada_at_polar, 1)
    run()
    assert ids() == set(fake_polar.orders)


def test_full_run_brings_what_has_become_of_old_orders(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer
) -> None:
    old, *_ = add(fake_polar, ada_at_polar, 130, days=300)
    add(fake_polar, ada_at_polar, 1)
    run()
    fake_polar.refund(old, 1000)
    assert "0 new, 0 changed" in run()
    assert Order.objects.get(pk=old.id).status == "paid"
    told: list[tuple[Any, bool]] = []
    with listening((order_changed, lambda order, created, **_: told.append((order.pk, created)))):
        assert run(full=True) == "All orders:\nDone: 131 orders seen, 0 new, 1 changed.\n"
    assert Order.objects.get(pk=old.id).status == "partially_refunded"


@pytest.mark.parametrize(
    ("since", "moment"),
    [
        ("2026-11-01", "2026-11-01T00:00:00+01:00"),
        ("2026-11-01T09:30", "2026-11-01T09:30:00+01:00"),
        ("2026-11-01 09:30:15", "2026-11-01T09:30:15+01:00"),
        ("2026-11-01T09:30:00Z", "2026-11-01T09:30:00+00:00"),
    ],
)
def test_since_is_a_day_or_a_moment_of_this_sites_time_zone(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer, settings: Settings, since: str, moment: str
) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    add(fake_polar, ada_at_polar, 1, days=90)
    (new,) = add(fake_polar, ada_at_polar, 1)
    run(since=since)
    assert asked(fake_polar)[0]["created_after"] == moment
    assert ids() == {new.id}


@pytest.mark.parametrize("since", ["yesterday", "2026-13-01", "01.11.2026", "2026-11-31"])
def test_since_that_is_no_date_is_refused(db: None, fake_polar: FakePolar, since: str) -> None:
    with pytest.raises(CommandError, match="it must look like 2026-11-01"):
        run(since=since)
    assert fake_polar.calls == []


def test_full_and_since_are_refused_together(db: None, fake_polar: FakePolar) -> None:
    with pytest.raises(CommandError):
        run(full=True, since="2026-11-01")
    with pytest.raises(CommandError, match="not allowed with"):
        call_command("polar_sync_orders", "--full", "--since", "2026-11-01")
    assert fake_polar.calls == []


def test_since_later_than_the_last_run_loses_nothing_between(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer
) -> None:
    add(fake_polar, ada_at_polar, 1, days=90)
    run()
    add(fake_polar, ada_at_polar, 1, days=60)
    add(fake_polar, ada_at_polar, 1, days=1)
    run(since="2026-11-01")
    assert len(ids()) == 2
    run()
    assert ids() == set(fake_polar.orders)


def test_mirror_that_begins_with_since_goes_on_from_there(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer
) -> None:
    add(fake_polar, ada_at_polar, 1, days=90)
    (first,) = add(fake_polar, ada_at_polar, 1, days=9)
    run(since="2026-11-01")
    (second,) = add(fake_polar, ada_at_polar, 1)
    run()
    assert ids() == {first.id, second.id}


def test_runs_without_time_zones_too(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer, settings: Settings
) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Europe/Berlin"
    add(fake_polar, ada_at_polar, 1, days=9)
    run()
    add(fake_polar, ada_at_polar, 1)
    fake_polar.clear_calls()
    run()
    assert asked(fake_polar)[0]["created_after"] == "2026-11-13T12:00:00+01:00"
    assert ids() == set(fake_polar.orders)


def test_older_data_never_replaces_newer(db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> None:
    (order,) = add(fake_polar, ada_at_polar, 1)
    run()
    newer = {"status": "refunded", "modified_at": NOW + timedelta(minutes=1)}
    Order.objects.update(**newer)
    assert "1 orders seen, 0 new, 0 changed" in run(full=True)
    assert Order.objects.get(pk=order.id).status == "refunded"


# Broken off, and gone on with


def answer_by(monkeypatch: pytest.MonkeyPatch, polar: FakePolar, change: Callable[[Request, Answer], Answer]) -> None:
    """Let `change` have the last word on what the list of orders answers."""
    really = polar.handle

    def handle(request: Request) -> Answer:
        answer = really(request)
        return change(request, answer) if request.path == LIST and answer.status == 200 else answer

    monkeypatch.setattr(polar, "handle", handle)


def break_off(monkeypatch: pytest.MonkeyPatch, polar: FakePolar, page: int) -> None:
    """Let Polar fail from this page on, once, until `polar.clear_failures`."""
    left = [page - 1]

    def change(request: Request, answer: Answer) -> Answer:
        if left and f"page={left[0]}&" in request.query:
            left.clear()
            polar.fail("GET", LIST, status=503, json={"error": "ServiceUnavailable"}, times=None)
        return answer

    answer_by(monkeypatch, polar, change)


def test_run_that_polar_ends_keeps_what_was_brought_and_the_next_goes_on(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = add(fake_polar, ada_at_polar, 1000)
    break_off(monkeypatch, fake_polar, page=4)
    with pytest.raises(CommandError) as failed:
        run()
    reached = orders[299].created_at - timedelta(hours=1)
    assert re.sub(r"after [\d.]+ s", "after S s", str(failed.value)) == (
        "GET /v1/orders/: 503 ServiceUnavailable after S s, twice. What was brought stays. "
        f"To go on from there: polar_sync_orders --since {reached:%Y-%m-%dT%H:%M:%SZ}"
    )
    assert len(ids()) == 300
    fake_polar.clear_failures()
    fake_polar.clear_calls()
    assert "Done: 761 orders seen, 700 new, 0 changed." in run()
    assert len(pages(fake_polar)) == 8, "not all of them again"
    assert ids() == set(fake_polar.orders)


def test_full_run_that_was_broken_off_goes_on_with_what_it_says(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = add(fake_polar, ada_at_polar, 1000)
    run()
    for order in (orders[0], orders[500]):
        fake_polar.refund(order, 1000)
    break_off(monkeypatch, fake_polar, page=4)
    with pytest.raises(CommandError) as failed:
        run(full=True)
    fake_polar.clear_failures()
    since = str(failed.value).partition("--since ")[2]
    assert "0 new, 1 changed" in run(since=since)
    assert set(Order.objects.filter(status="partially_refunded").values_list("pk", flat=True)) == {
        orders[0].id,
        orders[500].id,
    }


def test_ctrl_c_keeps_what_was_brought_and_says_how_to_go_on(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(fake_polar, ada_at_polar, 250)

    def change(request: Request, answer: Answer) -> Answer:
        if "page=2&" in request.query:
            raise KeyboardInterrupt
        return answer

    answer_by(monkeypatch, fake_polar, change)
    out = io.StringIO()
    with pytest.raises(CommandError) as stopped:
        call_command("polar_sync_orders", stdout=out)
    assert stopped.value.returncode == 130
    assert re.fullmatch(
        r"Stopped\. What was brought stays\. To go on .* --since 2026-11-22T\d\d:\d\d:00Z", str(stopped.value)
    )
    assert "Done" not in out.getvalue()
    assert len(ids()) == 100


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (lambda polar: polar.revoke_access_token(), "Polar refuses POLAR_ACCESS_TOKEN"),
        (lambda polar: polar.scopes.clear(), "lacks the scope orders:read"),
        (lambda polar: polar.fail(exception=requests.ConnectionError("Bearer x"), times=None), "the connection broke"),
        (lambda polar: polar.fail(status=200, json={"items": 7}, times=None), "200 that makes no sense"),
        (lambda polar: polar.fail(status=404, json={"detail": "Not Found"}, times=None), "no such route"),
    ],
)
def test_failures_are_told_in_a_line_without_secrets(
    db: None, fake_polar: FakePolar, trouble: Callable[[FakePolar], None], said: str
) -> None:
    token = fake_polar.access_token
    trouble(fake_polar)
    with pytest.raises(CommandError) as failed:
        run()
    message = str(failed.value)
    assert said in message
    assert re.search(r"[^.]\. What was brought stays\. Run it again\.$", message)
    assert "\n" not in message
    assert token not in message
    assert "Bearer" not in message
    assert failed.value.returncode == 1
    assert failed.value.__cause__ is None


def test_missing_token_is_told_in_a_line(db: None, fake_polar: FakePolar, settings: Settings) -> None:
    settings.POLAR_ACCESS_TOKEN = ""
    with pytest.raises(CommandError, match="POLAR_ACCESS_TOKEN is not set"):
        run()


# Servers that do not do as they are told


def ignoring(*names: str) -> Callable[[FakePolar, pytest.MonkeyPatch], None]:
    """Make Polar ignore these parameters of a query."""

    def arrange(polar: FakePolar, monkeypatch: pytest.MonkeyPatch) -> None:
        really = polar._routes.answer

        def answer(request: Request, caller: Any) -> Answer:
            kept = [part for part in request.query.split("&") if part.partition("=")[0] not in names]
            given = {"sorting": "sorting=-created_at"}
            kept += [given[name] for name in names if name in given]
            return really(Request(request.method, request.path, "&".join(kept), request.headers, request.body), caller)

        monkeypatch.setattr(polar._routes, "answer", answer)

    return arrange


@pytest.mark.parametrize("names", [("sorting",), ("created_after",), ("sorting", "created_after")])
def test_server_that_ignores_what_was_wanted_is_borne(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    ignoring(*names)(fake_polar, monkeypatch)
    add(fake_polar, ada_at_polar, 250, days=9)
    assert "250 orders seen, 250 new" in run()
    add(fake_polar, ada_at_polar, 2)
    assert "2 new, 0 changed" in run()
    assert ids() == set(fake_polar.orders)


def test_run_broken_off_on_a_server_that_begins_with_the_newest_loses_nothing(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignoring("sorting")(fake_polar, monkeypatch)
    add(fake_polar, ada_at_polar, 500)
    break_off(monkeypatch, fake_polar, page=3)
    with pytest.raises(CommandError, match="Run it again"):
        run()
    assert len(ids()) == 200
    fake_polar.clear_failures()
    run()
    assert ids() == set(fake_polar.orders)
    # Once a run has come to its end, the next one starts from there all the same.
    fake_polar.clear_calls()
    run()
    assert "created_after" in asked(fake_polar)[0]


def test_orders_that_come_while_it_runs_are_brought_too(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(fake_polar, ada_at_polar, 200)

    def change(request: Request, answer: Answer) -> Answer:
        if len(fake_polar.orders) < 260:
            add(fake_polar, ada_at_polar, 30, days=-1)
        return answer

    answer_by(monkeypatch, fake_polar, change)
    run()
    assert ids() == set(fake_polar.orders)
    assert len(fake_polar.orders) == 260


def test_page_that_comes_again_and_again_is_no_run_without_end(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignoring("page")(fake_polar, monkeypatch)
    add(fake_polar, ada_at_polar, 1000)
    with pytest.raises(CommandError, match="the same page again and again"):
        run()
    assert len(pages(fake_polar)) == 2


def test_empty_page_ends_it_whatever_the_total_says(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(request: Request, answer: Answer) -> Answer:
        return json_answer(200, {**answer.json(), "pagination": {"total_count": 10**9, "max_page": 10**7}})

    answer_by(monkeypatch, fake_polar, change)
    add(fake_polar, ada_at_polar, 150)
    assert "Done: 150 orders seen" in run()
    assert len(pages(fake_polar)) == 3


def test_server_that_gives_fewer_a_page_than_asked_loses_none(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = fake_polar._routes.answer
    monkeypatch.setattr(
        fake_polar._routes,
        "answer",
        lambda request, caller: really(
            Request(request.method, request.path, request.query.replace("limit=100", "limit=40"), request.headers),
            caller,
        ),
    )
    add(fake_polar, ada_at_polar, 130)
    run()
    assert ids() == set(fake_polar.orders)


# Orders that make no sense


def spoil(monkeypatch: pytest.MonkeyPatch, polar: FakePolar, broken: dict[uuid.UUID, dict[str, Any]]) -> None:
    """Give these orders other values, by id, wherever they are listed."""

    def change(request: Request, answer: Answer) -> Answer:
        body = answer.json()
        for item in body["items"]:
            item |= broken.get(uuid.UUID(item["id"]), {})
        return json_answer(200, body)

    answer_by(monkeypatch, polar, change)


def test_order_that_makes_no_sense_is_named_and_left_out_and_the_rest_is_brought(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = add(fake_polar, ada_at_polar, 250)
    broken: dict[uuid.UUID, dict[str, Any]] = {
        orders[3].id: {"total_amount": "ada@shop.example"},
        orders[110].id: {"id": "ada@shop.example"},
        orders[111].id: {"customer_id": None},
        orders[240].id: {"created_at": "ada@shop.example"},
    }
    spoil(monkeypatch, fake_polar, broken)
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError) as failed:
        call_command("polar_sync_orders", stdout=out, stderr=err)
    assert str(failed.value) == "4 left out, because they make no sense: see above."
    assert err.getvalue().splitlines() == [
        f"Left out: order {orders[3].id} (total_amount)",
        f"Left out: order {orders[111].id} (customer_id)",
        "Left out: order no. 11 of its page (id)",
        f"Left out: order {orders[240].id} (created_at)",
    ]
    assert "Done: 250 orders seen, 246 new, 0 changed." in out.getvalue()
    assert ids() == set(fake_polar.orders) - set(broken)


def test_customers_list_stays_strict(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    add(fake_polar, ada_at_polar, 2)
    fake_polar.fail(
        "GET", "/customer-portal/orders/", status=200, json={"items": [{}], "pagination": {"total_count": 1}}
    )
    with pytest.raises(PolarUnavailable):
        CustomerPortal(ada).orders()


def test_page_over_a_mebibyte_is_brought_in_smaller_ones(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = add(fake_polar, ada_at_polar, 230)
    spoil(monkeypatch, fake_polar, {order.id: {"metadata": {"long": "x" * 60_000}} for order in orders[100:130]})
    assert "230 orders seen, 230 new" in run()
    assert pages(fake_polar) == [(1, 100), (2, 100), *((page, 10) for page in range(11, 21)), (3, 100)]


def test_order_over_a_mebibyte_is_named_and_left_out(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = add(fake_polar, ada_at_polar, 12)
    spoil(monkeypatch, fake_polar, {order.id: {"metadata": {"long": "x" * 2**20}} for order in (orders[0], orders[4])})
    err = io.StringIO()
    with pytest.raises(CommandError, match="2 left out"):
        call_command("polar_sync_orders", stdout=io.StringIO(), stderr=err)
    for number, line in zip((1, 5), err.getvalue().splitlines(), strict=True):
        assert line.startswith(f"Left out: order no. {number} of the list (GET /v1/orders/: an answer over 1 MiB")
    assert ids() == set(fake_polar.orders) - {orders[0].id, orders[4].id}


# Manners


def test_it_uses_half_of_the_limit_and_waits_out_a_429(
    db: None,
    fake_polar: FakePolar,
    ada_at_polar: FakeCustomer,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    waits: list[float],
) -> None:
    settings.POLAR_SERVER = "sandbox"
    monkeypatch.setitem(pace.CALLS_A_MINUTE, "sandbox", 10)
    fake_polar.limits = Limits(organization=10)
    add(fake_polar, ada_at_polar, 1150)
    fake_polar.fail("GET", LIST, status=429, headers={"retry-after": "60"})
    run()
    assert ids() == set(fake_polar.orders)
    assert [call.status for call in fake_polar.calls] == [429] + [200] * 12
    # The 429; then five calls, which is half; and five more.
    assert [round(seconds) for seconds in waits] == [60, 61, 61]


def test_lines_in_a_log_are_few(db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> None:
    add(fake_polar, ada_at_polar, 2150)
    assert run().splitlines() == [
        "All orders:",
        "1,000 of 2,150 orders",
        "2,000 of 2,150 orders",
        "Done: 2,150 orders seen, 2,150 new, 0 changed.",
    ]


def test_a_terminal_shows_one_line_that_changes(db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> None:
    add(fake_polar, ada_at_polar, 250)
    out = Terminal()
    call_command("polar_sync_orders", stdout=out, stderr=out, no_color=True)
    assert out.getvalue() == (
        "All orders:\n\r100 of 250 orders\r200 of 250 orders\r250 of 250 orders\n"
        "Done: 250 orders seen, 250 new, 0 changed.\n"
    )


def test_a_terminals_line_ends_before_what_is_left_out_is_named(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = add(fake_polar, ada_at_polar, 1)
    spoil(monkeypatch, fake_polar, {order.id: {"total_amount": "a lot"}})
    both = Terminal()
    with pytest.raises(CommandError):
        call_command("polar_sync_orders", stdout=both, stderr=both, no_color=True)
    assert both.getvalue() == (
        f"All orders:\n\r1 of 1 orders\nLeft out: order {order.id} (total_amount)\n"
        "Done: 1 orders seen, 0 new, 0 changed.\n"
    )


def test_verbosity_0_is_silent(db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> None:
    add(fake_polar, ada_at_polar, 1)
    assert run(verbosity=0) == ""
    out = Terminal()
    call_command("polar_sync_orders", stdout=out, stderr=out, verbosity=0)
    assert out.getvalue() == ""


def test_no_call_is_made_inside_a_transaction_and_each_page_is_kept_at_once(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(fake_polar, ada_at_polar, 250)
    kept: list[int] = []

    def change(request: Request, answer: Answer) -> Answer:
        kept.append(Order.objects.count())
        return answer

    answer_by(monkeypatch, fake_polar, change)
    run()
    assert kept == [0, 100, 200]


def test_nothing_of_a_customer_is_written(
    db: None, fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = add(fake_polar, ada_at_polar, 2)
    spoil(monkeypatch, fake_polar, {orders[0].id: {"status": {"email": ada_at_polar.email}}})
    out = io.StringIO()
    with pytest.raises(CommandError) as failed:
        call_command("polar_sync_orders", stdout=out, stderr=out)
    assert ada_at_polar.email not in out.getvalue() + str(failed.value)
    assert fake_polar.access_token not in out.getvalue() + str(failed.value)


def test_help_says_what_a_run_does_not_bring() -> None:
    result = subprocess.run(
        [sys.executable, "manage.py", "polar_sync_orders", "--help", "--settings", "tests.settings"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Polar can't list what has changed" in " ".join(result.stdout.split())
