"""What an error reporter or a DEBUG page could show of an error that reaches the host's own code."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import pickle
import time
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.template import Context, Template
from pytest_django import Settings

from polar_portal.api import deadline
from polar_portal.api.client import Client
from polar_portal.api.download import download
from polar_portal.api.schemas import Document
from polar_portal.conf import Secret
from polar_portal.exceptions import PolarError, PolarMisconfigured
from polar_portal.portal import CustomerPortal, OrganizationPortal
from polar_portal.testing import FakeCustomer, FakePolar
from tests.test_secrets import ADDRESS, BREAKS

from .conftest import browser, reported

SIGNED = "https://127.0.0.1:1/1.pdf?X-Amz-Signature=of-the-document"


class TimeIsUp(BaseException):
    """What a task queue raises in the middle of whatever runs, like Celery's SoftTimeLimitExceeded."""


class DiskIsFull(io.BytesIO):
    def write(self, piece: Any) -> int:
        raise OSError(28, "No space left on device")


def time_is_up(*args: Any, **kwargs: Any) -> None:
    try:
        raise KeyError("the library's own")
    except KeyError:
        raise TimeIsUp from None


def test_error_that_lands_in_the_middle_of_a_call_shows_no_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline._Connection, "_new_conn", time_is_up)
    client = Client("http://127.0.0.1:1", Secret("polar_oat_hidden"), time.monotonic() + 10, orders="/v1/orders/")
    with pytest.raises(TimeIsUp) as caught:
        client.invoice(uuid.uuid4())
    told = reported(caught.value)
    assert "_exchange.path" in told, "the frames of ours are there"
    assert "polar_oat_hidden" not in told


def test_error_that_lands_in_the_middle_of_a_download_shows_no_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline._Connection, "_new_conn", time_is_up)
    with pytest.raises(TimeIsUp) as caught:
        download(Document(SIGNED, None), io.BytesIO(), base_url="https://127.0.0.1:1")
    told = reported(caught.value)
    assert "_download.ends_at" in told
    assert "of-the-document" not in told


def test_full_disk_shows_no_url(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    document = CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    with pytest.raises(OSError, match="No space left") as caught:
        download(document, DiskIsFull(), base_url=fake_polar.base_url)
    assert "X-Amz-Signature" not in reported(caught.value)


def test_what_a_caller_gives_and_can_not_be_sent_shows_no_header(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    order = fake_polar.add_order(ada_at_polar, billing_name=None, billing_address=None)
    with pytest.raises(TypeError) as caught:
        CustomerPortal(ada).update_billing_details(order.id, name=object(), address={"country": "FR"})  # type: ignore[arg-type]
    told = reported(caught.value)
    assert "_exchange.path" in told
    for token in fake_polar.sessions:
        assert token not in told


def test_error_of_our_own_code_shows_no_key_of_django(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "the-key-of-django", ["the-key-of-last-year"]
    for broken in ("filter", "update"):
        with monkeypatch.context() as patch:
            patch.setattr(f"django.db.models.query.QuerySet.{broken}", time_is_up)
            with pytest.raises(TimeIsUp) as caught:
                CustomerPortal(ada).orders()
        told = reported(caught.value)
        assert "_session." in told
        for secret in ("the-key-of-", fake_polar.access_token, *fake_polar.sessions):
            assert secret not in told


@pytest.mark.parametrize("wrong", [None, 7])
def test_wrong_fallbacks_show_no_token(fake_polar: FakePolar, settings: Settings, wrong: Any) -> None:
    settings.SECRET_KEY_FALLBACKS = wrong
    with pytest.raises(TypeError) as caught:
        OrganizationPortal().invoice(uuid.uuid4())
    assert fake_polar.access_token not in reported(caught.value)


@pytest.mark.parametrize("page", ["portal", "invoice/?waiting=0", "invoice/", "", "billing-details/"])
def test_debug_page_of_a_template_that_fails_shows_no_link_and_no_customer(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings, page: str
) -> None:
    # As when the host's own polar_portal/base.html has a mistake in it: the page shows the variables of all frames.
    loaders = [
        ("django.template.loaders.locmem.Loader", {"polar_portal/base.html": "{% url 'no-such-address' %}"}),
        "django.template.loaders.app_directories.Loader",
    ]
    engine = settings.TEMPLATES[0]
    settings.TEMPLATES = [{**engine, "APP_DIRS": False, "OPTIONS": {**engine["OPTIONS"], "loaders": loaders}}]
    settings.DEBUG = True
    order = fake_polar.add_order(ada_at_polar, invoice="waiting" in page)
    client = browser(ada, raise_request_exception=False)
    root = f"/billing/orders/{order.id}/"
    response = client.post("/billing/portal/") if page == "portal" else client.get(root + page)
    assert response.status_code == 500
    assert "no-such-address" in response.text
    assert fake_polar.sessions
    for secret in (*fake_polar.sessions, fake_polar.access_token, ada_at_polar.email, "X-Amz-", "rue de", "Lovelace"):
        assert secret not in response.text


# Whatever goes wrong at Polar


ACTS: dict[str, Any] = {
    "invoice": lambda portal, order: portal.invoice(order),
    "receipt": lambda portal, order: portal.receipt(order),
    "generate": lambda portal, order: portal.generate_invoice(order),
    "cached": lambda portal, order: portal.cached("invoice", order) or portal.invoice(order),
    "order": lambda portal, order: portal.order(order),
    "orders": lambda portal, order: portal.orders(),
    "hosted": lambda portal, order: portal.hosted_url(return_url="https://shop.example/"),
    "edit": lambda portal, order: portal.update_billing_details(order, name="Ada", address={"line1": "1 Hidden Rd"}),
}


@pytest.mark.parametrize("breaks", BREAKS[1:], ids=lambda breaks: breaks.__name__)
@pytest.mark.parametrize("act", ACTS)
def test_failure_of_any_kind_carries_no_secret(
    fake_polar: FakePolar, ada: User, settings: Settings, breaks: Any, act: str
) -> None:
    settings.DEBUG = True
    settings.POLAR_CUSTOMER_RESOLVER = "tests.test_secrets.by_email"
    customer = fake_polar.add_customer(external_id=ADDRESS, name="Ada Lovelace", email=ADDRESS)
    order = fake_polar.add_order(customer, invoice=True).id
    CustomerPortal(ada).order(order)
    breaks(fake_polar, settings)
    failures: list[BaseException] = []
    for _ in range(2):  # the second is told by the cache, or by what the first has left
        portals: list[Any] = [CustomerPortal(ada), CustomerPortal(ada), OrganizationPortal()]
        for portal in portals:
            try:
                if not isinstance(portal, OrganizationPortal) or act in {"invoice", "receipt", "generate", "cached"}:
                    ACTS[act](portal, order)
            except (PolarError, PolarMisconfigured) as failure:
                failures.append(failure)
        fake_polar.expire_sessions()
    for each in failures:
        told = reported(each)
        assert "_run." in told, "the frames of ours are there"
        for secret in (fake_polar.access_token, *fake_polar.sessions, ADDRESS, "X-Amz-", "Bearer ", "Lovelace"):
            assert secret not in told
        assert pickle.dumps(each)


def test_asyncio_in_debug_mode_logs_no_secret(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ready, unmade = fake_polar.add_order(ada_at_polar, invoice=True), fake_polar.add_order(ada_at_polar)
    page = Template("{% load polar_portal %}{% polar_invoice order as invoice %}{{ invoice.status }}")

    async def view() -> list[str]:
        # As a slow view that the loop complains of, and one whose failure nobody looks at.
        asyncio.get_running_loop().slow_callback_duration = 0
        shown: list[str] = [page.render(Context({"user": ada, "order": order.id})) for order in (ready, unmade)]
        failing = asyncio.get_running_loop().create_task(fail())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del failing
        return shown

    async def fail() -> None:
        CustomerPortal(ada).receipt(uuid.uuid4())

    assert asyncio.run(view(), debug=True) == ["ready", "not_generated"]
    gc.collect()
    formatter = logging.Formatter()
    told = "\n".join(f"{formatter.format(record)} {record.args!r}" for record in caplog.records)
    assert "asyncio" in {record.name for record in caplog.records}
    assert "Task exception was never retrieved" in told
    for secret in (fake_polar.access_token, *fake_polar.sessions, ada_at_polar.email, "X-Amz-Signature"):
        assert secret not in told
