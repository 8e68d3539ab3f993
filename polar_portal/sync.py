"""All of the organization's orders, page by page; and a run that brings them into the mirror."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from polar_portal.api.schemas import OrderPage, PortalOrder
from polar_portal.database import from_field
from polar_portal.exceptions import AnswerTooLarge, PolarUnavailable
from polar_portal.mirror import write
from polar_portal.models import Order
from polar_portal.pace import Pace

if TYPE_CHECKING:
    from polar_portal.api.client import Client

#: How many are asked for at once where all are wanted: Polar's most, and less where those are over 1 MiB. Each divides
#: the one before.
ALL_BY = (100, 10, 1)
#: By how much a sync run goes back behind the last one: an order may appear a while after the moment it was made.
OVERLAP = timedelta(hours=1)


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
        return client.orders(page=number, limit=limit, wanted=wanted, strict=False)

    return pace.ask(ask)
