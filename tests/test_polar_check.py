"""`polar_check` on sound and on broken installations: each mistake is named, once, with the way out."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import User
from django.core.cache.backends.locmem import LocMemCache
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponsePermanentRedirect, JsonResponse
from django.urls import include, path, set_script_prefix
from django.views.decorators.csrf import csrf_exempt
from pytest_django import Settings

from polar_portal import cache, urls
from polar_portal.diagnosis import user_and_order
from polar_portal.models import CustomerSession
from polar_portal.testing import FakeCustomer, FakePolar
from polar_portal.testing.records import Status
from polar_portal.views import WebhookView
from tests.conftest import Terminal, asked

ROOT = Path(__file__).parent.parent
#: Everything that a sound installation is told, without a user or an order.
ROWS = [
    "settings", "server", "token", "customer_sessions:write", "orders:read", "clock", "cache", "database",
    "webhook secret", "webhook path",
]  # fmt: skip
UNKNOWN = uuid.UUID("3f2504e0-4f89-41d3-9a0c-0305e82c3301")
REFUSED: dict[str, Any] = {"status": 401, "json": {"error": "invalid_token"}}
SESSION = "/customer-sessions/"


class Report:
    """What the command has answered: its exit status, and the rows by name (several of one name joined)."""

    def __init__(self, status: int, output: str) -> None:
        self.status = status
        self.output = output
        answer = json.loads(output)
        assert answer["ok"] is (status == 0)
        self.rows: list[dict[str, str]] = answer["checks"]
        for row in self.rows:
            assert row.keys() == {"name", "status", "detail", "hint"}
            assert row["detail"]

    def names(self, status: str) -> list[str]:
        return [row["name"] for row in self.rows if row["status"] == status]

    def text(self, name: str) -> str:
        """What the rows of this name say, the way out included."""
        return " ".join(f"{row['detail']} -> {row['hint']}" for row in self.rows if row["name"] == name)


def run(*options: str) -> Report:
    output = StringIO()
    try:
        call_command("polar_check", "--json", *options, stdout=output)
    except CommandError as error:
        return Report(error.returncode, output.getvalue())
    return Report(0, output.getvalue())


def with_webhook(view: Callable[..., HttpResponseBase]) -> tuple[Any, ...]:
    """URLs of a site with this view as its webhook; good as a ROOT_URLCONF."""
    return (path("billing/", include(([path("webhook/", view, name="webhook"), *urls.urlpatterns], "polar_portal"))),)


webhook: Callable[[HttpRequest], HttpResponse] = WebhookView.as_view()


@pytest.fixture
def site(settings: Settings, tmp_path: Path, db: None) -> Settings:
    """A sound site in production, all but Polar."""
    settings.SILENCED_SYSTEM_CHECKS = []
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": str(tmp_path)}
    }
    settings.ALLOWED_HOSTS = ["shop.example"]
    return settings


@pytest.fixture
def polar(fake_polar: FakePolar, site: Settings) -> FakePolar:
    return fake_polar


def test_a_sound_installation(polar: FakePolar) -> None:
    report = run()
    assert report.status == 0
    assert report.names("ok") == ROWS
    assert len(report.rows) == len(ROWS)
    assert not any(row["hint"] for row in report.rows)
    assert "/billing/webhook/" in report.text("webhook path")
    assert polar.base_url in report.text("server")


def test_two_questions_are_asked_and_nothing_is_changed_at_polar(polar: FakePolar) -> None:
    before = len(polar.events)
    run()
    assert asked(polar) == ["POST session", "GET orders"]
    assert [call.body for call in polar.calls] == [{}, None]
    assert [call.status for call in polar.calls] == [422, 200]
    assert polar.sessions == {}
    assert len(polar.events) == before


# Broken installations. Each breaks one thing; that row alone is a problem, and says what to do.


class Failing(LocMemCache):
    def add(self, *args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("redis://:SHOWNtoNOBODY@cache.example refused")


class Forgetful(LocMemCache):
    def get(self, *args: Any, **kwargs: Any) -> Any:
        return None


class Generous(LocMemCache):
    def add(self, key: str, value: Any, *args: Any, **kwargs: Any) -> bool:
        super().add(key, value, *args, **kwargs)
        return True


class Sticky(LocMemCache):
    def delete(self, *args: Any, **kwargs: Any) -> bool:
        return False


class Full(LocMemCache):
    def add(self, *args: Any, **kwargs: Any) -> bool:
        return False


def caches(kind: str | type) -> dict[str, Any]:
    backend = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    return {"default": {"BACKEND": backend}}


Break = Callable[[FakePolar, Settings], object]
Broken = tuple[str, Break, str, list[str], list[str]]


def failure(**what: Any) -> Break:
    return lambda polar, settings: polar.fail(**what, times=None)


def setting(**values: Any) -> Break:
    def change(polar: FakePolar, settings: Settings) -> None:
        for name, value in values.items():
            setattr(settings, name, value)

    return change


def unreachable(cause: Exception) -> Break:
    return failure(exception=requests.ConnectionError(cause))


def rename_table(polar: FakePolar, settings: Settings) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE polar_portal_order RENAME TO elsewhere")


def drop_column(polar: FakePolar, settings: Settings) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE polar_portal_customersession DROP COLUMN listed_orders")


NO_CERTIFICATE = urllib3.exceptions.SSLError(ssl.SSLCertVerificationError("of somebody else"))
FIRST, BOTH = ["POST session"], ["POST session", "GET orders"]

BROKEN: list[Broken] = [
    ("no token", setting(POLAR_ACCESS_TOKEN=""), "settings", ["POLAR_ACCESS_TOKEN", "polar_portal.E001"], []),
    ("wrong server", setting(POLAR_SERVER="live"), "settings", ["'production'", "'sandbox'", "E002"], BOTH),
    ("wrong timeout", setting(POLAR_REQUEST_TIMEOUT="5"), "settings", ["POLAR_REQUEST_TIMEOUT", "number"], []),
    (
        "revoked token",
        lambda polar, settings: polar.revoke_access_token(),
        "token",
        ["refuses POLAR_ACCESS_TOKEN", "Make a new", "customer_sessions:write", "orders:read"],
        FIRST,
    ),
    (
        "scope for sessions missing",
        lambda polar, settings: polar.scopes.remove("customer_sessions:write"),
        "customer_sessions:write",
        ["lacks the scope customer_sessions:write", "Give the token the scope"],
        BOTH,
    ),
    (
        "scope for orders missing",
        lambda polar, settings: polar.scopes.remove("orders:read"),
        "orders:read",
        ["lacks the scope orders:read", "Give the token the scope"],
        BOTH,
    ),
    (
        "another server",
        failure(status=404, json={"detail": "Not Found"}),
        "server",
        ["POLAR_SERVER or POLAR_BASE_URL does not lead to Polar's API", "404", "Set POLAR_BASE_URL"],
        FIRST,
    ),
    (
        "a page",
        failure(status=200, body=b"<!doctype html>", content_type="text/html"),
        "server",
        ["POLAR_SERVER or POLAR_BASE_URL does not lead to Polar's API", "200", "Set POLAR_BASE_URL"],
        FIRST,
    ),
    ("timeout", failure(exception=requests.Timeout), "server", ["timed out", "POLAR_REQUEST_TIMEOUT"], FIRST),
    (
        "no such host",
        unreachable(urllib3.exceptions.NameResolutionError("polar.example", Any, socket.gaierror())),  # type: ignore[arg-type]
        "server",
        ["NameResolutionError", "DNS"],
        FIRST,
    ),
    ("certificate", unreachable(NO_CERTIFICATE), "server", ["does not verify", "REQUESTS_CA_BUNDLE"], FIRST),
    ("Polar is down", failure(status=503), "server", ["503", "run this again later"], FIRST),
    ("limit", failure(status=429, headers={"Retry-After": "60"}), "server", ["429", "again in a minute"], FIRST),
    ("orders out", failure(path="/orders/", status=500), "orders:read", ["500", "run this again later"], BOTH),
    ("clock", lambda polar, settings: polar.advance(600), "clock", ["600 s behind Polar's", "NTP"], BOTH),
    ("clock, other way", lambda polar, settings: polar.advance(-600), "clock", ["600 s ahead", "NTP"], BOTH),
    (
        "dummy cache",
        setting(CACHES=caches("django.core.cache.backends.dummy.DummyCache")),
        "cache",
        ["DummyCache", "does not remember", "POLAR_CACHE_ALIAS"],
        BOTH,
    ),
    ("broken cache", setting(CACHES=caches(Failing)), "cache", ["fails (ConnectionError)", "POLAR_CACHE_ALIAS"], BOTH),
    ("forgetful cache", setting(CACHES=caches(Forgetful)), "cache", ["does not remember", "POLAR_CACHE_ALIAS"], BOTH),
    ("no locks", setting(CACHES=caches(Generous)), "cache", ["does not lock", "POLAR_CACHE_ALIAS"], BOTH),
    ("sticky cache", setting(CACHES=caches(Sticky)), "cache", ["does not forget", "POLAR_CACHE_ALIAS"], BOTH),
    ("full cache", setting(CACHES=caches(Full)), "cache", ["takes no new value", "POLAR_CACHE_ALIAS"], BOTH),
    ("no such cache", setting(POLAR_CACHE_ALIAS="nowhere"), "settings", ["'nowhere'", "E005", "CACHES"], BOTH),
    ("table missing", rename_table, "database", ["polar_portal_order", "manage.py migrate polar_portal"], BOTH),
    ("migration missing", drop_column, "database", ["polar_portal_customersession", "migrate polar_portal"], BOTH),
    ("odd webhook secret", setting(POLAR_WEBHOOK_SECRET=5), "settings", ["POLAR_WEBHOOK_SECRET", "E011"], BOTH),
    (
        "URLs not included",
        setting(ROOT_URLCONF="example_project.shop.urls"),
        "settings",
        ['include("polar_portal.urls")', "polar_portal.E010"],
        BOTH,
    ),
    ("URLs that can't be loaded", setting(ROOT_URLCONF="no.such.urls"), "settings", ["ModuleNotFoundError"], BOTH),
    ("no host allowed", setting(ALLOWED_HOSTS=[]), "webhook path", ["ALLOWED_HOSTS is empty"], BOTH),
    ("no middleware", setting(MIDDLEWARE=["no.such.One"]), "webhook path", ["ModuleNotFoundError", "MIDDLEWARE"], BOTH),
]  # fmt: skip


@pytest.mark.parametrize(
    ("breaks", "name", "words", "calls"), [each[1:] for each in BROKEN], ids=[b[0] for b in BROKEN]
)
def test_a_broken_installation_is_named(
    polar: FakePolar, site: Settings, breaks: Break, name: str, words: list[str], calls: list[str]
) -> None:
    secrets = [polar.access_token, polar.webhook_secret, "SHOWNtoNOBODY"]
    breaks(polar, site)
    report = run()
    assert report.status == 1
    assert report.names("problem") == [name]
    for word in words:
        assert word in report.text(name)
    assert asked(polar) == calls
    assert polar.sessions == {}
    # Every row is there, once; and what could not be judged says so.
    assert [row["name"] for row in report.rows] == ROWS
    assert not report.names("warning")
    for row in report.rows:
        assert row["hint"] == "" or row["status"] == "problem"
    assert not any(secret in report.output for secret in secrets)


def test_an_installation_that_is_broken_in_several_ways_is_told_of_all(polar: FakePolar, site: Settings) -> None:
    site.POLAR_WEBHOOK_SECRET = None
    site.POLAR_URL_MIN_LIFE = 600
    site.POLAR_CLICK_BUDGET = None
    polar.scopes.clear()
    report = run()
    assert report.names("problem") == ["settings", "customer_sessions:write", "orders:read"]
    assert report.names("warning") == ["settings", "webhook secret"]
    assert "polar_portal.W007" in report.text("settings")


def test_what_an_earlier_problem_hides_is_skipped_with_its_reason(polar: FakePolar, site: Settings) -> None:
    site.POLAR_ACCESS_TOKEN = ""
    report = run("--user", "ada", "--order", str(UNKNOWN))
    assert report.names("problem") == ["settings"]
    assert report.names("skipped") == [
        "server", "token", "customer_sessions:write", "orders:read", "clock", "user", "order", "invoice", "receipt",
        "customer",
    ]  # fmt: skip
    assert "a setting that it needs is wrong" in report.text("server")
    assert "orders:read is not granted" in report.text("invoice")


def test_a_polar_that_refuses_connections_is_named(site: Settings) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        site.POLAR_BASE_URL = f"http://127.0.0.1:{unused.getsockname()[1]}"
        report = run()
    assert report.names("problem") == ["server"]
    for word in (site.POLAR_BASE_URL, "connecting failed (NewConnectionError)", "POLAR_BASE_URL", "firewall"):
        assert word in report.text("server")


def test_a_polar_that_says_nothing_is_waited_for_as_long_as_one_call_may_take(site: Settings) -> None:
    silent = FakePolar()
    silent.fail(exception=requests.Timeout, times=None)
    with silent.serve() as site.POLAR_BASE_URL:
        site.POLAR_REQUEST_TIMEOUT = 0.2
        report = run()
    assert "timed out after 0.2" in report.text("server")
    assert len(silent.calls) == 1


def test_a_token_of_the_sandbox_is_said_to_be_that(polar: FakePolar, site: Settings) -> None:
    site.POLAR_BASE_URL = None
    polar.fail("POST", SESSION, **REFUSED)
    report = run()
    assert report.names("problem") == ["token"]
    assert "this token belongs to Polar's sandbox" in report.text("token")
    assert "Set POLAR_SERVER to 'sandbox'" in report.text("token")
    assert [call.headers["host"] for call in polar.calls] == ["api.polar.sh", "sandbox-api.polar.sh"]
    assert asked(polar) == ["POST session", "POST session"]


def test_a_token_of_production_is_told_from_one_of_the_sandbox(polar: FakePolar, site: Settings) -> None:
    site.POLAR_BASE_URL = None
    site.POLAR_SERVER = "sandbox"
    polar.scopes.clear()  # it is valid there whatever it may do
    polar.fail("POST", SESSION, **REFUSED)
    report = run()
    assert "this token belongs to Polar's production" in report.text("token")
    assert "Set POLAR_SERVER to 'production'" in report.text("token")


@pytest.mark.parametrize("other", [REFUSED, {"exception": requests.ConnectionError()}, {"status": 404}])
def test_a_token_that_is_valid_nowhere_has_to_be_made_again(
    polar: FakePolar, site: Settings, other: dict[str, Any]
) -> None:
    site.POLAR_BASE_URL = None
    polar.fail("POST", SESSION, **REFUSED)
    polar.fail("POST", SESSION, **other)
    report = run()
    assert report.names("problem") == ["token"]
    assert "belongs to another server" in report.text("token")
    assert "Make a new organization access token" in report.text("token")
    assert len(polar.calls) == 2


# Clock and cache


@pytest.mark.parametrize(
    ("ahead", "status"),
    [(0, "ok"), (-25, "ok"), (-35, "warning"), (295, "warning"), (-305, "problem"), (305, "problem")],
)
def test_clocks_may_differ_a_little(polar: FakePolar, ahead: float, status: str) -> None:
    polar.advance(-ahead)
    report = run()
    assert "clock" in report.names(status)
    assert report.status == (status == "problem")
    assert ("NTP" in report.text("clock")) is (status != "ok")


def test_an_answer_without_a_date_says_nothing_of_clocks(polar: FakePolar) -> None:
    polar.fail("POST", SESSION, status=422, json={"error": "RequestValidationError"}, headers={"Date": ""})
    report = run()
    assert report.names("skipped") == ["clock"]
    assert report.status == 0


@pytest.mark.parametrize(
    ("debug", "silenced", "status"), [(False, [], "warning"), (True, [], "ok"), (False, ["polar_portal.W002"], "ok")]
)
def test_a_cache_that_processes_do_not_share_is_a_warning(
    polar: FakePolar, site: Settings, debug: bool, silenced: list[str], status: str
) -> None:
    site.CACHES = caches("django.core.cache.backends.locmem.LocMemCache")
    site.DEBUG = debug
    site.SILENCED_SYSTEM_CHECKS = silenced
    report = run()
    assert report.status == 0
    assert "cache" in report.names(status)
    assert "local memory, which each process has for itself" in report.text("cache")
    assert ("Redis" in report.text("cache")) is (status == "warning")
    assert "settings" in report.names("ok")


def test_nothing_stays_in_the_cache(polar: FakePolar, site: Settings) -> None:
    run()
    folder = Path(site.CACHES["default"]["LOCATION"])
    assert list(folder.iterdir()) == []


class Hanging(LocMemCache):
    let_go = threading.Event()

    def add(self, *args: Any, **kwargs: Any) -> Any:
        self.let_go.wait(30)
        return False


def test_a_cache_that_hangs_is_named_and_does_not_hang_the_command(
    polar: FakePolar, site: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "TOO_SLOW", 0.1)
    site.CACHES = caches(Hanging)
    try:
        report = run()
    finally:
        Hanging.let_go.set()
    assert report.names("problem") == ["cache"]
    assert "has not answered within 0.1 s" in report.text("cache")


def test_a_database_that_is_away_is_named_once(polar: FakePolar, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: Any) -> None:
        raise OperationalError("no route to database.example for SHOWNtoNOBODY")

    with monkeypatch.context() as while_it_is_away:
        while_it_is_away.setattr(connection, "ensure_connection", away)
        while_it_is_away.setattr(user_and_order, "_find_user", away)
        report = run("--user", "ada")
    assert report.names("problem") == ["database"]
    assert "can't be reached (OperationalError)" in report.text("database")
    assert report.names("skipped") == ["user"]
    assert "SHOWNtoNOBODY" not in report.output


def test_users_that_can_not_be_read_are_a_problem_of_their_own(polar: FakePolar) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE auth_user RENAME TO elsewhere")
    report = run("--user", "ada")
    assert report.names("problem") == ["user"]
    assert "manage.py migrate" in report.text("user")


# The webhook's path

exempt: Callable[[Any], Any] = lambda view: csrf_exempt(login_not_required(view))  # noqa: E731


@csrf_exempt
def asks_to_sign_in(request: HttpRequest) -> HttpResponse:
    """LoginRequiredMiddleware, which the tests have, answers for it."""
    raise AssertionError


@login_not_required
def checks_csrf(request: HttpRequest) -> HttpResponse:
    """CsrfViewMiddleware answers for it."""
    raise AssertionError


@exempt
def appends_something(request: HttpRequest) -> HttpResponse:
    return HttpResponsePermanentRedirect(f"https://www.shop.example{request.path}?token=SHOWNtoNOBODY")


@exempt
def is_blocked(request: HttpRequest) -> HttpResponse:
    return HttpResponse("not from here", status=403)


@exempt
def is_another(request: HttpRequest) -> HttpResponse:
    return HttpResponse("welcome")


@exempt
def has_other_words(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"error": "forbidden"}, status=403)


@exempt
def says_a_list(request: HttpRequest) -> HttpResponse:
    return JsonResponse(["webhook_not_verified"], status=403, safe=False)


@exempt
def takes_no_post(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=405)


@exempt
def fails(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("SHOWNtoNOBODY")


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (asks_to_sign_in, ["a redirect (302) to /sign-in/", "can't sign in", "/billing/webhook/"]),
        (appends_something, ["a redirect (301) to https://www.shop.example/billing/webhook/", "follows no redirect"]),
        (checks_csrf, ["403 by a CSRF check", "no CSRF token"]),
        (is_blocked, ["answered 403", "middleware"]),
        (is_another, ["answered 200", "middleware"]),
        (has_other_words, ["answered 403"]),
        (says_a_list, ["answered 403"]),
        (takes_no_post, ["answered 405", "Another URL pattern"]),
        (fails, ["answered 500", "traceback"]),
    ],
)
def test_a_webhook_that_polar_could_not_use_is_named_with_what_it_answers(
    polar: FakePolar, site: Settings, caplog: pytest.LogCaptureFixture, view: Any, words: list[str]
) -> None:
    site.ROOT_URLCONF = with_webhook(view)
    report = run()
    assert report.status == 1
    assert report.names("problem") == ["webhook path"]
    for word in words:
        assert word in report.text("webhook path")
    assert "SHOWNtoNOBODY" not in report.output
    # A refusal is no news for a log; a fault of the site is.
    assert [record.levelname for record in caplog.records if record.name == "django.request"] == (
        ["ERROR"] if view is fails else []
    )
    assert logging.root.manager.disable == 0


def test_a_webhook_that_another_pattern_hides_is_named(polar: FakePolar, site: Settings) -> None:
    other = path("billing/<path:rest>", exempt(lambda request, rest: HttpResponse(status=404)))
    site.ROOT_URLCONF = (other, *with_webhook(webhook))
    assert "answered 404" in run().text("webhook path")


def test_a_urlconf_without_the_webhooks_name_is_named(polar: FakePolar, site: Settings) -> None:
    ours = [pattern for pattern in urls.urlpatterns if "webhook" not in str(pattern.pattern)]
    site.ROOT_URLCONF = (path("billing/", include((ours, "polar_portal"))),)
    report = run()
    assert report.names("problem") == ["webhook path"]
    assert "there is no URL with the name polar_portal:webhook" in report.text("webhook path")
    assert "Include polar_portal.urls as a whole" in report.text("webhook path")


@pytest.mark.parametrize(
    ("hosts", "asked_under"),
    [
        (["shop.example"], "shop.example"),
        ([".shop.example"], "shop.example"),
        (["*"], "localhost"),
        (["[::1]"], "[::1]"),
        (["127.0.0.1", "shop.example"], "127.0.0.1"),
    ],
)
def test_the_webhook_is_asked_under_a_host_that_is_allowed(
    polar: FakePolar, site: Settings, hosts: list[str], asked_under: str
) -> None:
    seen: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(request.get_host())
        return webhook(request)

    site.ALLOWED_HOSTS = hosts
    site.ROOT_URLCONF = with_webhook(exempt(view))
    assert run().status == 0
    assert seen == [asked_under]


def test_the_webhook_is_asked_over_https(polar: FakePolar, site: Settings) -> None:
    site.SECURE_SSL_REDIRECT = True
    assert run().status == 0


def test_a_site_below_a_prefix_has_its_webhook_there(polar: FakePolar, site: Settings) -> None:
    site.FORCE_SCRIPT_NAME = "/shop"
    set_script_prefix("/shop/")
    try:
        report = run()
    finally:
        set_script_prefix("/")
    assert report.status == 0
    assert "/shop/billing/webhook/" in report.text("webhook path")


def test_a_site_without_a_webhooks_secret_is_warned(polar: FakePolar, site: Settings) -> None:
    site.POLAR_WEBHOOK_SECRET = None
    report = run()
    assert (report.status, report.names("problem"), report.names("warning")) == (0, [], ["webhook secret"])
    for word in ("POLAR_WEBHOOK_SECRET is not set", "polar_portal.W001", "SILENCED_SYSTEM_CHECKS"):
        assert word in report.text("webhook secret")


def test_who_uses_no_webhook_can_say_so(polar: FakePolar, site: Settings) -> None:
    site.POLAR_WEBHOOK_SECRET = None
    site.SILENCED_SYSTEM_CHECKS = ["polar_portal.W001"]
    report = run()
    assert report.status == 0
    assert report.names("skipped") == ["webhook secret", "webhook path"]
    assert "polar_portal.W001 is silenced" in report.text("webhook path")


def test_a_check_that_is_silenced_is_no_row(polar: FakePolar, site: Settings) -> None:
    site.POLAR_URL_MIN_LIFE = 600
    assert run().names("warning") == ["settings"]
    site.SILENCED_SYSTEM_CHECKS = ["polar_portal.W007"]
    assert run().names("ok") == ROWS


# --user


@pytest.mark.parametrize("how", ["username", "pk"])
def test_a_user_whom_polar_knows(polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, how: str) -> None:
    report = run("--user", str(getattr(ada, how)))
    assert report.status == 0
    assert report.names("ok") == [*ROWS, "user"]
    assert f"Polar knows user {ada.pk}; one session was made there" in report.text("user")
    assert asked(polar) == ["POST session", "GET orders", "POST session"]
    assert polar.calls[-1].body == {"external_customer_id": str(ada.pk)}
    (token,) = polar.sessions
    assert CustomerSession.objects.count() == 0
    for secret in (token, ada_at_polar.email, polar.access_token):
        assert secret not in report.output


def test_a_username_goes_before_a_primary_key(polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    named = User.objects.create_user(str(ada.pk))
    polar.add_customer(external_id=str(named.pk))
    assert f"Polar knows user {named.pk};" in run("--user", str(ada.pk)).text("user")


def test_a_user_whom_polar_does_not_know(polar: FakePolar, ada: User) -> None:
    report = run("--user", "ada")
    assert report.status == 1
    assert report.names("problem") == ["user"]
    assert f"user {ada.pk}: Polar knows no customer for this user" in report.text("user")
    assert "Create checkouts with external_customer_id=str(user.pk)" in report.text("user")
    assert polar.sessions == {}


def nobody(user: User) -> None:
    return None


def by_email(user: User) -> dict[str, str]:
    return {"external_customer_id": user.email}


def as_integer(user: User) -> dict[str, Any]:
    return {"external_customer_id": user.pk}


@pytest.mark.parametrize(
    ("resolver", "words", "calls"),
    [
        (nobody, ["nobody says that this user is no customer"], BOTH),
        (as_integer, ["must return a dict", "non-empty strings"], BOTH),
        (by_email, ["Polar knows no customer for this user", "external_customer_id"], [*BOTH, "POST session"]),
    ],
)
def test_what_the_resolver_says_is_judged_and_not_shown(
    polar: FakePolar, site: Settings, resolver: Any, words: list[str], calls: list[str]
) -> None:
    User.objects.create_user("ada", "ada@shop.example")
    site.POLAR_CUSTOMER_RESOLVER = f"{__name__}.{resolver.__name__}"
    report = run("--user", "ada")
    assert report.names("problem") == ["user"]
    for word in words:
        assert word in report.text("user")
    assert asked(polar) == calls
    assert "ada@shop.example" not in report.output


def test_a_team_without_a_member_is_named(polar: FakePolar, ada: User) -> None:
    polar.member_model = True
    polar.add_customer(external_id=str(ada.pk), type="team")
    report = run("--user", "ada")
    assert report.names("problem") == ["user"]
    assert "must also give member_id" in report.text("user")


@pytest.mark.parametrize("name", ["", "nobody", "0", "99999999999999999999999", "no\0name"], ids=ascii)
def test_a_user_who_is_not_there_is_not_asked_for_at_polar(polar: FakePolar, ada: User, name: str) -> None:
    report = run("--user", name)
    assert report.names("problem") == ["user"]
    assert "nobody here has this username or primary key" in report.text("user")
    assert asked(polar) == BOTH


# --order


def test_an_order_with_its_documents(polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = polar.add_order(ada_at_polar, invoice=True)
    report = run("--order", str(order.id), "--user", "ada")
    assert report.names("ok") == [*ROWS, "user", "order", "invoice", "receipt", "customer"]
    assert f"{order.id}: paid" in report.text("order")
    host = polar.document_base.removeprefix("https://")
    assert re.search(rf"made; its address, at {re.escape(host)}, lives (600|599) s", report.text("invoice"))
    assert "allocated" in report.text("receipt")
    assert "the order is this user's" in report.text("customer")
    assert asked(polar) == [*BOTH, "POST session", "GET order", "GET invoice"]
    assert {call.token for call in polar.calls} == {polar.access_token}
    assert all("customer-portal" not in call.path for call in polar.calls)
    assert order.receipt_key is None, "to ask for a receipt makes Polar render it"
    for secret in ("X-Amz", "https://s3", ada_at_polar.email, *polar.sessions):
        assert secret not in report.output


@pytest.mark.parametrize(
    ("what", "words", "calls"),
    [
        ({}, "not made yet: the customer is offered to have it made -> ", [*BOTH, "GET order", "GET invoice"]),
        ({"billing_name": None}, "asks for billing details first", [*BOTH, "GET order", "GET invoice"]),
        ({"status": "void"}, "none: a void order gets no invoice", [*BOTH, "GET order"]),
        ({"status": "draft"}, "none: a draft order gets no invoice", [*BOTH, "GET order"]),
    ],
    ids=str,
)
def test_an_order_without_an_invoice(
    polar: FakePolar, ada_at_polar: FakeCustomer, what: dict[str, Any], words: str, calls: list[str]
) -> None:
    report = run("--order", str(polar.add_order(ada_at_polar, **what).id))
    assert report.status == 0
    assert words in report.text("invoice")
    assert asked(polar) == calls


@pytest.mark.parametrize(("status", "words"), [("pending", "none: Polar has allocated none"), ("paid", "allocated")])
def test_an_orders_receipt(polar: FakePolar, ada_at_polar: FakeCustomer, status: Status, words: str) -> None:
    report = run("--order", str(polar.add_order(ada_at_polar, status=status).id))
    assert words in report.text("receipt")
    assert polar.count("GET", "/receipt") == 0


@pytest.mark.parametrize(
    ("order", "words", "calls"),
    [
        (str(UNKNOWN), f"no order {UNKNOWN}", [*BOTH, "GET order"]),
        ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "no order 6ba7b810", [*BOTH, "GET order"]),
        ("42", "no UUID", BOTH),
    ],
)
def test_an_order_that_is_not_there(polar: FakePolar, order: str, words: str, calls: list[str]) -> None:
    report = run("--order", order)
    assert report.status == 1
    assert report.names("problem") == ["order"]
    assert words in report.text("order")
    assert "not a checkout's" in report.text("order")
    assert "POLAR_SERVER" in report.text("order")
    assert report.names("skipped") == ["invoice", "receipt"]
    assert asked(polar) == calls


@pytest.mark.parametrize(("hosts", "status"), [([".polar.test"], "ok"), (["elsewhere.example"], "problem")])
def test_the_host_of_an_invoice_is_held_against_the_setting(
    polar: FakePolar, site: Settings, ada_at_polar: FakeCustomer, hosts: list[str], status: str
) -> None:
    site.POLAR_ALLOWED_DOCUMENT_HOSTS = hosts
    report = run("--order", str(polar.add_order(ada_at_polar, invoice=True).id))
    host = polar.document_base.removeprefix("https://")
    assert "invoice" in report.names(status)
    assert host in report.text("invoice")
    assert (f"Add '{host}' to POLAR_ALLOWED_DOCUMENT_HOSTS" in report.text("invoice")) is (status == "problem")


def test_hosts_that_can_not_be_read_are_one_problem(
    polar: FakePolar, site: Settings, ada_at_polar: FakeCustomer
) -> None:
    site.POLAR_ALLOWED_DOCUMENT_HOSTS = "polar.test"
    report = run("--order", str(polar.add_order(ada_at_polar, invoice=True).id))
    assert report.names("problem") == ["settings"]
    assert report.names("skipped") == ["invoice"]


def test_an_order_of_another_customer(
    polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, bob_at_polar: FakeCustomer
) -> None:
    report = run("--order", str(polar.add_order(bob_at_polar).id), "--user", "ada")
    assert report.names("problem") == ["customer"]
    assert "another customer" in report.text("customer")
    assert "external_customer_id=str(user.pk)" in report.text("customer")


def test_an_order_of_a_user_whom_polar_does_not_know(polar: FakePolar, ada: User, bob_at_polar: FakeCustomer) -> None:
    report = run("--order", str(polar.add_order(bob_at_polar).id), "--user", "ada")
    assert report.names("problem") == ["user"]
    assert report.names("skipped") == ["customer"]


def test_a_polar_that_fails_on_the_way_is_told_where_it_did(polar: FakePolar, ada_at_polar: FakeCustomer) -> None:
    order = polar.add_order(ada_at_polar, invoice=True)
    polar.fail("GET", "/invoice", status=500)
    report = run("--order", str(order.id))
    assert report.names("problem") == ["invoice"]
    assert "500" in report.text("invoice")


# The table


def table(output: StringIO) -> tuple[str, str]:
    """What is written, and the summary of a run that failed."""
    try:
        call_command("polar_check", "--no-color", stdout=output)
    except CommandError as error:
        return output.getvalue(), str(error)
    return output.getvalue(), ""


def test_the_table_has_one_line_for_each_row_and_a_summary(polar: FakePolar) -> None:
    written, failed = table(StringIO())
    lines = written.splitlines()
    assert [line[:34].rstrip() for line in lines[: len(ROWS)]] == [f"ok       {name}" for name in ROWS]
    assert lines[ROWS.index("token")] == "ok       token                    Polar accepts it"
    assert lines[len(ROWS) :] == ["", "no problems, no warnings."]
    assert failed == ""


def test_a_problem_has_its_way_out_below_it(polar: FakePolar) -> None:
    polar.scopes.remove("orders:read")
    polar.advance(-60)
    written, failed = table(StringIO())
    lines = written.splitlines()
    problem = next(number for number, line in enumerate(lines) if line.startswith("problem"))
    assert lines[problem] == "problem  orders:read              POLAR_ACCESS_TOKEN lacks the scope orders:read"
    assert lines[problem + 1].startswith("         -> Give the token the scope orders:read in your")
    assert failed == "1 problem, 1 warning."


def test_the_table_keeps_to_the_width_of_a_terminal(
    polar: FakePolar, site: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.POLAR_ACCESS_TOKEN = ""
    site.POLAR_WEBHOOK_SECRET = None
    site.ROOT_URLCONF = with_webhook(asks_to_sign_in)
    monkeypatch.setenv("COLUMNS", "80")
    written, failed = table(Terminal())
    assert max(map(len, written.splitlines())) <= 80
    assert max(map(len, table(StringIO())[0].splitlines())) > 80, "a file has no width"
    assert failed == "2 problems, 1 warning."


def test_the_command_exits_with_its_status_and_tells_the_shop_over_http(tmp_path: Path) -> None:
    served = FakePolar()
    order = served.add_order(served.add_customer(external_id="1"), invoice=True)
    with served.serve() as base_url:
        environment = {
            "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
            "CACHE_URL": f"filecache://{tmp_path}/cache",
            "POLAR_ACCESS_TOKEN": served.access_token,
            "POLAR_BASE_URL": base_url,
            "POLAR_WEBHOOK_SECRET": served.webhook_secret,
        }
        assert manage("migrate", **environment).returncode == 0
        served.clear_calls()
        sound = manage("polar_check", "--json", "--order", str(order.id), **environment)
        # Without a token every other command would end at the system checks.
        broken = manage("polar_check", "--json", **(environment | {"POLAR_ACCESS_TOKEN": ""}))
    assert (sound.returncode, sound.stderr) == (0, "")
    assert Report(0, sound.stdout).names("ok") == [*ROWS, "order", "invoice", "receipt"]
    assert asked(served) == [*BOTH, "GET order", "GET invoice"]
    assert broken.stderr == "CommandError: 1 problem, no warnings.\n"
    assert Report(broken.returncode, broken.stdout).names("problem") == ["settings"]
    assert broken.returncode == 1


def manage(*command: str, settings: str = "example_project.settings", **environment: str) -> Any:
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": settings, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
