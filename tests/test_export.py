"""Many invoices in one zip: what is in it, what is asked of Polar for it, and how much memory it takes."""

from __future__ import annotations

import asyncio
import csv
import io
import logging
import re
import shutil
import subprocess
import tempfile
import threading
import tracemalloc
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AnonymousUser, User
from django.core.handlers.asgi import ASGIHandler
from django.db import connections
from django.http import HttpRequest, StreamingHttpResponse
from django.test import RequestFactory
from django.urls import path
from pytest_django import Settings

from polar_portal import export
from polar_portal.exceptions import PolarMisconfigured
from polar_portal.export import Export, Wanted, zips
from polar_portal.export.files import COLUMNS, FileNames, cell
from polar_portal.export.zips import Row, zip_response
from polar_portal.models import CustomerSession
from polar_portal.portal import OrganizationPortal
from polar_portal.signals import document_handed_out
from polar_portal.testing import FakeCustomer, FakeOrder, FakePolar
from polar_portal.testing.records import Limits
from polar_portal.testing.store import StoredFile
from tests.conftest import Clock, asked

PDF = b"%PDF-1.7 " + b"x" * 150_000

pytestmark = pytest.mark.usefixtures("clock", "db")


def rows_of(*orders: FakeOrder) -> list[Row]:
    return [Row(str(number), order.id) for number, order in enumerate(orders, start=1)]


def answer(rows: list[Row], *, generate: bool = False, user: Any = None) -> StreamingHttpResponse:
    request = RequestFactory().post("/")
    request.user = user or AnonymousUser()
    return zip_response(request, rows, generate=generate)


def pieces_of(response: StreamingHttpResponse) -> Iterator[bytes]:
    return iter(response)


def zip_of(rows: list[Row], **how: Any) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(b"".join(pieces_of(answer(rows, **how)))))


def summary(archive: zipfile.ZipFile) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(archive.read("summary.csv").decode())))


def outcomes(archive: zipfile.ZipFile) -> list[str]:
    return [row["outcome"] for row in summary(archive)]


def invoices(polar: FakePolar, customer: FakeCustomer, count: int, *, body: bytes = b"") -> list[FakeOrder]:
    orders = [polar.add_order(customer, invoice=True) for _ in range(count)]
    for order in orders:
        if body:
            replace_pdf(polar, order, body)
    return orders


def replace_pdf(polar: FakePolar, order: FakeOrder, body: bytes) -> None:
    assert order.invoice_key
    polar.store.files[order.invoice_key] = replace(polar.store.files[order.invoice_key], body=body)


# What is in it


def test_zip_holds_every_invoice_and_last_a_summary(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, bob_at_polar: FakeCustomer
) -> None:
    orders = [*invoices(fake_polar, ada_at_polar, 3), *invoices(fake_polar, bob_at_polar, 2)]
    response = answer(rows_of(*orders))
    assert response["Content-Type"] == "application/zip"
    assert response["Content-Disposition"] == 'attachment; filename="invoices-2026-11-25.zip"'
    assert response["Cache-Control"] == "private, no-store"
    whole = b"".join(pieces_of(response))
    archive = zipfile.ZipFile(io.BytesIO(whole))
    assert archive.testzip() is None
    assert archive.namelist() == [*(f"Invoice-{order.invoice_number}.pdf" for order in orders), "summary.csv"]
    for order in orders:
        assert order.invoice_key
        stored = archive.getinfo(f"Invoice-{order.invoice_number}.pdf")
        assert stored.compress_type == zipfile.ZIP_STORED
        assert stored.date_time == (2026, 11, 25, 12, 0, 0)
        assert archive.read(stored) == fake_polar.store.files[order.invoice_key].body
    assert archive.read("summary.csv").decode().splitlines()[0] == ",".join(COLUMNS)
    assert summary(archive) == [
        {
            "row": str(number),
            "polar_order_id": str(order.id),
            "outcome": "downloaded",
            "file": f"Invoice-{order.invoice_number}.pdf",
            "detail": "",
        }
        for number, order in enumerate(orders, start=1)
    ]
    # One call for each, as the organization: nobody acted as a customer.
    assert [(call.method, call.path, call.token) for call in fake_polar.calls] == [
        ("GET", f"/v1/orders/{order.id}/invoice", fake_polar.access_token) for order in orders
    ]
    assert len(fake_polar.downloads) == 5
    assert not any(call.token or "authorization" in call.headers for call in fake_polar.downloads)
    assert fake_polar.sessions == {}
    assert CustomerSession.objects.count() == 0


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_zip_is_one_for_unzip(fake_polar: FakePolar, ada_at_polar: FakeCustomer, tmp_path: Path) -> None:
    orders = invoices(fake_polar, ada_at_polar, 3, body=PDF)
    (tmp_path / "it.zip").write_bytes(b"".join(pieces_of(answer(rows_of(*orders)))))
    result = subprocess.run(
        ["unzip", "-t", "it.zip"],  # noqa: S607 - the machine's own
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    # At the ends of lines: by chance a number may have these letters too.
    assert len(re.findall(r" OK$", result.stdout, re.MULTILINE)) == 4
    assert "No errors" in result.stdout


@pytest.mark.parametrize("use_tz", [True, False])
def test_zip_is_named_after_the_day_where_the_shop_is(
    fake_polar: FakePolar, settings: Settings, clock: Clock, use_tz: bool
) -> None:
    settings.USE_TZ = use_tz
    settings.TIME_ZONE = "Asia/Tokyo"
    clock.traveller.shift(4 * 3600)  # 16:00 UTC, one o'clock of the next day in Tokyo
    assert "invoices-2026-11-26.zip" in answer([])["Content-Disposition"]


def test_one_failure_stops_nothing(fake_polar: FakePolar, ada_at_polar: FakeCustomer, clock: Clock) -> None:
    good = invoices(fake_polar, ada_at_polar, 6)
    fake_polar.fail("GET", f"{good[1].id}/invoice", status=500, json={"error": "Oops"}, times=None)
    replace_pdf(fake_polar, good[2], b"<html>no PDF")
    replace_pdf(fake_polar, good[3], b"")
    del fake_polar.store.files[good[4].invoice_key or ""]
    rows = [
        *rows_of(*good[:2]),
        Row("3", uuid.uuid4()),
        Row("4", fake_polar.add_order(ada_at_polar).id),
        Row("5", fake_polar.add_order(ada_at_polar, status="void").id),
        Row("6", None),
        *(Row(str(number), order.id) for number, order in enumerate(good[2:], start=7)),
    ]
    archive = zip_of(rows)
    assert outcomes(archive) == [
        "downloaded", "polar_unavailable", "order_not_found", "invoice_not_generated", "order_not_eligible",
        "no_order_id", "polar_unavailable", "polar_unavailable", "polar_unavailable", "downloaded",
    ]  # fmt: skip
    assert archive.namelist() == [
        f"Invoice-{good[0].invoice_number}.pdf", f"Invoice-{good[5].invoice_number}.pdf", "summary.csv",
    ]  # fmt: skip
    assert archive.testzip() is None
    details = [row["detail"] for row in summary(archive)]
    assert "500 Oops" in details[1]
    assert "no PDF" in details[6]
    assert "404 instead of a file" in details[8]
    assert clock.waits == []


def test_selected_twice_is_asked_for_once(fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> None:
    (order,) = invoices(fake_polar, ada_at_polar, 1)
    archive = zip_of([Row("1", order.id), Row("2", order.id)])
    assert [(row["row"], row["file"]) for row in summary(archive)] == [
        ("1", f"Invoice-{order.invoice_number}.pdf"),
        ("2", f"Invoice-{order.invoice_number}.pdf"),
    ]
    assert len(archive.namelist()) == 2
    assert asked(fake_polar) == ["GET invoice"]


def test_nothing_that_could_be_asked_for_is_a_summary_alone(fake_polar: FakePolar) -> None:
    archive = zip_of([Row("1", None), Row("2", None)])
    assert archive.namelist() == ["summary.csv"]
    assert outcomes(archive) == ["no_order_id"] * 2
    assert fake_polar.calls == []


def test_who_has_been_given_what_is_told(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, sam: User, django_capture_on_commit_callbacks: Any
) -> None:
    told: list[tuple[Any, Any, Any]] = []

    def hear(user: Any, polar_order_id: Any, kind: str, **kwargs: Any) -> None:
        told.append((user, polar_order_id, kind))

    (order,) = invoices(fake_polar, ada_at_polar, 1)
    document_handed_out.connect(hear, sender=OrganizationPortal)
    with django_capture_on_commit_callbacks(execute=True):
        zip_of([*rows_of(order), Row("2", fake_polar.add_order(ada_at_polar).id)], user=sam)
    document_handed_out.disconnect(hear, sender=OrganizationPortal)
    assert told == [(sam, order.id, "invoice")]


def test_neither_zip_nor_log_holds_a_secret(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    orders = invoices(fake_polar, ada_at_polar, 3)
    replace_pdf(fake_polar, orders[1], b"no PDF")
    fake_polar.fail("GET", f"{orders[2].id}/invoice", status=500, json={"error": ada_at_polar.email}, times=None)
    written = zip_of(rows_of(*orders)).read("summary.csv").decode() + caplog.text
    for secret in (fake_polar.access_token, ada_at_polar.email, "X-Amz-Signature", "https://s3", "Bearer"):
        assert secret not in written
    assert f"polar_unavailable: invoice, order {orders[1].id}: The PDF: what came is no PDF" in caplog.text


# File names


@pytest.mark.parametrize(
    ("number", "name"),
    [
        ("ACME-XEEDYUEONX-0002", "Invoice-ACME-XEEDYUEONX-0002.pdf"),
        ("2026/0001", "Invoice-2026-0001.pdf"),
        ("../../etc/passwd", "Invoice-etc-passwd.pdf"),
        ("..\\..\\windows\\system32", "Invoice-windows-system32.pdf"),
        ("/etc/passwd", "Invoice-etc-passwd.pdf"),
        ("C:\\a\0b\r\nc", "Invoice-C-a-b-c.pdf"),
        (".hidden.", "Invoice-hidden.pdf"),
        ("CON", "Invoice-CON.pdf"),
        ("Rechnung Ä 7", "Invoice-Rechnung-7.pdf"),
        ("=1+1", "Invoice-1-1.pdf"),
        ("x" * 300, f"Invoice-{'x' * 80}.pdf"),
        ("", "Invoice-3f2504e0-4f89-41d3-9a0c-0305e82c3301.pdf"),
        ("///", "Invoice-3f2504e0-4f89-41d3-9a0c-0305e82c3301.pdf"),
    ],
)
def test_names_of_files_are_readable_and_safe_everywhere(number: str, name: str) -> None:
    assert FileNames().give(number, uuid.UUID("3f2504e0-4f89-41d3-9a0c-0305e82c3301")) == name


def test_a_second_file_of_a_name_gets_another_one() -> None:
    names = FileNames()
    one, two = uuid.UUID(int=1 << 127), uuid.UUID(int=2 << 126)
    given = [names.give("ACME-1", one), names.give("acme-1", two), names.give("ACME-1", one), names.give("ACME-1", one)]
    assert given == [
        "Invoice-ACME-1.pdf",
        f"Invoice-acme-1-{two.hex[:8]}.pdf",
        f"Invoice-ACME-1-{one.hex}.pdf",
        f"Invoice-ACME-1-{one.hex}-2.pdf",
    ]
    assert len({name.lower() for name in given}) == 4


def test_number_that_is_known_here_goes_before_what_the_address_says(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer
) -> None:
    one, two = invoices(fake_polar, ada_at_polar, 2)
    archive = zip_of([Row("1", one.id, "2026-7"), Row("2", two.id)])
    assert archive.namelist()[:2] == ["Invoice-2026-7.pdf", f"Invoice-{two.invoice_number}.pdf"]


@pytest.mark.parametrize(
    "disposition",
    ['attachment; filename="../../evil.pdf"', 'attachment; filename="Invoice-../evil.pdf"', "attachment", "", "\x00"],
)
def test_nothing_from_polar_leads_out_of_the_zip(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, disposition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = invoices(fake_polar, ada_at_polar, 1)
    url = f"https://s3.example/1.pdf?response-content-disposition={quote(disposition)}"
    fake_polar.fail("GET", "/invoice", status=200, json={"url": url})
    monkeypatch.setattr(export.Export, "_fetch", lambda self, order, document: io.BytesIO(b"%PDF"))
    assert zip_of(rows_of(order)).namelist()[0] == f"Invoice-{order.id}.pdf"


# The summary


@pytest.mark.parametrize("value", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_no_spreadsheet_takes_a_value_for_a_formula(fake_polar: FakePolar, value: str) -> None:
    assert cell(value) == f"'{value}"
    assert summary(zip_of([Row(value, None)]))[0]["row"] == f"'{value}"


@pytest.mark.parametrize("value", ["", "7", "a=b", "3f2504e0-4f89-41d3-9a0c-0305e82c3301"])
def test_other_values_stay_as_they_are(value: str) -> None:
    assert cell(value) == value


# Limits


def test_200_invoices_come_at_full_speed(fake_polar: FakePolar, ada_at_polar: FakeCustomer, clock: Clock) -> None:
    fake_polar.limits = Limits.production()
    archive = zip_of(rows_of(*invoices(fake_polar, ada_at_polar, 200)))
    assert outcomes(archive) == ["downloaded"] * 200
    assert clock.waits == []
    assert len(fake_polar.calls) == 200


def test_an_export_leaves_customers_half_of_the_limit(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, clock: Clock, settings: Settings
) -> None:
    settings.POLAR_SERVER = "sandbox"
    fake_polar.limits = Limits.sandbox()
    archive = zip_of(rows_of(*invoices(fake_polar, ada_at_polar, 120)))
    assert outcomes(archive) == ["downloaded"] * 120
    assert clock.waits == [61, 61]
    assert {call.status for call in fake_polar.calls} == {200}


def test_a_429_in_the_middle_is_waited_out(fake_polar: FakePolar, ada_at_polar: FakeCustomer, clock: Clock) -> None:
    orders = invoices(fake_polar, ada_at_polar, 3)
    fake_polar.fail("GET", f"{orders[1].id}/invoice", status=429, headers={"retry-after": "60"}, times=2)
    assert outcomes(zip_of(rows_of(*orders))) == ["downloaded"] * 3
    assert clock.waits == [60, 60]
    assert len(fake_polar.calls) == 5


def test_a_429_for_the_first_is_waited_out_too_but_not_before_the_answer_begins(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, clock: Clock
) -> None:
    orders = invoices(fake_polar, ada_at_polar, 2)
    fake_polar.fail("GET", "/invoice", status=429, headers={"retry-after": "60"}, times=1)
    response = answer(rows_of(*orders))
    assert clock.waits == []
    archive = zipfile.ZipFile(io.BytesIO(b"".join(pieces_of(response))))
    assert outcomes(archive) == ["downloaded"] * 2
    assert clock.waits == [60]


def test_one_that_is_refused_three_times_is_given_up_and_the_others_come(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, clock: Clock
) -> None:
    orders = invoices(fake_polar, ada_at_polar, 3)
    fake_polar.fail("GET", "/invoice", status=429, times=3)
    assert outcomes(zip_of(rows_of(*orders))) == ["rate_limited", "downloaded", "downloaded"]
    assert clock.waits == [60, 60, 60]


def test_where_polar_refuses_everything_an_end_is_made(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, clock: Clock
) -> None:
    orders = invoices(fake_polar, ada_at_polar, 50)
    fake_polar.fail("GET", "/invoice", status=429, times=None)
    assert outcomes(zip_of(rows_of(*orders))) == ["rate_limited"] * 50
    assert sum(clock.waits) <= 9 * 60
    assert len(fake_polar.calls) <= 9


def test_where_polar_is_away_an_end_is_made(fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> None:
    orders = invoices(fake_polar, ada_at_polar, 50)
    fake_polar.fail("GET", "/invoice", status=500, times=None)
    assert outcomes(zip_of(rows_of(*orders))) == ["polar_unavailable"] * 50
    assert len(fake_polar.calls) == 10


def test_nine_failures_in_a_row_are_no_reason_to_stop(fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> None:
    orders = invoices(fake_polar, ada_at_polar, 21)
    for order in [*orders[:9], *orders[10:19]]:
        replace_pdf(fake_polar, order, b"no PDF")
    assert outcomes(zip_of(rows_of(*orders))).count("downloaded") == 3


# A wrong token


def test_wrong_token_is_told_before_anything_is_sent(fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> None:
    orders = invoices(fake_polar, ada_at_polar, 3)
    fake_polar.revoke_access_token()
    with pytest.raises(PolarMisconfigured, match="POLAR_ACCESS_TOKEN"):
        answer(rows_of(*orders))
    assert len(fake_polar.calls) == 1


def test_token_that_is_revoked_in_the_middle_is_told_of_all_the_rest_and_not_tried_again(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer
) -> None:
    orders = invoices(fake_polar, ada_at_polar, 5)
    waiting = fake_polar.add_order(ada_at_polar)
    response = answer([*rows_of(waiting), *rows_of(*orders)], generate=True)
    pieces = pieces_of(response)
    parts = [next(pieces), next(pieces)]
    fake_polar.revoke_access_token()
    calls = len(fake_polar.calls)
    archive = zipfile.ZipFile(io.BytesIO(b"".join([*parts, *pieces])))
    assert outcomes(archive) == ["misconfigured", "downloaded", *["misconfigured"] * 4]
    assert len(fake_polar.calls) == calls + 1


# Invoices that have not been made


def test_what_is_not_made_is_made_when_asked_for_and_comes_last(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, clock: Clock
) -> None:
    missing = fake_polar.add_order(ada_at_polar)
    there = invoices(fake_polar, ada_at_polar, 2)
    archive = zip_of(rows_of(missing, *there), generate=True)
    assert outcomes(archive) == ["downloaded"] * 3
    assert [name for name in archive.namelist() if "pdf" in name] == [
        f"Invoice-{order.invoice_number}.pdf" for order in (*there, missing)
    ]
    # It takes Polar five seconds; looked for after three, and three more.
    assert clock.waits == [3, 3]
    assert asked(fake_polar) == ["GET invoice", "GET order", "POST invoice", *["GET invoice"] * 4]
    assert {call.token for call in fake_polar.calls} == {fake_polar.access_token}


def test_what_is_still_not_there_after_a_minute_is_pending(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, clock: Clock
) -> None:
    fake_polar.hold_jobs()
    missing = [fake_polar.add_order(ada_at_polar) for _ in range(3)]
    assert outcomes(zip_of(rows_of(*missing), generate=True)) == ["pending"] * 3
    assert 55 <= sum(clock.waits) <= 65
    assert max(clock.waits) <= 3
    assert fake_polar.count("POST", "/invoice") == 3
    assert fake_polar.count("GET", "/invoice") <= 3 * (1 + 21)


def test_without_a_cache_too_it_is_waited_for(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, clock: Clock, settings: Settings
) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    assert outcomes(zip_of(rows_of(fake_polar.add_order(ada_at_polar)), generate=True)) == ["downloaded"]
    assert clock.waits == [3, 3]
    assert fake_polar.count("POST", "/invoice") == 1


def test_each_is_looked_for_once_at_least_however_many_there_are(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, settings: Settings
) -> None:
    settings.POLAR_SERVER = "sandbox"
    fake_polar.limits = Limits.sandbox()
    missing = [fake_polar.add_order(ada_at_polar) for _ in range(130)]
    assert outcomes(zip_of(rows_of(*missing), generate=True)) == ["downloaded"] * 130


def test_without_billing_details_none_is_made(fake_polar: FakePolar, ada_at_polar: FakeCustomer, clock: Clock) -> None:
    order = fake_polar.add_order(ada_at_polar, billing_name=None)
    assert outcomes(zip_of(rows_of(order), generate=True)) == ["billing_details_missing"]
    assert clock.waits == []


def test_unless_asked_for_none_is_made(fake_polar: FakePolar, ada_at_polar: FakeCustomer, clock: Clock) -> None:
    assert outcomes(zip_of(rows_of(fake_polar.add_order(ada_at_polar)))) == ["invoice_not_generated"]
    assert fake_polar.count("POST") == 0
    assert clock.waits == []


def test_what_somebody_else_is_having_made_is_waited_for(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, clock: Clock
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    OrganizationPortal().generate_invoice(order.id)
    assert outcomes(zip_of(rows_of(order))) == ["downloaded"]
    assert fake_polar.count("POST", "/invoice") == 1


def test_what_polar_has_just_said_is_not_asked_again(fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar)
    wanted = Wanted(order.id, without_invoice=True)
    assert [brought.outcome for brought in Export(generate=True).bring([wanted])] == ["downloaded"]
    assert asked(fake_polar)[0] == "POST invoice"


# While it is sent


def test_client_that_goes_away_stops_the_calls(fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> None:
    response = answer(rows_of(*invoices(fake_polar, ada_at_polar, 20, body=PDF)))
    pieces = pieces_of(response)
    for _ in range(4):
        next(pieces)
    calls = len(fake_polar.calls)
    assert 0 < calls <= 3
    response.close()  # as a WSGI server does when it can't send any more
    assert list(pieces) == []
    assert len(fake_polar.calls) == calls


def test_no_temporary_file_stays_open(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    really = tempfile.SpooledTemporaryFile

    def open_one(*args: Any, **kwargs: Any) -> Any:
        opened.append(really(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr(export, "SpooledTemporaryFile", open_one)
    orders = invoices(fake_polar, ada_at_polar, 4, body=PDF)
    replace_pdf(fake_polar, orders[0], b"no PDF")
    response = answer(rows_of(*orders))
    pieces = pieces_of(response)
    for _ in range(5):
        next(pieces)
    response.close()
    assert len(opened) >= 2
    assert all(file.closed for file in opened)


def test_zip_that_is_cut_is_seen_to_be_cut(fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> None:
    whole = b"".join(pieces_of(answer(rows_of(*invoices(fake_polar, ada_at_polar, 3)))))
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(whole[: len(whole) // 2]))


def large(polar: FakePolar, customer: FakeCustomer, count: int) -> list[Row]:
    """Rows of orders that all have the same PDF, so that the fake itself takes no memory for them."""
    orders = [polar.add_order(customer, invoice=True) for _ in range(count)]
    shared = StoredFile(PDF, polar.now)
    for order in orders:
        polar.store.files[order.invoice_key or ""] = shared
    return rows_of(*orders)


def peak_of(take: Callable[[], int]) -> int:
    tracemalloc.start()
    try:
        assert take() > 0
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("asgi")
@pytest.mark.parametrize("server", ["wsgi", "asgi"])
def test_memory_is_flat(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    monkeypatch.setattr(fake_polar, "calls", Nothing())
    monkeypatch.setattr(fake_polar, "downloads", Nothing())

    def take(count: int) -> int:
        rows = large(fake_polar, ada_at_polar, count)
        tracemalloc.reset_peak()
        if server == "wsgi":
            return sum(map(len, pieces_of(answer(rows))))
        return over_asgi(rows, lambda browser: browser.pieces.clear()).length

    take(1)  # whatever loads at first use
    few, many = (peak_of(lambda count=count: take(count)) for count in (20, 200))  # type: ignore[misc]
    assert many < 8 * 1024 * 1024
    assert many - few < 2 * 1024 * 1024, "of 180 more PDFs of 150 kB each, nothing may stay"


class Nothing(list[Any]):
    def append(self, value: Any) -> None:
        pass


# Under ASGI


@login_not_required
def view(request: HttpRequest) -> StreamingHttpResponse:
    return zip_response(request, Browser.rows)


urlpatterns = [path("zip/", view)]


class Browser:
    """The other end of one ASGI call. `hear` is called with it when a piece of the body has come."""

    rows: list[Row] = []

    def __init__(self, hear: Callable[[Browser], None] = lambda browser: None) -> None:
        self.headers: dict[str, str] = {}
        self.pieces: list[bytes] = []
        self.length = 0
        self._hear = hear
        self._has_asked = False
        self._gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        if self._has_asked:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        self._has_asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200
            self.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        elif message.get("body"):
            self.length += len(message["body"])
            self.pieces.append(message["body"])
            self._hear(self)

    def go_away(self) -> None:
        self._gone.set()


def over_asgi(rows: list[Row], hear: Callable[[Browser], None] = lambda browser: None) -> Browser:
    """Send one request through Django's own ASGI handler, and wait for the thread that answers it."""
    Browser.rows = rows
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/zip/",
        "headers": [(b"host", b"testserver")],
        "query_string": b"",
    }

    async def run() -> Browser:
        browser = Browser(hear)
        await ASGIHandler()(scope, browser.receive, browser.send)  # type: ignore[arg-type]
        return browser

    browser = async_to_sync(run)()
    for thread in exporting():
        thread.join(10)
        assert not thread.is_alive()
    return browser


def exporting() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("polar_portal_export")]


@pytest.fixture
def asgi(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our view alone, which asks no database: SQLite in memory has one for each thread, which nobody would close."""
    settings.ROOT_URLCONF = __name__
    monkeypatch.setattr("polar_portal.edits.edited_at", lambda polar_order_id: None)


@pytest.mark.usefixtures("asgi")
def test_under_asgi_pieces_are_sent_as_they_come(fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> None:
    orders = invoices(fake_polar, ada_at_polar, 30, body=PDF)
    asked_by_then: list[int] = []
    browser = over_asgi(rows_of(*orders), lambda browser: asked_by_then.append(len(fake_polar.calls)))
    assert asked_by_then[0] <= 2
    assert asked_by_then[-1] == 30
    assert max(map(len, browser.pieces)) <= 2 * 64 * 1024
    assert browser.headers["content-type"] == "application/zip"
    assert browser.headers["content-disposition"] == 'attachment; filename="invoices-2026-11-25.zip"'
    archive = zipfile.ZipFile(io.BytesIO(b"".join(browser.pieces)))
    assert archive.testzip() is None
    assert outcomes(archive) == ["downloaded"] * 30
    assert len(fake_polar.calls) == 30


@pytest.mark.usefixtures("asgi")
def test_under_asgi_the_event_loop_is_never_held_up(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = invoices(fake_polar, ada_at_polar, 3)
    went_on = threading.Event()
    others: list[bool] = []
    really = fake_polar.handle

    def handle(request: Any) -> Any:
        if len(fake_polar.calls) == 2:
            others.append(went_on.wait(10))
        return really(request)

    monkeypatch.setattr(fake_polar, "handle", handle)

    def hear(browser: Browser) -> None:
        asyncio.get_running_loop().call_later(0.01, went_on.set)

    over_asgi(rows_of(*orders), hear)
    assert others
    assert all(others), "while Polar was asked nothing else could run"


@pytest.mark.usefixtures("asgi")
def test_under_asgi_a_client_that_goes_away_stops_the_calls(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = invoices(fake_polar, ada_at_polar, 100, body=PDF)
    closed: list[str] = []
    monkeypatch.setattr(connections, "close_all", lambda: closed.append(threading.current_thread().name))
    over_asgi(rows_of(*orders), lambda browser: browser.go_away() if browser.length > 400_000 else None)
    assert 3 <= len(fake_polar.calls) < 50
    assert len(closed) == 1
    assert closed[0].startswith("polar_portal_export")


def go_away_soon(browser: Browser) -> None:
    asyncio.get_running_loop().call_later(0.05, browser.go_away)


@pytest.mark.usefixtures("asgi")
def test_under_asgi_a_client_that_goes_away_ends_a_wait(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *rest = invoices(fake_polar, ada_at_polar, 60)
    fake_polar.fail("GET", f"{rest[0].id}/invoice", status=429, headers={"retry-after": "60"}, times=None)
    ended: list[bool] = []

    def pause(seconds: float, stopped: threading.Event | None = None) -> None:
        assert stopped
        ended.append(stopped.wait(10))

    monkeypatch.setattr("polar_portal.pace.pause", pause)
    over_asgi(rows_of(first, *rest), go_away_soon)
    assert ended == [True]
    assert len(fake_polar.calls) == 2


@pytest.mark.usefixtures("asgi")
def test_under_asgi_a_client_that_goes_away_is_noticed_where_no_file_comes(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(*invoices(fake_polar, ada_at_polar, 1), *(fake_polar.add_order(ada_at_polar) for _ in range(60)))
    noticed = threading.Event()
    really_close, really = zips._InOneThread.close, fake_polar.handle

    def close(self: Any) -> None:
        really_close(self)
        noticed.set()

    def handle(request: Any) -> Any:
        if len(fake_polar.calls) == 5:
            assert noticed.wait(10)
        return really(request)

    monkeypatch.setattr(zips._InOneThread, "close", close)
    monkeypatch.setattr(fake_polar, "handle", handle)
    over_asgi(rows, go_away_soon)
    assert len(fake_polar.calls) <= 7


@pytest.mark.usefixtures("asgi")
def test_under_asgi_the_threads_connections_are_closed_at_the_end(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    monkeypatch.setattr(connections, "close_all", lambda: closed.append(threading.current_thread().name))
    over_asgi(rows_of(*invoices(fake_polar, ada_at_polar, 2)))
    assert len(closed) == 1
    assert closed[0].startswith("polar_portal_export")


@pytest.mark.usefixtures("asgi")
def test_under_asgi_an_answer_that_nobody_takes_leaves_no_thread(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zips, "ASGIRequest", HttpRequest)
    response = answer(rows_of(*invoices(fake_polar, ada_at_polar, 2)))
    assert response.is_async
    response.close()
    response.close()
    for thread in exporting():
        thread.join(10)
    assert exporting() == []
    assert len(fake_polar.calls) == 1
