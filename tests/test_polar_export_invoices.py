"""`manage.py polar_export_invoices`: which orders, into a folder or a zip, in one go or in several."""

from __future__ import annotations

import csv
import errno
import io
import logging
import re
import shutil
import subprocess
import tempfile
import uuid
import zipfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import CommandParser
from pytest_django import Settings

from polar_portal import export
from polar_portal.export.files import COLUMNS
from polar_portal.management import export_folder
from polar_portal.management.commands import polar_export_invoices
from polar_portal.management.export_folder import Line
from polar_portal.models import CustomerSession
from polar_portal.testing import FakeCustomer, FakeOrder, FakePolar
from polar_portal.testing.records import Limits
from tests.conftest import Clock, Terminal, asked

pytestmark = pytest.mark.usefixtures("clock", "db")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "invoices"


@pytest.fixture
def customer(fake_polar: FakePolar) -> FakeCustomer:
    return fake_polar.add_customer(external_id="ada@shop.example", email="ada.lovelace@mail.example")


def october(day: int) -> datetime:
    return datetime(2026, 10, day, tzinfo=timezone.utc)


def buy(polar: FakePolar, customer: FakeCustomer, count: int, **how: Any) -> list[FakeOrder]:
    """Orders with an invoice, one each day from the first of October 2026."""
    how = {"invoice": True, **how}
    return [polar.add_order(customer, created_at=october(1) + timedelta(days=day), **how) for day in range(count)]


def run(output: Path, *args: str, terminal: bool = False, **options: Any) -> str:
    """Run the command; return what it prints."""
    out = Terminal() if terminal else io.StringIO()
    call_command("polar_export_invoices", "--output", str(output), *args, stdout=out, **options)
    return out.getvalue()


def fails(output: Path, *args: str, **options: Any) -> CommandError:
    with pytest.raises(CommandError) as caught:
        run(output, *args, **options)
    return caught.value


def lines(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "summary.csv").read_text(encoding="utf-8"))))


def outcomes(folder: Path) -> dict[str, str]:
    return {line["polar_order_id"]: line["outcome"] for line in lines(folder)}


def pdfs(folder: Path) -> set[str]:
    assert not list(folder.glob("*.part"))
    return {path.name for path in folder.glob("*.pdf")}


def names(orders: list[FakeOrder]) -> set[str]:
    return {f"Invoice-{order.invoice_number}.pdf" for order in orders}


# Into a folder


def test_folder_gets_every_invoice_and_a_summary(fake_polar: FakePolar, customer: FakeCustomer, folder: Path) -> None:
    orders = buy(fake_polar, customer, 3)
    assert run(folder) == f"Downloading invoices to {folder}\nDone. 3 orders: 3 downloaded\n"
    assert pdfs(folder) == names(orders)
    for order in orders:
        stored = (folder / f"Invoice-{order.invoice_number}.pdf").read_bytes()
        assert stored == fake_polar.store.files[order.invoice_key or ""].body
    assert lines(folder) == [
        {
            "row": "",
            "polar_order_id": str(order.id),
            "outcome": "downloaded",
            "file": f"Invoice-{order.invoice_number}.pdf",
            "detail": "",
            "modified_at": order.modified_at and order.modified_at.isoformat(),
        }
        for order in orders
    ]
    assert Line._fields == (*COLUMNS, "modified_at")
    assert asked(fake_polar) == ["GET orders", *["GET invoice"] * 3]
    assert fake_polar.calls[0].path == "/v1/orders/"
    assert fake_polar.calls[0].query == {"page": "1", "limit": "100", "sorting": "created_at"}
    assert {call.token for call in fake_polar.calls} == {fake_polar.access_token}
    assert fake_polar.sessions == {}
    assert CustomerSession.objects.count() == 0


def test_all_pages_of_the_list_are_asked_for_as_they_are_needed(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path, clock: Clock
) -> None:
    fake_polar.limits = Limits.production()
    orders = buy(fake_polar, customer, 210)
    out = run(folder)
    assert pdfs(folder) == names(orders)
    assert [line["polar_order_id"] for line in lines(folder)] == [str(order.id) for order in orders], "the oldest first"
    assert [number for number, what in enumerate(asked(fake_polar)) if what == "GET orders"] == [0, 101, 202]
    assert clock.waits == []
    assert out.splitlines()[1:] == [
        "100 orders: 100 downloaded", "200 orders: 200 downloaded", "Done. 210 orders: 210 downloaded",
    ]  # fmt: skip


def test_customers_keep_half_of_the_limit(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path, clock: Clock, settings: Settings
) -> None:
    settings.POLAR_SERVER = "sandbox"
    fake_polar.limits = Limits.sandbox()
    buy(fake_polar, customer, 105)
    run(folder)
    assert clock.waits == [61, 61], "107 calls, 50 of them in a minute"
    assert {call.status for call in fake_polar.calls} == {200}


def test_a_429_is_waited_out(fake_polar: FakePolar, customer: FakeCustomer, folder: Path, clock: Clock) -> None:
    buy(fake_polar, customer, 2)
    fake_polar.fail("GET", "/invoice", status=429, headers={"retry-after": "60"})
    fake_polar.fail("GET", "/v1/orders/", status=429, headers={"retry-after": "30"})
    run(folder)
    assert sorted(clock.waits) == [30, 60]


# Again


def test_second_run_fetches_nothing_again(fake_polar: FakePolar, customer: FakeCustomer, folder: Path) -> None:
    buy(fake_polar, customer, 3)
    run(folder)
    before = (folder / "summary.csv").read_bytes()
    fake_polar.clear_calls()
    assert "Done. 3 orders: 3 already there" in run(folder)
    assert asked(fake_polar) == ["GET orders"]
    assert fake_polar.downloads == []
    assert (folder / "summary.csv").read_bytes() == before


def test_what_is_new_changed_or_gone_is_fetched(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path, clock: Clock
) -> None:
    same, changed, gone, empty = buy(fake_polar, customer, 4)
    run(folder)
    before = (folder / f"Invoice-{changed.invoice_number}.pdf").read_bytes()
    clock.traveller.shift(3600)
    fake_polar.update_order(changed, billing_name="Ada King")
    fake_polar.request_invoice(changed)
    fake_polar.finish_jobs()
    (folder / f"Invoice-{gone.invoice_number}.pdf").unlink()
    (folder / f"Invoice-{empty.invoice_number}.pdf").write_bytes(b"")
    new = fake_polar.add_order(customer, invoice=True)
    fake_polar.clear_calls()
    assert "Done. 5 orders: 1 already there, 4 downloaded" in run(folder)
    fetched = [call.path.split("/")[3] for call in fake_polar.calls[1:]]
    assert fetched == [str(order.id) for order in (changed, gone, empty, new)]
    assert pdfs(folder) == names([same, changed, gone, empty, new])
    assert len(lines(folder)) == 5
    stored = (folder / f"Invoice-{changed.invoice_number}.pdf").read_bytes()
    assert stored == fake_polar.store.files[changed.invoice_key or ""].body != before


def stop_at(polar: FakePolar, monkeypatch: pytest.MonkeyPatch, order: FakeOrder, failure: BaseException) -> None:
    """Press Ctrl-C, or whatever it is, when this order's turn comes."""
    really = polar.handle

    def handle(request: Any) -> Any:
        if f"{order.id}/invoice" in request.path:
            raise failure
        return really(request)

    monkeypatch.setattr(polar, "handle", handle)


@pytest.mark.parametrize("name", ["invoices", "invoices.zip"])
def test_after_ctrl_c_it_goes_on_where_it_stopped(
    fake_polar: FakePolar, customer: FakeCustomer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    orders = buy(fake_polar, customer, 5)
    with monkeypatch.context() as patched:
        stop_at(fake_polar, patched, orders[3], KeyboardInterrupt())
        stopped = fails(tmp_path / name)
    assert stopped.returncode == 130
    assert "the same command goes on" in str(stopped)
    folder = tmp_path / (f"{name}.part" if name.endswith("zip") else name)
    assert pdfs(folder) == names(orders[:3])
    assert len(lines(folder)) == 3
    assert not (tmp_path / "invoices.zip").exists()
    fake_polar.clear_calls()
    assert "Done. 5 orders: 3 already there, 2 downloaded" in run(tmp_path / name)
    assert asked(fake_polar) == ["GET orders", "GET invoice", "GET invoice"]


@pytest.mark.parametrize("cut", [1, 2, 30, 100])
def test_a_last_line_that_was_half_written_is_done_once_more(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path, cut: int
) -> None:
    orders = buy(fake_polar, customer, 3)
    run(folder)
    whole = (folder / "summary.csv").read_bytes()
    (folder / "summary.csv").write_bytes(whole[:-cut])
    fake_polar.clear_calls()
    run(folder)
    assert (folder / "summary.csv").read_bytes() == whole
    assert pdfs(folder) == names(orders)
    assert len(fake_polar.downloads) == 1


def test_a_half_written_line_spoils_no_later_one(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = buy(fake_polar, customer, 3)
    run(folder)
    (folder / "summary.csv").write_bytes((folder / "summary.csv").read_bytes()[:-30])
    orders.append(fake_polar.add_order(customer, invoice=True))
    with monkeypatch.context() as patched:
        stop_at(fake_polar, patched, orders[3], KeyboardInterrupt())
        fails(folder)
    assert outcomes(folder) == {str(order.id): "downloaded" for order in orders[:3]}
    written = (folder / "summary.csv").read_text(encoding="utf-8").splitlines()
    assert all(line.count(",") == 5 for line in written)


@pytest.mark.parametrize("content", [b"", b"row,polar_ord", b"row,polar_order_id,outcome,file,detail,modified_at\r"])
def test_summary_that_was_hardly_begun(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path, content: bytes
) -> None:
    buy(fake_polar, customer, 1)
    folder.mkdir()
    (folder / "summary.csv").write_bytes(content)
    run(folder)
    assert [line["outcome"] for line in lines(folder)] == ["downloaded"]


@pytest.mark.parametrize("content", [b"date,amount\r\n1,2\r\n", b"x", b"\xff\xfe\x00", b"x" * 200_000 + b"\n", b"\n"])
def test_somebody_elses_summary_is_left_alone(fake_polar: FakePolar, folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "summary.csv").write_bytes(content)
    assert "was not written by this command" in str(fails(folder))
    assert (folder / "summary.csv").read_bytes() == content
    assert fake_polar.calls == []


@pytest.mark.parametrize("file", ["../secret.pdf", "/etc/passwd", "Invoice-../../x.pdf", "summary.csv", ""])
def test_summary_that_was_tampered_with_leads_nowhere_else(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path, file: str
) -> None:
    (order,) = buy(fake_polar, customer, 1)
    run(folder)
    (folder.parent / "secret.pdf").write_bytes(b"mine")
    text = (folder / "summary.csv").read_text(encoding="utf-8")
    (folder / "summary.csv").write_text(text.replace(f"Invoice-{order.invoice_number}.pdf", file), encoding="utf-8")
    run(folder)
    assert (folder.parent / "secret.pdf").read_bytes() == b"mine"
    assert [line["file"] for line in lines(folder)] == [f"Invoice-{order.invoice_number}.pdf"]


def test_each_line_is_written_as_soon_as_it_is_true(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = buy(fake_polar, customer, 3)
    seen: list[int] = []
    really = fake_polar.handle

    def handle(request: Any) -> Any:
        if request.path.endswith("/invoice"):
            seen.append(len(lines(folder)))
        return really(request)

    monkeypatch.setattr(fake_polar, "handle", handle)
    run(folder)
    assert seen == [0, 1, 2]
    assert len(orders) == 3


def test_two_orders_of_one_number_keep_their_files(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path, clock: Clock
) -> None:
    one, two = buy(fake_polar, customer, 2)
    two.invoice_number = one.invoice_number
    run(folder)
    assert pdfs(folder) == {
        f"Invoice-{one.invoice_number}.pdf", f"Invoice-{one.invoice_number}-{two.id.hex[:8]}.pdf",
    }  # fmt: skip
    before = {path: path.read_bytes() for path in folder.glob("*.pdf")}
    clock.traveller.shift(60)
    two.modified_at = datetime.now(tz=timezone.utc)
    run(folder)
    assert {path: path.read_bytes() for path in folder.glob("*.pdf")} == before


# Into a zip


def test_zip_holds_the_invoices_and_last_the_summary(
    fake_polar: FakePolar, customer: FakeCustomer, tmp_path: Path
) -> None:
    orders = buy(fake_polar, customer, 3)
    run(tmp_path / "made" / "for.zip")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["for.zip"]
    with zipfile.ZipFile(tmp_path / "made" / "for.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [*(f"Invoice-{order.invoice_number}.pdf" for order in orders), "summary.csv"]
        rows = list(csv.DictReader(io.StringIO(archive.read("summary.csv").decode())))
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    assert [row["outcome"] for row in rows] == ["downloaded"] * 3
    if shutil.which("unzip"):
        subprocess.run(["unzip", "-tqq", str(tmp_path / "made" / "for.zip")], check=True)  # noqa: S607


def test_zip_has_only_what_was_asked_for_even_if_more_was_there(
    fake_polar: FakePolar, customer: FakeCustomer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = buy(fake_polar, customer, 2)
    other = fake_polar.add_customer(external_id="2")
    theirs = buy(fake_polar, other, 2)
    output = tmp_path / "some.zip"
    with monkeypatch.context() as patched:
        stop_at(fake_polar, patched, theirs[1], KeyboardInterrupt())
        fails(output, "--customer", "2")
    run(output, "--customer", "ada@shop.example")
    with zipfile.ZipFile(output) as archive:
        assert set(archive.namelist()) == {*names(mine), "summary.csv"}
        assert str(theirs[0].id) not in archive.read("summary.csv").decode()
    assert not (tmp_path / "some.zip.part").exists()


def test_zip_is_made_although_one_failed_and_the_next_run_tries_that_alone(
    fake_polar: FakePolar, customer: FakeCustomer, tmp_path: Path
) -> None:
    orders = buy(fake_polar, customer, 3)
    output = tmp_path / "some.zip"
    fake_polar.fail("GET", f"{orders[1].id}/invoice", status=500)
    failure = fails(output)
    assert failure.returncode == 1
    assert "1 of 3 could not be downloaded (1 polar_unavailable)" in str(failure)
    assert "some.zip.part is kept" in str(failure)
    with zipfile.ZipFile(output) as archive:
        assert set(archive.namelist()) == {*names([orders[0], orders[2]]), "summary.csv"}
    assert pdfs(tmp_path / "some.zip.part") == names([orders[0], orders[2]])
    fake_polar.clear_calls()
    run(output)
    assert len(fake_polar.downloads) == 1
    with zipfile.ZipFile(output) as archive:
        assert set(archive.namelist()) == {*names(orders), "summary.csv"}
    assert [path.name for path in tmp_path.iterdir()] == ["some.zip"]


def test_what_somebody_else_keeps_in_the_working_folder_stays(
    fake_polar: FakePolar, customer: FakeCustomer, tmp_path: Path
) -> None:
    buy(fake_polar, customer, 1)
    (tmp_path / "some.zip.part").mkdir()
    (tmp_path / "some.zip.part" / "thesis.pdf").write_bytes(b"mine")
    run(tmp_path / "some.zip")
    assert [path.name for path in (tmp_path / "some.zip.part").iterdir()] == ["thesis.pdf"]


# Which orders


def test_day_is_one_of_this_sites_time_zone(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path, settings: Settings
) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    moments = [october(1) - timedelta(hours=3), october(1) - timedelta(hours=1), october(1) + timedelta(hours=23)]
    orders = [fake_polar.add_order(customer, invoice=True, created_at=moment) for moment in moments]
    run(folder, "--since", "2026-10-01", "--until", "2026-10-02")
    assert list(outcomes(folder)) == [str(orders[1].id)]


def test_since_until_and_customer_choose(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path, settings: Settings
) -> None:
    settings.TIME_ZONE = "UTC"
    orders = buy(fake_polar, customer, 10)
    buy(fake_polar, fake_polar.add_customer(external_id="2"), 10)
    run(folder, "--since", "2026-10-03", "--until", "2026-10-05", "--customer", str(customer.id))
    assert list(outcomes(folder)) == [str(order.id) for order in orders[2:4]], "from the 3rd, until before the 5th"
    query = fake_polar.calls[0].query
    assert query["customer_id"] == str(customer.id)
    assert query["created_after"] == "2026-10-02T23:59:59+00:00"
    assert query["created_before"] == "2026-10-05T00:00:00+00:00"
    assert "external_customer_id" not in query


def test_months_neither_overlap_nor_leave_a_gap(fake_polar: FakePolar, customer: FakeCustomer, tmp_path: Path) -> None:
    moments = [october(1), october(15), october(31) + timedelta(days=1) - timedelta(microseconds=1), october(31)]
    orders = [fake_polar.add_order(customer, invoice=True, created_at=moment) for moment in moments]
    orders.append(fake_polar.add_order(customer, invoice=True, created_at=datetime(2026, 11, 1, tzinfo=timezone.utc)))
    run(tmp_path / "10", "--since", "2026-10-01T00:00:00Z", "--until", "2026-11-01T00:00:00Z")
    run(tmp_path / "11", "--since", "2026-11-01T01:00:00+01:00", "--until", "2026-12-01T00:00:00Z")
    assert set(outcomes(tmp_path / "10")) == {str(order.id) for order in orders[:4]}
    assert set(outcomes(tmp_path / "11")) == {str(orders[4].id)}


def test_several_customers_by_either_id(fake_polar: FakePolar, customer: FakeCustomer, folder: Path) -> None:
    second, third = fake_polar.add_customer(external_id="2"), fake_polar.add_customer(external_id="3")
    wanted = buy(fake_polar, customer, 2) + buy(fake_polar, second, 2)
    buy(fake_polar, third, 2)
    out = run(folder, "--customer", "ada@shop.example", "--customer", str(second.id), "--customer", "2")
    assert "Done. 4 orders: 4 downloaded" in out
    assert set(outcomes(folder)) == {str(order.id) for order in wanted}
    assert [call.query.get("external_customer_id") for call in fake_polar.calls if "sorting" in call.query] == [
        "ada@shop.example", None, "2",
    ]  # fmt: skip
    assert fake_polar.count("GET", "/invoice") == 4


@pytest.mark.parametrize(
    "args", [["--customer", "2"], ["--customer", "ID"], ["--since", "2026-10-06"], ["--until", "2026-10-01T00:00:00Z"]]
)
def test_server_that_ignores_what_is_wanted_does_no_harm(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path, args: list[str]
) -> None:
    orders = buy(fake_polar, customer, 3)
    everything = {
        "items": [fake_polar.merchant_order_body(order) for order in orders],
        "pagination": {"total_count": 3, "max_page": 1},
    }
    fake_polar.fail("GET", "/v1/orders/", status=200, json=everything)
    other = fake_polar.add_customer(external_id="2")
    run(folder, *(str(other.id) if arg == "ID" else arg for arg in args))
    assert lines(folder) == []
    assert fake_polar.count("GET", "/invoice") == 0


def test_drafts_and_void_orders_are_left_out(fake_polar: FakePolar, customer: FakeCustomer, folder: Path) -> None:
    for status in ("draft", "void"):
        buy(fake_polar, customer, 2, status=status, invoice=False)
    orders = [fake_polar.add_order(customer, status=status, invoice=True) for status in ("paid", "refunded", "pending")]
    run(folder)
    assert set(outcomes(folder)) == {str(order.id) for order in orders}
    assert pdfs(folder) == names(orders)


def test_what_has_no_invoice_is_not_asked_for(fake_polar: FakePolar, customer: FakeCustomer, folder: Path) -> None:
    buy(fake_polar, customer, 2, invoice=False)
    made = fake_polar.add_order(customer, invoice=True)
    assert "Done. 3 orders: 2 invoice_not_generated, 1 downloaded" in run(folder)
    assert asked(fake_polar) == ["GET orders", "GET invoice"]
    assert list(outcomes(folder).values()) == ["invoice_not_generated", "invoice_not_generated", "downloaded"]
    assert pdfs(folder) == names([made])


def test_generate_has_it_made_and_waits(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path, clock: Clock
) -> None:
    orders = [*buy(fake_polar, customer, 2, invoice=False), fake_polar.add_order(customer, invoice=True)]
    without = fake_polar.add_order(customer, billing_address=None)
    out = run(folder, "--generate")
    assert "3 downloaded" in out
    assert "1 billing_details_missing" in out
    assert pdfs(folder) == names(orders)
    assert asked(fake_polar)[:3] == ["GET orders", "POST invoice", "POST invoice"], "the list has said it"
    assert fake_polar.count("POST", "/invoice") == 3
    assert sum(clock.waits) <= 10
    assert outcomes(folder)[str(without.id)] == "billing_details_missing"


def test_what_does_not_get_ready_is_pending_and_a_failure(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path, clock: Clock
) -> None:
    fake_polar.hold_jobs()
    (order,) = buy(fake_polar, customer, 1, invoice=False)
    assert "1 pending" in str(fails(folder, "--generate"))
    assert outcomes(folder) == {str(order.id): "pending"}
    fake_polar.release_jobs()
    run(folder, "--generate")
    assert outcomes(folder) == {str(order.id): "downloaded"}


def test_order_names_single_ones(fake_polar: FakePolar, customer: FakeCustomer, folder: Path) -> None:
    one, two, _three = buy(fake_polar, customer, 3)
    void = fake_polar.add_order(customer, status="void")
    out = run(folder, *(arg for order in (two, one, two, void) for arg in ("--order", str(order.id))))
    assert "Done. 3 orders: 2 downloaded, 1 order_not_eligible" in out
    assert pdfs(folder) == names([one, two])
    assert asked(fake_polar) == ["GET order", "GET invoice", "GET order", "GET invoice", "GET order"]
    fake_polar.clear_calls()
    run(folder, "--order", str(one.id))
    assert asked(fake_polar) == ["GET order"]
    assert len(lines(folder)) == 3, "what former runs have said of others stays"


def test_order_that_is_unknown_is_a_failure_of_its_own(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path
) -> None:
    (order,) = buy(fake_polar, customer, 1)
    unknown = uuid.uuid4()
    failure = fails(folder, "--order", str(unknown), "--order", str(order.id))
    assert "1 of 2 could not be downloaded (1 order_not_found)" in str(failure)
    assert outcomes(folder) == {str(unknown): "order_not_found", str(order.id): "downloaded"}


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--order", "7"], "a UUID"),
        (["--order", str(uuid.UUID(int=7)), "--customer", "7"], "--order names the orders"),
        (["--order", str(uuid.UUID(int=7)), "--since", "2026-10-01"], "--order names the orders"),
        (["--since", "yesterday"], "--since is '"),
        (["--until", "2026-13-01"], "--until is '2026-13-01'; it must look like 2026-11-01"),
        (["--since", "0001-01-01"], "--since is '"),
        (["--since", "2026-10-02", "--until", "2026-10-02"], "--until must be later"),
        (["--customer", ""], "--customer must not be empty"),
    ],
)
def test_what_can_not_be_meant_is_told_before_anything_is_done(
    fake_polar: FakePolar, folder: Path, args: list[str], told: str
) -> None:
    assert told in str(fails(folder, *args))
    assert not folder.exists()
    assert fake_polar.calls == []


# What goes wrong


def test_one_failure_stops_nothing_and_is_told_at_the_end(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path
) -> None:
    orders = buy(fake_polar, customer, 4)
    fake_polar.fail("GET", f"{orders[0].id}/invoice", status=404, json={"error": "ResourceNotFound"})
    fake_polar.fail("GET", f"{orders[2].id}/invoice", status=500, times=2)
    failure = fails(folder)
    assert failure.returncode == 1
    assert "2 of 4 could not be downloaded (1 order_not_found, 1 polar_unavailable)" in str(failure)
    assert pdfs(folder) == names([orders[1], orders[3]])
    assert list(outcomes(folder).values()) == ["order_not_found", "downloaded", "polar_unavailable", "downloaded"]


def test_wrong_token_is_one_clear_message(fake_polar: FakePolar, customer: FakeCustomer, folder: Path) -> None:
    buy(fake_polar, customer, 3)
    fake_polar.revoke_access_token()
    failure = fails(folder)
    assert "Polar refuses POLAR_ACCESS_TOKEN" in str(failure)
    assert failure.returncode == 1
    assert len(fake_polar.calls) == 1


def test_order_that_makes_no_sense_is_left_out_and_named(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    orders = buy(fake_polar, customer, 2)
    bodies = [fake_polar.merchant_order_body(order) for order in orders]
    bodies[0]["total_amount"] = "a lot"
    listed = {"items": bodies, "pagination": {"total_count": 2, "max_page": 1}}
    fake_polar.fail("GET", "/v1/orders/", status=200, json=listed)
    assert "1 of 2 could not be downloaded (1 left out)" in str(fails(folder))
    assert f"Left out: order {orders[0].id} (total_amount)" in capsys.readouterr().err
    assert pdfs(folder) == names(orders[1:])


def test_a_terminals_line_ends_before_what_is_left_out_is_named(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path
) -> None:
    orders = buy(fake_polar, customer, 2)
    bodies = [fake_polar.merchant_order_body(order) for order in orders]
    bodies[0]["total_amount"] = bodies[1]["total_amount"] = "a lot"
    listed = {"items": bodies, "pagination": {"total_count": 2, "max_page": 1}}
    fake_polar.fail("GET", "/v1/orders/", status=200, json=listed)
    both = Terminal()
    with pytest.raises(CommandError):
        call_command("polar_export_invoices", output=str(folder), stdout=both, stderr=both, no_color=True)
    assert both.getvalue() == (
        f"Downloading invoices to {folder}\n"
        f"Left out: order {orders[0].id} (total_amount)\n\r1 order: 1 left out\n"
        f"Left out: order {orders[1].id} (total_amount)\n\r2 orders: 2 left out\n"
        "Done. 2 orders: 2 left out\n"
    )


def test_list_that_breaks_off_is_told_and_what_came_before_is_kept(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polar_portal.sync.ALL_BY", (2,))
    orders = buy(fake_polar, customer, 5)
    really = fake_polar.handle

    def handle(request: Any) -> Any:
        if "page=2" in request.query:
            fake_polar.fail("GET", "/v1/orders/", status=500)
        return really(request)

    with monkeypatch.context() as patched:
        patched.setattr(fake_polar, "handle", handle)
        assert "Polar can't be asked for its orders" in str(fails(folder))
    assert pdfs(folder) == names(orders[:2])
    fake_polar.clear_calls()
    run(folder)
    assert pdfs(folder) == names(orders)
    assert fake_polar.count("GET", "/invoice") == 3


def full_disk(*args: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("name", ["invoices", "invoices.zip"])
def test_full_disk_is_one_clear_message_and_nothing_is_lost(
    fake_polar: FakePolar, customer: FakeCustomer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    orders = buy(fake_polar, customer, 4)
    really, copied = shutil.copyfileobj, []

    def copyfileobj(source: Any, target: Any, size: int) -> None:
        copied.append(target)
        if len(copied) == 3:
            target.write(source.read(100))
            full_disk()
        really(source, target, size)

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfileobj", copyfileobj)
        failure = fails(tmp_path / name)
    assert failure.returncode == 1
    assert "No space left on device" in str(failure)
    assert "What has been stored is kept" in str(failure)
    folder = tmp_path / (f"{name}.part" if name.endswith("zip") else name)
    assert pdfs(folder) == names(orders[:2])
    assert len(lines(folder)) == 2
    fake_polar.clear_calls()
    run(tmp_path / name)
    assert fake_polar.count("GET", "/invoice") <= 2


def test_disk_that_gets_full_while_packing_leaves_the_former_zip(
    fake_polar: FakePolar, customer: FakeCustomer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = buy(fake_polar, customer, 2)
    output = tmp_path / "some.zip"
    output.write_bytes(b"the former one")
    with monkeypatch.context() as patched:
        patched.setattr(export_folder, "entry", full_disk)
        assert "No space left on device" in str(fails(output))
    assert output.read_bytes() == b"the former one"
    assert pdfs(tmp_path / "some.zip.part") == names(orders)
    fake_polar.clear_calls()
    run(output)
    assert asked(fake_polar) == ["GET orders"]
    assert zipfile.is_zipfile(output)


def test_full_disk_for_temporary_files_is_told_too(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buy(fake_polar, customer, 1)
    monkeypatch.setattr(export, "SpooledTemporaryFile", full_disk_on_demand)
    failure = str(fails(folder))
    assert "No space left on device" in failure
    assert tempfile.gettempdir() in failure


def full_disk_on_demand(**kwargs: Any) -> Any:
    full_disk()


def test_folder_that_is_a_file_is_told_before_anything_is_asked(fake_polar: FakePolar, folder: Path) -> None:
    folder.write_bytes(b"a file")
    assert "can't be used as a folder" in str(fails(folder))
    assert "can't be used as a folder" in str(fails(folder / "below"))
    assert folder.read_bytes() == b"a file"
    assert fake_polar.calls == []


def test_zip_that_is_a_folder_is_told_before_anything_is_asked(fake_polar: FakePolar, tmp_path: Path) -> None:
    (tmp_path / "some.zip").mkdir()
    assert "is a folder" in str(fails(tmp_path / "some.zip"))
    assert fake_polar.calls == []


@pytest.mark.parametrize("name", ["invoices", "invoices/some.zip"])
def test_folder_that_can_not_be_written_to_is_told_before_anything_is_asked(
    fake_polar: FakePolar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refused(**kwargs: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    assert "Permission denied" in str(fails(tmp_path / name))
    assert fake_polar.calls == []


# What is told


def test_a_terminal_sees_one_line_that_counts(fake_polar: FakePolar, customer: FakeCustomer, folder: Path) -> None:
    buy(fake_polar, customer, 3)
    assert run(folder, terminal=True) == (
        f"Downloading invoices to {folder}\n"
        "\r1 order: 1 downloaded\r2 orders: 2 downloaded\r3 orders: 3 downloaded\n"
        "Done. 3 orders: 3 downloaded\n"
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_with_verbosity_0_nothing_is_told(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path, terminal: bool
) -> None:
    buy(fake_polar, customer, 2)
    assert run(folder, terminal=terminal, verbosity=0) == ""
    assert len(pdfs(folder)) == 2


def test_nothing_to_do_is_fine(fake_polar: FakePolar, folder: Path) -> None:
    assert run(folder).endswith("Done. 0 orders\n")
    assert lines(folder) == []


def test_neither_summary_nor_log_nor_terminal_holds_a_secret(
    fake_polar: FakePolar, customer: FakeCustomer, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    orders = buy(fake_polar, customer, 3)
    fake_polar.fail("GET", f"{orders[0].id}/invoice", status=500, json={"error": customer.email}, times=2)
    fake_polar.store.files.pop(orders[1].invoice_key or "")
    out = Terminal()
    with pytest.raises(CommandError) as caught:
        call_command("polar_export_invoices", output=str(folder), customer=["ada@shop.example"], stdout=out, stderr=out)
    fake_polar.fail("GET", "/v1/orders/", status=500, json={"error": customer.email}, times=2)
    written = f"{out.getvalue()}{caught.value}{fails(folder, '--customer', 'ada@shop.example')}{caplog.text}"
    written += (folder / "summary.csv").read_text(encoding="utf-8")
    assert "polar_unavailable" in written
    for secret in (fake_polar.access_token, customer.email, "ada@", "ada%40", "X-Amz", "https://s3", "Bearer"):
        assert secret not in written


def test_docs_tell_every_option_and_column() -> None:
    docs = (Path(__file__).parent.parent / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    docs = docs.split("## polar_export_invoices")[1].split("\n## ")[0]
    parser = CommandParser()
    polar_export_invoices.Command().add_arguments(parser)
    options = {option for action in parser._actions for option in action.option_strings} - {"-h", "--help"}
    assert {option for option in options if f"`{option}" not in docs} == set()
    told = re.findall(r"^\| `([a-z_]+)` \|", docs, re.MULTILINE)
    assert tuple(told) == Line._fields
