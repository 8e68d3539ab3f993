"""``FakePolar``: a Polar that tests and demos can script."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from html import escape
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from polar_portal.testing import gate
from polar_portal.testing.gate import Caller, RateLimiter
from polar_portal.testing.organization import Organization
from polar_portal.testing.records import Call, Event, FakeCustomer, FakeOrder, Limits
from polar_portal.testing.routes import Routes
from polar_portal.testing.scripted import Script, matches, take
from polar_portal.testing.store import Store
from polar_portal.testing.validation import read_json
from polar_portal.testing.webhooks import Scheme, sign
from polar_portal.testing.wire import Answer, Refused, Request, dump, http_date, iso, json_answer


class FakePolar(Organization):
    """One organization at a Polar of your own, in this process.

    Reach it in process, or over HTTP::

        polar = FakePolar()
        ada = polar.add_customer(external_id="1", name="Ada Lovelace")
        order = polar.add_order(ada, invoice=True)
        with polar.installed():
            ...  # every API call of polar_portal is answered by polar
        with polar.serve() as base_url:
            ...  # so is every HTTP request to base_url

    It answers as Polar does (measured on the server, 2026-08), limits and the time that documents take included. Time
    passes for it as for everybody else; ``advance`` moves it on without waiting. It may be used from several threads.

    What you can do with it, besides:
        seller and customers: ``add_customer``, ``add_order``, ``update_order``, ``refund``, ``delete_customer``.
        time: ``advance``, ``finish_jobs``, ``hold_jobs`` and ``release_jobs``, ``expire_sessions``.
        what goes wrong: ``fail`` and ``clear_failures``, ``revoke_access_token``, ``limits``, ``delay``.
        what was asked: ``calls``, ``downloads``, ``count``, ``clear_calls``.
        webhooks: ``events``, ``webhook``.

    Attributes to change at will:
        scopes: what the organization's token may do, a set.
        limits: requests allowed in a minute; any number by default.
        member_model: whether sessions belong to members of customers; ``False`` by default.
        render_seconds: how long it takes to make an invoice or a receipt, on the fake's clock.
        session_seconds: how long a session lives.
        url_seconds: how long a PDF's address lives.
        delay: seconds of real time by which each API answer is late, over HTTP only.

    Attributes to read:
        access_token: the organization's token.
        webhook_secret: signs deliveries.
        base_url: where the API is for those who use it in process. A name of its own for each fake, so that nothing
            a client remembers of one is taken for the other.
        document_base: where PDFs and the hosted portal are: the HTTP server while there is one, else a host that is
            not real.
        id, name, slug: the organization's.
        now: the time it is for this Polar.
        customers, orders: all there are, by their ids, and sessions by their tokens.
        store: the PDFs; ``store.files`` has them by ``FakeOrder.invoice_key`` and ``receipt_key``.
        calls: the API requests received, oldest first.
        downloads: the requests for PDFs received.
        events: what webhooks would have been sent, oldest first.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] | None = None,
        name: str = "Acme",
        access_token: str | None = None,
        webhook_secret: str | None = None,
    ) -> None:
        """Make an organization without customers.

        Args:
            clock: gives the seconds since the epoch; ``time.time`` unless given.
            name: of the organization.
            access_token: its token; made up unless given.
            webhook_secret: its webhook secret; made up unless given.
        """
        super().__init__(clock=clock, name=name, access_token=access_token, webhook_secret=webhook_secret)
        self.limits = Limits()
        self.delay = 0.0
        self.calls: list[Call] = []
        self.downloads: list[Call] = []
        self._served_at: str | None = None
        self._scripts: list[Script] = []
        self._limiter = RateLimiter()
        self._routes = Routes(self)

    # What was asked

    def count(self, method: str | None = None, path: str = "") -> int:
        """Return how many of ``calls`` have this method (any, if ``None``) and this text in their path."""
        with self._lock:
            return sum(matches(call.method, call.path, method, path) for call in self.calls)

    def clear_calls(self) -> None:
        """Forget ``calls`` and ``downloads``."""
        with self._lock:
            self.calls.clear()
            self.downloads.clear()

    # What goes wrong

    def fail(
        self,
        method: str | None = None,
        path: str = "",
        *,
        status: int = 500,
        json: object = None,
        body: bytes | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        exception: Exception | type[Exception] | None = None,
        times: int | None = 1,
        arrives: bool = False,
    ) -> None:
        """Answer the next matching API requests with something else. Scripts are used up in the order they were given.

        Args:
            method: which requests; any if ``None``.
            path: text that the path contains.
            status: what to answer, with ``json`` as the body or, if given, ``body`` as it is.
            json: any JSON value; ``None`` for an empty body.
            body: raw bytes, for answers that are not JSON.
            content_type: of ``body``.
            headers: more headers, or others than the usual ones.
            exception: raised instead of answering, in process. Over HTTP the connection is dropped; for a
                ``requests.Timeout`` it is left open without an answer.
            times: how many requests; ``None`` for all until ``clear_failures``.
            arrives: whether the request takes effect all the same, and only its answer is lost.
        """
        given = {name.lower(): value for name, value in (headers or {}).items()}
        if body is not None:
            answer = Answer(status, {"content-type": content_type, **given} if content_type else given, body)
        elif json is not None:
            answer = json_answer(status, json, given)
        else:
            answer = Answer(status, given)
        with self._lock:
            if times is None or times > 0:
                self._scripts.append(Script(method, path, answer, exception, times, arrives))

    def clear_failures(self) -> None:
        """Forget what ``fail`` was told."""
        with self._lock:
            self._scripts.clear()

    # Webhooks

    def webhook(
        self,
        event: Event | str,
        data: FakeOrder | FakeCustomer | Mapping[str, Any] | None = None,
        *,
        scheme: Scheme = "standard",
    ) -> tuple[bytes, dict[str, str]]:
        """Return body and headers of a signed delivery.

        Args:
            event: one of ``events``, or a type such as ``"order.updated"``. Giving the same event again makes what
                Polar sends when it tries again: the same id and body, a new time and signature.
            data: with a type, what it is about.
            scheme: how the secret becomes a key; ``"utf8"`` for secrets made before 2026-09-08 or typed in.

        Raises:
            ValueError: the secret can't be a key in this scheme.
        """
        with self._lock:
            if isinstance(event, str):
                if isinstance(data, FakeOrder):
                    data = self.merchant_order_body(data)
                elif isinstance(data, FakeCustomer):
                    data = self.customer_body(data)
                event = Event(id=secrets.token_hex(16), type=event, timestamp=self.now, data=dict(data or {}))
            body = dump({"type": event.type, "timestamp": iso(event.timestamp), "data": event.data})
            timestamp = int(self.now.timestamp())
            signature = sign(self.webhook_secret, scheme, delivery_id=event.id, timestamp=timestamp, body=body)
            headers = {
                "user-agent": "polar.sh webhooks",
                "content-type": "application/json",
                "webhook-id": event.id,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": signature,
            }
            return body, headers

    # Ways in

    @contextmanager
    def installed(self) -> Iterator[FakePolar]:
        """Let every API call of ``polar_portal`` in this process go to this fake.

        Sets ``POLAR_ACCESS_TOKEN``, ``POLAR_BASE_URL``, ``POLAR_WEBHOOK_SECRET`` and ``POLAR_ALLOWED_DOCUMENT_HOSTS``
        meanwhile. Needs Django's settings to be configured.
        """
        from django.conf import settings
        from django.test import override_settings

        import polar_portal.api.download as download
        import polar_portal.api.transport as transport
        from polar_portal.testing.adapter import FakeAdapter

        adapter = FakeAdapter(self)
        # Cached functions; plain ones do as well.
        wire, fetching = cast(Any, transport), cast(Any, download)
        before = wire.api_adapter, wire.document_adapter, fetching.is_public
        ours = {
            "POLAR_ACCESS_TOKEN": self.access_token,
            "POLAR_BASE_URL": self.base_url,
            "POLAR_WEBHOOK_SECRET": self.webhook_secret,
            "POLAR_ALLOWED_DOCUMENT_HOSTS": [],
        }
        with override_settings(**ours):
            override = cast(Any, settings)._wrapped
            wire.api_adapter = lambda: adapter
            wire.document_adapter = lambda *, public_only: adapter
            fetching.is_public = lambda base_url: False  # no resolver need be asked for names that are not real
            try:
                yield self
            finally:
                wire.api_adapter, wire.document_adapter, fetching.is_public = before
                # An override that was made meanwhile and outlives us, as pytest-django's `settings` does where a test
                # names it first, puts ours back when it ends. Then nothing of ours is to be in it.
                for name in ours:
                    vars(override).pop(name, None)

    @contextmanager
    def serve(self, port: int = 0) -> Iterator[str]:
        """Serve over HTTP on 127.0.0.1 and give the base URL; PDFs are served there too.

        Args:
            port: where to listen; 0 for any free port.

        Raises:
            OSError: the port is taken.
            RuntimeError: this fake is being served already.
        """
        from polar_portal.testing.server import Server

        if self._served_at is not None:
            raise RuntimeError(f"This FakePolar is being served already, at {self._served_at}.")
        with Server(self, port) as server:
            before, self.document_base = self.document_base, server.url
            self._served_at = server.url
            try:
                yield server.url
            finally:
                self.document_base, self._served_at = before, None

    def download(self, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
        """Ask the PDF store for ``url`` as a browser would; nothing leaves this process."""
        parts = urlsplit(url)
        given = {"host": parts.netloc} | {name.lower(): value for name, value in (headers or {}).items()}
        return self.handle(Request(method, parts.path, parts.query, given))

    def handle(self, request: Request) -> Answer:
        """Answer one HTTP request, for the API or for a PDF.

        Raises:
            Scripted: ``fail`` was given an exception for it.
        """
        with self._lock:
            self._settle()
            if Store.owns(request.path):
                call = _call(request, None)
                self.downloads.append(call)
                answer = self.store.answer(request, at=self.now)
                call.status = answer.status
                return answer
            if request.path == f"/{self.slug}/portal" and request.method == "GET":
                page = f"<!doctype html><title>{escape(self.name)}</title><p>Polar's own pages would be here."
                return self._complete(request, Answer(200, {"content-type": "text/html; charset=utf-8"}, page.encode()))
            call = _call(request, gate.bearer_token(request))
            self.calls.append(call)
            answer = self._complete(request, self._scripted(request) or self._answer(request))
            call.status = answer.status
            return answer

    # Inside

    def _scripted(self, request: Request) -> Answer | None:
        script = take(self._scripts, request)
        if script is None:
            return None
        if script.arrives:
            self._answer(request)
        return script.perform()

    def _answer(self, request: Request) -> Answer:
        try:
            gate.check_length(request)
            version = gate.check_version(request)
        except Refused as refused:
            return refused.answer
        caller = self._caller(request)
        if not self._limiter.lets_in(caller, self.limits, self.now):
            answer = gate.too_many()
        elif caller.kind == "invalid":
            answer = gate.invalid_token()
        else:
            try:
                answer = self._routes.answer(request, caller)
            except Refused as refused:
                answer = refused.answer
            answer.headers.setdefault("cache-control", gate.PRIVATE["cache-control"])
        answer.headers["polar-version"] = version
        return answer

    def _caller(self, request: Request) -> Caller:
        token = gate.bearer_token(request)
        if token is None:
            return Caller("anonymous")
        if token == self.access_token:
            return Caller("organization", token)
        session = self.sessions.get(token)
        if session is None or session.expires_at <= self.now:
            return Caller("invalid", token)
        return Caller("customer", token, session)

    def _complete(self, request: Request, answer: Answer) -> Answer:
        answer.headers.setdefault("date", http_date(self.now))
        if answer.body:
            answer.headers.setdefault("content-length", str(len(answer.body)))
        if request.method == "HEAD":
            answer.body = b""
        return answer


def _call(request: Request, token: str | None) -> Call:
    try:
        body = read_json(request)
    except Refused:
        body = None
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    return Call(request.method, request.path, query, dict(request.headers), body, token)
