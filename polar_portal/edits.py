"""After an edit of what an invoice shows: the customer is not given the old file in silence.

Polar sets the order's `modified_at` when a job has stored the file (read in its source, 2026-08); nothing else tells
the old file from the new one. A job that ran during the edit stores the old details, so in that case Polar is asked to
make it once more after the first change. Another change may end the wait early; 45 s always do.

What is noted of an edit is in the database, so that it outlives the cache; and it is read from where it was written: a
replica that lags would have the old file handed out.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from datetime import datetime, timedelta

from django.db.models import QuerySet
from django.utils.timezone import now

from polar_portal import making
from polar_portal.api.schemas import PortalOrder
from polar_portal.database import announce, as_written, from_field, to_field, tolerating_database
from polar_portal.exceptions import PolarMisconfigured
from polar_portal.identity import CustomerIdentity, Identity, keys_of_all
from polar_portal.models import Order
from polar_portal.signals import invoice_ready

#: Seconds that an edited invoice is waited for in all, and after it has been asked for a second time.
LONGEST_EDIT = 45
LONGEST_SECOND_EDIT = 10


def may_be_in_the_making(identity: Identity, polar_order_id: uuid.UUID) -> bool:
    """Tell whether somebody has asked for the invoice lately: then a job of Polar's may have read the order by now."""
    return making.read(identity.cache.get(making.key(identity, "invoice", polar_order_id))) is not None


def note(identity: Identity, before: PortalOrder, after: PortalOrder, *, running: bool) -> None:
    """Note that Polar's file of this invoice, and our kept address of it, show what `before` was.

    running: whether a job may have read the old details; asked before the edit, as a webhook about it may come at once.

    Without a file that could be old nothing is noted.
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


def note_lost(identity: Identity, before: PortalOrder, *, running: bool) -> None:
    """Note that an order may have been edited: Polar's answer was lost. Whether it was, the next click finds out.

    running: as in `note`.
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


def may_be_lost(polar_order_id: uuid.UUID) -> bool:
    """Tell whether an edit's answer was lost, and nobody knows yet whether it took effect."""
    edit = _edited(polar_order_id)
    return edit is not None and edit.edit_wait_until is None


def make_again(identity: Identity, polar_order_id: uuid.UUID, polar_customer_id: uuid.UUID | None) -> None:
    """Ask Polar to make the invoice with its new details, however lately it was asked before."""
    making.make_invoice(identity, polar_order_id)
    # Once more: a click that had got the old address before the note was there may have kept it since.
    _forget_invoice(identity, polar_order_id, polar_customer_id)
    with tolerating_database("That an edited invoice was asked for can't be kept"):
        _edits(polar_order_id).update(edit_posted=True, edit_wait_until=now() + timedelta(seconds=LONGEST_EDIT))


def _forget_invoice(identity: Identity, polar_order_id: uuid.UUID, polar_customer_id: uuid.UUID | None) -> None:
    """Drop the invoice's address for whoever may have it: other users of this customer, and the staff, too."""
    keys = [identity.key("invoice", polar_order_id)]
    # Without a token there is no staff that may have it.
    with tolerating_database("Who else may have an edited invoice can't be read"), suppress(PolarMisconfigured):
        keys += keys_of_all("invoice", polar_order_id, polar_customer_id)
    for key in dict.fromkeys(keys):
        identity.cache.delete(key)


def _edits(polar_order_id: uuid.UUID) -> QuerySet[Order]:
    return as_written(Order).filter(pk=polar_order_id, edited_at__isnull=False)


def _edited(polar_order_id: uuid.UUID) -> Order | None:
    with tolerating_database("Whether an invoice was edited can't be read"):
        return _edits(polar_order_id).first()
    return None


def edited_at(polar_order_id: uuid.UUID) -> datetime | None:
    """Return the edit that is waited for, by its moment; None when there is none, or the database does not say."""
    # One column and no order: asked twice in a cold click, whose time is mostly what Django takes to write its SQL.
    rows = _edits(polar_order_id).order_by().values_list("edited_at", flat=True)
    with tolerating_database("Whether an invoice was edited can't be read"):
        for moment in rows:
            return moment
    return None


def wait(identity: Identity, polar_order_id: uuid.UUID) -> datetime | None:
    """Raise DocumentPending while Polar has the file from before an edit. Return the edit that is not waited for."""
    edit = _edited(polar_order_id) if edited_at(polar_order_id) else None
    if edit is None or edit.edited_at is None:
        return None
    if edit.edit_wait_until is None:
        return _look_for_lost_edit(identity, edit, edit.edited_at)
    if not edit.edit_posted and isinstance(identity, CustomerIdentity):
        make_again(identity, polar_order_id, edit.polar_customer_id)  # the first time it failed
    elif now() >= edit.edit_wait_until:
        if not edit.edit_posted:
            return edit.edited_at  # the customer's next click has it made
        _end_edit(edit)
        return None
    else:
        order = identity.call(lambda client: client.order(polar_order_id))
        if order.modified_at > from_field(edit.edited_at):
            if not (edit.edit_post_again and isinstance(identity, CustomerIdentity)):
                _end_edit(edit)
                return None
            making.make_invoice(identity, polar_order_id)
            until = min(edit.edit_wait_until, now() + timedelta(seconds=LONGEST_SECOND_EDIT))
            with tolerating_database("That an edited invoice was asked for again can't be kept"):
                Order.objects.filter(pk=edit.pk, edited_at=edit.edited_at).update(
                    edited_at=to_field(order.modified_at), edit_wait_until=until, edit_post_again=False
                )
    raise making.still_pending(polar_order_id)


def _look_for_lost_edit(identity: Identity, edit: Order, before: datetime) -> datetime | None:
    """Raise DocumentPending if an edit whose answer was lost has taken effect, and have the invoice made with it."""
    if not isinstance(identity, CustomerIdentity):
        return before  # the customer's next click has it made
    order = identity.call(lambda client: client.order(edit.pk))
    # Where a job is waited for anyway, it is waited for as if it had.
    happened = edit.edit_post_again or order.modified_at > from_field(before)
    with tolerating_database("Whether an invoice was edited can't be kept"):
        Order.objects.filter(pk=edit.pk, edited_at=before, edit_wait_until__isnull=True).update(
            edited_at=to_field(order.modified_at) if happened else None,
            edit_wait_until=now() + timedelta(seconds=LONGEST_EDIT) if happened else None,
        )
    if not happened:
        return None
    make_again(identity, edit.pk, edit.polar_customer_id)
    raise making.still_pending(edit.pk)


def heed(order: PortalOrder) -> bool:
    """End the wait if this order is newer than its edit. Tell whether it is still waited for.

    Raises what the database raises.
    """
    edit = _edits(order.id).first()
    # Of one whose answer was lost this may be the edit itself. One that is to be made once more is waited for by the
    # customer's own clicks: only those may ask Polar.
    awaited = edit if edit and edit.edit_wait_until and not edit.edit_post_again else None
    if awaited and awaited.edited_at and order.modified_at > from_field(awaited.edited_at):
        _forget_edit(awaited)
        return False
    return edit is not None


def _end_edit(edit: Order) -> None:
    with tolerating_database("That an edited invoice is there can't be kept"):
        _forget_edit(edit)


def _forget_edit(edit: Order) -> None:
    # Not an edit that came after the one that we looked at.
    ended = Order.objects.filter(pk=edit.pk, edited_at=edit.edited_at).update(edited_at=None, edit_wait_until=None)
    if ended:
        announce(invoice_ready, Order, polar_order_id=edit.pk)
