"""What a webhook delivery changes here.

Deliveries shorten waits and drop what they make stale; nothing depends on them. They may come late, out of order, and
several times: `mirror` keeps the newer version of an order, and each `webhook-id` takes effect once.
"""

from __future__ import annotations

import json
import logging
import re
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from django.db import IntegrityError, InterfaceError, OperationalError, router, transaction
from django.db.models import F

from polar_portal import customers, documents, mirror
from polar_portal.api import signatures
from polar_portal.api.schemas import Nonsense, PortalOrder, customer_id
from polar_portal.conf import conf
from polar_portal.database import announce, as_written
from polar_portal.exceptions import PolarMisconfigured, WebhookVerificationError
from polar_portal.models import WebhookDelivery
from polar_portal.signals import webhook_received

logger = logging.getLogger(__name__)

Outcome = WebhookDelivery.Outcome

#: Those that Polar has today (2026-11). Any other whose name begins with "order." is read if it is about an order.
ORDER_EVENTS = frozenset({"order.created", "order.updated", "order.paid", "order.refunded"})


def receive(headers: Mapping[str, str], body: bytes) -> WebhookDelivery:
    """Verify a delivery, store it, and apply its effects unless they were applied before. Polar is not called.

    Returns what became of it. Whatever a genuine one contains, this does not fail: what can't be applied is stored as
    failed, with its body, and can be run again.

    Raises WebhookVerificationError, PolarMisconfigured when POLAR_WEBHOOK_SECRET can't be read, and what the database
    raises when it can't be stored; then nothing was changed.
    """
    secrets = conf.POLAR_WEBHOOK_SECRET
    if not secrets:
        raise WebhookVerificationError("POLAR_WEBHOOK_SECRET is not set, so that no delivery can be verified.")
    delivery_id = signatures.verify(secrets, headers, body, now=time.time())
    alias = router.db_for_write(WebhookDelivery)
    try:
        # One transaction: the effects are there exactly if the row says so. A second worker with the same delivery
        # waits here for the first, by the unique id.
        with transaction.atomic(using=alias):
            # Without its body: what is deleted at once would stay for a while in the database's files.
            delivery = WebhookDelivery.objects.create(delivery_id=delivery_id)
            afterwards = _apply(delivery, body)
    except IntegrityError:
        # Known already. Polar sends again what we answered too late; and, at the press of a button, anything.
        return run_again(as_written(WebhookDelivery).get(delivery_id=delivery_id))
    afterwards()
    announce(webhook_received, WebhookDelivery, delivery_id=delivery_id, type=delivery.type)
    return delivery


def run_again(delivery: WebhookDelivery) -> WebhookDelivery:
    """Apply the effects of a delivery that has failed; of any other nothing is done. Returns it as it is now."""
    if delivery.outcome != Outcome.FAILED:
        return delivery  # for good
    alias = router.db_for_write(WebhookDelivery)
    with transaction.atomic(using=alias):
        # Whoever writes to the row first does the work; another worker waits here, and then finds it done. By its key
        # alone: through the index of outcomes MariaDB would lock every failed delivery, and two workers each other.
        WebhookDelivery.objects.filter(pk=delivery.pk).update(attempts=F("attempts"))
        delivery = as_written(WebhookDelivery).get(pk=delivery.pk)
        afterwards = _nothing
        if delivery.outcome == Outcome.FAILED:
            delivery.attempts += 1
            afterwards = _apply(delivery, bytes(delivery.body or b""))
    afterwards()
    return delivery


def _apply(delivery: WebhookDelivery, body: bytes) -> Callable[[], None]:
    """Apply the effects, note the outcome, and return what has to be done once they are committed.

    The body is kept only where they could not be applied.
    """
    afterwards = _nothing
    error = ""
    try:
        with transaction.atomic(using=router.db_for_write(WebhookDelivery)):
            delivery.type, data = _read(body)
            effects = None
            if delivery.type.startswith("order."):
                effects = _order(delivery.type, data)
            elif delivery.type == "customer.deleted":
                effects = _customer_deleted(data)
        outcome = Outcome.IGNORED if effects is None else Outcome.APPLIED
        afterwards = effects or _nothing
    except Nonsense as nonsense:
        outcome, error = Outcome.FAILED, f"It makes no sense: {nonsense}"
    except PolarMisconfigured as wrong:
        outcome, error = Outcome.FAILED, str(wrong)
    except (OperationalError, InterfaceError):
        raise  # the database is away, or tired of waiting: Polar is to send it again
    except Exception as failure:  # noqa: BLE001 - a fault of ours is for us to mend and run again, not for Polar to repeat
        where = traceback.extract_tb(failure.__traceback__)[-1]
        # Not what it says: a customer's data may stand there.
        outcome, error = Outcome.FAILED, f"{type(failure).__name__} in {where.name}, line {where.lineno}"
    delivery.outcome, delivery.error = outcome, error[:255]
    delivery.body = body if outcome == Outcome.FAILED else None
    delivery.save()
    if outcome == Outcome.FAILED:
        logger.error("webhook_failed: delivery %s of type %r: %s", delivery.delivery_id, delivery.type, delivery.error)
    return afterwards


def _read(body: bytes) -> tuple[str, Any]:
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise Nonsense("the body is no JSON") from None
    name = event.get("type") if isinstance(event, dict) else None
    if not isinstance(name, str) or not re.fullmatch(r"[\w.:-]{1,100}", name, re.ASCII):
        raise Nonsense("the body is no object with a type")
    return name, event.get("data")


def _order(name: str, data: Any) -> Callable[[], None] | None:
    try:
        order = PortalOrder.from_json(data)
    except Nonsense:
        if name in ORDER_EVENTS:
            raise
        return None  # a type that Polar has added, about something else
    mirror.write([order], as_news=True)
    return documents.heed(order, refunded=name == "order.refunded")


def _customer_deleted(data: Any) -> Callable[[], None]:
    customers.forget_customer(customer_id(data))
    return _nothing


def _nothing() -> None:
    pass
