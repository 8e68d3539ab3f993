"""The table of answers to GET and POST `invoice`, as HTML and as JSON, with what each costs at Polar."""

from __future__ import annotations

import re
import uuid
from datetime import datetime, timedelta, timezone

import pytest
import time_machine
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from polar_portal.testing import FakeCustomer, FakePolar
from polar_portal.testing.records import Status
from tests.conftest import Click, asked


def test_ready_invoice_is_a_redirect_to_the_pdf(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    response = click(ada, order.id)
    assert response.status_code == 302
    assert response["Referrer-Policy"] == "no-referrer"
    pdf = fake_polar.download(response["Location"])
    assert pdf.status == 200
    assert pdf.body.startswith(b"%PDF")
    assert asked(fake_polar) == ["POST session", "GET invoice"]


@time_machine.travel(datetime(2026, 11, 22, 12, tzinfo=timezone.utc), tick=False)
def test_ready_invoice_as_json(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    response = click(ada, order.id, json=True)
    assert response.status_code == 200
    body = response.json()
    assert body.keys() == {"url", "expires_at"}
    assert body["expires_at"] == "2026-11-22T12:10:00Z"
    assert fake_polar.download(body["url"]).status == 200
    assert response["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("json", [False, True])
def test_every_answer_is_private_and_depends_on_who_asks_and_how(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click, json: bool
) -> None:
    ready, unmade = fake_polar.add_order(ada_at_polar, invoice=True), fake_polar.add_order(ada_at_polar)
    for user, order_id in [(ada, ready.id), (ada, unmade.id), (ada, uuid.uuid4()), (None, ready.id)]:
        response = click(user, order_id, json=json)
        assert response["Cache-Control"] == "private, no-store"
        assert {"Accept", "Cookie"} <= set(response["Vary"].split(", "))


def test_nobody_is_sent_to_sign_in(fake_polar: FakePolar, ada_at_polar: FakeCustomer, click: Click) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    response = click(None, order.id)
    assert response.status_code == 302
    assert response["Location"] == f"/sign-in/?next=/billing/orders/{order.id}/invoice/"
    response = click(None, order.id, json=True)
    assert response.status_code == 401
    assert response.json()["error"] == "not_authenticated"
    assert fake_polar.calls == []


def test_invoice_that_is_not_made_is_offered(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    response = click(ada, order.id)
    assert response.status_code == 200
    assert re.search(f'<form [^>]*method="post" action="/billing/orders/{order.id}/invoice/"', response.text)
    # With a form on it, "no-referrer" would make browsers send "Origin: null", which Django refuses.
    assert response["Referrer-Policy"] == "same-origin"
    response = click(ada, order.id, json=True)
    assert response.status_code == 404
    assert response.json()["error"] == "invoice_not_generated"
    assert asked(fake_polar) == ["POST session", "GET invoice", "GET order", "GET invoice", "GET order"]


@pytest.mark.parametrize("status", ["draft", "void"])
def test_draft_and_void_orders_get_no_invoice(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click, press: Click, status: Status
) -> None:
    order = fake_polar.add_order(ada_at_polar, status=status)
    assert click(ada, order.id).status_code == 409
    response = click(ada, order.id, json=True)
    assert (response.status_code, response.json()["error"]) == (409, "order_not_eligible")
    response = press(ada, order.id, json=True)
    assert (response.status_code, response.json()["error"]) == (409, "order_not_eligible")


@pytest.mark.parametrize("status", ["pending", "paid", "refunded", "partially_refunded"])
def test_every_other_order_gets_one(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click, press: Click, status: Status
) -> None:
    order = fake_polar.add_order(ada_at_polar, status=status)
    assert click(ada, order.id).status_code == 200
    assert press(ada, order.id).status_code == 303


def test_not_theirs_unknown_and_no_customer_look_the_same(
    fake_polar: FakePolar, ada: User, bob: User, ada_at_polar: FakeCustomer, bob_at_polar: FakeCustomer, click: Click
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    nobody = User.objects.create_user("carol")
    click(ada, order.id)
    pages = [click(bob, order.id), click(ada, uuid.uuid4()), click(nobody, order.id)]
    assert {page.status_code for page in pages} == {404}
    assert len({page.content for page in pages}) == 1
    answers = [click(bob, order.id, json=True), click(ada, uuid.uuid4(), json=True), click(nobody, order.id, json=True)]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["error"] == "order_not_found"


@pytest.mark.parametrize("order_id", ["abc", "1", "..%2f..%2fcustomers%2fme", "9fef1b60-62f0-4479-b5e5-6c074cb3197"])
def test_an_id_that_is_no_uuid_has_no_address(ada: User, fake_polar: FakePolar, order_id: str) -> None:
    client = Client()
    client.force_login(ada)
    assert client.get(f"/billing/orders/{order_id}/invoice/").status_code == 404
    assert fake_polar.calls == []


def test_member_without_a_billing_role_is_refused(fake_polar: FakePolar, ada: User, click: Click) -> None:
    from polar_portal.testing import FakeMember

    fake_polar.member_model = True
    plain = FakeMember(role="member", external_id=str(ada.pk))
    team = fake_polar.add_customer(external_id="team", type="team", members=[FakeMember(role="owner"), plain])
    order = fake_polar.add_order(team, invoice=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "polar_portal.customers.by_primary_key",
            lambda user: {"external_customer_id": "team", "external_member_id": str(user.pk)},
        )
        assert click(ada, order.id).status_code == 403
        response = click(ada, order.id, json=True)
    assert (response.status_code, response.json()["error"]) == (403, "not_permitted")


@pytest.mark.parametrize(("retry_after", "told"), [("60", "60"), ("0", "1"), ("99999999", "3600"), ("soon", "60")])
def test_reached_limit_tells_when_to_come_back(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click, retry_after: str, told: str
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    fake_polar.fail("GET", "/invoice", status=429, body=b"", headers={"Retry-After": retry_after})
    response = click(ada, order.id)
    assert (response.status_code, response["Retry-After"]) == (503, told)
    assert fake_polar.count("GET", "/invoice") == 1


def test_reached_limit_as_json(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    fake_polar.fail("GET", "/invoice", status=429, body=b"", headers={"Retry-After": "60"})
    response = click(ada, order.id, json=True)
    assert (response.status_code, response.json()["error"], response.json()["retry_after"]) == (503, "rate_limited", 60)


@pytest.mark.parametrize(
    ("status", "body", "calls"),
    [(500, b"oh", 1), (502, b"<html>bad gateway</html>", 2), (200, b"<html>", 1), (200, b'{"url": null}', 1)],
)
def test_polar_away_or_talking_nonsense(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click, status: int, body: bytes, calls: int
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    fake_polar.fail("GET", "/invoice", status=status, body=body, content_type="text/html", times=calls)
    response = click(ada, order.id)
    assert response.status_code == 503
    assert 1 <= int(response["Retry-After"]) <= 3600
    assert re.search(f'<a [^>]*href="/billing/orders/{order.id}/invoice/">Try again</a>', response.text)
    assert fake_polar.count("GET", "/invoice") == calls
    assert click(ada, order.id).status_code == 302  # and the next click works


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "http://s3.example/x.pdf",
        "https://user:pass@s3.example/x.pdf",
        "//s3.example/x.pdf",
        "https://s3.example/x.pdf\r\nSet-Cookie: a=b",
        "/x.pdf",
        "",
    ],
)
def test_no_browser_is_sent_to_an_odd_address(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click, url: str
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    fake_polar.fail("GET", "/invoice", status=200, json={"url": url})
    response = click(ada, order.id)
    assert response.status_code == 503
    assert "Location" not in response


def test_document_of_a_host_that_is_not_allowed(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click, settings: Settings
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    assert click(ada, order.id).status_code == 302
    settings.POLAR_ALLOWED_DOCUMENT_HOSTS = [".amazonaws.com"]
    # Neither the kept one nor a new one is handed out.
    assert click(ada, order.id).status_code == 503


def test_a_url_longer_than_djangos_own_redirects_allow(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    url = "https://s3.example/x.pdf?X-Amz-Security-Token=" + "t" * 3000
    fake_polar.fail("GET", "/invoice", status=200, json={"url": url})
    response = click(ada, order.id)
    assert (response.status_code, response["Location"]) == (302, url)


def test_wrong_token_does_not_blame_the_customer(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    fake_polar.revoke_access_token()
    response = click(ada, order.id)
    assert response.status_code == 500
    assert "Something is wrong on our side" in response.text
    response = click(ada, order.id, json=True)
    assert (response.status_code, response.json()["error"]) == (500, "misconfigured")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("POLAR_ACCESS_TOKEN", ""),
        ("POLAR_ACCESS_TOKEN", "polar_oat\nx"),
        ("POLAR_BASE_URL", "ftp://polar.example"),
        ("POLAR_BASE_URL", "https://user:secret@polar.example"),
        ("POLAR_CACHE_ALIAS", "nowhere"),
        ("POLAR_CUSTOMER_RESOLVER", "no.such.path"),
        ("POLAR_CLICK_BUDGET", "soon"),
    ],
)
def test_each_wrong_setting_is_a_page_of_its_own(
    fake_polar: FakePolar,
    ada: User,
    ada_at_polar: FakeCustomer,
    click: Click,
    settings: Settings,
    setting: str,
    value: str,
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    setattr(settings, setting, value)
    response = click(ada, order.id)
    assert response.status_code == 500
    assert "Something is wrong on our side" in response.text
    assert fake_polar.calls == []


def test_unknown_server(fake_polar: FakePolar, ada: User, click: Click, settings: Settings) -> None:
    settings.POLAR_BASE_URL = None
    settings.POLAR_SERVER = "staging"
    assert click(ada, uuid.uuid4()).status_code == 500


def test_a_server_without_these_routes(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    fake_polar.fail("GET", "/invoice", status=404, json={"detail": "Not Found"})
    response = click(ada, order.id, json=True)
    assert (response.status_code, response.json()["error"]) == (500, "misconfigured")


def test_prefetch_never_asks_polar(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    guess = {"sec-purpose": "prefetch;prerender"}
    response = click(ada, order.id, **guess)
    assert (response.status_code, response["Retry-After"]) == (503, "1")
    assert fake_polar.calls == []
    click(ada, order.id)
    assert click(ada, order.id, **guess).status_code == 302
    assert asked(fake_polar) == ["POST session", "GET invoice"]


def test_get_makes_nothing_at_polar(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click) -> None:
    order = fake_polar.add_order(ada_at_polar)
    for query in ("", "?waiting=0", "?waiting=19", "?waiting=20"):
        click(ada, order.id, query)
        click(ada, order.id, query, json=True)
    assert fake_polar.count("POST", "/invoice") == 0
    assert fake_polar.count("PATCH") == 0


def test_making_an_invoice_from_offer_to_pdf(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click, press: Click
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    address = reverse("polar_portal:invoice", args=[order.id])
    with time_machine.travel(datetime.now(timezone.utc), tick=False) as now:
        response = press(ada, order.id)
        assert (response.status_code, response["Location"]) == (303, f"{address}?waiting=0")
        response = click(ada, order.id, "?waiting=0")
        assert (response.status_code, response["Refresh"]) == (202, f"3; url={address}?waiting=1")
        now.shift(timedelta(seconds=6))
        response = click(ada, order.id, "?waiting=1")
        assert (response.status_code, response["Refresh"]) == (200, f"0; url={address}")
        assert response["Referrer-Policy"] == "no-referrer"
        assert "Your invoice is ready" in response.text
        response = click(ada, order.id)
        assert response.status_code == 302
        assert fake_polar.download(response["Location"]).body.startswith(b"%PDF")
    # Asked once to make it, and once for it: the first question came too early to be worth a call.
    assert asked(fake_polar) == ["POST session", "POST invoice", "GET invoice"]


def test_making_an_invoice_as_json(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click, press: Click
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    for response in (press(ada, order.id, json=True), click(ada, order.id, json=True)):
        assert response.status_code == 202
        assert response.json()["error"] == "pending"
        assert 1 <= response.json()["retry_after"] <= 3


def test_waiting_ends_with_a_way_out(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click, press: Click
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    address = reverse("polar_portal:invoice", args=[order.id])
    press(ada, order.id)
    assert click(ada, order.id, "?waiting=19")["Refresh"].endswith(f"; url={address}?waiting=20")
    response = click(ada, order.id, "?waiting=20")
    assert response.status_code == 202
    assert "Refresh" not in response
    assert f'href="{address}"' in response.text


@pytest.mark.parametrize("waiting", ["x", "-1", "", "9" * 400, "0&waiting=<script>"])
def test_odd_counts_of_waiting_do_no_harm(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click, press: Click, waiting: str
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    press(ada, order.id)
    response = click(ada, order.id, f"?waiting={waiting}")
    assert response.status_code == 202
    assert "<script>" not in response.text


def test_an_address_alone_is_believed_for_twenty_seconds(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    assert click(ada, order.id, "?waiting=5").status_code == 202
    assert click(ada, order.id, "?waiting=6").status_code == 200
    assert click(ada, order.id, "?waiting=5", json=True).status_code == 202
    assert click(ada, order.id, "?waiting=6", json=True).status_code == 404


def test_pressing_is_never_answered_with_waiting_when_polar_was_not_asked(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, press: Click, settings: Settings
) -> None:
    settings.POLAR_CLICK_BUDGET = 0.3
    order = fake_polar.add_order(ada_at_polar)
    # Another click is making this customer's session, and does not end.
    from django.core.cache import cache

    from polar_portal.portal import CustomerPortal

    cache.add(CustomerPortal(ada)._identity().key("session") + ":attempt", "somebody", 11)
    assert press(ada, order.id).status_code == 503
    assert fake_polar.calls == []


def test_waiting_works_without_a_cache(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, click: Click, press: Click, settings: Settings
) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    order = fake_polar.add_order(ada_at_polar)
    assert press(ada, order.id).status_code == 303
    assert click(ada, order.id, "?waiting=0").status_code == 202
    fake_polar.advance(6)
    assert click(ada, order.id, "?waiting=1").status_code == 200
    assert click(ada, order.id).status_code == 302


def test_a_form_sent_twice_asks_polar_once(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, press: Click
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    assert [press(ada, order.id).status_code for _ in range(3)] == [303] * 3
    assert fake_polar.count("POST", "/invoice") == 1


def test_missing_billing_details_lead_to_the_form(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, press: Click
) -> None:
    order = fake_polar.add_order(ada_at_polar, billing_name=None, billing_address=None)
    response = press(ada, order.id)
    assert (response.status_code, response["Location"]) == (303, f"/billing/orders/{order.id}/billing-details/")
    response = press(ada, order.id, json=True)
    assert (response.status_code, response.json()["error"]) == (422, "billing_details_missing")


def test_post_needs_a_csrf_token(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar)
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    for accept in ("text/html", "application/json"):
        response = client.post(reverse("polar_portal:invoice", args=[order.id]), headers={"accept": accept})
        assert response.status_code == 403
    assert fake_polar.calls == []


def test_csrf_is_checked_without_the_hosts_middleware(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    middleware = [name for name in settings.MIDDLEWARE if "Csrf" not in name]
    settings.MIDDLEWARE = middleware
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    assert client.post(reverse("polar_portal:invoice", args=[order.id])).status_code == 403
    assert fake_polar.calls == []


def test_polar_is_called_outside_of_the_hosts_transaction() -> None:
    from polar_portal.urls import urlpatterns

    for pattern in urlpatterns:
        assert "default" in pattern.callback._non_atomic_requests, pattern.name


@pytest.mark.parametrize("json", [False, True])
def test_polar_that_is_away_is_one_line_and_mails_no_admin(
    fake_polar: FakePolar,
    ada: User,
    ada_at_polar: FakeCustomer,
    click: Click,
    json: bool,
    settings: Settings,
    mailoutbox: list[object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    # With Django's own logging, which mails each ERROR of `django.request`.
    settings.DEBUG, settings.ADMINS = False, [("Sam", "sam@shop.example")]
    fake_polar.fail(status=503, times=None)
    assert click(ada, fake_polar.add_order(ada_at_polar).id, json=json).status_code == 503
    lines = [(record.name, record.levelname) for record in caplog.records]
    assert lines == [("polar_portal.portal", "WARNING")]
    assert mailoutbox == []
