"""What a test can ask of the fake: what was called, and answers that are not the usual ones."""

from __future__ import annotations

import pytest
import requests

from polar_portal.testing import FakeCustomer, FakePolar
from tests.testing.conftest import Api

LIST = "/v1/customer-portal/orders/"


def test_calls_are_kept(api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
    token = polar.create_session(ada).token
    api("GET", f"{LIST}?limit=3&page=1", by=token, headers={"User-Agent": "shop"})
    api("POST", "/v1/customer-sessions/", json={"external_customer_id": "1"})
    api("POST", "/v1/customer-sessions/", data=b"nonsense")
    first, second, third = polar.calls
    assert (first.method, first.path, first.status) == ("GET", LIST, 200)
    assert first.query == {"limit": "3", "page": "1"}
    assert (first.token, first.body) == (token, None)
    assert first.headers["user-agent"] == "shop"
    assert second.body == {"external_customer_id": "1"}
    assert second.token == polar.access_token
    assert (third.body, third.status) == (None, 422)


def test_calls_are_counted(api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
    order = polar.add_order(ada)
    api("GET", f"{LIST}{order.id}/invoice", by=ada)
    api("POST", f"{LIST}{order.id}/invoice", by=ada)
    api("GET", LIST, by=ada)
    assert polar.count() == 3
    assert polar.count("GET") == 2
    assert polar.count("get", "/invoice") == 1
    assert polar.count(path="/invoice") == 2
    polar.clear_calls()
    assert polar.count() == 0


def test_next_answers_can_be_scripted(api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
    polar.fail("GET", "/orders/", status=503, json={"error": "Away"}, headers={"Retry-After": "7"}, times=2)
    assert api("GET", "/v1/customer-portal/customer-session/user", by=ada).status_code == 200
    for _ in range(2):
        response = api("GET", LIST, by=ada)
        assert (response.status_code, response.json()) == (503, {"error": "Away"})
        assert response.headers["retry-after"] == "7"
    assert api("GET", LIST, by=ada).status_code == 200


def test_scripted_answer_need_not_be_json(api: Api, polar: FakePolar) -> None:
    polar.fail(status=502, body=b"<h1>Bad Gateway</h1>", content_type="text/html")
    response = api("GET", LIST)
    assert (response.status_code, response.headers["content-type"]) == (502, "text/html")
    assert response.content == b"<h1>Bad Gateway</h1>"


def test_scripts_are_used_in_the_order_they_were_given(api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
    polar.fail(status=500)
    polar.fail(status=501, times=None)
    assert [api("GET", LIST, by=ada).status_code for _ in range(3)] == [500, 501, 501]
    polar.clear_failures()
    assert api("GET", LIST, by=ada).status_code == 200


def test_no_times_is_never(api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
    polar.fail(status=500, times=0)
    assert api("GET", LIST, by=ada).status_code == 200


def test_connection_can_break(api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
    polar.fail("GET", exception=requests.ConnectionError)
    with pytest.raises(requests.ConnectionError):
        api("GET", LIST, by=ada)
    assert polar.calls[0].status is None
    assert api("GET", LIST, by=ada).status_code == 200


def test_answer_can_be_lost_after_the_request_arrived(api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
    order = polar.add_order(ada)
    polar.fail("POST", exception=requests.ConnectionError, arrives=True)
    with pytest.raises(requests.ConnectionError):
        api("POST", f"{LIST}{order.id}/invoice", by=ada)
    polar.advance(5)
    assert order.is_invoice_generated


def test_exception_is_the_very_one_that_was_given(polar: FakePolar) -> None:
    from polar_portal.testing.adapter import FakeAdapter

    given = requests.ReadTimeout("too slow")
    polar.fail(exception=given)
    with requests.Session() as http:
        http.mount("https://", FakeAdapter(polar))
        with pytest.raises(requests.ReadTimeout) as caught:
            http.get(polar.base_url)
    assert caught.value is given


def test_clock_is_time_time_looked_up_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    polar = FakePolar()
    monkeypatch.setattr("time.time", lambda: 86400.0)
    assert polar.now.isoformat() == "1970-01-02T00:00:00+00:00"
    polar.advance(1.5)
    assert polar.now.timestamp() == 86401.5
