"""The life of an invoice and of a receipt.

cache has a URL with POLAR_URL_MIN_LIFE left ──────────────► READY
             │ no
edited, and Polar has only the old file ───────────────────► DocumentPending
             │ no
GET …/invoice ── 200 ── keep for reuse ────────────────────► READY
             │ 404 InvoiceDoesNotExist ─ order draft/void ──► OrderNotEligible
             │                         ├ asked for lately ──► DocumentPending
             │                         └ else ─────────────► InvoiceNotGenerated ── generate ──► pending
             └ anything else ──────────────────────────────► its exception (see polar_portal.exceptions)

GET …/receipt ── 200 ── keep for reuse ────────────────────► READY
             │ 202 ────────────────────────────────────────► DocumentPending
             └ 404 ReceiptNotAllocated ────────────────────► ReceiptUnavailable
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from polar_portal import edits, making
from polar_portal.api import presigned
from polar_portal.api.schemas import Document, PortalOrder
from polar_portal.cache import ClickCache, is_moment
from polar_portal.conf import conf
from polar_portal.database import announce, tolerating_database
from polar_portal.exceptions import (
    DocumentPending,
    InvoiceNotGenerated,
    OrderNotEligible,
    PolarError,
)
from polar_portal.identity import Identity, keys_of_all
from polar_portal.models import Order
from polar_portal.signals import invoice_ready

#: Seconds for which a URL that does not tell its end is used again.
UNKNOWN_LIFE = 60
#: Seconds within which asking Polar once more to make the same invoice would only queue a second job.
GENERATE_EVERY = 15
#: Seconds after a refund in which Polar may still have the receipt from before it: handed out, but not kept for reuse.
REFUND_SETTLES = 60


def cached(identity: Identity, kind: str, polar_order_id: uuid.UUID) -> Document | None:
    """Return the document's address if the cache has one that may be handed out again. Polar is not asked.

    kind: "invoice" or "receipt".
    """
    return _reusable(identity, identity.cache.get(identity.key(kind, polar_order_id)))


def invoice(identity: Identity, polar_order_id: uuid.UUID) -> Document:
    """Return the invoice's address, from the cache when it can, else from Polar."""

    def ask(pending: dict[str, float] | None) -> Document:
        edited_before = edits.wait(identity, polar_order_id)
        try:
            document = identity.call(lambda client: client.invoice(polar_order_id))
        except InvoiceNotGenerated as missing:
            not_generated = missing
        else:
            # Somebody may have edited it while we asked: then this is the old file.
            if (edited_at := edits.edited_at(polar_order_id)) and edited_at != edited_before:
                raise making.still_pending(polar_order_id)
            return document
        if pending:
            raise making.still_pending(polar_order_id)
        # The same answer for an order that gets none for ever; only the order tells.
        order = identity.call(lambda client: client.order(polar_order_id))
        failure: PolarError = not_generated
        if not order.may_have_invoice:
            failure = OrderNotEligible(f"A {order.status} order gets no invoice.", polar_order_id=polar_order_id)
        failure.order = order
        raise failure

    return _fetch(identity, "invoice", polar_order_id, ask)


def receipt(identity: Identity, polar_order_id: uuid.UUID) -> Document:
    """Return the receipt's address, from the cache when it can, else from Polar, which may have to render it first."""

    def ask(pending: dict[str, float] | None) -> Document:
        try:
            return identity.call(lambda client: client.receipt(polar_order_id))
        except DocumentPending:
            if not pending:
                making.remember(identity, "receipt", polar_order_id, since=time.time())
        raise making.still_pending(polar_order_id, making.ASK_FOR_RECEIPT_EVERY)

    return _fetch(identity, "receipt", polar_order_id, ask)


def generate_invoice(identity: Identity, polar_order_id: uuid.UUID) -> None:
    """Ask Polar to make the invoice, unless it was asked within the last seconds."""
    # Whoever presses a button is told to wait only when Polar was really asked.
    identity.cache.patient = True

    def find() -> bool | None:
        pending = _recall(identity, "invoice", polar_order_id)
        return True if pending and time.time() < pending["since"] + GENERATE_EVERY else None

    def ask() -> bool:
        making.make_invoice(identity, polar_order_id)
        return True

    identity.cache.once(identity.key("generate", polar_order_id), find, ask)


# What webhooks tell


def heed(order: PortalOrder, *, refunded: bool) -> Callable[[], None]:
    """End the wait for an invoice that is there, and let no receipt from before a refund be used again.

    Returns what is left to do in the cache, once the database has committed. Raises what the database raises, and
    PolarMisconfigured.
    """
    waited_for = edits.heed(order)
    outdated: list[str] = []
    if order.is_invoice_generated and not waited_for:
        outdated += keys_of_all("invoice-pending", order.id, order.polar_customer_id)
    receipts: list[str] = []
    if refunded:
        receipts = keys_of_all("receipt", order.id, order.polar_customer_id)
        outdated += keys_of_all("receipt-pending", order.id, order.polar_customer_id)
    cache = ClickCache(time.monotonic() + conf.POLAR_CLICK_BUDGET)

    def forget_in_cache() -> None:
        if receipts:
            settles_at = time.time() + REFUND_SETTLES
            cache.set_many({key: {"settles_at": settles_at} for key in receipts}, REFUND_SETTLES)
        if outdated:
            cache.delete_many(outdated)

    return forget_in_cache


# What both kinds have in common


def _fetch(
    identity: Identity,
    kind: str,
    polar_order_id: uuid.UUID,
    ask: Callable[[dict[str, float] | None], Document],
) -> Document:
    """Return the document's address from the cache, or let one click at a time `ask` for it, told what is pending."""
    if document := cached(identity, kind, polar_order_id):
        return document
    key = identity.key(kind, polar_order_id)
    ask_every = making.ASK_FOR_RECEIPT_EVERY if kind == "receipt" else making.ASK_EVERY
    pending: dict[str, float] | None = None
    settles_at = 0.0

    def find() -> Document | None:
        nonlocal pending, settles_at
        document, pending, settles_at = _look(identity, kind, polar_order_id)
        if document is None and pending and (wait := pending["asked"] + ask_every - time.time()) > 0:
            too_early = making.still_pending(polar_order_id, min(wait, ask_every))
            # Whoever looks finds the same here. An outcome of each such click would fill a small cache.
            too_early.remembered = True
            raise too_early
        return document

    def ask_and_keep() -> Document:
        asked_at = time.time()
        try:
            document = ask(pending)
        except DocumentPending:
            if pending:
                making.remember(identity, kind, polar_order_id, since=pending["since"])
            raise
        if is_kept(document, asked_at):
            identity.cache.set(key, _pack(document, asked_at), _reusable_for(document, asked_at))
        if pending:
            identity.cache.delete(making.key(identity, kind, polar_order_id))
            if kind == "invoice":
                _note_made(polar_order_id)
        return document

    def is_kept(document: Document, asked_at: float) -> bool:
        return _reusable_for(document, asked_at) > 0 and asked_at >= settles_at

    def pack(document: Document) -> dict[str, Any] | None:
        # A URL that is not kept is still good for those who wait for it now.
        return None if is_kept(document, time.time()) else _pack(document, time.time())

    return identity.cache.once(key, find, ask_and_keep, pack, _unpack)


def _note_made(polar_order_id: uuid.UUID) -> None:
    """Tell who listens that an invoice is there which somebody has waited for."""
    with tolerating_database("That an invoice was made can't be kept"):
        if Order.objects.filter(pk=polar_order_id, is_invoice_generated=False).update(is_invoice_generated=True):
            announce(invoice_ready, Order, polar_order_id=polar_order_id)


def _look(
    identity: Identity, kind: str, polar_order_id: uuid.UUID
) -> tuple[Document | None, dict[str, float] | None, float]:
    """Return what the cache has: the document, or since when it is pending, or until when none is to be kept.

    Raises what it says not to ask.
    """
    key, pending_key = identity.key(kind, polar_order_id), making.key(identity, kind, polar_order_id)
    seen = identity.cache.get_many([key, pending_key, *identity.memory_keys])
    value = seen.get(key)
    if document := _reusable(identity, value):
        return document, None, 0.0
    identity.recall(seen)
    settles_at = value.get("settles_at") if isinstance(value, dict) else None
    return None, making.read(seen.get(pending_key)), float(settles_at) if is_moment(settles_at) else 0.0


def _recall(identity: Identity, kind: str, polar_order_id: uuid.UUID) -> dict[str, float] | None:
    pending_key = making.key(identity, kind, polar_order_id)
    seen = identity.cache.get_many([pending_key, *identity.memory_keys])
    identity.recall(seen)
    return making.read(seen.get(pending_key))


def _reusable(identity: Identity, value: Any) -> Document | None:
    """Return the document that this cache entry holds if it may be handed out once more."""
    document = _unpack(value)
    if (
        document is None
        or not is_moment(value["fetched_at"])
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
