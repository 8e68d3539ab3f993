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
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

from django.utils.timezone import now

from polar_portal.api import presigned
from polar_portal.api.schemas import Document, PortalOrder
from polar_portal.cache import ClickCache, is_moment
from polar_portal.conf import conf
from polar_portal.exceptions import (
    DocumentPending,
    InvoiceNotGenerated,
    OrderNotEligible,
    PolarError,
    PolarMisconfigured,
)
from polar_portal.identity import CustomerIdentity, Identity, keys_of_all
from polar_portal.models import Order, announce, from_field, to_field, tolerating_database
from polar_portal.signals import invoice_ready

#: Seconds between two questions whether an invoice is ready, however many tabs wait for it. Polar needs 4 to 10 s to
#: make one (measured 2026-08).
ASK_EVERY = 3
#: The same for a receipt. Longer than one takes: each question that comes too early makes Polar render it once more.
ASK_FOR_RECEIPT_EVERY = 6
#: Seconds for which "Polar has been asked to make it" is believed; then the customer is offered to ask again.
PENDING_LIFE = 120
#: Seconds for which a URL that does not tell its end is used again.
UNKNOWN_LIFE = 60
#: Seconds within which asking Polar once more to make the same invoice would only queue a second job.
GENERATE_EVERY = 15
#: Seconds after a refund in which Polar may still have the receipt from before it: handed out, but not kept for reuse.
REFUND_SETTLES = 60
#: Seconds that an edited invoice is waited for in all, and after it has been asked for a second time.
LONGEST_EDIT = 45
LONGEST_SECOND_EDIT = 10


def cached(identity: Identity, kind: str, polar_order_id: uuid.UUID) -> Document | None:
    """Return the document's address if the cache has one that may be handed out again. Polar is not asked.

    kind: "invoice" or "receipt".
    """
    return _reusable(identity, identity.cache.get(identity.key(kind, polar_order_id)))


def invoice(identity: Identity, polar_order_id: uuid.UUID) -> Document:
    """Return the invoice's address, from the cache when it can, else from Polar."""

    def ask(pending: dict[str, float] | None) -> Document:
        edited_before = _wait_for_edit(identity, polar_order_id)
        try:
            document = identity.call(lambda client: client.invoice(identity.orders, polar_order_id))
        except InvoiceNotGenerated as missing:
            not_generated = missing
        else:
            # Somebody may have edited it while we asked: then this is the old file.
            if (edited_at := _edited_at(polar_order_id)) and edited_at != edited_before:
                raise _still_pending(polar_order_id, ASK_EVERY)
            return document
        if pending:
            raise _still_pending(polar_order_id, ASK_EVERY)
        # The same answer for an order that gets none for ever; only the order tells.
        order = identity.call(lambda client: client.order(identity.orders, polar_order_id))
        failure: PolarError = not_generated
        if not order.may_have_invoice:
            failure = OrderNotEligible(f"A {order.status} order gets no invoice.", polar_order_id=polar_order_id)
        failure.order = order
        raise failure

    return _fetch(identity, "invoice", polar_order_id, ASK_EVERY, ask)


def receipt(identity: Identity, polar_order_id: uuid.UUID) -> Document:
    """Return the receipt's address, from the cache when it can, else from Polar, which may have to render it first."""

    def ask(pending: dict[str, float] | None) -> Document:
        try:
            return identity.call(lambda client: client.receipt(identity.orders, polar_order_id))
        except DocumentPending:
            if not pending:
                _remember_pending(identity, "receipt", polar_order_id, since=time.time())
        raise _still_pending(polar_order_id, ASK_FOR_RECEIPT_EVERY)

    return _fetch(identity, "receipt", polar_order_id, ASK_FOR_RECEIPT_EVERY, ask)


def generate_invoice(identity: Identity, polar_order_id: uuid.UUID) -> None:
    """Ask Polar to make the invoice, unless it was asked within the last seconds."""
    # Whoever presses a button is told to wait only when Polar was really asked.
    identity.cache.patient = True

    def find() -> bool | None:
        pending = _recall(identity, "invoice", polar_order_id)
        return True if pending and time.time() < pending["since"] + GENERATE_EVERY else None

    def ask() -> bool:
        _post(identity, polar_order_id)
        return True

    identity.cache.once(identity.key("generate", polar_order_id), find, ask)


def _post(identity: Identity, polar_order_id: uuid.UUID) -> None:
    identity.call(lambda client: client.generate_invoice(identity.orders, polar_order_id))
    _remember_pending(identity, "invoice", polar_order_id, since=time.time())


# After an edit


def may_be_in_the_making(identity: Identity, polar_order_id: uuid.UUID) -> bool:
    """Tell whether somebody has asked for the invoice lately: then a job of Polar's may have read the order by now."""
    return _pending(identity.cache.get(_pending_key(identity, "invoice", polar_order_id))) is not None


def forget_after_edit(identity: Identity, before: PortalOrder, after: PortalOrder, *, running: bool) -> None:
    """Note that Polar's file of this invoice, and our kept address of it, show what `before` was.

    running: whether a job may have read the old details; asked before the edit, as a webhook about it may come at once.

    The note is in the database, so that it outlives the cache. Without a file that could be old there is none.
    """
    if before.is_invoice_generated or running:
        with tolerating_database("That an invoice was edited can't be kept"):
            Order.objects.filter(pk=before.id).update(
                edited_at=to_field(after.modified_at),
                edit_wait_until=now() + timedelta(seconds=LONGEST_EDIT),
                edit_posted=False,
                edit_post_again=running,
            )
    _forget_invoice(identity, before.id, before.polar_customer_id)


def note_lost_edit(identity: Identity, before: PortalOrder, *, running: bool) -> None:
    """Note that an order may have been edited: Polar's answer was lost. Whether it was, the next click finds out.

    running: as in `forget_after_edit`.
    """
    # What is waited for already is a job that may have read the old details, too.
    running = running or _edited(before.id) is not None
    if before.is_invoice_generated or running:
        with tolerating_database("That an invoice may have been edited can't be kept"):
            Order.objects.filter(pk=before.id).update(
                edited_at=to_field(before.modified_at),
                edit_wait_until=None,
                edit_posted=False,
                edit_post_again=running,
            )
    _forget_invoice(identity, before.id, before.polar_customer_id)


def may_have_lost_edit(polar_order_id: uuid.UUID) -> bool:
    """Tell whether an edit's answer was lost, and nobody knows yet whether it took effect."""
    edit = _edited(polar_order_id)
    return edit is not None and edit.edit_wait_until is None


def generate_edited(identity: Identity, polar_order_id: uuid.UUID, polar_customer_id: uuid.UUID | None) -> None:
    """Ask Polar to make the invoice with its new details, however lately it was asked before."""
    _post(identity, polar_order_id)
    # Once more: a click that had got the old address before the note was there may have kept it since.
    _forget_invoice(identity, polar_order_id, polar_customer_id)
    with tolerating_database("That an edited invoice was asked for can't be kept"):
        Order.objects.filter(pk=polar_order_id, edited_at__isnull=False).update(
            edit_posted=True, edit_wait_until=now() + timedelta(seconds=LONGEST_EDIT)
        )


def _forget_invoice(identity: Identity, polar_order_id: uuid.UUID, polar_customer_id: uuid.UUID | None) -> None:
    """Drop the invoice's address for whoever may have it: other users of this customer, and the staff, too."""
    keys = [identity.key("invoice", polar_order_id)]
    # Without a token there is no staff that may have it.
    with tolerating_database("Who else may have an edited invoice can't be read"), suppress(PolarMisconfigured):
        keys += keys_of_all("invoice", polar_order_id, polar_customer_id)
    for key in dict.fromkeys(keys):
        identity.cache.delete(key)


def _edited(polar_order_id: uuid.UUID) -> Order | None:
    with tolerating_database("Whether an invoice was edited can't be read"):
        return Order.objects.filter(pk=polar_order_id, edited_at__isnull=False).first()
    return None


def _edited_at(polar_order_id: uuid.UUID) -> datetime | None:
    # One column and no order: asked twice in a cold click, whose time is mostly what Django takes to write its SQL.
    rows = Order.objects.filter(pk=polar_order_id, edited_at__isnull=False).order_by()
    with tolerating_database("Whether an invoice was edited can't be read"):
        for edited_at in rows.values_list("edited_at", flat=True):
            return edited_at
    return None


def _wait_for_edit(identity: Identity, polar_order_id: uuid.UUID) -> datetime | None:
    """Raise DocumentPending while Polar has the file from before an edit. Return the edit that is not waited for.

    Polar sets the order's `modified_at` when a job has stored the file (read in its source, 2026-08); nothing else
    tells the old file from the new one. A job that ran during the edit stores the old details, so in that case Polar
    is asked to make it once more after the first change. Another change may end the wait early; 45 s always do.
    """
    edit = _edited(polar_order_id) if _edited_at(polar_order_id) else None
    if edit is None or edit.edited_at is None:
        return None
    if edit.edit_wait_until is None:
        return _look_for_lost_edit(identity, edit, edit.edited_at)
    if not edit.edit_posted and isinstance(identity, CustomerIdentity):
        generate_edited(identity, polar_order_id, edit.polar_customer_id)  # the first time it failed
    elif now() >= edit.edit_wait_until:
        if not edit.edit_posted:
            return edit.edited_at  # the customer's next click has it made
        _end_edit(edit)
        return None
    else:
        order = identity.call(lambda client: client.order(identity.orders, polar_order_id))
        if order.modified_at > from_field(edit.edited_at):
            if not (edit.edit_post_again and isinstance(identity, CustomerIdentity)):
                _end_edit(edit)
                return None
            _post(identity, polar_order_id)
            until = min(edit.edit_wait_until, now() + timedelta(seconds=LONGEST_SECOND_EDIT))
            with tolerating_database("That an edited invoice was asked for again can't be kept"):
                Order.objects.filter(pk=edit.pk, edited_at=edit.edited_at).update(
                    edited_at=to_field(order.modified_at), edit_wait_until=until, edit_post_again=False
                )
    raise _still_pending(polar_order_id, ASK_EVERY)


def _look_for_lost_edit(identity: Identity, edit: Order, before: datetime) -> datetime | None:
    """Raise DocumentPending if an edit whose answer was lost has taken effect, and have the invoice made with it."""
    if not isinstance(identity, CustomerIdentity):
        return before  # the customer's next click has it made
    order = identity.call(lambda client: client.order(identity.orders, edit.pk))
    # Where a job is waited for anyway, it is waited for as if it had.
    happened = edit.edit_post_again or order.modified_at > from_field(before)
    with tolerating_database("Whether an invoice was edited can't be kept"):
        Order.objects.filter(pk=edit.pk, edited_at=before, edit_wait_until__isnull=True).update(
            edited_at=to_field(order.modified_at) if happened else None,
            edit_wait_until=now() + timedelta(seconds=LONGEST_EDIT) if happened else None,
        )
    if not happened:
        return None
    generate_edited(identity, edit.pk, edit.polar_customer_id)
    raise _still_pending(edit.pk, ASK_EVERY)


def _end_edit(edit: Order) -> None:
    with tolerating_database("That an edited invoice is there can't be kept"):
        _forget_edit(edit)


def _forget_edit(edit: Order) -> None:
    # Not an edit that came after the one that we looked at.
    ended = Order.objects.filter(pk=edit.pk, edited_at=edit.edited_at).update(edited_at=None, edit_wait_until=None)
    if ended:
        announce(invoice_ready, Order, polar_order_id=edit.pk)


# What webhooks tell


def heed(order: PortalOrder, *, refunded: bool) -> Callable[[], None]:
    """End the wait for an invoice that is there, and let no receipt from before a refund be used again.

    Returns what is left to do in the cache, once the database has committed. Raises what the database raises, and
    PolarMisconfigured.
    """
    edit = Order.objects.filter(pk=order.id, edited_at__isnull=False).first()
    # Of one whose answer was lost this may be the edit itself.
    awaited = edit if edit and edit.edit_wait_until and not edit.edit_post_again else None
    if awaited and awaited.edited_at and order.modified_at > from_field(awaited.edited_at):
        _forget_edit(awaited)
        edit = None
    outdated: list[str] = []
    # One that is to be made once more is waited for by the customer's own clicks: only those may ask Polar.
    if order.is_invoice_generated and edit is None:
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
    ask_every: float,
    ask: Callable[[dict[str, float] | None], Document],
) -> Document:
    """Return the document's address from the cache, or let one click at a time `ask` for it, told what is pending."""
    if document := cached(identity, kind, polar_order_id):
        return document
    key = identity.key(kind, polar_order_id)
    pending: dict[str, float] | None = None
    settles_at = 0.0

    def find() -> Document | None:
        nonlocal pending, settles_at
        document, pending, settles_at = _look(identity, kind, polar_order_id)
        if document is None and pending and (wait := pending["asked"] + ask_every - time.time()) > 0:
            too_early = _still_pending(polar_order_id, min(wait, ask_every))
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
                _remember_pending(identity, kind, polar_order_id, since=pending["since"])
            raise
        if is_kept(document, asked_at):
            identity.cache.set(key, _pack(document, asked_at), _reusable_for(document, asked_at))
        if pending:
            identity.cache.delete(_pending_key(identity, kind, polar_order_id))
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
    key, pending_key = identity.key(kind, polar_order_id), _pending_key(identity, kind, polar_order_id)
    seen = identity.cache.get_many([key, pending_key, *identity.memory_keys])
    value = seen.get(key)
    if document := _reusable(identity, value):
        return document, None, 0.0
    identity.recall(seen)
    settles_at = value.get("settles_at") if isinstance(value, dict) else None
    return None, _pending(seen.get(pending_key)), float(settles_at) if is_moment(settles_at) else 0.0


def _recall(identity: Identity, kind: str, polar_order_id: uuid.UUID) -> dict[str, float] | None:
    pending_key = _pending_key(identity, kind, polar_order_id)
    seen = identity.cache.get_many([pending_key, *identity.memory_keys])
    identity.recall(seen)
    return _pending(seen.get(pending_key))


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


def _pending_key(identity: Identity, kind: str, polar_order_id: uuid.UUID) -> str:
    return identity.key(f"{kind}-pending", polar_order_id)


def _pending(value: Any) -> dict[str, float] | None:
    """Read what `_remember_pending` wrote: since when it is made, and when Polar was last asked whether it is ready."""
    if not isinstance(value, dict) or not all(is_moment(value.get(name)) for name in ("since", "asked")):
        return None
    return value if value["since"] + PENDING_LIFE > time.time() else None


def _remember_pending(identity: Identity, kind: str, polar_order_id: uuid.UUID, *, since: float) -> None:
    value = {"since": since, "asked": time.time()}
    identity.cache.set(_pending_key(identity, kind, polar_order_id), value, since + PENDING_LIFE - time.time())


def _still_pending(polar_order_id: uuid.UUID, wait: float) -> DocumentPending:
    return DocumentPending(polar_order_id=polar_order_id, retry_after=max(1, math.ceil(wait)))
