"""Every way in which Polar, or the network before it, can fail, clicked through Django's real handler.

The one place where time is asserted, generously: that a click ends is what POLAR_CLICK_BUDGET promises.
"""

from __future__ import annotations

import html
import logging
import re
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import time_machine
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from polar_portal.exceptions import PolarError, PolarMisconfigured
from polar_portal.texts import FAILURES
from tests.api.conftest import Certificate
from tests.api.server import HOST, reply

from .clicks import calls, click, leaks, lines
from .polar import ACCESS_TOKEN, FILES, ORDER_ID, RawPolar
from .rows import SUCCESS, TABLE, Row

#: Seconds beyond its budget that a click may take on a machine that is busy with other things.
TOLERANCE = 1.5
ANOTHER_ID = "9b2f6c1e-35a4-4a55-8f7d-1f1f0a0e6c11"

KINDS: list[Any] = [*PolarError.__subclasses__(), PolarMisconfigured]
LEVELS = {kind.code: kind.log_level for kind in KINDS}

Arrange = Callable[[Row], Callable[[], None]]


@pytest.fixture
def arrange(
    polar: RawPolar,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    certificate: Certificate,
    certificate_of_another: Certificate,
) -> Arrange:
    """Set a row's stage; what this returns ends the fault."""

    def arrange(row: Row) -> Callable[[], None]:
        named = row.arranged in {"dead address", "no name"}
        settings.POLAR_BASE_URL = f"http{'s' * row.tls}://{'polar.test' if named else HOST}:{polar.port}"
        settings.POLAR_ACCESS_TOKEN = ACCESS_TOKEN
        addresses = ["::1", HOST] if row.arranged == "dead address" else []
        really = socket.getaddrinfo

        def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
            if host != "polar.test":
                return really(host, port, *args, **kwargs)
            if not addresses:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return [each for address in addresses for each in really(address, port, *args, **kwargs)]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

        def trust(bundle: Certificate) -> None:
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle.path))

        polar.tls = certificate.context if row.tls or row.arranged == "tls" else None
        if row.tls and row.arranged != "self-signed":
            trust(certificate)
        if row.arranged == "another host":
            polar.tls = certificate_of_another.context
            trust(certificate_of_another)
        if row.arranged == "no tls":
            polar.tls = None
        if row.arranged != "refused":
            polar.listen()

        def recover() -> None:
            polar.recover()
            polar.tls = certificate.context if row.tls else None
            trust(certificate)
            addresses[:] = [HOST]
            if row.arranged == "refused":
                polar.listen()
            del settings.POLAR_REQUEST_TIMEOUT, settings.POLAR_CLICK_BUDGET

        return recover

    return arrange


@pytest.mark.parametrize("form", ["html", "json"])
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_fault(
    row: Row,
    form: str,
    ada: User,
    client: Client,
    polar: RawPolar,
    arrange: Arrange,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    record_property: Callable[[str, object], None],
) -> None:
    json = form == "json"
    client.force_login(ada)
    recover = arrange(row)
    if row.before:
        assert click(client, "orders" if row.act == "orders" else "invoice", ANOTHER_ID, json=json).status_code < 400
        calls(polar)
    if row.arranged == "408":
        for line in polar.lines:
            line.send(reply(408, b"", {"Connection": "close"}))
    if row.arranged in {"idle", "408"}:
        polar.hang_up()
    settings.POLAR_REQUEST_TIMEOUT, settings.POLAR_CLICK_BUDGET = (0.4, 1) if row.slow else (3, 4)
    for name, value in row.settings.items():
        setattr(settings, name, value)
    polar.play({row.at: row.plays, **row.also}, row.greeting)
    settings.DEBUG = True  # every query is logged, and an error that comes through is shown with its variables
    caplog.clear()

    started = time.monotonic()
    response = click(client, row.act, ORDER_ID, json=json)
    seconds = time.monotonic() - started

    settings.DEBUG = False
    while len(polar.heard) < len(row.calls) and time.monotonic() < started + 10:
        time.sleep(0.01)  # a request that was answered before it was read
    heard, leaked = calls(polar), leaks(response, caplog, given=row.succeeds)
    told = f"{', '.join(heard) or 'none'}"
    record_property(
        "fault", (row.name, str(response.status_code), f"{seconds:.2f}", told, f"leaked {leaked or 'nothing'}")
    )
    assert response.status_code == row.statuses[json]
    assert heard == row.calls
    assert leaked == ""
    assert seconds < settings.POLAR_CLICK_BUDGET + TOLERANCE
    # Of what has no end no more is read than what the connection itself holds.
    assert all(line.sent < 32 * 1024 * 1024 for line in polar.lines)
    retry_after = response.get("Retry-After")
    if response.status_code == 503:
        assert retry_after is not None
    if retry_after is not None:
        assert re.fullmatch("[1-9][0-9]{0,3}", retry_after)
        assert int(retry_after) <= 3600
        assert row.retry_after in {None, int(retry_after)}
    if row.succeeds:
        assert_given(row, response, json=json)
        assert lines(caplog) == []
    else:
        assert_told(row, response, json=json)
        assert_logged(row, ada, caplog)

    if row.lasts:
        # Polar is not asked again before it is time, and nobody is told twice.
        caplog.clear()
        response = click(client, row.act, ORDER_ID, json=json)
        assert (response.status_code, calls(polar)) == (row.statuses[json], ())
        assert lines(caplog, logging.WARNING) == []

    recover()
    with time_machine.travel(time.time() + (row.lasts and row.lasts + 1), tick=True):
        response = click(client, row.act, ORDER_ID, json=json)
    assert response.status_code == SUCCESS[row.act][json]
    assert_given(row, response, json=json)
    assert calls(polar) == row.next_calls


def assert_given(row: Row, response: Any, *, json: bool) -> None:
    """The document is this order's own, and no other answer's."""
    if row.act in {"invoice", "receipt"}:
        assert urlsplit(response.json()["url"] if json else response["Location"]).hostname == FILES


def assert_told(row: Row, response: Any, *, json: bool) -> None:
    if json and row.status == 200:
        assert response.json()["stale"] is True
    elif json:
        body = response.json()
        assert body["error"] == row.code
        assert str(body.get("retry_after")) == response.get("Retry-After", "None")
    elif response.status_code != 303 and row.status not in {200, 202}:
        assert f"<h1>{FAILURES[row.code][0]}</h1>" in html.unescape(response.content.decode())


def assert_logged(row: Row, user: User, caplog: pytest.LogCaptureFixture) -> None:
    """One line says what failed, for which order and whom, and for how long it was tried."""
    (line,) = lines(caplog)
    logged = row.logged or row.code
    assert line.name == "polar_portal.portal"
    assert line.levelno == LEVELS[logged]
    assert line.exc_info is None
    message = line.getMessage()
    assert message.startswith(f"{logged}: ")
    assert f"order {'-' if row.act in {'orders', 'portal'} else ORDER_ID}, user {user.pk}: " in message
    assert message.isprintable()
    # Not where the call went well, and only the link that it brought is bad.
    if line.levelno >= logging.WARNING and row.act != "portal":
        assert re.search(r"\b(GET|POST) /v1/\S+: .* after [0-9.]+ s\b", message)
