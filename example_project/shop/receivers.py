"""What the shop does when polar_portal has news. `apps.py` connects these to the signals.

A receiver that fails is logged by Django (`django.dispatch`) and spoils neither the webhook nor the customer's click.
"""

from __future__ import annotations

import logging
import uuid
from typing import Any

from django.db import transaction

from example_project.shop.models import Purchase
from polar_portal.models import CustomerSession, Order

logger = logging.getLogger(__name__)


def keep_purchase(order: Order, **kwargs: Any) -> None:
    """Keep an order's purchase up to date, and add it when the shop knows whose it is."""
    with transaction.atomic():
        purchase = Purchase.objects.select_for_update().filter(polar_order_id=order.pk).first()
        if purchase:
            # Read after the row is locked: another process may have heard of a newer version a moment ago.
            order.refresh_from_db()
            purchase.status, purchase.amount = order.status, order.total_amount
            purchase.save(update_fields=["status", "amount"])
            return
    buyer = buyer_of(order)
    if buyer and order.status != "draft":
        Purchase.objects.add(buyer, order)


def buyer_of(order: Order) -> int | None:
    """Return the id of the user whose order it is, None if the shop can't know.

    An order names its customer at Polar and not your user. Which of them that is, an earlier purchase tells; for the
    first one the session that `views.thanks` has just had made, if its buyer came back before the webhook.
    """
    for known in (Purchase.objects, CustomerSession.objects):
        row = known.filter(polar_customer_id=order.polar_customer_id).first()
        if row:
            return int(row.user_id)
    return None


def note_download(user: Any, polar_order_id: uuid.UUID, kind: str, **kwargs: Any) -> None:
    """Note who got which document: staff may download those of all customers."""
    logger.info("%s of order %s handed out to user %s", kind, polar_order_id, user.pk if user else "-")
