"""What every call passes first: length, version, limits, token."""

from __future__ import annotations

import pytest

from polar_portal.testing import FakeCustomer, FakePolar, Limits
from tests.testing.conftest import Api

LIST = "/v1/customer-portal/orders/"
INTROSPECT = "/v1/customer-portal/customer-session/introspect"


def test_every_answer_has_the_version_a_date_and_may_not_be_stored(api: Api, ada: FakeCustomer) -> None:
    headers = api("GET", LIST, by=ada).headers
    assert headers["polar-version"] == "2026-04"
    assert headers["cache-control"] == "private, no-store"
    assert headers["content-type"] == "application/json"
    assert headers["date"] == "Mon, 21 Sep 2026 14:13:20 GMT"


def test_post_without_length_is_refused_before_anything_else(api: Api) -> None:
    response = api("POST", "/v1/nothing", by="bad", data=iter([b"{}"]), headers={"Polar-Version": "bad"})
    assert response.status_code == 411
    assert response.json() == {"error": "LengthRequired", "detail": "A Content-Length header is required."}
    assert "cache-control" not in response.headers


@pytest.mark.parametrize("version", ["2025-01", "2026-4", "garbage"])
def test_unknown_version_is_a_wrong_route_even_with_a_bad_token(api: Api, version: str) -> None:
    response = api("GET", LIST, by="bad", headers={"Polar-Version": version})
    assert response.status_code == 404
    assert response.json() == {"detail": "Not Found"}
    assert "polar-version" not in response.headers


def test_known_version_is_echoed(api: Api, ada: FakeCustomer) -> None:
    assert api("GET", LIST, by=ada, headers={"Polar-Version": "2026-10"}).headers["polar-version"] == "2026-10"
    assert api("GET", LIST, by=ada, headers={"Polar-Version": ""}).headers["polar-version"] == "2026-04"


@pytest.mark.parametrize("path", ["/v1/customer-sessions/", "/v1/nothing", "/v1/orders"])
def test_bad_token_is_invalid_token_wherever_it_is_sent(api: Api, path: str) -> None:
    response = api("POST", path, by="polar_oat_other", json={})
    assert response.status_code == 401
    assert response.json()["error"] == "invalid_token"
    assert response.headers["www-authenticate"].startswith('Bearer realm="polar", error="invalid_token"')
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("authorization", ["", "Bearer", "Basic Zm9vOmJhcg==", "Bearer polar_cst_\xe9"])
def test_no_token_is_unauthorized(api: Api, authorization: str) -> None:
    response = api("GET", LIST, by="", headers={"Authorization": authorization.encode("latin-1")})
    assert response.status_code == 401
    assert response.json() == {"error": "Unauthorized", "detail": "Unauthorized"}
    assert response.headers["www-authenticate"] == 'Bearer realm="polar"'
    assert response.headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize("path", [LIST, INTROSPECT])
def test_organizations_token_is_the_wrong_kind_for_the_portal(api: Api, path: str) -> None:
    assert api("GET", path).json()["error"] == "Unauthorized"


def test_customers_token_is_the_wrong_kind_for_the_merchant(api: Api, ada: FakeCustomer) -> None:
    assert api("GET", "/v1/orders/", by=ada).json()["error"] == "Unauthorized"


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/customer-sessions/", "customer_sessions:write"),
        ("GET", "/v1/orders/", "orders:read"),
        ("PATCH", "/v1/orders/3f2504e0-4f89-41d3-9a0c-0305e82c3301", "orders:write"),
    ],
)
def test_missing_scope_is_named(api: Api, polar: FakePolar, method: str, path: str, scope: str) -> None:
    polar.scopes = {"customer_sessions:write", "orders:read", "orders:write"} - {scope}
    response = api(method, path, json={})
    assert response.status_code == 403
    assert response.json()["error"] == "insufficient_scope"
    assert f'scope="{scope}"' in response.headers["www-authenticate"]


def test_revoked_access_token_is_invalid(api: Api, polar: FakePolar) -> None:
    old = polar.access_token
    polar.revoke_access_token()
    assert api("GET", "/v1/orders/", by=old).status_code == 401
    assert api("GET", "/v1/orders/").status_code == 200


def test_session_ends_to_the_second(api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
    token = polar.create_session(ada).token
    polar.advance(3599)
    assert api("GET", INTROSPECT, by=token).status_code == 200
    polar.advance(1)
    assert api("GET", INTROSPECT, by=token).json()["error"] == "invalid_token"


def test_expire_sessions_ends_those_of_one_customer(api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
    bob = polar.add_customer("2")
    hers, his = polar.create_session(ada).token, polar.create_session(bob).token
    polar.expire_sessions(ada)
    assert api("GET", LIST, by=hers).status_code == 401
    assert api("GET", LIST, by=his).status_code == 200


def test_deleted_customer_has_no_sessions(api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
    token = polar.create_session(ada).token
    polar.delete_customer(ada)
    assert api("GET", LIST, by=token).status_code == 401
    assert api("POST", "/v1/customer-sessions/", json={"external_customer_id": "1"}).status_code == 422
    assert polar.events[-1].type == "customer.deleted"


def test_collection_without_slash_is_redirected(api: Api, ada: FakeCustomer) -> None:
    response = api("GET", LIST.rstrip("/") + "?limit=1", by=ada)
    assert response.status_code == 307
    assert response.headers["location"] == LIST + "?limit=1"
    assert response.content == b""
    assert "content-type" not in response.headers


def test_unknown_route_has_no_error_code(api: Api, ada: FakeCustomer) -> None:
    response = api("GET", "/v1/customer-portal/nothing", by=ada)
    assert (response.status_code, response.json()) == (404, {"detail": "Not Found"})
    assert response.headers["polar-version"] == "2026-04"


def test_wrong_method_is_405_and_head_has_no_body(api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
    path = f"{LIST}{polar.add_order(ada).id}"
    assert api("DELETE", f"{path}/invoice", by=ada).json() == {"detail": "Method Not Allowed"}
    response = api("HEAD", path, by=ada)
    assert (response.status_code, response.content) == (405, b"")
    assert response.headers["content-length"] == "31"


def test_nothing_is_limited_by_default(api: Api, ada: FakeCustomer) -> None:
    token = api.polar.create_session(ada).token
    assert {api("GET", INTROSPECT, by=token).status_code for _ in range(150)} == {200}


def test_sandbox_counts_all_tokens_of_a_customer_and_lets_a_new_one_in_once(
    api: Api, polar: FakePolar, ada: FakeCustomer
) -> None:
    polar.limits = Limits.sandbox()
    token, other = polar.create_session(ada).token, polar.create_session(ada).token
    statuses = [api("GET", INTROSPECT, by=token).status_code for _ in range(110)]
    assert statuses == [200] * 101 + [429] * 9
    assert [api("GET", INTROSPECT, by=other).status_code for _ in range(2)] == [200, 429]


def test_429_is_empty_and_its_retry_after_never_counts_down(api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
    polar.limits.customer = 0
    token = polar.create_session(ada).token
    api("GET", INTROSPECT, by=token)
    for _ in range(2):
        response = api("GET", INTROSPECT, by=token)
        assert (response.status_code, response.content) == (429, b"")
        assert response.headers["retry-after"] == "60"
        assert "content-type" not in response.headers
        assert "cache-control" not in response.headers
        polar.advance(20)


def test_limit_is_lifted_a_minute_after_the_first_request(api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
    polar.limits.customer = 1
    token = polar.create_session(ada).token
    assert [api("GET", INTROSPECT, by=token).status_code for _ in range(3)] == [200, 200, 429]
    polar.advance(59)
    assert api("GET", INTROSPECT, by=token).status_code == 429
    polar.advance(1)
    assert api("GET", INTROSPECT, by=token).status_code == 200


def test_organizations_calls_are_counted_together(api: Api, polar: FakePolar, ada: FakeCustomer) -> None:
    api("GET", "/v1/orders/")
    polar.limits.organization = 2
    session = {"external_customer_id": "1"}
    assert api("POST", "/v1/customer-sessions/", json=session).status_code == 201
    assert api("GET", "/v1/orders/").status_code == 200
    assert api("POST", "/v1/customer-sessions/", json=session).status_code == 429


def test_unknown_token_is_limited_and_no_token_is_not(api: Api, polar: FakePolar) -> None:
    polar.limits.new_token = 2
    assert [api("GET", LIST, by="bad").status_code for _ in range(3)] == [401, 401, 429]
    assert [api("GET", LIST, by="").status_code for _ in range(3)] == [401, 401, 401]
