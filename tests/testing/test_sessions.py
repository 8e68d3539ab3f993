"""Customer sessions: made for a customer, or for a member of one."""

from __future__ import annotations

import uuid
from urllib.parse import parse_qs, urlsplit

import pytest

from polar_portal.testing import FakeCustomer, FakeMember, FakePolar
from tests.testing.conftest import Api

SESSIONS = "/v1/customer-sessions/"
USER = "/v1/customer-portal/customer-session/user"
NOBODY = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


def test_session_is_made_by_external_id(api: Api, ada: FakeCustomer) -> None:
    body = {"external_customer_id": "1", "return_url": "https://shop.example/account"}
    response = api("POST", SESSIONS, json=body)
    assert response.status_code == 201
    session = response.json()
    assert session["token"].startswith("polar_cst_")
    assert session["expires_at"] == "2026-09-21T15:13:20Z"
    assert session["customer_id"] == session["customer"]["id"] == str(ada.id)
    assert session["customer"]["external_id"] == "1"
    assert session["return_url"] == "https://shop.example/account"
    query = parse_qs(urlsplit(session["customer_portal_url"]).query)
    assert query == {"customer_session_token": [session["token"]], "email": ["ada@example.com"]}
    introspected = api("GET", "/v1/customer-portal/customer-session/introspect", by=session["token"]).json()
    assert introspected == {"expires_at": session["expires_at"], "return_url": "https://shop.example/account"}
    assert api("GET", USER, by=session["token"]).json() == {
        "type": "customer",
        "name": "Ada Lovelace",
        "email": "ada@example.com",
        "customer_id": str(ada.id),
        "member_id": None,
        "role": None,
    }


def test_customer_id_the_older_alias_and_unknown_fields_are_understood(api: Api, ada: FakeCustomer) -> None:
    bodies: list[dict[str, object]] = [
        {"customer_id": str(ada.id)},
        {"customer_external_id": "1"},
        {"external_customer_id": "1", "foo": 1},
        {"external_customer_id": "1", "member_id": NOBODY},  # ignored without the member model
    ]
    for body in bodies:
        assert api("POST", SESSIONS, json=body).json()["customer_id"] == str(ada.id)


@pytest.mark.parametrize(
    ("body", "field"),
    [({"external_customer_id": "no"}, "external_customer_id"), ({"customer_id": NOBODY}, "customer_id")],
)
def test_unknown_customer(api: Api, ada: FakeCustomer, body: dict[str, str], field: str) -> None:
    response = api("POST", SESSIONS, json=body)
    assert response.status_code == 422
    assert response.json() == {
        "error": "PolarRequestValidationError",
        "detail": [
            {
                "type": "value_error",
                "loc": ["body", field],
                "msg": "Customer does not exist.",
                "input": body[field],
            }
        ],
    }


@pytest.mark.parametrize(
    ("body", "complaints"),
    [
        ({}, [("missing", "customer_id"), ("missing", "external_customer_id")]),
        ({"external_customer_id": 1}, [("missing", "customer_id"), ("string_type", "external_customer_id")]),
        (
            {"external_customer_id": "1", "return_url": "/account"},
            [("url_parsing", "return_url"), ("missing", "customer_id"), ("url_parsing", "return_url")],
        ),
    ],
)
def test_malformed_body(api: Api, ada: FakeCustomer, body: object, complaints: list[tuple[str, str]]) -> None:
    response = api("POST", SESSIONS, json=body)
    assert response.status_code == 422
    assert response.json()["error"] == "RequestValidationError"
    assert [(problem["type"], problem["loc"][-1]) for problem in response.json()["detail"]] == complaints


def test_body_that_is_not_json(api: Api) -> None:
    response = api("POST", SESSIONS, data=b"not json")
    assert response.status_code == 422
    assert response.json()["detail"][0]["type"] == "json_invalid"


class TestMemberModel:
    @pytest.fixture(autouse=True)
    def _member_model(self, polar: FakePolar) -> None:
        polar.member_model = True

    @pytest.fixture
    def team(self, polar: FakePolar) -> FakeCustomer:
        members = [FakeMember(role) for role in ("owner", "billing_manager", "member")]
        members[1].external_id = "u2"
        return polar.add_customer("team-1", type="team", members=members)

    def test_individual_customer_gets_an_owner(self, api: Api, ada: FakeCustomer) -> None:
        session = api("POST", SESSIONS, json={"external_customer_id": "1"}).json()
        assert session["token"].startswith("polar_mst_")
        user = api("GET", USER, by=session["token"]).json()
        assert (user["type"], user["role"], user["name"]) == ("member", "owner", "Ada Lovelace")
        api("POST", SESSIONS, json={"external_customer_id": "1"})
        assert len(ada.members) == 1

    def test_team_needs_a_member(self, api: Api, team: FakeCustomer) -> None:
        problem = api("POST", SESSIONS, json={"external_customer_id": "team-1"}).json()["detail"][0]
        assert problem["loc"] == ["body", "member_id"]
        assert problem["msg"] == "member_id is required for team customers."

    @pytest.mark.parametrize("member", [{"member_id": NOBODY}, {"external_member_id": "nobody"}])
    def test_member_of_somebody_else(self, api: Api, team: FakeCustomer, member: dict[str, str]) -> None:
        problem = api("POST", SESSIONS, json={"external_customer_id": "team-1", **member}).json()["detail"][0]
        assert problem["msg"] == "Member does not exist for this customer."
        assert problem["input"] == next(iter(member.values()))

    def test_member_is_found_by_either_id(self, api: Api, team: FakeCustomer) -> None:
        manager = team.members[1]
        for member in ({"member_id": str(manager.id)}, {"external_member_id": "u2"}):
            session = api("POST", SESSIONS, json={"external_customer_id": "team-1", **member}).json()
            assert api("GET", USER, by=session["token"]).json()["member_id"] == str(manager.id)

    @pytest.mark.parametrize(("role", "status"), [("owner", 200), ("billing_manager", 200), ("member", 403)])
    def test_only_billing_roles_see_orders(
        self, api: Api, polar: FakePolar, team: FakeCustomer, role: str, status: int
    ) -> None:
        order = polar.add_order(team, invoice=True)
        member = next(member for member in team.members if member.role == role)
        token = polar.create_session(team, member=member).token
        for path in ("", f"{order.id}", f"{order.id}/invoice"):
            response = api("GET", f"/v1/customer-portal/orders/{path}", by=token)
            assert response.status_code == status
        if status == 403:
            assert response.json()["error"] == "NotPermitted"
        assert api("GET", USER, by=token).status_code == 200


def test_ids_are_random_version_4(polar: FakePolar, ada: FakeCustomer) -> None:
    assert isinstance(ada.id, uuid.UUID)
    assert {ada.id.version, polar.add_order(ada).id.version} == {4}
