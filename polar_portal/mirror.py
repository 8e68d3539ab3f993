"""What this site knows of orders: `Order` rows, brought up to date with what Polar has answered or delivered.

Whatever the order in which news comes, and however often, the rows end up the same: of two versions of an order the
one with the later `modified_at` stays.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from copy import copy
from datetime import datetime
from typing import Any, NamedTuple

from django.db import IntegrityError, OperationalError, router, transaction
from django.db.models import F

from polar_portal.api.schemas import PortalOrder
from polar_portal.database import announce, as_written, from_field, to_field, tolerating_database
from polar_portal.models import Order
from polar_portal.signals import invoice_ready, order_changed

MIRRORED = (
    "polar_customer_id",
    "status",
    "number",
    "receipt_number",
    "is_invoice_generated",
    "description",
    "currency",
    "total_amount",
    "refunded_amount",
    "refunded_tax_amount",
    "created_at",
    "modified_at",
)

#: An order's life. Of two versions from the same moment the one further on stays.
LIFE = ("draft", "pending", "paid", "partially_refunded", "refunded", "void")


class Written(NamedTuple):
    """How many orders were not known here, and of how many something newer than what was known."""

    new: int
    changed: int


def mirror(found: Iterable[PortalOrder]) -> None:
    """Note what Polar has answered; where the database refuses, do without."""
    with tolerating_database("Orders can't be kept"):
        write(found)


def write(found: Iterable[PortalOrder], *, as_news: bool = False, synced_at: datetime | None = None) -> Written:
    """Note these orders, never over something newer, tell who listens, and return how many that were.

    as_news: whether it tells of something that happened just now: then an order that was not known here and has its
        invoice means that the invoice has become ready.
    synced_at: the moment, as our fields want it, of the run of `polar_sync_orders` that brings them.

    Raises what the database raises.
    """
    rows: dict[Any, Order] = {}
    for row in (_to_row(order, synced_at) for order in found if order.polar_customer_id):
        # Of two versions of one order the newer, whichever comes first.
        if row.pk not in rows or _version(row) > _version(rows[row.pk]):
            rows[row.pk] = row
    created, others = _insert(rows)
    changed = 0
    for row in created:
        announce(order_changed, Order, order=row, created=True)
        if as_news and row.is_invoice_generated:
            announce(invoice_ready, Order, polar_order_id=row.pk)
    for known in others:
        before, after = _update(known, rows[known.pk])
        if after is not before:
            changed += 1
            announce(order_changed, Order, order=after, created=False)
            if after.is_invoice_generated and not before.is_invoice_generated:
                announce(invoice_ready, Order, polar_order_id=after.pk)
    if synced_at and others:
        Order.objects.filter(pk__in=[known.pk for known in others]).update(synced_at=synced_at)
    return Written(len(created), changed)


def known(order_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, PortalOrder]:
    """Return what this site knows of these orders, by their ids; Polar is not asked."""
    with tolerating_database("Known orders can't be read"):
        return {row.pk: from_row(row) for row in Order.objects.filter(pk__in=order_ids)}
    return {}


def from_row(row: Order) -> PortalOrder:
    """Return what is known of an order, as Polar would answer it."""
    values = {name: getattr(row, name) for name in MIRRORED}
    values |= {name: from_field(value) for name, value in values.items() if isinstance(value, datetime)}
    return PortalOrder(id=row.polar_order_id, **values)


def _insert(rows: dict[Any, Order]) -> tuple[list[Order], list[Order]]:
    """Insert the rows that are not there. Return those inserted, and what is there of the others."""
    known = list(as_written(Order).filter(pk__in=list(rows)))
    new = [row for pk, row in rows.items() if pk not in {each.pk for each in known}]
    if not new:
        return [], known
    alias = router.db_for_write(Order)
    try:
        with transaction.atomic(using=alias):
            as_written(Order).bulk_create(new)
    except IntegrityError:
        # Another worker has just brought some of them: each on its own, to see which.
        inserted = []
        for row in new:
            try:
                with transaction.atomic(using=alias):
                    row.save(force_insert=True)
                inserted.append(row)
            except IntegrityError:
                if (meanwhile := _as_it_is_now(row.pk)) is None:
                    # PostgreSQL under REPEATABLE READ, which wants a transaction that others overtook begun anew.
                    message = "Another worker has brought an order that this transaction can't see."
                    raise OperationalError(message) from None
                known.append(meanwhile)
        return inserted, known
    return new, known


def _update(known: Order, row: Order) -> tuple[Order, Order]:
    """Bring what is known up to date if `row` is newer. Return it as it was and as it is now: the same if it is not."""
    while _version(row) > _version(known):
        values = {name: getattr(row, name) for name in MIRRORED}
        # Only what we have compared with: another worker may have brought something newer meanwhile.
        same = {name: getattr(known, name) for name in MIRRORED}
        with transaction.atomic(using=router.db_for_write(Order)):
            # First by its key alone, which has others wait: MariaDB may look for the values through another index, and
            # workers that hold entries there wait for each other in a circle.
            Order.objects.filter(pk=known.pk).update(modified_at=F("modified_at"))
            updated = Order.objects.filter(pk=known.pk, **same).update(**values)
        if updated:
            after = copy(known)
            for name, value in values.items():
                setattr(after, name, value)
            return known, after
        meanwhile = _as_it_is_now(known.pk)
        if meanwhile is None:
            break
        known = meanwhile
    return known, known


def _as_it_is_now(pk: uuid.UUID) -> Order | None:
    """Return a row as others have left it.

    Locked for that: within a transaction, under MariaDB's own default of REPEATABLE READ, a plain read goes on seeing
    what was there when the transaction began.
    """
    with transaction.atomic(using=router.db_for_write(Order)):
        return Order.objects.select_for_update().filter(pk=pk).first()


def _version(row: Order) -> tuple[Any, ...]:
    life = LIFE.index(row.status) if row.status in LIFE else -1
    return row.modified_at, row.refunded_amount, life, *(getattr(row, name) for name in MIRRORED)


def _to_row(order: PortalOrder, synced_at: datetime | None) -> Order:
    row = Order(pk=order.id, synced_at=synced_at)
    for name in MIRRORED:
        value = getattr(order, name)
        if isinstance(value, datetime):
            value = to_field(value)
        elif isinstance(value, str):
            value = value[: getattr(Order._meta.get_field(name), "max_length", None)]
        setattr(row, name, value)
    return row
