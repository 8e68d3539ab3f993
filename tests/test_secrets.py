"""No token, signed URL or customer's address is in any log line, page, traceback or `repr`, whatever goes wrong."""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import requests
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import RequestFactory
from django.views.debug import ExceptionReporter
from pytest_django import Settings

from polar_portal.models import CustomerSession
from polar_portal.portal import CustomerPortal, OrganizationPortal
from polar_portal.testing import FakeCustomer, FakeOrder, FakePolar
from tests.conftest import Click

ADDRESS = "ada@shop.example"


def break_nothing(polar: FakePolar, settings: Settings) -> None:
    pass


def break_token(polar: FakePolar, settings: Settings) -> None:
    polar.revoke_access_token()


def break_scope(polar: FakePolar, settings: Settings) -> None:
    polar.scopes.clear()


def break_session(polar: FakePolar, settings: Settings) -> None:
    polar.fail("GET", "/invoice", status=401, json={"error": "invalid_token"}, times=None)


def break_session_body(polar: FakePolar, settings: Settings) -> None:
    polar.fail(
        "POST", "/customer-sessions/", status=201, json={"token": "polar_cst_secret", "customer": ADDRESS}, times=None
    )


def break_url(polar: FakePolar, settings: Settings) -> None:
    polar.fail("GET", "/invoice", status=200, json={"url": "http://s3.example/x?X-Amz-Signature=secret"}, times=None)


def break_host(polar: FakePolar, settings: Settings) -> None:
    settings.POLAR_ALLOWED_DOCUMENT_HOSTS = ["elsewhere.example"]


def break_answer(polar: FakePolar, settings: Settings) -> None:
    polar.fail(
        "GET", "/invoice", status=500, json={"error": ADDRESS, "detail": f"polar_cst_secret {ADDRESS}"}, times=None
    )


def break_limit(polar: FakePolar, settings: Settings) -> None:
    polar.fail("GET", "/invoice", status=429, body=b"", times=None)


def break_resolver(polar: FakePolar, settings: Settings) -> None:
    settings.POLAR_CUSTOMER_RESOLVER = "tests.test_secrets.by_email"


def break_network(polar: FakePolar, settings: Settings) -> None:
    polar.fail(exception=requests.ConnectionError("Bearer polar_cst_secret could not reach Polar"), times=None)


def by_email(user: User) -> dict[str, str]:
    return {"external_customer_id": ADDRESS}


BREAKS: list[Callable[[FakePolar, Settings], None]] = [
    break_nothing, break_token, break_scope, break_session, break_session_body, break_url, break_host, break_answer,
    break_limit, break_resolver, break_network,
]  # fmt: skip


def secrets_of(polar: FakePolar) -> list[str]:
    return [polar.access_token, *polar.sessions, ADDRESS, "polar_cst_", "X-Amz-Signature", "Bearer "]


@pytest.fixture
def order(fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> FakeOrder:
    assert ada_at_polar.email == ADDRESS
    return fake_polar.add_order(ada_at_polar, invoice=True)


@pytest.mark.parametrize("breaks", BREAKS)
def test_logs_and_pages(
    fake_polar: FakePolar,
    ada: User,
    order: FakeOrder,
    click: Click,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    breaks: Callable[[FakePolar, Settings], None],
) -> None:
    caplog.set_level(logging.DEBUG)
    settings.DEBUG = True
    breaks(fake_polar, settings)
    pages = [click(ada, order.id), click(ada, order.id, json=breaks is not break_nothing)]
    written = "\n".join(record.getMessage() + str(record.exc_text or "") for record in caplog.records)
    for secret in secrets_of(fake_polar):
        assert secret not in written
        assert not any(secret in page.text for page in pages)


@pytest.mark.parametrize("breaks", BREAKS[1:])
@pytest.mark.parametrize("asker", ["customer", "organization"])
def test_a_debug_page_of_the_hosts_own_view(
    fake_polar: FakePolar,
    ada: User,
    order: FakeOrder,
    settings: Settings,
    breaks: Callable[[FakePolar, Settings], None],
    asker: str,
) -> None:
    settings.DEBUG = True
    breaks(fake_polar, settings)
    page = debug_page(CustomerPortal(ada) if asker == "customer" else OrganizationPortal(), order.id)
    for secret in secrets_of(fake_polar):
        assert secret not in page


def debug_page(portal: Any, order_id: uuid.UUID) -> str:
    """What Django shows with DEBUG = True for a view that lets the failure through; these variables are on it too."""
    try:
        portal.invoice(order_id)
    except Exception:  # noqa: BLE001 - whatever it is, Django would show it
        page = str(ExceptionReporter(RequestFactory().get("/"), *sys.exc_info()).get_traceback_html())
        seen: BaseException | None = sys.exc_info()[1]
        while seen is not None:
            page += repr(seen)
            seen = seen.__cause__ or seen.__context__
        return page
    return ""


def test_one_failure_is_one_line_with_order_error_and_time(
    fake_polar: FakePolar, ada: User, order: FakeOrder, click: Click, caplog: pytest.LogCaptureFixture
) -> None:
    fake_polar.fail("GET", "/invoice", status=503, json={"error": "ServiceUnavailable"}, times=2)
    click(ada, order.id)
    (line,) = [record for record in caplog.records if record.name.startswith("polar_portal")]
    assert line.levelno == logging.WARNING
    assert line.exc_info is None
    message = line.getMessage()
    for part in (str(order.id), f"user {ada.pk}", "polar_unavailable", "503 ServiceUnavailable", " s, twice"):
        assert part in message


def test_log_line_tells_what_sellers_forget_first(
    fake_polar: FakePolar, ada: User, click: Click, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        click(ada, "3f2504e0-4f89-41d3-9a0c-0305e82c3301")
    (line,) = [record for record in caplog.records if record.name.startswith("polar_portal")]
    assert "external_customer_id=str(user.pk)" in line.getMessage()


def test_misconfiguration_is_an_error_line(
    fake_polar: FakePolar, ada: User, order: FakeOrder, click: Click, caplog: pytest.LogCaptureFixture
) -> None:
    fake_polar.scopes.clear()
    click(ada, order.id)
    (line,) = [record for record in caplog.records if record.name.startswith("polar_portal")]
    assert line.levelno == logging.ERROR
    assert "lacks the scope customer_sessions:write" in line.getMessage()


def test_reprs_and_dumps(
    fake_polar: FakePolar, ada: User, order: FakeOrder, capsys: pytest.CaptureFixture[str]
) -> None:
    portal: Any = CustomerPortal(ada)
    document = portal.invoice(order.id)
    row = CustomerSession.objects.get()
    call_command("dumpdata", "polar_portal")
    shown = (
        f"{document!r} {document} {portal!r} {portal._identity()!r} {row!r} {row} {vars(row)}" + capsys.readouterr().out
    )
    assert "customersession" in shown
    for secret in secrets_of(fake_polar):
        assert secret not in shown
