"""What a token may do, asked in a way that changes nothing at Polar."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest
from pytest_django import Settings

from polar_portal.api.client import PROBES
from polar_portal.exceptions import PolarError, PolarMisconfigured, PolarUnavailable, RateLimited

from .conftest import TOKEN
from .server import Turn, hang_up, reply, silence
from .test_client import ID, URL, Connect, Serve

SESSIONS, READ = PROBES
LIST = {"items": [], "pagination": {"total_count": 0, "max_page": 0}}
UNPROCESSABLE = reply(422, {"error": "RequestValidationError", "detail": []})
INVALID = reply(401, {"error": "invalid_token", "error_description": "…"})
NO_SCOPE = reply(403, {"error": "insufficient_scope", "error_description": "…"})
PAGE = reply(200, b"<!doctype html><title>Welcome</title>", headers={"Content-Type": "text/html"})
every_scope = pytest.mark.parametrize("scope", PROBES)


@pytest.mark.parametrize(
    ("scope", "answer", "asked"),
    [
        (SESSIONS, UNPROCESSABLE, ("POST", "/v1/customer-sessions/", b"{}")),
        (READ, reply(200, LIST), ("GET", "/v1/orders/?limit=1", b"")),
    ],
)
def test_a_scope_is_asked_for_with_what_changes_nothing(
    serve: Serve, connect: Connect, scope: str, answer: Turn, asked: tuple[str, str, bytes]
) -> None:
    server = serve(answer)
    probe = connect(server).probe(scope)
    assert (probe.accepted, probe.granted) == (True, True)
    (heard,) = server.heard
    assert (heard.method, heard.target, heard.body) == asked
    assert heard.header("Authorization") == f"Bearer {TOKEN}"


@every_scope
@pytest.mark.parametrize(
    ("answer", "accepted"),
    [(INVALID, False), (reply(401, {"error": "Unauthorized", "detail": "Unauthorized"}), False), (NO_SCOPE, True)],
)
def test_that_a_token_is_refused_is_an_answer(
    serve: Serve, connect: Connect, scope: str, answer: Turn, accepted: bool
) -> None:
    server = serve(answer)
    probe = connect(server).probe(scope)
    assert (probe.accepted, probe.granted) == (accepted, False)
    assert len(server.heard) == 1


@every_scope
@pytest.mark.parametrize(
    "answer",
    [
        PAGE,
        reply(404, {"detail": "Not Found"}),
        reply(404, {"error": "not_found"}),
        reply(403, b"<h1>Blocked</h1>"),
        reply(401, b"", headers={"WWW-Authenticate": "Basic"}),
        reply(301, b"", headers={"Location": "https://elsewhere.example/"}),
        reply(405, {"detail": "Method Not Allowed"}),
        reply(200, ["items"]),
        reply(200, {"hello": "world"}),
    ],
)
def test_who_is_not_polar_is_told_from_polar(serve: Serve, connect: Connect, scope: str, answer: Turn) -> None:
    with pytest.raises(PolarMisconfigured, match="POLAR_SERVER or POLAR_BASE_URL does not lead to Polar's API"):
        connect(serve(answer)).probe(scope)


@every_scope
@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (reply(429, b"", headers={"Retry-After": "60"}), RateLimited, "429"),
        (reply(503, b"<h1>Down</h1>"), PolarUnavailable, "503 without an error code"),
        (reply(403, {"error": "Forbidden", "detail": "…"}), PolarUnavailable, "403 Forbidden"),
        (hang_up, PolarUnavailable, "the connection broke"),
        (silence, PolarUnavailable, "timed out"),
    ],
)
def test_a_polar_that_is_away_is_asked_once(
    serve: Serve, connect: Connect, settings: Settings, scope: str, answer: Turn, kind: type[PolarError], words: str
) -> None:
    settings.POLAR_REQUEST_TIMEOUT = 0.3
    server = serve(answer)
    with pytest.raises(kind, match=words) as caught:
        connect(server).probe(scope)
    assert len(server.heard) == 1
    assert "limit=1" not in str(caught.value)


@pytest.mark.parametrize("ahead", [-600, 0, 600])
def test_the_clocks_are_compared(serve: Serve, connect: Connect, ahead: int) -> None:
    date = formatdate(time.time() - ahead, usegmt=True)
    probe = connect(serve(reply(200, LIST, headers={"Date": date}))).probe(READ)
    assert probe.clock_ahead == pytest.approx(ahead, abs=2)
    assert 0 < probe.took < 5


@pytest.mark.parametrize("headers", [{}, {"Date": "nonsense"}])
def test_an_answer_without_a_date_compares_no_clocks(serve: Serve, connect: Connect, headers: dict[str, Any]) -> None:
    assert connect(serve(reply(200, LIST, headers=headers))).probe(READ).clock_ahead is None


def test_an_invoices_address_can_be_looked_at_wherever_it_is(
    serve: Serve, connect: Connect, settings: Settings
) -> None:
    settings.POLAR_ALLOWED_DOCUMENT_HOSTS = ["elsewhere.example"]
    client = connect(serve(reply(200, {"url": URL}), reply(200, {"url": URL})))
    with pytest.raises(PolarUnavailable):
        client.invoice(ID)
    assert client.invoice(ID, anywhere=True).url == URL
