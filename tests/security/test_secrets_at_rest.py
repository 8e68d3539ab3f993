"""Secrets are searched for where things are kept: the database's file, the cache, logs, the admin, pickles, dumps."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
import logging
import pickle
import re
import sqlite3
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote

import pytest
import time_machine
from django.conf import settings as settings_of_django
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.cache import caches
from django.core.management import call_command
from django.db import connection
from django.dispatch import Signal
from django.template import Context, Template
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from example_project.shop.models import Purchase
from polar_portal import customers, signals
from polar_portal.api import client as api
from polar_portal.api.transport import api_adapter
from polar_portal.conf import Secret, conf
from polar_portal.exceptions import NotACustomer, OrderNotFound, PolarError, PolarMisconfigured
from polar_portal.models import CustomerSession, WebhookDelivery
from polar_portal.portal import BillingAddress, CustomerPortal, OrganizationPortal
from polar_portal.testing import FakePolar
from tests.conftest import JSON, signed

from .conftest import HTML, browser

ADDRESS = "ada@shop.example"
NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


class Keyed:
    """A user whose primary key the host chose: a natural one."""

    is_authenticated = True

    def __init__(self, pk: str) -> None:
        self.pk = pk


@pytest.mark.parametrize("pk", ["ada@shop.example", "7\nERROR forged: line", "\x1b[2K7", "7" * 100, "a b", "é"])
def test_key_that_says_who_it_is_is_not_in_the_log(
    fake_polar: FakePolar, db: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, pk: str
) -> None:
    monkeypatch.setattr("polar_portal.customers.by_primary_key", lambda user: None)
    portal = CustomerPortal(Keyed(pk))
    with pytest.raises(NotACustomer):
        portal.orders()
    assert "not_a_customer" in caplog.text
    assert pk not in caplog.text
    assert pk not in repr(portal)
    assert "a user" in caplog.text


@pytest.mark.parametrize("pk", ["7", "ada", "0b2e613a-0000-4000-8000-000000000000"])
def test_ordinary_key_is(
    fake_polar: FakePolar, db: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, pk: str
) -> None:
    monkeypatch.setattr("polar_portal.customers.by_primary_key", lambda user: None)
    with pytest.raises(NotACustomer):
        CustomerPortal(Keyed(pk)).orders()
    assert f"user {pk}: " in caplog.text


def test_repr_of_an_address_shows_where_about_it_is_and_no_more() -> None:
    address = BillingAddress(
        line1="1 Main St", line2="c/o Ada", postal_code="94105", city="X", state="US-CA", country="US"
    )
    assert repr(address) == str(address) == "BillingAddress(state='US-CA', country='US')"


# A full round through everything, over HTTP


class Round:
    """Everything that customers, staff and Polar do in a week, with all that it leaves behind."""

    def __init__(self, polar: FakePolar, now: Any) -> None:
        self.polar = polar
        self.now = now
        self.told: list[str] = []
        self.failures: list[BaseException] = []
        self.ada = User.objects.create_user("ada")
        self.staff = User.objects.create_superuser("sam")
        self.customer = polar.add_customer(
            external_id="external-id-of-ada", name="Ada Lovelace", email=ADDRESS, billing_address=FRENCH
        )
        self.order = polar.add_order(self.customer)

    def click(self, method: str, path: str, data: Any = None, headers: dict[str, str] = HTML) -> Any:
        return getattr(browser(self.ada), method)(f"/billing/{path}", data, headers=headers)

    def deliver(self, *what: Any, body: bytes | None = None) -> None:
        """One of Polar's deliveries, or a signed one of any bytes."""
        given, headers = signed(self.polar, body) if body else self.polar.webhook(*what)
        response = Client().post("/billing/webhook/", given, content_type="application/json", headers=headers)
        assert response.status_code == 204

    def run(self) -> None:
        root = f"orders/{self.order.id}/"
        for headers in (HTML, JSON):
            for path in ("orders/", root, f"{root}invoice/", f"{root}billing-details/"):
                assert self.click("get", path, headers=headers).status_code in {200, 404}
        self.click("post", f"{root}invoice/")
        self.click("get", f"{root}invoice/?waiting=0")
        self.click("get", f"{root}receipt/")
        self.now.shift(10)
        for headers in (HTML, JSON):
            assert self.click("get", f"{root}invoice/", headers=headers).status_code in {200, 302}
            assert self.click("get", f"{root}receipt/", headers=headers).status_code in {200, 302}
        edited = {"name": "Ada King", "line1": "2 rue Cachée", "city": "Paris", "postal_code": "75002"}
        assert self.click("post", f"{root}billing-details/", edited).status_code == 303
        assert self.click("post", f"{root}billing-details/", {"name": "Ada\x07"}).status_code == 422
        self.now.shift(10)
        self.click("get", f"{root}invoice/")
        assert self.click("post", "portal/").status_code == 200
        self.polar.refund(self.order)
        for event in list(self.polar.events):
            self.deliver(event)
        self.deliver("customer.updated", self.customer)
        assert OrganizationPortal(self.staff).invoice(self.order.id).url
        self.fail()
        self.staffs_pages()

    def fail(self) -> None:
        """All that can be answered instead, and a session that ended too early."""
        saying = {"detail": [{"loc": ["body", ADDRESS], "msg": ADDRESS, "input": ADDRESS}], "url": f"x?X-Amz-{ADDRESS}"}
        for status, error in [
            (401, "invalid_token"), (403, "NotPermitted"), (403, "insufficient_scope"), (404, None), (409, ADDRESS),
            (422, "PolarRequestValidationError"), (500, ADDRESS), (200, None), (429, None),
        ]:  # fmt: skip
            self.polar.fail("GET", status=status, json={"error": error, **saying}, times=3)
            for act in (CustomerPortal(self.ada).receipt, CustomerPortal(self.ada).order):
                try:
                    act(self.order.id)
                except (PolarError, PolarMisconfigured) as failure:
                    self.failures.append(failure)
            self.click("get", f"orders/{self.order.id}/")
            self.polar.clear_failures()
            self.now.shift(61)
        self.polar.expire_sessions()
        CustomerPortal(self.ada).order(self.order.id)

    def staffs_pages(self) -> None:
        """Every page of the admin that is about our models, and the action of a host's own."""
        purchase = Purchase.objects.create(
            user=self.ada, product_name="Pro Plan", amount=5880, polar_order_id=self.order.id
        )
        client = browser(self.staff)
        pages = ["/admin/", "/admin/shop/purchase/", f"/admin/shop/purchase/{purchase.pk}/change/"]
        for model in admin.site._registry:
            if model._meta.app_label == "polar_portal":
                pages.append(reverse(f"admin:polar_portal_{model._meta.model_name}_changelist"))
                change = f"admin:polar_portal_{model._meta.model_name}_change"
                pages += [reverse(change, args=[row.pk]) for row in model._default_manager.all()[:3]]
        self.told += [client.get(page).text for page in pages]
        action = {"action": "download_invoices", "_selected_action": [purchase.pk]}
        self.told.append(client.post("/admin/shop/purchase/", action).text)

    @property
    def secrets(self) -> list[str]:
        """What may be kept nowhere, in whatever form: tokens, secrets, the portal's links."""
        return [
            self.polar.access_token,
            self.polar.webhook_secret,
            *self.polar.sessions,
            "customer_session_token",
            "Bearer ",
        ]

    @property
    def persons(self) -> list[str]:
        """What tells who the customer is."""
        return [ADDRESS, "external-id-of-ada", "Lovelace", "Ada King", "rue de la Paix", "Cachée", "75002"]


FRENCH = {"line1": "12 rue de la Paix", "postal_code": "75002", "city": "Paris", "country": "FR"}


def by_external_id(user: User) -> dict[str, str]:
    return {"external_customer_id": "external-id-of-ada"}


@pytest.fixture
def round_of_everything(
    settings: Settings, caplog: pytest.LogCaptureFixture, transactional_db: None
) -> Iterator[Round]:
    caplog.set_level(logging.DEBUG)
    settings.POLAR_CUSTOMER_RESOLVER = "tests.security.test_secrets_at_rest.by_external_id"
    polar = FakePolar()
    api_adapter.cache_clear()
    with polar.serve() as base_url, time_machine.travel(NOON, tick=True) as now:
        settings.POLAR_BASE_URL, settings.POLAR_ACCESS_TOKEN = base_url, polar.access_token
        settings.POLAR_WEBHOOK_SECRET = polar.webhook_secret
        yield Round(polar, now)
    api_adapter().close()
    api_adapter.cache_clear()


def bytes_of_the_database(folder: Path) -> bytes:
    """The database as a file: rows, indexes, and what is left in its pages of rows that were changed or deleted."""
    with closing(sqlite3.connect(folder / "copy.sqlite3")) as copy:
        connection.connection.backup(copy)
    return (folder / "copy.sqlite3").read_bytes()


def forms(text: str) -> list[bytes]:
    """A text as it may be written: plain, as JSON, in base64 wherever it begins, in hex, percent-encoded, in UTF-16."""
    plain = text.encode()
    shifted = [base64.b64encode(b"\0" * skipped + plain)[4 if skipped else 0 : -4] for skipped in range(3)]
    return [
        plain, json.dumps(text)[1:-1].encode(), plain.hex().encode(), quote(text).encode(), text.encode("utf-16-le"),
        *(form for form in shifted if len(form) > 8),
    ]  # fmt: skip


def held(texts: list[str], data: bytes) -> list[str]:
    return [text for text in texts if any(form in data for form in forms(text))]


def test_forms_of_a_text_are_found() -> None:
    for hidden in (b"x ada@shop.example", base64.b64encode(b"12ada@shop.example34"), b"xx".hex().encode()):
        assert bool(held([ADDRESS], hidden)) is (hidden != b"xx".hex().encode())


def test_database_holds_no_secret_and_nobodys_address(
    round_of_everything: Round, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA secure_delete = OFF")  # so that what was ever written is found
    round_of_everything.run()
    assert CustomerSession.objects.count() == 1
    assert WebhookDelivery.objects.count() > 4
    raw = bytes_of_the_database(tmp_path)
    assert str(round_of_everything.order.id).replace("-", "").encode() in raw, "this is the database"
    assert held([*round_of_everything.secrets, *round_of_everything.persons, "X-Amz-"], raw) == []
    call_command("dumpdata")
    assert held([*round_of_everything.secrets, *round_of_everything.persons], capsys.readouterr().out.encode()) == []


def test_body_of_a_delivery_that_failed_is_the_one_place_with_a_customers_address(
    round_of_everything: Round, tmp_path: Path
) -> None:
    body = json.dumps({"type": "order.paid", "data": {"customer": {"email": ADDRESS}}}).encode()
    round_of_everything.deliver("any", body=body)
    delivery = WebhookDelivery.objects.get()
    assert bytes(delivery.body or b"") == body
    assert held([ADDRESS], bytes_of_the_database(tmp_path)) == [ADDRESS]
    for name, value in vars(delivery).items():
        assert name == "body" or ADDRESS not in str(value)
    assert ADDRESS not in f"{delivery!r} {delivery}"
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA secure_delete = ON")
    delivery.delete()
    assert held([ADDRESS], bytes_of_the_database(tmp_path)) == []


@pytest.mark.parametrize("backend", ["locmem.LocMemCache", "filebased.FileBasedCache"])
def test_cache_holds_no_secret_and_nobody(
    round_of_everything: Round, settings: Settings, tmp_path: Path, backend: str
) -> None:
    # Signed URLs are there by design, for the minutes that they live.
    settings.CACHES = {
        "default": {"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": str(tmp_path), "TIMEOUT": None}
    }
    written: dict[str, Any] = {}
    methods = {name: getattr(caches["default"], name) for name in ("set", "add")}

    def remember(name: str, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        written[key] = value
        return methods[name](key, value, *args, **kwargs)

    for name in methods:
        mock.patch.object(caches["default"], name, partial(remember, name)).start()
    try:
        round_of_everything.run()
    finally:
        mock.patch.stopall()
    assert any("X-Amz-Signature" in str(value) for value in written.values()), "this is the cache"
    for key in written:
        assert re.fullmatch(
            r"polar_portal:1:[0-9a-f]{64}:[a-z-]+(:[0-9a-f]{32}|:[0-9]+)?(:attempt|:outcome:[0-9a-f]+)?", key
        )
    stored = [repr(written).encode()]
    for file in tmp_path.glob("*.djcache"):
        with file.open("rb") as opened:
            pickle.load(opened)  # noqa: S301 - of our own making; when it ends
            stored.append(zlib.decompress(opened.read()))
    assert len(stored) > 1 or "file" not in backend
    for data in stored:
        assert held([*round_of_everything.secrets, *round_of_everything.persons], data) == []


def test_no_log_of_any_level_tells_a_secret(round_of_everything: Round, caplog: pytest.LogCaptureFixture) -> None:
    round_of_everything.run()
    names = {record.name for record in caplog.records}
    assert names >= {"urllib3.connectionpool", "polar_portal.portal", "django.request"}
    formatter = logging.Formatter()
    # Django's own log of queries has what is stored: that is for the test of the database.
    lines = [f"{formatter.format(record)} {record.args!r}" for record in caplog.records]
    told = "\n".join(line for line in lines).encode()
    assert held([*round_of_everything.secrets, "X-Amz-Signature", ADDRESS, "external-id-of-ada"], told) == []


def test_admin_shows_no_secret(round_of_everything: Round) -> None:
    round_of_everything.run()
    assert len(round_of_everything.told) >= 4
    told = "\n".join(round_of_everything.told).encode()
    assert b"Pro Plan" in told
    assert held([*round_of_everything.secrets, "X-Amz-", ADDRESS, "external-id-of-ada", "Lovelace"], told) == []


def test_signals_carry_no_secret(round_of_everything: Round) -> None:
    heard: list[Any] = []

    def hear(**told: Any) -> None:
        heard.append(told)

    names = [name for name, value in vars(signals).items() if isinstance(value, Signal)]
    for name in names:
        getattr(signals, name).connect(hear)
    try:
        round_of_everything.run()
    finally:
        for name in names:
            getattr(signals, name).disconnect(hear)
    assert {each["signal"] for each in heard} == {getattr(signals, name) for name in names}, "each was heard"
    told = "\n".join(
        f"{name} {value!r} {value} {vars(value) if hasattr(value, '__dict__') else ''}"
        for each in heard
        for name, value in each.items()
        if name not in {"signal", "sender"}
    ).encode()
    assert held([*round_of_everything.secrets, *round_of_everything.persons, "X-Amz-"], told) == []


def test_pickles_are_refused_or_hold_no_secret(round_of_everything: Round) -> None:
    ada, order = round_of_everything.ada, round_of_everything.order
    round_of_everything.run()
    portal, staff = CustomerPortal(ada), OrganizationPortal()
    identity, organization = portal._identity(), staff._identity()
    client = api.Client(conf.POLAR_BASE_URL, conf.POLAR_ACCESS_TOKEN, time.monotonic() + 5, orders="/v1/orders/")
    document = portal.receipt(order.id)
    tag = Template("{% load polar_portal %}{% polar_invoice order as invoice %}")
    context = Context({"user": ada, "order": order.id})
    tag.render(context)
    issued = client.create_customer_session({"external_customer_id": "external-id-of-ada"})
    kept = customers.find_session(ada, identity._scopes)
    session = CustomerSession.objects.get()
    assert document.url
    assert context["invoice"].document_url
    assert kept
    refused = [document, context["invoice"], issued, kept, client, Secret("x"), conf.POLAR_ACCESS_TOKEN, organization]
    allowed = [portal, staff, portal.order(order.id), portal.orders(), session, *round_of_everything.failures, identity]
    secrets = [*round_of_everything.secrets, "X-Amz-", ADDRESS, settings_of_django.SECRET_KEY]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for secret in refused:
            with pytest.raises((TypeError, pickle.PicklingError), match="pickle"):
                pickle.dumps(secret, protocol)
        for each in allowed:
            try:
                data = pickle.dumps(each, protocol)
            except (TypeError, AttributeError, pickle.PicklingError):
                assert each is identity, "of those only the identity holds what can't be pickled"
                continue
            assert held(secrets, data) == [], type(each)
    with pytest.raises(TypeError, match="pickle"):
        copy.deepcopy(document)


def test_repr_vars_and_asdict_of_everything_public(round_of_everything: Round) -> None:
    polar, ada, order = round_of_everything.polar, round_of_everything.ada, round_of_everything.order
    round_of_everything.run()
    portal = CustomerPortal(ada)
    identity, organization = portal._identity(), OrganizationPortal()._identity()
    found, document = portal.order(order.id), portal.receipt(order.id)
    session = CustomerSession.objects.get()
    with pytest.raises(OrderNotFound) as failure:
        portal.order(uuid.uuid4())
    things: list[Any] = [
        portal, identity, organization, found, document, found.billing_address, portal.orders(), session, failure.value,
        identity.cache, conf, OrganizationPortal(ada), *round_of_everything.failures, identity._find_session(),
    ]  # fmt: skip
    shown = "\n".join(f"{each!r} {each} {each:}" for each in things).encode()
    assert (
        held(
            [*round_of_everything.secrets, *round_of_everything.persons, "X-Amz-", settings_of_django.SECRET_KEY], shown
        )
        == []
    )
    # What is inside is there to be used, but tokens and keys are wrapped even there.
    inside = "\n".join(repr(vars(each)) for each in things if hasattr(each, "__dict__")).encode()
    assert held([*round_of_everything.secrets, settings_of_django.SECRET_KEY], inside) == []
    assert "X-Amz-" in str(dataclasses.asdict(document)), "the address is what a Document is for"
    assert polar.sessions
