"""Requests and answers as the fake sees them, whichever way they came in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from typing import Any


@dataclass(frozen=True)
class Request:
    """One HTTP request. ``path`` and ``query`` are as sent (percent-encoded); header names are in lower case."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Answer:
    """One HTTP answer; header names are in lower case."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """Return the body parsed as JSON; raises ``ValueError`` when it is none."""
        return json.loads(self.body)


class Refused(Exception):
    """Raised inside the fake to answer with an error at once."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def dump(value: object) -> bytes:
    """Encode ``value`` the way Polar does: compact JSON in UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def json_answer(status: int, value: object, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, {"content-type": "application/json", **(headers or {})}, dump(value))


def refuse(status: int, error: str, detail: object) -> Refused:
    return Refused(json_answer(status, {"error": error, "detail": detail}))


def iso(moment: datetime | None) -> str | None:
    """Write a moment as Polar does; a whole second has no fraction."""
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def http_date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)
