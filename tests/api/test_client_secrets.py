"""No token, signed URL or word of Polar's answer is in a log, an error, its traceback or a DEBUG page."""

from __future__ import annotations

import logging
import re
import socket
import traceback
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any

import pytest
from django.views.debug import ExceptionReporter
from pytest_django import Settings

from polar_portal.api.client import Client
from polar_portal.exceptions import PolarError, PolarMisconfigured, PolarUnavailable, TokenRefused

from .conftest import Certificate
from .server import HOST, RawServer, Turn, cut_short, dripping, hang_up, reply, reset, silence

TOKEN = "polar_cst_TOKENtoHIDE"
SAID = "WORDtoHIDE"
SIGNED_URL = "https://s3.example/1.pdf?X-Amz-Date=20261122T072046Z&X-Amz-Expires=600&X-Amz-Signature=SIGNtoHIDE"
#: What is in the wire's answers and in the client's hands; all of it ends in this.
HIDDEN = "toHIDE"

Serve = Callable[..., RawServer]
Connect = Callable[..., Client]


def last_words(text: str) -> Turn:
    return cut_short(text.encode() + b"-", missing=1)


IN_THE_BODY = {"detail": SAID, "url": SIGNED_URL, "token": TOKEN, "input": {"email": SAID}}
VALIDATION = [{"type": "value_error", "loc": ["body", SAID], "msg": SAID, "input": SAID}]
ANSWERS: dict[str, Turn] = {
    "401": reply(401, {"error": "invalid_token", **IN_THE_BODY}),
    "403 scope": reply(
        403, {"error": "insufficient_scope", **IN_THE_BODY}, {"WWW-Authenticate": f'Bearer realm="{SAID}", scope=""'}
    ),
    "403": reply(403, {"error": "NotPermitted", **IN_THE_BODY}),
    "404 invoice": reply(404, {"error": "InvoiceDoesNotExist", **IN_THE_BODY}),
    "404 order": reply(404, {"error": "ResourceNotFound", **IN_THE_BODY}),
    "404 route": reply(404, IN_THE_BODY),
    "409": reply(409, {"error": "OrderNotEligibleForInvoice", **IN_THE_BODY}),
    "422": reply(422, {"error": "RequestValidationError", "detail": VALIDATION}),
    "422 customer": reply(
        422, {"error": "PolarRequestValidationError", "detail": [{"loc": ["body", "customer_id"], "msg": SAID}]}
    ),
    "429": reply(429, IN_THE_BODY, {"Retry-After": SAID}),
    "500": reply(500, IN_THE_BODY),
    "503": reply(503, IN_THE_BODY),
    "error that is a text": reply(500, {"error": f"{SAID} {TOKEN}"}),
    "redirect": reply(307, b"", {"Location": f"{SIGNED_URL}&token={TOKEN}"}),
    "html": reply(200, f"<html>{SAID} {SIGNED_URL}".encode()),
    "wrong shape": reply(200, {"url": [SIGNED_URL]}),
    "hostile url": reply(200, {"url": SIGNED_URL.replace("https", "javascript")}),
    "token that is none": reply(201, {"token": f"{TOKEN}\n"}),
    "too large": reply(200, SIGNED_URL.encode() * 20_000),
    "no gzip": reply(200, {"url": SIGNED_URL}, {"Content-Encoding": "gzip"}),
    "body cut short": cut_short(reply(200, {"url": SIGNED_URL})),
    "bad chunks": last_words(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{SIGNED_URL}\r\n"),
    "no http": last_words(f"{SAID} {SIGNED_URL}\r\n\r\n"),
    "odd header": last_words(f"HTTP/1.1 500 {SAID}\r\n{SAID} {TOKEN}\r\nContent-Length: 0\r\n\r\n"),
    "two lengths": last_words(f"HTTP/1.1 200 OK\r\nContent-Length: 5, {SAID}\r\n\r\n"),
    "hung up": hang_up,
    "reset": reset,
    "silent": silence,
    "dripping": dripping(f"HTTP/1.1 200 OK\r\nLocation: {SIGNED_URL}\r\n".encode(), f"a: {SAID}\r\n".encode()),
}


def ours(error: BaseException) -> TracebackType | None:
    """The traceback from the first frame that is the package's, without the test's own, which know what is hidden."""
    return error.__traceback__.tb_next if error.__traceback__ else None


def leaks(text: str) -> list[str]:
    """What is around each secret in the text; short, so that a failing test can be read."""
    return [text[max(found.start() - 80, 0) : found.end()] for found in re.finditer(HIDDEN, text)]


def told(error: BaseException, records: list[logging.LogRecord]) -> str:
    """Everything that a log, an error report or a DEBUG page could show of a failure."""
    frames = [frame for frame, _ in traceback.walk_tb(ours(error))]
    assert frames
    assert all("/tests/" not in frame.f_code.co_filename for frame in frames)
    page = ExceptionReporter(None, type(error), error, ours(error))
    formatter = logging.Formatter()
    return "\n".join(
        [
            *(formatter.format(record) + repr(record.args) for record in records),
            *(f"{error} {error!r} {error.args!r} {vars(error)!r}",),
            *traceback.TracebackException(type(error), error, ours(error), capture_locals=True).format(),
            *(repr(value) for frame in frames for value in frame.f_locals.values()),
            page.get_traceback_html(),
        ]
    )


@pytest.fixture
def fail(caplog: pytest.LogCaptureFixture) -> Callable[[Client, str], list[str]]:
    """Let a call of the client fail, and return every secret that can be seen then."""
    caplog.set_level(logging.DEBUG)
    # The DEBUG page is made of Django's templates, which log what they do not find.
    caplog.set_level(logging.INFO, "django.template")

    def fail(client: Client, call: str) -> list[str]:
        try:
            if call == "session":
                client.create_customer_session({"external_customer_id": "1"})
            elif call == "receipt":
                client.receipt(uuid.uuid4())
            else:
                client.invoice(uuid.uuid4())
        except (PolarError, PolarMisconfigured, TokenRefused) as error:
            failure = error
        assert failure.__cause__ is None
        assert failure.__context__ is None
        return leaks(told(failure, caplog.records))

    return fail


Fail = Callable[[Client, str], list[str]]


@pytest.mark.parametrize("call", ["invoice", "session"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_failure_shows_nothing_that_is_secret(
    serve: Serve, connect: Connect, fail: Fail, settings: Settings, answer: str, call: str
) -> None:
    if answer in {"silent", "dripping"}:
        settings.POLAR_REQUEST_TIMEOUT = 0.15
    settings.POLAR_ACCESS_TOKEN = TOKEN
    assert not fail(connect(serve(ANSWERS[answer]), token=TOKEN), call)


def test_a_receipt_that_is_being_rendered_shows_nothing_that_is_secret(
    serve: Serve, connect: Connect, fail: Fail
) -> None:
    assert not fail(connect(serve(reply(202, IN_THE_BODY)), token=TOKEN), "receipt")


def test_a_closed_port_shows_nothing_that_is_secret(connect: Connect, fail: Fail) -> None:
    with socket.create_server((HOST, 0)) as closed:
        port = closed.getsockname()[1]
    assert not fail(connect(f"http://{HOST}:{port}", token=TOKEN), "invoice")


def test_a_refused_certificate_shows_nothing_that_is_secret(
    serve: Serve, connect: Connect, fail: Fail, certificate: Certificate
) -> None:
    assert not fail(connect(serve(b"", tls=certificate.context), token=TOKEN), "invoice")


def test_a_proxys_password_is_not_shown(
    serve: Serve, connect: Connect, fail: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(reply(407, {"error": "ProxyAuthenticationRequired"}))
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", f"http://someone:{SAID}@{HOST}:{proxy.port}")
        assert not fail(connect(f"{scheme}://polar.test", token=TOKEN), "invoice")


def test_a_token_that_no_header_can_carry_is_not_shown(connect: Connect, fail: Fail) -> None:
    assert not fail(connect(f"http://{HOST}:9", token=f"a\n{TOKEN}"), "invoice")


@pytest.mark.parametrize("name", ["POLAR_ALLOWED_DOCUMENT_HOSTS", "POLAR_REQUEST_TIMEOUT"])
def test_a_wrong_setting_shows_nothing_that_is_secret(
    serve: Serve, connect: Connect, fail: Fail, settings: Settings, name: str
) -> None:
    setattr(settings, name, "nonsense")
    server = serve(reply(200, {"url": SIGNED_URL}))
    assert not fail(connect(server, token=TOKEN), "invoice")


def test_a_failure_within_a_failure_hides_that_one_too(serve: Serve, connect: Connect) -> None:
    # A caller may be handling an error of its own; ours must not add a chain of the library's.
    client = connect(serve(hang_up), token=TOKEN)
    try:
        raise KeyError("the caller's own")
    except KeyError:
        with pytest.raises(PolarUnavailable) as caught:
            client.invoice(uuid.uuid4())
    assert caught.value.__cause__ is None
    assert isinstance(caught.value.__context__, KeyError)
    assert caught.value.__context__.__context__ is None


def test_success_logs_nothing_that_is_secret(serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(reply(200, {"url": SIGNED_URL}, {"X-Said": SAID}))
    document = connect(server, token=TOKEN).invoice(uuid.uuid4())
    shown: list[Any] = [record.getMessage() + repr(record.args) for record in caplog.records]
    assert shown, "urllib3 logs each connection"
    assert HIDDEN not in f"{shown} {document}"
