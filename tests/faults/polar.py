"""Polar and the network before it, spoken by hand: good answers, until a row of the table says what else to play."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from email.utils import formatdate
from typing import Any

from tests.api.server import Heard, Line, RawServer, Turn, reply

#: All that nobody may see ends in this.
HIDDEN = "toHIDE"
ACCESS_TOKEN = f"polar_oat_{HIDDEN}"
EMAIL = f"ada-{HIDDEN}@shop.example"
FILES = "files.example"
#: What bad answers repeat, as error pages do.
SAID = f"{EMAIL} Bearer polar_cst_{HIDDEN} https://{FILES}/1.pdf?X-Amz-Signature={HIDDEN}"

CUSTOMER_ID = "5e0b7e4c-6b52-4d3c-b5a5-6f6b3a3b2f10"
ORDER_ID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"

#: The good answer, among what a row plays.
GOOD: None = None
#: In what a row plays: the server's own base URL, and that of another host.
ITSELF, ELSEWHERE = b"http://itself.invalid", b"http://elsewhere.invalid"

ROUTES = {
    r"/v1/customer-sessions/": "session",
    r"/v1/customer-portal/orders/\?page=1&limit=50": "orders",
    r"/v1/customer-portal/orders/[0-9a-f-]{36}": "order",
    r"/v1/customer-portal/orders/[0-9a-f-]{36}/invoice": "invoice",
    r"/v1/customer-portal/orders/[0-9a-f-]{36}/receipt": "receipt",
}


class RawPolar(RawServer):
    """Answers well, but for calls that `plays` names: to those it plays one turn after the other, the last for ever.

    plays: by a call's name, like "GET invoice".
    greeting: the number of a connection, 0 for all, and what to do with it before any request has been read.
    ahead: seconds that its clock is ahead of ours. refused: tokens that it answers 401.
    """

    def __init__(self, elsewhere: RawServer) -> None:
        super().__init__()
        self.elsewhere = elsewhere
        self.sessions = 0
        self.ahead = 0.0
        self.refused: set[str] = set()
        self.recover()

    def play(self, plays: Mapping[str, Sequence[Turn | None]], greeting: tuple[int, Turn] | None = None) -> None:
        self.plays = {name: list(turns) for name, turns in plays.items() if turns}
        self.greeting = greeting

    def recover(self) -> None:
        """Answer well from now on."""
        self.play({})

    def greet(self, line: Line, number: int) -> None:
        if self.greeting and self.greeting[0] in {0, number}:
            turn = self.greeting[1]
            if isinstance(turn, bytes):
                line.send(turn)
            else:
                turn(line)

    def turn(self, request: Heard) -> Turn:
        name = called(request)
        if turns := self.plays.get(name):
            turn = turns.pop(0) if len(turns) > 1 else turns[0]
            if isinstance(turn, bytes):
                return turn.replace(ITSELF, self.url.encode()).replace(ELSEWHERE, self.elsewhere.url.encode())
            if turn is not GOOD:
                return turn
        if str(request.header("Authorization")).removeprefix("Bearer ") in self.refused:
            return reply(401, {"error": "invalid_token", "error_description": SAID})
        return self.good(name)

    def good(self, name: str) -> bytes:
        now = time.time() + self.ahead
        if name == "POST session":
            self.sessions += 1
            return reply(201, session(f"polar_cst_{self.sessions}{HIDDEN}", now))
        if name in {"GET invoice", "GET receipt"}:
            return document(signed_url(now=now), now=now)
        if name == "GET order":
            return reply(200, order())
        if name == "GET orders":
            return reply(200, {"items": [order()], "pagination": {"total_count": 1, "max_page": 1}})
        return reply(202, None) if name == "POST invoice" else reply(404, {"detail": "Not Found"})


def called(request: Heard) -> str:
    """Return a call's short name, like "GET invoice"; for one that nobody should make, what was asked."""
    for pattern, name in ROUTES.items():
        if re.fullmatch(pattern, request.target):
            return f"{request.method} {name}"
    return f"{request.method} {request.target}"


def iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).isoformat().replace("+00:00", "Z")


def session(token: str, now: float | None = None, /, **changes: Any) -> dict[str, Any]:
    """What POST /v1/customer-sessions/ answers."""
    now = time.time() if now is None else now
    return {
        "created_at": iso(now),
        "token": token,
        "expires_at": iso(now + 3600),
        "return_url": None,
        "customer_portal_url": f"http://{FILES}/portal?customer_session_token={token}&email={EMAIL}",
        "customer_id": CUSTOMER_ID,
        "customer": {"id": CUSTOMER_ID, "email": EMAIL, "name": f"Ada {HIDDEN}"},
        **changes,
    }


def order(**changes: Any) -> dict[str, Any]:
    """An order that is paid, and so may have its invoice made."""
    return {
        "id": ORDER_ID,
        "customer_id": CUSTOMER_ID,
        "status": "paid",
        "created_at": "2026-11-01T10:00:00Z",
        "modified_at": None,
        "invoice_number": "SHOP-1",
        "receipt_number": "R-1",
        "currency": "eur",
        "total_amount": 5880,
        "description": "A book",
        "is_invoice_generated": False,
        "billing_name": "Ada",
        "billing_address": {"line1": "1 Crescent", "city": "London", "country": "GB"},
        "items": [],
        **changes,
    }


def signed_url(origin: str = f"https://{FILES}", *, now: float | None = None) -> str:
    signed = datetime.fromtimestamp(time.time() if now is None else now, timezone.utc)
    return f"{origin}/1.pdf?X-Amz-Date={signed:%Y%m%dT%H%M%SZ}&X-Amz-Expires=600&X-Amz-Signature={HIDDEN}"


def document(*url: Any, status: int = 200, now: float | None = None) -> bytes:
    """The answer with a document's address, or with what is given for one, dated by Polar's clock."""
    return reply(status, {"url": url[0] if url else signed_url()}, {"Date": formatdate(now, usegmt=True)})
