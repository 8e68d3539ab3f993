"""A stand-in for Polar over real sockets, which counts: it has a customer for every id, an invoice for every order."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

SESSION, INVOICE = "POST session", "GET invoice"
#: Seconds that a call takes, so that whoever comes at the same moment comes while it lasts.
TAKES = 0.3


@dataclass(frozen=True)
class Call:
    """what: SESSION or INVOICE. at: a reading of `time.monotonic()`. token: as it was sent. port: whence it came."""

    what: str
    path: str
    at: float
    token: str
    port: int


@dataclass(frozen=True)
class Failure:
    """What is answered instead; `retry_after` as in its header."""

    status: int
    retry_after: str = ""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024
    polar: Polar


class Polar:
    """url: its base URL. calls: what it was asked, in order. failures: what it answers instead, by what it is asked."""

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[Call] = []
        self.failures: dict[str, Failure] = {}
        #: Cleared, invoices are answered only when it is set again.
        self.answers = threading.Event()
        self.answers.set()
        self._lock = threading.Lock()

    @contextmanager
    def served(self) -> Iterator[None]:
        with _Server(("127.0.0.1", 0), _Handler) as server:
            server.polar = self
            thread = threading.Thread(target=server.serve_forever, args=[0.05])
            thread.start()
            self.url = f"http://127.0.0.1:{server.server_port}"
            try:
                yield
            finally:
                self.answers.set()
                server.shutdown()
                thread.join()

    @property
    def counts(self) -> dict[str, int]:
        """How often it was asked, by what."""
        return dict(Counter(call.what for call in self.calls))

    def forget(self) -> None:
        self.calls.clear()
        self.failures.clear()

    def wait_for(self, what: str) -> Call:
        """Wait until it is asked for this, and give the first such call."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            for call in list(self.calls):
                if call.what == what:
                    return call
            time.sleep(0.005)
        raise AssertionError(f"nobody has asked: {what}")

    def answer(self, method: str, path: str, body: bytes, token: str, port: int) -> tuple[int, dict[str, str], Any]:
        """Return status, headers and JSON."""
        name = path.rstrip("/").rpartition("/")[2]
        what = SESSION if name == "customer-sessions" else f"{method} {name}"
        with self._lock:
            self.calls.append(Call(what, path, time.monotonic(), token, port))
            number = len(self.calls)
        failure = self.failures.get(what)
        time.sleep(TAKES)
        if what == INVOICE:
            self.answers.wait(30)
        if failure:
            return failure.status, {"Retry-After": failure.retry_after} if failure.retry_after else {}, {}
        now = datetime.now(timezone.utc)
        if what == SESSION:
            external_id: str = json.loads(body)["external_customer_id"]
            return 201, {}, {
                "token": f"polar_cst_{number}_of_{external_id}",
                "created_at": now.isoformat(),
                "expires_at": (now + timedelta(hours=1)).isoformat(),
                "customer_id": str(uuid.uuid5(uuid.NAMESPACE_OID, external_id)),
            }  # fmt: skip
        if what == INVOICE:
            signed = f"X-Amz-Date={now:%Y%m%dT%H%M%SZ}&X-Amz-Expires=600&X-Amz-Signature={number}"
            return 200, {}, {"url": f"https://documents.example{path}.pdf?{signed}"}
        return 404, {}, {"error": "ResourceNotFound", "detail": "Not found"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body leave at once, not the body after the other side's delayed acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        polar = cast(_Server, self.server).polar
        status, headers, data = polar.answer(self.command, self.path, body, token, self.client_address[1])
        content = json.dumps(data).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _handle  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Nobody reads along."""
