"""Reading ids, query parameters and bodies, with the complaints of Polar's validation (measured, 2026-08)."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

from polar_portal.testing.wire import Refused, Request, refuse

Problem = dict[str, Any]

_UNSET = object()


def invalid(problems: list[Problem]) -> Refused:
    """Refuse a request that does not have the right form."""
    return refuse(422, "RequestValidationError", problems)


def wrong(where: list[str], message: str, value: object) -> Refused:
    """Refuse a request of the right form that names something which is not there or may not be."""
    problem = {"type": "value_error", "loc": where, "msg": message, "input": value}
    return refuse(422, "PolarRequestValidationError", [problem])


def missing(where: list[str], given: object) -> Problem:
    return {"type": "missing", "loc": where, "msg": "Field required", "input": given}


def not_an_object(where: list[str], value: object) -> Problem:
    message = "Input should be a valid dictionary or object to extract fields from"
    return {"type": "model_attributes_type", "loc": where, "msg": message, "input": value}


def not_a_text(where: list[str], value: object, *, optional: bool = False) -> list[Problem]:
    """Return what is wrong with ``value`` if it is no string; ``None`` is fine if it is optional."""
    if isinstance(value, str) or (optional and value is None):
        return []
    return [{"type": "string_type", "loc": where, "msg": "Input should be a valid string", "input": value}]


def not_one_of(allowed: list[str], where: list[str | int], value: object) -> Problem:
    quoted = [f"'{each}'" for each in allowed]
    expected = f"{', '.join(quoted[:-1])} or {quoted[-1]}"
    message = f"Input should be {expected}"
    return {"type": "enum", "loc": where, "msg": message, "input": value, "ctx": {"expected": expected}}


def read_json(request: Request) -> Any:
    """Return the parsed body, or ``None`` when there is none."""
    if not request.body:
        return None
    try:
        return json.loads(request.body)
    except json.JSONDecodeError as error:
        where, reason = error.pos, error.msg
    except UnicodeDecodeError:
        where, reason = 0, "Expecting value"
    problem = {"type": "json_invalid", "loc": ["body", where], "msg": "JSON decode error", "input": {}}
    raise invalid([{**problem, "ctx": {"error": reason}}])


def read_uuid(text: object, where: list[str]) -> tuple[uuid.UUID | None, list[Problem]]:
    """Return a version 4 UUID, or ``None`` and what is wrong with it."""
    if not isinstance(text, str):
        message = "UUID input should be a string, bytes or UUID object"
        return None, [{"type": "uuid_type", "loc": where, "msg": message, "input": text}]
    try:
        value = uuid.UUID(text)
    except ValueError:
        reason = f"invalid length: expected length 32 for simple format, found {len(text)}"
        if "-" in text or len(text) == 32:
            reason = "invalid character: expected an optional prefix of `urn:uuid:` followed by [0-9a-fA-F-]"
        message = f"Input should be a valid UUID, {reason}"
        return None, [{"type": "uuid_parsing", "loc": where, "msg": message, "input": text, "ctx": {"error": reason}}]
    if value.version != 4:
        ctx = {"expected_version": 4}
        problem = {"type": "uuid_version", "loc": where, "msg": "UUID version 4 expected", "input": text, "ctx": ctx}
        return None, [problem]
    return value, []


class Query:
    """The query parameters of a list, read one by one; ``problems`` gathers what is wrong with them."""

    def __init__(self, request: Request) -> None:
        self._given = parse_qs(request.query, keep_blank_values=True)
        self.problems: list[Problem] = []

    def values(self, name: str) -> list[str]:
        return self._given.get(name, [])

    def positive(self, name: str, default: int) -> int:
        text = self.values(name)[-1] if self.values(name) else str(default)
        where = ["query", name]
        try:
            number = int(text)
        except ValueError:
            message = "Input should be a valid integer, unable to parse string as an integer"
            self.problems.append({"type": "int_parsing", "loc": where, "msg": message, "input": text})
            return default
        if number < 1:
            message = "Input should be greater than 0"
            problem = {"type": "greater_than", "loc": where, "msg": message, "input": text, "ctx": {"gt": 0}}
            self.problems.append(problem)
        return number

    def sorting(self, allowed: list[str]) -> list[str]:
        names = [f"{sign}{name}" for name in allowed for sign in ("", "-")]
        for index, value in enumerate(self.values("sorting")):
            if value not in names:
                self.problems.append(not_one_of(names, ["query", "sorting", index], value))
        return self.values("sorting") or ["-created_at"]

    def ids(self, name: str) -> list[uuid.UUID]:
        found = []
        for text in self.values(name):
            value, problems = read_uuid(text, ["query", name])
            self.problems += problems
            found += [value] if value is not None else []
        return found

    def moment(self, name: str) -> datetime | None:
        if not self.values(name):
            return None
        text = self.values(name)[-1]
        try:
            value = datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError:
            message = "Input should be a valid datetime"
            where = ["query", name]
            self.problems.append({"type": "datetime_from_date_parsing", "loc": where, "msg": message, "input": text})
            return None
        return value if value.tzinfo else value.replace(tzinfo=timezone.utc)

    def check(self) -> None:
        if self.problems:
            raise invalid(self.problems)


def read_session_request(body: Any) -> dict[str, Any]:
    """Return what a request for a customer session asks for, or refuse it with the complaints of both its forms."""
    forms = [
        ("CustomerSessionCustomerIDCreate", "customer_id"),
        ("CustomerSessionCustomerExternalIDCreate", "external_customer_id"),
    ]
    problems: list[Problem] = []
    if body is None:
        raise invalid([missing(["body"], None)])
    for form, id_field in forms:
        read, complaints = _read_session_form(body, form, id_field)
        if not complaints:
            return read
        problems += complaints
    raise invalid(problems)


def _read_session_form(body: Any, form: str, id_field: str) -> tuple[dict[str, Any], list[Problem]]:
    where = ["body", form]
    if not isinstance(body, dict):
        return {}, [not_an_object(where, body)]
    read: dict[str, Any] = {"member_id": None, "external_member_id": body.get("external_member_id")}
    problems: list[Problem] = []
    if body.get("member_id") is not None:
        read["member_id"], problems = read_uuid(body["member_id"], [*where, "member_id"])
    problems += not_a_text([*where, "external_member_id"], read["external_member_id"], optional=True)
    read["return_url"], complaints = _read_url(body.get("return_url"), [*where, "return_url"])
    problems += complaints
    given = body.get(id_field, _UNSET)
    if given is _UNSET and id_field == "external_customer_id":
        given = body.get("customer_external_id", _UNSET)  # an older name, still understood (measured, 2026-08)
    if given is _UNSET:
        problems.append(missing([*where, id_field], body))
    elif id_field == "customer_id":
        read[id_field], complaints = read_uuid(given, [*where, id_field])
        problems += complaints
    else:
        read[id_field] = given
        problems += not_a_text([*where, id_field], given)
    return read, problems


def _read_url(value: object, where: list[str]) -> tuple[str | None, list[Problem]]:
    if value is None:
        return None, []
    if not isinstance(value, str):
        return None, [{"type": "url_type", "loc": where, "msg": "URL input should be a string or URL", "input": value}]
    try:
        parts = urlsplit(value)
    except ValueError:  # an IPv6 address that does not end
        parts = urlsplit("")
    if parts.scheme in {"http", "https"} and parts.netloc:
        return (value if parts.path or parts.query or parts.fragment else f"{value}/"), []
    reason = "input is empty" if not value else "relative URL without a base"
    message = f"Input should be a valid URL, {reason}"
    return None, [{"type": "url_parsing", "loc": where, "msg": message, "input": value, "ctx": {"error": reason}}]
