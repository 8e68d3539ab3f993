"""A document in the making: since when it is, and when to ask whether it is there.

Remembered in the cache, so that however many tabs wait for it Polar is asked at most every few seconds.
"""

from __future__ import annotations

import math
import time
import uuid
from typing import Any

from polar_portal.cache import is_moment
from polar_portal.exceptions import DocumentPending
from polar_portal.identity import Identity

#: Seconds between two questions whether an invoice is ready, however many tabs wait for it. Polar needs 4 to 10 s to
#: make one (measured 2026-08).
ASK_EVERY = 3
#: The same for a receipt. Longer than one takes: each question that comes too early makes Polar render it once more.
ASK_FOR_RECEIPT_EVERY = 6
#: Seconds for which "Polar has been asked to make it" is believed; then the customer is offered to ask again.
PENDING_LIFE = 120


def make_invoice(identity: Identity, polar_order_id: uuid.UUID) -> None:
    """Ask Polar to make the invoice, and remember that."""
    identity.call(lambda client: client.generate_invoice(polar_order_id))
    remember(identity, "invoice", polar_order_id, since=time.time())


def key(identity: Identity, kind: str, polar_order_id: uuid.UUID) -> str:
    return identity.key(f"{kind}-pending", polar_order_id)


def remember(identity: Identity, kind: str, polar_order_id: uuid.UUID, *, since: float) -> None:
    value = {"since": since, "asked": time.time()}
    identity.cache.set(key(identity, kind, polar_order_id), value, since + PENDING_LIFE - time.time())


def read(value: Any) -> dict[str, float] | None:
    """Read what `remember` wrote: since when it is made, and when Polar was last asked whether it is ready."""
    if not isinstance(value, dict) or not all(is_moment(value.get(name)) for name in ("since", "asked")):
        return None
    return value if value["since"] + PENDING_LIFE > time.time() else None


def still_pending(polar_order_id: uuid.UUID, wait: float | None = None) -> DocumentPending:
    """Return what tells to look again after `wait` seconds; without, when it is time to ask for an invoice again."""
    return DocumentPending(polar_order_id=polar_order_id, retry_after=math.ceil(ASK_EVERY if wait is None else wait))
