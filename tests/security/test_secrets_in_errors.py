"""What an error reporter or a DEBUG page could show of an error that reaches the host's own code."""

from __future__ import annotations

import io
import time
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from polar_portal.api import deadline
from polar_portal.api.client import Client, download
from polar_portal.api.schemas import Document
from polar_portal.conf import Secret
from polar_portal.portal import CustomerPortal, OrganizationPortal
from polar_portal.testing import FakeCustomer, FakePolar

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
    client = Client("http://127.0.0.1:1", Secret("polar_oat_hidden"), time.monotonic() + 10)
    with pytest.raises(TimeIsUp) as caught:
        client.invoice("/v1/orders/", uuid.uuid4())
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
    for broken in ("filter", "update_or_create"):
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
