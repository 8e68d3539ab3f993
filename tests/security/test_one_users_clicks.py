"""One user's clicks in any order, while time passes and Polar changes, fails and comes back.

The model is section by section what the app promises of a document's life: whose it is, that its address lives, that an
edit is never followed by the old file in silence, what Polar is asked and how often, and that it all ends well.

Run it for longer, and with longer stories: `pytest tests/security/test_one_users_clicks.py --hypothesis-profile=long`.
"""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import requests
import time_machine
from django.contrib.auth.models import User
from django.core.cache import cache
from django.template import Context, Template
from django.test import Client
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from polar_portal.models import CustomerSession, Order, WebhookDelivery
from polar_portal.testing import Call, FakeCustomer, FakeOrder, FakePolar, Limits
from polar_portal.testing.records import Status
from tests.conftest import JSON

from .conftest import HTML, browser, quick

NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
FRENCH = {"line1": "12 rue de la Paix", "postal_code": "75002", "city": "Paris", "country": "FR"}
#: Seconds of real life: between two clicks, of a limit, of an address, of a session.
SECONDS = st.sampled_from([1, 2, 3, 5, 8, 15, 30, 46, 61, 125, 540, 600, 3600])
#: Which of the orders, or of the latest events.
WHICH = st.integers(0, 3)
STATUSES: st.SearchStrategy[Status] = st.sampled_from(["paid", "paid", "pending", "draft", "void", "refunded"])
#: How long an edit is waited for, and after its invoice was asked for a second time.
LONGEST_EDIT, LONGEST_SECOND_EDIT = 45, 10
#: How long a press is believed to have an invoice made.
PENDING = 120
LIMIT = 60
MOST_SESSIONS = 6
MOST_CALLS = 7


class WatchedPolar(FakePolar):
    """A Polar that tells when an order changed for another reason than that its invoice was stored."""

    def __init__(self) -> None:
        super().__init__()
        self.changed_otherwise: dict[uuid.UUID, float] = {}

    def _noted(self, order: FakeOrder) -> None:
        self.changed_otherwise[order.id] = datetime.now(timezone.utc).timestamp()

    def _finish_receipt(self, order: FakeOrder, as_read: FakeOrder, at: datetime) -> None:
        super()._finish_receipt(order, as_read, at)
        self._noted(order)

    def refund(self, order: FakeOrder, amount: int | None = None) -> None:
        super().refund(order, amount)
        self._noted(order)

    def update_order(self, order: FakeOrder, **changes: Any) -> None:
        super().update_order(order, **changes)
        self._noted(order)

    @property
    def at_work(self) -> bool:
        return bool(self._jobs._running)


@dataclass
class Edit:
    """An edit of billing details that the customer was told is being made."""

    at: float
    posts: int = 0
    posted_at: float = 0.0
    #: Why the old file may be met all the same.
    excused: str = ""


class Resolver:
    """Which customer the users are, as the host says at this moment."""

    customers: dict[int, FakeCustomer] = {}

    @classmethod
    def resolve(cls, user: User) -> dict[str, str] | None:
        customer = cls.customers.get(user.pk)
        return {"customer_id": str(customer.id)} if customer else None


def resolve(user: User) -> dict[str, str] | None:
    return Resolver.resolve(user)


class Clicks(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        cache.clear()
        self.clock = self.stack.enter_context(time_machine.travel(NOON, tick=False))
        self.polar = WatchedPolar()
        self.stack.enter_context(self.polar.installed())
        self.ada, self.bob = User.objects.create_user("ada"), User.objects.create_user("bob")
        self.hers, self.his = self.polar.add_customer("ada"), self.polar.add_customer("bob", name="Bob Martin")
        Resolver.customers = {self.ada.pk: self.hers, self.bob.pk: self.his}
        self.browsers = {user: browser(user) for user in (self.ada, self.bob)}
        self.orders: list[FakeOrder] = []
        self.down = False
        self.pressed: dict[tuple[User, uuid.UUID, uuid.UUID], float] = {}
        self.edits: dict[uuid.UUID, Edit] = {}
        #: Orders of which an edit was sent and its answer was lost: whether it took effect only Polar knows.
        self.lost_edits: set[uuid.UUID] = set()
        self.limited: dict[str, float] = {}
        self.made: dict[User, list[float]] = {self.ada: [], self.bob: []}
        self.names = 0

    @initialize(
        statuses=st.lists(st.tuples(STATUSES, st.booleans(), st.booleans()), min_size=1, max_size=3),
        off=st.sampled_from([0, 0, 600, -600, 7200]),
    )
    def begin(self, statuses: list[tuple[Status, bool, bool]], off: int) -> None:
        # Polar's clock and ours need not agree; they go equally fast.
        self.polar.advance(off)
        for status, invoice, details in statuses:
            self.orders.append(
                self.polar.add_order(
                    self.hers,
                    status=status,
                    invoice=invoice and status not in {"draft", "void"},
                    billing_name="Ada Lovelace" if details else None,
                    billing_address=FRENCH if details else None,
                )
            )
        self.orders.append(self.polar.add_order(self.his, product="His Plan", invoice=True))

    def teardown(self) -> None:
        try:
            if self.orders:
                self.everything_ends_well()
        finally:
            self.stack.close()
            for model in (Order, CustomerSession, WebhookDelivery, User):
                model._default_manager.all().delete()
            cache.clear()

    # What the world does

    @property
    def now(self) -> float:
        return datetime.now(timezone.utc).timestamp()

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: int) -> None:
        self.clock.shift(seconds)
        self.polar.advance(0)

    @rule()
    def cache_is_wiped(self) -> None:
        cache.clear()
        # What Polar was asked and has said is forgotten; the note of an edit is not.
        self.limited.clear()
        self.pressed.clear()
        for made in self.made.values():
            made.clear()

    @rule()
    def sessions_end(self) -> None:
        self.polar.expire_sessions()

    @precondition(lambda self: not self.down)
    @rule(
        how=st.sampled_from([{"status": 500}, {"status": 503}, {"status": 200, "body": b"<html>"}])
        | st.just({"exception": requests.ConnectionError("gone")})
        | st.just({"exception": requests.Timeout("slow")}),
        what=st.sampled_from([None, "GET", "POST", "PATCH"]),
        arrives=st.booleans(),
    )
    def polar_goes_down(self, how: dict[str, Any], what: str | None, arrives: bool) -> None:
        self.polar.fail(what, **how, times=None, arrives=arrives and what != "GET")
        self.down = True

    @precondition(lambda self: self.down)
    @rule()
    def polar_comes_back(self) -> None:
        self.polar.clear_failures()
        self.down = False

    @rule(limits=st.sampled_from([Limits(), Limits(), Limits(customer=3), Limits(organization=2), Limits(new_token=1)]))
    def limits_change(self, limits: Limits) -> None:
        self.polar.limits = limits

    @rule(held=st.booleans())
    def jobs_are_held_or_not(self, held: bool) -> None:
        if held:
            self.polar.hold_jobs()
        else:
            self.polar.release_jobs()

    @rule(which=WHICH, status=STATUSES)
    def order_changes(self, which: int, status: Status) -> None:
        self.polar.update_order(self.one(which), status=status)

    @rule(which=WHICH)
    def order_is_refunded(self, which: int) -> None:
        order = self.one(which)
        if order.is_paid and order.refunded_amount < order.amount:
            self.polar.refund(order, 1)

    @precondition(lambda self: self.polar.events)
    @rule(which=WHICH, times=st.integers(1, 2))
    def webhook_arrives(self, which: int, times: int) -> None:
        event = self.polar.events[-1 - which * 3 % min(len(self.polar.events), 12)]
        for _ in range(times):
            body, headers = self.polar.webhook(event)
            # Polar's clock is its own, but a delivery is only taken within five minutes of ours.
            status = (
                Client().post("/billing/webhook/", body, content_type="application/json", headers=headers).status_code
            )
            assert status == (204 if abs(self.polar.now.timestamp() - self.now) <= 300 else 403)

    @rule(other=st.booleans())
    def host_maps_her_to_another_customer(self, other: bool) -> None:
        Resolver.customers[self.ada.pk] = self.his if other else self.hers

    @rule(same=st.booleans())
    def host_maps_him_to_the_same_customer(self, same: bool) -> None:
        Resolver.customers[self.bob.pk] = self.hers if same else self.his

    # What people do

    @rule(which=WHICH, accept=st.sampled_from([HTML, JSON]), waiting=st.none() | st.integers(0, 21))
    def she_opens_an_invoice(self, which: int, accept: dict[str, str], waiting: int | None) -> None:
        order = self.one(which)
        self.open(self.ada, "invoice", order, accept, waiting)

    @rule(which=WHICH)
    def he_opens_an_invoice(self, which: int) -> None:
        self.open(self.bob, "invoice", self.one(which), HTML, None)

    @rule(which=WHICH, accept=st.sampled_from([HTML, JSON]), waiting=st.none() | st.integers(0, 21))
    def she_opens_a_receipt(self, which: int, accept: dict[str, str], waiting: int | None) -> None:
        self.open(self.ada, "receipt", self.one(which), accept, waiting)

    @rule(which=WHICH, accept=st.sampled_from([HTML, JSON]))
    def she_has_it_made(self, which: int, accept: dict[str, str]) -> None:
        self.press(self.one(which), accept)

    @rule(which=WHICH)
    def she_edits(self, which: int) -> None:
        order = self.one(which)
        self.names += 1
        in_the_making = self.polar.at_work
        before = len(self.polar.calls)
        was = order.billing_details
        known = self.is_pressed(self.ada, order)
        answer = self.send(self.ada, "post", f"{order.id}/billing-details/", {"name": f"Name {self.names}", **FRENCH})
        self.expect(answer, order, {303, 422}, also=frozenset({409}))
        if any(call.method == "PATCH" and call.status != 200 for call in self.polar.calls[before:]):
            self.lost_edits.add(order.id)
        if order.billing_details == was:
            return
        # It took effect, whatever she was told: the answer may have been lost on its way.
        self.edits[order.id] = Edit(self.now)
        if in_the_making and not known:
            self.edits[order.id].excused = "a job that nobody here knows of had read the old details"
        self.note_posts(self.ada, order, before)

    @rule(which=WHICH)
    def she_looks_at_the_form(self, which: int) -> None:
        order = self.one(which)
        self.expect(self.send(self.ada, "get", f"{order.id}/billing-details/"), order, {200}, also=frozenset({409}))

    @rule(which=WHICH)
    def she_looks_at_an_order(self, which: int) -> None:
        order = self.one(which)
        self.expect(self.send(self.ada, "get", f"{order.id}/"), order, {200})

    @rule(page=st.integers(0, 3), accept=st.sampled_from([HTML, JSON]))
    def she_lists(self, page: int, accept: dict[str, str]) -> None:
        answer = self.send(self.ada, "get", f"?page={page}", accept=accept)
        assert answer.status_code in {200, 503}
        if answer.status_code == 503:
            self.must_be_unwell(self.ada)
        mine = {str(order.id) for order in self.orders if order.customer is self.who(self.ada)}
        for order in self.orders:
            assert str(order.id) in mine or str(order.id) not in answer.text, "an order of somebody else"

    @rule()
    def she_opens_the_portal(self) -> None:
        answer = self.send(self.ada, "post", "../portal/")
        assert answer.status_code in {200, 503}
        if answer.status_code == 503:
            self.must_be_unwell(self.ada)
        else:
            token = answer["Refresh"].partition("customer_session_token=")[2].partition("&")[0]
            assert self.polar.sessions[token].customer is self.who(self.ada)

    @rule(which=WHICH, kind=st.sampled_from(["invoice", "receipt"]))
    def a_browser_guesses(self, which: int, kind: str) -> None:
        order = self.one(which)
        before = len(self.polar.calls)
        answer = self.send(self.ada, "get", f"{order.id}/{kind}/", accept={**HTML, "sec-purpose": "prefetch"})
        assert len(self.polar.calls) == before
        assert answer.status_code in {302, 503}
        self.check_document(self.ada, kind, order, answer)

    @rule(which=WHICH)
    def a_page_of_the_host_asks(self, which: int) -> None:
        order = self.one(which)
        context = Context({"user": self.ada, "order": order.id})
        before = len(self.polar.calls)
        Template("{% load polar_portal %}{% polar_invoice order as invoice %}").render(context)
        self.note_posts(self.ada, order, before)
        invoice = context["invoice"]
        self.check_calls(self.ada, before, "get", order)
        if order.customer is not self.who(self.ada):
            assert invoice.status in {"not_found", "unavailable"}
            assert invoice.document_url is None
        elif invoice.status == "ready":
            self.check_url(self.ada, "invoice", order, invoice.document_url)
        else:
            assert invoice.status in {"not_generated", "pending", "not_eligible", "unavailable"}

    @rule(which=WHICH, seconds=SECONDS, kind=st.sampled_from(["invoice", "receipt"]))
    def she_comes_back_later(self, which: int, seconds: int, kind: str) -> None:
        for _ in range(2):
            self.open(self.ada, kind, self.one(which), HTML, None)
            self.time_passes(seconds)
        self.open(self.ada, kind, self.one(which), HTML, None)

    @rule(which=WHICH, limited=st.booleans())
    def she_clicks_like_a_machine(self, which: int, limited: bool) -> None:
        if limited and not self.down:
            self.polar.fail("GET", status=429, headers={"retry-after": "60"})
        for _ in range(3):
            self.she_looks_at_an_order(which)
            self.open(self.ada, "receipt", self.one(which), HTML, None)
        self.polar.clear_failures()
        self.down = False
        for _ in range(7):
            self.she_opens_the_portal()

    # How it is done and looked at

    def one(self, which: int) -> FakeOrder:
        return self.orders[which % len(self.orders)]

    def who(self, user: User) -> FakeCustomer:
        return Resolver.customers[user.pk]

    def send(self, user: User, method: str, path: str, data: Any = None, accept: dict[str, str] = HTML) -> Any:
        before = len(self.polar.calls)
        address = "/billing/portal/" if path == "../portal/" else f"/billing/orders/{path}"
        answer = getattr(self.browsers[user], method)(address, data, headers=accept)
        order = next((each for each in self.orders if str(each.id) in path), None)
        asked = [f"{call.method} {call.path[-8:]} {call.status}" for call in self.polar.calls[before:]]
        note(f"{user} {method} {path}: {answer.status_code}, {asked}")
        self.check_calls(user, before, method, order)
        assert answer.status_code < 500 or answer.status_code == 503
        assert answer["Cache-Control"] == "private, no-store"
        if answer.status_code == 503:
            assert 1 <= int(answer["Retry-After"]) <= 3600
        return answer

    def open(self, user: User, kind: str, order: FakeOrder, accept: dict[str, str], waiting: int | None) -> Any:
        before = len(self.polar.calls)
        query = "" if waiting is None else f"?waiting={waiting}"
        noted = Order.objects.filter(pk=order.id, edited_at__isnull=False).exists()
        answer = self.send(user, "get", f"{order.id}/{kind}/{query}", accept=accept)
        self.note_posts(user, order, before)
        self.check_document(user, kind, order, answer)
        if kind == "receipt":
            self.expect(answer, order, {302, 200, 202, 404}, user=user)
            return answer
        pending = noted or self.is_pressed(user, order) or (waiting is not None and waiting < 6)
        expected = {409} if order.status in {"draft", "void"} else set()
        if order.invoice_key:
            expected |= {302, 200}
        if not order.invoice_key and order.status not in {"draft", "void"}:
            expected |= {404} if accept is JSON else {200}
        self.expect(answer, order, expected | ({202} if pending else set()), user=user)
        return answer

    def press(self, order: FakeOrder, accept: dict[str, str] = HTML) -> Any:
        before = len(self.polar.calls)
        answer = self.send(self.ada, "post", f"{order.id}/invoice/", accept=accept)
        self.expect(answer, order, {202, 422} if accept is JSON else {303}, also=frozenset({409}))
        self.note_posts(self.ada, order, before, pressed=True)
        return answer

    def expect(
        self,
        answer: Any,
        order: FakeOrder,
        statuses: set[int],
        *,
        also: frozenset[int] = frozenset(),
        user: User | None = None,
    ) -> None:
        if answer.status_code == 503:
            self.must_be_unwell(user or self.ada)
        elif order.customer is not self.who(user or self.ada):
            assert answer.status_code == 404, "an order of somebody else"
        else:
            assert answer.status_code in statuses | also

    def must_be_unwell(self, user: User) -> None:
        """Nobody is sent away when nothing is wrong."""
        limited = {str(self.who(user).id), "organization"} & {
            whose for whose, until in self.limited.items() if until > self.now
        }
        assert self.down or limited or self.made_lately(user) >= MOST_SESSIONS, "503 without a reason"

    def check_document(self, user: User, kind: str, order: FakeOrder, answer: Any) -> None:
        url = answer.headers.get("Location")
        if answer["Content-Type"] == "application/json" and answer.status_code == 200:
            url = answer.json().get("url")
        if url and answer.status_code in {200, 302}:
            self.check_url(user, kind, order, url)

    def check_url(self, user: User, kind: str, order: FakeOrder, url: str) -> None:
        assert order.customer is self.who(user), "the document of somebody else's order"
        assert self.polar.download(url).status == 200, "an address that is dead"
        key = unquote(urlsplit(url).path).lstrip("/")
        if kind == "receipt":
            assert f"/{order.id}/" in key, "the document of another order"
            return
        assert key == order.invoice_key, "the document of another order"
        edit = self.edits.get(order.id)
        if edit and order.invoiced != order.billing_details and not self.may_be_old(order, edit):
            raise AssertionError("the old file, in silence, after an edit")

    def may_be_old(self, order: FakeOrder, edit: Edit) -> bool:
        other_change = self.polar.changed_otherwise.get(order.id, 0)
        return bool(
            edit.excused
            or other_change >= edit.at  # nothing tells it from the file's
            or self.now >= max(edit.at, edit.posted_at) + LONGEST_EDIT
            or (edit.posts > 1 and self.now >= edit.posted_at + LONGEST_SECOND_EDIT)
        )

    def note_posts(self, user: User, order: FakeOrder, before: int, *, pressed: bool = False) -> None:
        for call in self.polar.calls[before:]:
            if is_post_of_invoice(call) and call.status == 202:
                self.pressed[user, self.who(user).id, order.id] = self.now
                # One that she asks for herself is no part of the wait for an edit.
                if (edit := self.edits.get(order.id)) and not pressed:
                    edit.posts += 1
                    edit.posted_at = self.now

    def is_pressed(self, user: User, order: FakeOrder) -> bool:
        at = self.pressed.get((user, self.who(user).id, order.id))
        return at is not None and self.now < at + PENDING

    def made_lately(self, user: User) -> int:
        """How many sessions this user has caused within a minute, as far as anything may still know of them."""
        return sum(at > self.now - 60 for at in self.made[user])

    def check_calls(self, user: User, before: int, method: str, order: FakeOrder | None) -> None:
        calls = self.polar.calls[before:]
        assert len(calls) <= MOST_CALLS, "too many questions for one click"
        for call in calls:
            whose = self.limit_of(call)
            assert self.limited.get(whose, 0) <= self.now, "asked before the limit was over"
            if call.status == 429:
                self.limited[whose] = self.now + LIMIT
            if call.path == "/v1/customer-sessions/":
                assert call.method == "POST"
                if call.status == 201:
                    self.made[user].append(self.now)
            elif call.method != "GET" and method == "get":
                assert is_post_of_invoice(call), "a GET that changes something"
                assert order is not None
                assert order.id in self.edits or order.id in self.lost_edits, "a GET that makes something"
        assert self.made_lately(user) <= MOST_SESSIONS, "too many sessions"

    def limit_of(self, call: Call) -> str:
        session = self.polar.sessions.get(call.token or "")
        return str(session.customer.id) if session else "organization"

    # In the end

    def everything_ends_well(self) -> None:
        self.polar.clear_failures()
        self.down = False
        self.polar.limits = Limits()
        self.polar.release_jobs()
        Resolver.customers[self.ada.pk] = self.hers
        self.clock.shift(LIMIT + 1)
        for order in self.orders:
            if order.customer is not self.hers or order.status in {"draft", "void"} or not order.billing_name:
                continue
            for _ in range(30):
                answer = self.open(self.ada, "invoice", order, HTML, None)
                if answer.status_code == 302:
                    break
                if answer.status_code == 202:
                    self.clock.shift(int(answer["Retry-After"]))
                else:
                    self.press(order)
            else:
                raise AssertionError("the invoice never came")
            assert order.invoiced == order.billing_details or self.excused(order), "it came as it was before"

    def excused(self, order: FakeOrder) -> bool:
        edit = self.edits.get(order.id)
        return edit is None or self.may_be_old(order, edit)


def is_post_of_invoice(call: Call) -> bool:
    return call.method == "POST" and call.path.endswith("/invoice")


@pytest.mark.django_db(transaction=True)
def test_any_clicks_at_any_time(settings: Any) -> None:
    settings.POLAR_CUSTOMER_RESOLVER = "tests.security.test_one_users_clicks.resolve"
    run_state_machine_as_test(Clicks, settings=profile())


def profile() -> settings:
    chosen = quick(40)
    if settings.get_current_profile_name() != "long":
        chosen = settings(chosen, stateful_step_count=30)
    return settings(chosen, print_blob=True, suppress_health_check=list(HealthCheck))
