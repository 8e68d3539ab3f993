"""Polar's own portal, opened signed in: by POST, with the way back, its link stored and logged nowhere."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import call_command
from django.template import Context, Template
from django.test import Client, RequestFactory
from pytest_django import Settings

from polar_portal.portal import CustomerPortal
from polar_portal.testing import FakeCustomer, FakePolar
from tests.conftest import JSON, asked


def post(user: User | None, **headers: str) -> Any:
    client = Client()
    if user:
        client.force_login(user)
    return client.post("/billing/portal/", headers=headers)


def test_button_leads_to_a_page_that_opens_the_portal(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    response = post(ada)
    assert response.status_code == 200
    seconds, _, url = response["Refresh"].partition("; url=")
    assert seconds == "0"
    assert "customer_session_token=" in url
    assert url.replace("&", "&amp;") in response.text
    assert response["Referrer-Policy"] == "no-referrer"
    assert response["Cache-Control"] == "private, no-store"
    (call,) = fake_polar.calls
    assert call.body == {"external_customer_id": str(ada.pk), "return_url": "http://testserver/billing/orders/"}


@pytest.mark.parametrize(
    ("setting", "sent"),
    [("/account/", "http://testserver/account/"), ("https://shop.example/me", "https://shop.example/me")],
)
def test_way_back_is_a_setting_and_never_the_visitors(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings, setting: str, sent: str
) -> None:
    settings.POLAR_RETURN_URL = setting
    client = Client()
    client.force_login(ada)
    client.post("/billing/portal/?next=//evil.example&return_url=//evil.example", {"return_url": "//evil.example"})
    assert fake_polar.calls[0].body["return_url"] == sent


def test_link_is_made_anew_at_each_click(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    assert post(ada, **JSON).json()["url"] != post(ada, **JSON).json()["url"]
    assert asked(fake_polar) == ["POST session"] * 2


def test_link_is_stored_and_logged_nowhere(
    fake_polar: FakePolar,
    ada: User,
    ada_at_polar: FakeCustomer,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    url = post(ada, **JSON).json()["url"]
    token = url.partition("customer_session_token=")[2].partition("&")[0]
    assert token in fake_polar.sessions
    call_command("dumpdata")
    kept = capsys.readouterr().out + "".join(map(repr, cache._cache.values())) + caplog.text  # type: ignore[attr-defined]
    for secret in (token, url, ada_at_polar.email):
        assert secret not in kept


def test_who_is_no_customer_has_no_portal(fake_polar: FakePolar, ada: User) -> None:
    assert post(ada).status_code == 404
    response = post(ada, **JSON)
    assert (response.status_code, response.json()["error"]) == (404, "not_a_customer")


def test_only_by_post_and_signed_in(fake_polar: FakePolar, ada: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    assert client.get("/billing/portal/").status_code == 405
    assert client.post("/billing/portal/").status_code == 403
    assert post(None)["Location"].startswith("/sign-in/")
    assert post(None, **JSON).status_code == 401
    assert fake_polar.calls == []


def test_no_browser_is_sent_to_an_odd_portal(fake_polar: FakePolar, ada: User) -> None:
    session = {
        "token": "polar_cst_x",
        "customer_id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        "created_at": "2026-11-22T12:00:00Z",
        "expires_at": "2026-11-22T13:00:00Z",
        "customer_portal_url": "javascript:alert(1)",
    }
    fake_polar.fail("POST", "/customer-sessions/", status=201, json=session)
    response = post(ada)
    assert response.status_code == 503
    assert "javascript:" not in response.text


def test_a_user_opens_at_most_six_a_minute(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    assert [post(ada).status_code for _ in range(8)] == [200] * 6 + [503] * 2
    assert fake_polar.count("POST", "/customer-sessions/") == 6


def test_button(fake_polar: FakePolar, ada: User) -> None:
    request = RequestFactory().get("/")
    page = Template("{% load polar_portal %}{% polar_portal_button %}").render(
        Context({"request": request, "csrf_token": "tok"})
    )
    assert '<form method="post" action="/billing/portal/">' in page
    assert '<input type="hidden" name="csrfmiddlewaretoken" value="tok">' in page
    assert fake_polar.calls == []


def test_session_of_the_portal_serves_the_next_click(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    post(ada)
    CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    assert asked(fake_polar) == ["POST session", "GET invoice"]
