"""What every API call passes before its endpoint sees it: length, version, limits, token."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from polar_portal.testing.records import Limits, Session
from polar_portal.testing.wire import Answer, Refused, Request, json_answer

VERSIONS = ("2026-04", "2026-10")
PRIVATE = {"cache-control": "private, no-store"}
_INVALID_TOKEN = "The access token provided is expired, revoked, malformed, or invalid for other reasons."  # noqa: S105
_NO_SCOPE = "The request requires higher privileges than provided by the access token."


@dataclass(frozen=True)
class Caller:
    """Who sent the request. ``session`` is there for a customer, ``token`` unless anonymous."""

    kind: Literal["anonymous", "invalid", "organization", "customer"]
    token: str | None = None
    session: Session | None = None

    @property
    def limit_key(self) -> str:
        return str(self.session.customer.id) if self.session else self.kind


class RateLimiter:
    """Counts requests in minutes that start with the first one, for each caller and for each new token."""

    def __init__(self) -> None:
        self._windows: dict[str, tuple[datetime, int]] = {}
        self._known: set[str] = set()

    def lets_in(self, caller: Caller, limits: Limits, now: datetime) -> bool:
        # Measured on the server, 2026-08: until a token has been let in once it has a limit of its own, so that a new
        # token of a customer who is over the limit gets one answer. Calls without a token were never limited.
        if caller.token is None:
            return True
        if caller.token not in self._known:
            if not self._count(f"token:{caller.token}", limits.new_token, now):
                return False
            if caller.kind != "invalid":
                self._known.add(caller.token)
            return True
        limit = limits.customer if caller.kind == "customer" else limits.organization
        return self._count(caller.limit_key, limit, now)

    def _count(self, key: str, limit: int | None, now: datetime) -> bool:
        if limit is None:
            return True
        started, count = self._windows.get(key, (now, 0))
        if (now - started).total_seconds() >= 60:
            started, count = now, 0
        self._windows[key] = (started, count + 1)
        return count < limit


def check_length(request: Request) -> None:
    """Refuse a body of unknown length; the server does so before anything else (measured, 2026-08)."""
    if request.method in {"POST", "PUT", "PATCH"} and "content-length" not in request.headers:
        body = {"error": "LengthRequired", "detail": "A Content-Length header is required."}
        raise Refused(json_answer(411, body, {"polar-version": VERSIONS[0]}))


def check_version(request: Request) -> str:
    """Return the API version asked for; an unknown one is a 404 like any wrong route, whoever asks."""
    version = request.headers.get("polar-version", "").strip() or VERSIONS[0]
    if version not in VERSIONS:
        raise Refused(json_answer(404, {"detail": "Not Found"}))
    return version


def bearer_token(request: Request) -> str | None:
    """Return what follows ``Bearer``; ``None`` for another scheme, nothing, or characters no token has."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and token and token.isascii() else None


def too_many() -> Answer:
    # Empty, without a type, and the same 60 however much of the minute is left (measured, 2026-08).
    return Answer(429, {"retry-after": "60"})


def invalid_token() -> Answer:
    challenge = f'Bearer realm="polar", error="invalid_token", error_description="{_INVALID_TOKEN}"'
    body = {"error": "invalid_token", "error_description": _INVALID_TOKEN}
    return json_answer(401, body, {"www-authenticate": challenge, "cache-control": "no-store"})


def unauthorized() -> Refused:
    body = {"error": "Unauthorized", "detail": "Unauthorized"}
    return Refused(json_answer(401, body, {"www-authenticate": 'Bearer realm="polar"', **PRIVATE}))


def insufficient_scope(scope: str) -> Refused:
    challenge = f'Bearer realm="polar", scope="{scope}", error="insufficient_scope", error_description="{_NO_SCOPE}"'
    body = {"error": "insufficient_scope", "error_description": _NO_SCOPE}
    return Refused(json_answer(403, body, {"www-authenticate": challenge, "cache-control": "no-store"}))
