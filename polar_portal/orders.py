"""A customer's orders: the list, one of them, its billing details."""

from __future__ import annotations

import itertools
import math
import uuid
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from polar_portal import documents, edits
from polar_portal.api.schemas import BillingAddress, OrderPage, PortalOrder
from polar_portal.database import tolerating_database
from polar_portal.exceptions import PolarError, PolarUnavailable, RateLimited
from polar_portal.identity import CustomerIdentity, Identity
from polar_portal.mirror import from_row, mirror
from polar_portal.models import Order

if TYPE_CHECKING:
    from polar_portal.api.client import Client

PAGE_SIZE = 20
#: How many are asked of Polar at once: most customers' orders in one call, and well under 1 MiB (6 kB each were seen).
ASK_FOR = 50


@dataclass(frozen=True)
class Page:
    """One page of a customer's orders, newest first, drafts left out.

    Attributes:
        items: up to 20 orders.
        page: its number, from 1.
        pages: how many there are, at least 1.
        total: how many orders there are on all of them.
        failure: why Polar could not be asked, else None; then the orders are those that it has listed to this customer
            before, at most 500, without lines, billing details and amounts other than total and refunded.
    """

    items: list[PortalOrder]
    page: int
    pages: int
    total: int
    failure: PolarError | None = None

    @property
    def previous_page(self) -> int:
        """The number of the page before; the last one, from after that."""
        return min(self.page - 1, self.pages)

    @property
    def next_page(self) -> int:
        """The number of the page after, whether there is one or not."""
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
    found = identity.call(lambda client: client.order(polar_order_id))
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
            after = identity.call(lambda client: client.update_order(polar_order_id, changes))
        except PolarUnavailable:
            edits.note_lost(identity, before, running=running)
            raise
        mirror([after])
    elif not edits.may_be_lost(polar_order_id):
        documents.generate_invoice(identity, polar_order_id)
        return
    edits.note(identity, before, after, running=running)
    edits.make_again(identity, polar_order_id, before.polar_customer_id)


def _ask(identity: CustomerIdentity, page: int) -> tuple[list[PortalOrder], int]:
    """Return the customer's orders up to the end of this page, and how many there are in all.

    Polar lists drafts too and can't be told not to, so that its pages are not ours: those before have to be counted.
    """
    found: list[PortalOrder] = []
    drafts = 0
    for number in itertools.count(1):
        answer = identity.call(partial(_ask_page, number))
        kept = [each for each in answer.orders if each.status != "draft"]
        found += kept
        drafts += len(answer.orders) - len(kept)
        seen_all = number * ASK_FOR >= answer.total or not answer.orders
        if seen_all or len(found) >= page * PAGE_SIZE or (page - 1) * PAGE_SIZE >= answer.total:
            return found, max(answer.total - drafts, len(found))
    raise AssertionError("unreachable")


def _ask_page(number: int, client: Client) -> OrderPage:
    return client.orders(page=number, limit=ASK_FOR)


def _page(rest: list[PortalOrder], page: int, total: int, failure: PolarError | None = None) -> Page:
    return Page(rest[:PAGE_SIZE], page, max(1, math.ceil(total / PAGE_SIZE)), total, failure)
