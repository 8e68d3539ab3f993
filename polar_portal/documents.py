"""The life of an invoice.

cache has a URL with POLAR_URL_MIN_LIFE left ──────────────► READY
             │ no
GET …/invoice ── 200 ── keep for reuse ────────────────────► READY
             │ 404 InvoiceDoesNotExist ─ order draft/void ──► OrderNotEligible
             │                         ├ asked for lately ──► DocumentPending
             │                         └ else ─────────────► InvoiceNotGenerated ── generate ──► pending
             └ anything else ──────────────────────────────► its exception (see polar_portal.exceptions)
"""

from __future__ import annotations

import math
import time
import uuid
from datetime import datetime, timezone
from typing import Any

from polar_portal.api import presigned
from polar_portal.api.schemas import Document
from polar_portal.conf import conf
from polar_portal.exceptions import DocumentPending, InvoiceNotGenerated, OrderNotEligible
from polar_portal.identity import Identity

#: Seconds between two questions whether a document is ready, however many tabs wait for it. Polar needs 4 to 10 s to
#: make an invoice (measured 2026-08).
ASK_EVERY = 3
#: Seconds for which "Polar has been asked to make it" is believed; then the customer is offered to ask again.
PENDING_LIFE = 120
#: Seconds for which a URL that does not tell its end is used again.
UNKNOWN_LIFE = 60
#: Seconds within which asking Polar once more to make the same invoice would only queue a second job.
GENERATE_EVERY = 15


def cached_invoice(identity: Identity, polar_order_id: uuid.UUID) -> Document | None:
    """Return the invoice's address if the cache has one that may be handed out again. Polar is not asked."""
    return _reusable(identity, identity.cache.get(identity.key("invoice", polar_order_id)))


def invoice(identity: Identity, polar_order_id: uuid.UUID) -> Document:
    """Return the invoice's address, from the cache when it can, else from Polar."""
    if document := cached_invoice(identity, polar_order_id):
        return document
    key = identity.key("invoice", polar_order_id)
    pending_key = identity.key("pending", polar_order_id)
    pending: dict[str, float] | None = None

    def find() -> Document | None:
        nonlocal pending
        seen = identity.cache.get_many([key, pending_key, *identity.memory_keys])
        if document := _reusable(identity, seen.get(key)):
            return document
        identity.recall(seen)
        pending = _pending(seen.get(pending_key))
        if pending and (wait := pending["asked"] + ASK_EVERY - time.time()) > 0:
            raise _still_pending(polar_order_id, wait)
        return None

    def ask() -> Document:
        asked_at = time.time()
        try:
            document = identity.call(lambda client: client.invoice(identity.orders, polar_order_id))
        except InvoiceNotGenerated as missing:
            not_generated = missing
        else:
            _keep(identity, key, document, asked_at)
            return document
        if pending:
            _remember_pending(identity, pending_key, since=pending["since"])
            raise _still_pending(polar_order_id, ASK_EVERY)
        # The same answer for an order that gets none for ever; only the order tells.
        order = identity.call(lambda client: client.order(identity.orders, polar_order_id))
        if not order.may_have_invoice:
            raise OrderNotEligible(f"A {order.status} order gets no invoice.", polar_order_id=polar_order_id)
        raise not_generated

    def pack(document: Document) -> dict[str, Any] | None:
        # A URL that is not kept is still good for those who wait for it now.
        return None if _reusable_for(document, time.time()) > 0 else _pack(document, time.time())

    return identity.cache.once(key, find, ask, pack, _unpack)


def generate_invoice(identity: Identity, polar_order_id: uuid.UUID) -> None:
    """Ask Polar to make the invoice, unless it was asked within the last seconds."""
    pending_key = identity.key("pending", polar_order_id)

    def find() -> bool | None:
        seen = identity.cache.get_many([pending_key, *identity.memory_keys])
        identity.recall(seen)
        pending = _pending(seen.get(pending_key))
        return True if pending and time.time() < pending["since"] + GENERATE_EVERY else None

    def ask() -> bool:
        identity.call(lambda client: client.generate_invoice(identity.orders, polar_order_id))
        _remember_pending(identity, pending_key, since=time.time())
        return True

    identity.cache.once(identity.key("generate", polar_order_id), find, ask)


def _keep(identity: Identity, key: str, document: Document, fetched_at: float) -> None:
    if (seconds := _reusable_for(document, fetched_at)) > 0:
        identity.cache.set(key, _pack(document, fetched_at), seconds)


def _reusable(identity: Identity, value: Any) -> Document | None:
    """Return the document that this cache entry holds if it may be handed out once more."""
    document = _unpack(value)
    if (
        document is None
        or not isinstance(value["fetched_at"], (int, float))
        or _reusable_for(document, value["fetched_at"]) < 0
        or not presigned.may_redirect_to(
            document.url, base_url=identity.base_url, allowed_hosts=conf.POLAR_ALLOWED_DOCUMENT_HOSTS
        )
    ):
        return None
    return document


def _reusable_for(document: Document, fetched_at: float) -> int:
    """Return for how many whole seconds from now the document's URL may be handed out again; under 0: no more."""
    if document.expires_at is None:
        return math.floor(fetched_at + UNKNOWN_LIFE - time.time())
    return math.floor(document.expires_at.timestamp() - conf.POLAR_URL_MIN_LIFE - time.time())


def _pack(document: Document, fetched_at: float) -> dict[str, Any]:
    expires_at = document.expires_at.timestamp() if document.expires_at else None
    return {"url": document.url, "expires_at": expires_at, "fetched_at": fetched_at}


def _unpack(value: Any) -> Document | None:
    """Read what `_pack` made; None for anything else."""
    if not isinstance(value, dict) or value.keys() != {"url", "expires_at", "fetched_at"}:
        return None
    expires_at = value["expires_at"]
    if expires_at is None:
        return Document(url=value["url"], expires_at=None)
    try:
        return Document(url=value["url"], expires_at=datetime.fromtimestamp(expires_at, tz=timezone.utc))
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _pending(value: Any) -> dict[str, float] | None:
    """Read what `_remember_pending` wrote: when Polar was asked to make it, and last asked whether it is ready."""
    if not isinstance(value, dict) or not all(isinstance(value.get(name), (int, float)) for name in ("since", "asked")):
        return None
    return value if value["since"] + PENDING_LIFE > time.time() else None


def _remember_pending(identity: Identity, key: str, *, since: float) -> None:
    identity.cache.set(key, {"since": since, "asked": time.time()}, since + PENDING_LIFE - time.time())


def _still_pending(polar_order_id: uuid.UUID, wait: float) -> DocumentPending:
    return DocumentPending(polar_order_id=polar_order_id, retry_after=max(1, math.ceil(wait)))
