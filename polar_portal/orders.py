"""A customer's orders: the list, one of them, its billing details. And all the orders there are, for the mirror."""

from __future__ import annotations

import itertools
import math
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from polar_portal import documents, edits
from polar_portal.api.schemas import BillingAddress, OrderPage, PortalOrder
from polar_portal.database import from_field, tolerating_database
from polar_portal.exceptions import AnswerTooLarge, PolarError, PolarUnavailable, RateLimited
from polar_portal.identity import CustomerIdentity, Identity, OrganizationIdentity
from polar_portal.mirror import from_row, mirror, write
from polar_portal.models import Order
from polar_portal.pace import Pace

if TYPE_CHECKING:
    from polar_portal.api.client import Client

PAGE_SIZE = 20
#: How many are asked of Polar at once: most customers' orders in one call, and well under 1 MiB (6 kB each were seen).
ASK_FOR = 50
#: How many are asked for at once where all are wanted: Polar's most, and less where those are over 1 MiB. Each divides
#: the one before.
ALL_BY = (100, 10, 1)
#: By how much a sync run goes back behind the last one: an order may appear a while after the moment it was made.
OVERLAP = timedelta(hours=1)


@dataclass(frozen=True)
class Page:
    """One page of a customer's orders, newest first, drafts left out.

    page: from 1; pages: how many there are, at least 1; total: of all orders.
    failure: why Polar could not be asked; then the orders are those that it listed to this customer before.
    """

    items: list[PortalOrder]
    page: int
    pages: int
    total: int
    failure: PolarError | None = None

    @property
    def previous_page(self) -> int:
        return min(self.page - 1, self.pages)

    @property
    def next_page(self) -> int:
        return self.page + 1


def list_orders(identity: CustomerIdentity, page: int) -> Page:
    """Return one page of the customer's orders; what is known here when Polar can't be reached."""
    identity.cache.patient = True  # there is nothing to tell of a session that another click is making
    try:
        identity.recall(identity.cache.get_many(identity.memory_keys))
        found, total = _ask(identity, page)
    except (PolarUnavailable, RateLimited) as away:
        failure = away
    else:
        mirror(found)
        identity.remember_listed([order.id for order in found])
        return _page(found[(page - 1) * PAGE_SIZE :], page, total)
    known: list[Order] = []
    with tolerating_database("Known orders can't be read"):
        known = list(identity.listed().exclude(status="draft"))
    if not known:
        raise failure
    start = (page - 1) * PAGE_SIZE
    return _page([from_row(row) for row in known[start:]], page, len(known), failure)


def order(identity: Identity, polar_order_id: uuid.UUID) -> PortalOrder:
    """Return one order as Polar has it now."""
    identity.cache.patient = True
    identity.recall(identity.cache.get_many(identity.memory_keys))
    found = identity.call(lambda client: client.order(identity.orders, polar_order_id))
    mirror([found])
    return found


def update_billing_details(
    identity: CustomerIdentity,
    polar_order_id: uuid.UUID,
    name: str,
    address: BillingAddress,
    before: PortalOrder | None = None,
) -> None:
    """Change what the order's invoice shows, and have it made. Nothing changed: it is only made if it was not."""
    identity.cache.patient = True
    before = before or order(identity, polar_order_id)
    changes: dict[str, Any] = {}
    if name != before.billing_name:
        changes["billing_name"] = name
    if address != before.billing_address:
        changes["billing_address"] = address.as_json()
    running = edits.may_be_in_the_making(identity, polar_order_id)
    after = before
    if changes:
        try:
            after = identity.call(lambda client: client.update_order(identity.orders, polar_order_id, changes))
        except PolarUnavailable:
            edits.note_lost(identity, before, running=running)
            raise
        mirror([after])
    elif not edits.may_be_lost(polar_order_id):
        documents.generate_invoice(identity, polar_order_id)
        return
    edits.note(identity, before, after, running=running)
    edits.make_again(identity, polar_order_id, before.polar_customer_id)


@dataclass
class SyncRun:
    """How far a sync run has come.

    since: the moment from which on orders are brought; None for all.
    seen: how many of `total` orders Polar has shown; new: those not known here before; changed: those known otherwise.
    left_out: the orders that make no sense, each by its id and what is wrong with it.
    reached: the moment up to which all orders are here; None while that is not known.
    """

    since: datetime | None
    seen: int = 0
    total: int = 0
    new: int = 0
    changed: int = 0
    left_out: list[str] = field(default_factory=list)
    reached: datetime | None = None


def sync(*, full: bool = False, since: datetime | None = None) -> Iterator[SyncRun]:
    """Bring the organization's orders into the mirror, the oldest first; tell before, and after each page, how it goes.

    full: bring all of them. Else those made since the last run, or all where there was none.
    since: bring those made from this moment on.

    Polar can't list what has changed, so that only a full run brings what became of old orders.

    Raises RateLimited, PolarUnavailable, PolarMisconfigured, and what the database raises. What was brought stays.
    """
    last = _last_synced()
    start = since or (None if full or last is None else last - OVERLAP)
    # A run that starts later than the last one ended does not move where the next one starts: nothing between is lost.
    marks = since is None or last is None or since <= last
    began, in_order = timezone.now(), True
    newest: PortalOrder | None = None
    run = SyncRun(since=start)
    yield run
    wanted = {"sorting": "created_at"} | ({"created_after": start.isoformat()} if start else {})
    for page in all_pages(Pace(), wanted):
        made = [order.created_at for order in page.orders]
        # A server that does not sort begins with the newest. If that were noted and the run broken off, the next one
        # would start there.
        in_order = in_order and made == sorted(made) and (not made or newest is None or newest.created_at <= made[0])
        written = write(page.orders, synced_at=began if marks and in_order else None)
        for order in page.orders:
            if order.polar_customer_id is None:
                run.left_out.append(f"{order.id} (customer_id)")
            elif newest is None or newest.created_at <= order.created_at:
                newest = order
        run.left_out += page.left_out
        run.seen += len(page.orders) + len(page.left_out)
        run.total = max(page.total, run.seen)
        run.new += written.new
        run.changed += written.changed
        run.reached = newest.created_at if newest and in_order else None
        yield run
    if newest and marks and not in_order:
        write([newest], synced_at=began)


def _last_synced() -> datetime | None:
    """Return when the newest order was made that a sync run has brought."""
    newest = Order.objects.filter(synced_at__isnull=False, created_at__lte=timezone.now()).first()
    return from_field(newest.created_at) if newest else None


def all_pages(pace: Pace, wanted: Mapping[str, str]) -> Iterator[OrderPage]:
    """Ask for all of the organization's orders that are `wanted`, page by page, until all have been seen.

    wanted: as for `Client.orders`. Orders that make no sense are named in the page's `left_out`.

    Raises RateLimited, PolarUnavailable and PolarMisconfigured.
    """
    before = OrderPage((), 0)
    place = seen = step = 0
    while True:
        limit = ALL_BY[step]
        try:
            page = _page_of_all(pace, place // limit + 1, limit, wanted)
        except AnswerTooLarge as too_large:
            if limit > 1:
                step += 1
                continue
            # One alone. How many there are, the next page will tell.
            page = OrderPage((), place + 2, (f"no. {place + 1} of the list ({too_large})",))
        if not page.orders and not page.left_out:
            return
        if (page.orders, page.left_out) == (before.orders, before.left_out):
            raise PolarUnavailable("GET /v1/orders/: the same page again and again")
        yield page
        place, seen, before = place + limit, seen + len(page.orders) + len(page.left_out), page
        if seen >= page.total:
            return
        if place % ALL_BY[0] == 0:
            step = 0


def _page_of_all(pace: Pace, number: int, limit: int, wanted: Mapping[str, str]) -> OrderPage:
    def ask(client: Client) -> OrderPage:
        return client.orders(OrganizationIdentity.orders, page=number, limit=limit, wanted=wanted, strict=False)

    return pace.ask(ask)


def _ask(identity: CustomerIdentity, page: int) -> tuple[list[PortalOrder], int]:
    """Return the customer's orders up to the end of this page, and how many there are in all.

    Polar lists drafts too and can't be told not to, so that its pages are not ours: those before have to be counted.
    """
    found: list[PortalOrder] = []
    drafts = 0
    for number in itertools.count(1):
        answer = identity.call(partial(_ask_page, identity.orders, number))
        kept = [each for each in answer.orders if each.status != "draft"]
        found += kept
        drafts += len(answer.orders) - len(kept)
        seen_all = number * ASK_FOR >= answer.total or not answer.orders
        if seen_all or len(found) >= page * PAGE_SIZE or (page - 1) * PAGE_SIZE >= answer.total:
            return found, max(answer.total - drafts, len(found))
    raise AssertionError("unreachable")


def _ask_page(orders: str, number: int, client: Client) -> OrderPage:
    return client.orders(orders, page=number, limit=ASK_FOR)


def _page(rest: list[PortalOrder], page: int, total: int, failure: PolarError | None = None) -> Page:
    return Page(rest[:PAGE_SIZE], page, max(1, math.ceil(total / PAGE_SIZE)), total, failure)
