"""The service layer's face: what a customer, or the seller's staff, can do about an order.

>>> from polar_portal.portal import CustomerPortal
>>> CustomerPortal(request.user).invoice(polar_order_id)
Document(expires_at=datetime.datetime(2026, 11, 22, 12, 10, tzinfo=datetime.timezone.utc))

Every method may call Polar, takes POLAR_CLICK_BUDGET seconds at most, and raises what `polar_portal.exceptions` draws.

Each has a twin for async code, `ainvoice` for `invoice`, written as Django writes its own: a thread does the same work.
It is Django's thread for synchronous code (`thread_sensitive`): a database connection belongs to its thread, and at a
request's end Django closes the connections of that one alone. Its ASGI handler gives each request a thread of its own
(`ThreadSensitiveContext` in django/core/handlers/asgi.py), so a slow Polar holds up neither the event loop nor another
request. What one request asks is done one after the other, `asyncio.gather` or not; outside of requests, so is all that
the process asks. Who is cancelled, as a view is whose client has gone, waits no longer, but the thread goes on to the
end: no lock stays in the cache, and the connections are closed after that.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from asgiref.sync import sync_to_async

from polar_portal import documents, orders
from polar_portal.api.schemas import BillingAddress, Document, OrderLine, PortalOrder
from polar_portal.database import announce
from polar_portal.exceptions import OrderNotFound, PolarError, PolarMisconfigured
from polar_portal.identity import CustomerIdentity, Identity, OrganizationIdentity
from polar_portal.orders import Page
from polar_portal.pace import Pace
from polar_portal.signals import document_handed_out

__all__ = ["BillingAddress", "CustomerPortal", "Document", "OrderLine", "OrganizationPortal", "Page", "PortalOrder"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
#: For what is about a customer and no order.
NO_ORDER = uuid.UUID(int=0)
I = TypeVar("I", bound=Identity)  # noqa: E741 - whose portal it is


#: How each kind of document is had.
GIVE: dict[str, Callable[[Any, uuid.UUID], Document]] = {
    "invoice": documents.invoice,
    "receipt": documents.receipt,
}


def order_id_of(order: Any) -> uuid.UUID | None:
    """Return the order's id at Polar, None without one.

    order: a UUID, a string, or anything with `polar_order_id`.
    """
    try:
        return _uuid(getattr(order, "polar_order_id", order))
    except OrderNotFound:
        return None


class _Portal(Generic[I]):
    _user: Any = None

    @property
    def _asker(self) -> str:
        raise NotImplementedError

    def _identity(self) -> I:
        raise NotImplementedError

    def invoice(self, polar_order_id: uuid.UUID | str) -> Document:
        """Return the address of the order's invoice, from the cache when it can. Nothing is made by asking.

        Sends the signal `document_handed_out`.

        Args:
            polar_order_id: the order's id at Polar.

        Raises:
            InvoiceNotGenerated: nobody has had it made yet.
            DocumentPending: it is being made, or made again after its billing details were changed.
            OrderNotEligible: a draft or void order gets none.
            OrderNotFound: there is no such order for whoever asks, or this is no id.
            PolarError, PolarMisconfigured: what any call may raise, see above.
        """
        return self.document("invoice", polar_order_id)

    async def ainvoice(self, polar_order_id: uuid.UUID | str) -> Document:
        """See invoice()."""
        return await sync_to_async(self.invoice)(polar_order_id)

    def generate_invoice(self, polar_order_id: uuid.UUID | str) -> None:
        """Ask Polar to make the order's invoice; a few seconds later `invoice` has it.

        Polar answers the same whether it makes one or has one that is up to date, so this may be repeated; within 15
        seconds it is not asked again.

        Args:
            polar_order_id: the order's id at Polar.

        Raises:
            BillingDetailsMissing: the order has no billing name or no address.
            OrderNotEligible: a draft or void order gets none.
            OrderNotFound: there is no such order for whoever asks, or this is no id.
            PolarError, PolarMisconfigured: what any call may raise, see above.
        """
        self._run("making the invoice", polar_order_id, documents.generate_invoice)

    async def agenerate_invoice(self, polar_order_id: uuid.UUID | str) -> None:
        """See generate_invoice()."""
        await sync_to_async(self.generate_invoice)(polar_order_id)

    def receipt(self, polar_order_id: uuid.UUID | str) -> Document:
        """Return the address of the order's receipt, from the cache when it can.

        Polar renders it when it is asked for, so that the first answer is mostly DocumentPending. Sends the signal
        `document_handed_out`.

        Args:
            polar_order_id: the order's id at Polar.

        Raises:
            DocumentPending: it is being rendered.
            ReceiptUnavailable: the order has none.
            OrderNotFound: there is no such order for whoever asks, or this is no id.
            PolarError, PolarMisconfigured: what any call may raise, see above.
        """
        return self.document("receipt", polar_order_id)

    async def areceipt(self, polar_order_id: uuid.UUID | str) -> Document:
        """See receipt()."""
        return await sync_to_async(self.receipt)(polar_order_id)

    def document(self, kind: str, polar_order_id: uuid.UUID | str) -> Document:
        """Return the address of a document, as `invoice` and `receipt` do.

        Args:
            kind: "invoice" or "receipt".
            polar_order_id: the order's id at Polar.

        Raises: as those methods do.
        """
        document = self._run(kind, polar_order_id, GIVE[kind])
        self._announce(kind, polar_order_id)
        return document

    async def adocument(self, kind: str, polar_order_id: uuid.UUID | str) -> Document:
        """See document()."""
        return await sync_to_async(self.document)(kind, polar_order_id)

    def cached(self, kind: str, polar_order_id: uuid.UUID | str) -> Document | None:
        """Return the document if it can be had without asking Polar, else None.

        Sends the signal `document_handed_out` when it returns one.

        Args:
            kind: "invoice" or "receipt".
            polar_order_id: the order's id at Polar.

        Raises:
            NotACustomer: nobody is signed in, or the resolver says so.
            OrderNotFound: this is no id.
            PolarMisconfigured: a setting is wrong.
        """
        document = self._run(
            kind, polar_order_id, lambda identity, order_id: documents.cached(identity, kind, order_id)
        )
        if document:
            self._announce(kind, polar_order_id)
        return document

    async def acached(self, kind: str, polar_order_id: uuid.UUID | str) -> Document | None:
        """See cached()."""
        return await sync_to_async(self.cached)(kind, polar_order_id)

    def require(self, kind: str, polar_order_id: uuid.UUID | str) -> None:
        """Raise what is in the way of the document, as `invoice` and `receipt` do, and hand nothing out.

        For those who have to know whether it is ready before leading somebody to it; the address is in the cache then.

        Args:
            kind: "invoice" or "receipt".
            polar_order_id: the order's id at Polar.
        """
        self._run(kind, polar_order_id, GIVE[kind])

    async def arequire(self, kind: str, polar_order_id: uuid.UUID | str) -> None:
        """See require()."""
        await sync_to_async(self.require)(kind, polar_order_id)

    def _announce(self, kind: str, polar_order_id: uuid.UUID | str) -> None:
        if document_handed_out.receivers:  # mostly nobody listens, and a warm click need not look further
            announce(document_handed_out, type(self), user=self._user, polar_order_id=_uuid(polar_order_id), kind=kind)

    def _run(self, what: str, polar_order_id: uuid.UUID | str, act: Callable[[I, uuid.UUID], T]) -> T:
        """Do it, and for a failure write one line that whoever is on call can use."""
        order_id = NO_ORDER
        try:
            order_id = _uuid(polar_order_id)
            return act(self._identity(), order_id)
        except (PolarError, PolarMisconfigured) as failure:
            self._report(what, failure, "-" if order_id == NO_ORDER else order_id)
            # Without the frames below: a DEBUG page would show their variables, among them which customer it was.
            raise failure.with_traceback(None)  # noqa: B904 - it is the same exception

    def _report(self, what: str, failure: PolarError | PolarMisconfigured, order: uuid.UUID | str) -> None:
        # One that another click met, and reported, needs no second line.
        if not failure.remembered:
            logger.log(failure.log_level, "%s: %s, order %s, %s: %s", failure.code, what, order, self._asker, failure)


class CustomerPortal(_Portal[CustomerIdentity]):
    """What one signed-in user may do about their own orders, as their customer at Polar.

    Making one asks nobody; each call asks POLAR_CUSTOMER_RESOLVER whose customer they are. Any call may raise
    NotACustomer, NotPermitted, RateLimited, PolarUnavailable and PolarMisconfigured.

    Args:
        user: a user of your site; an anonymous or unsaved one is NotACustomer.
    """

    def __init__(self, user: Any) -> None:
        # Not looked at yet: `request.user` asks the database, which in an async view only the thread of a twin may.
        self._user = user

    @property
    def _asker(self) -> str:
        pk = str(getattr(self._user, "pk", None))
        # A key of the host's own making may be an e-mail address, or hold what forges a line of the log.
        return f"user {pk}" if re.fullmatch(r"[\w-]{1,64}", pk, re.ASCII) else "a user"

    def __repr__(self) -> str:
        return f"CustomerPortal({self._asker})"

    def _identity(self) -> CustomerIdentity:
        return CustomerIdentity(self._user)

    def orders(self, page: int = 1) -> Page:
        """Return one page of 20 orders, newest first, without drafts.

        When Polar can't be reached: the orders it has listed to this customer before, with the `failure`.

        Args:
            page: from 1; less is taken for 1, and one after the last has no items.

        Raises:
            RateLimited, PolarUnavailable: when no orders are known here, either.
            PolarError, PolarMisconfigured: what any call may raise, see above.
        """
        listed = self._run("orders", NO_ORDER, lambda identity, _: orders.list_orders(identity, max(page, 1)))
        if listed.failure:
            self._report("orders", listed.failure, "-")
        return listed

    async def aorders(self, page: int = 1) -> Page:
        """See orders()."""
        return await sync_to_async(self.orders)(page)

    def order(self, polar_order_id: uuid.UUID | str) -> PortalOrder:
        """Return one order as Polar has it now; it is always asked.

        Args:
            polar_order_id: the order's id at Polar.

        Raises:
            OrderNotFound: there is no such order for whoever asks, or this is no id.
            PolarError, PolarMisconfigured: what any call may raise, see above.
        """
        return self._run("order", polar_order_id, orders.order)

    async def aorder(self, polar_order_id: uuid.UUID | str) -> PortalOrder:
        """See order()."""
        return await sync_to_async(self.order)(polar_order_id)

    def update_billing_details(
        self,
        polar_order_id: uuid.UUID | str,
        *,
        name: str,
        address: BillingAddress | Mapping[str, str],
        order: PortalOrder | None = None,
    ) -> None:
        """Change the name and address on the order's invoice, and have it made with them.

        Until Polar has stored the new file `invoice` raises DocumentPending. With nothing changed, the invoice is only
        made if it was not. When the answer to the change is lost, this raises PolarUnavailable, and the next `invoice`
        finds out whether it took effect.

        Args:
            polar_order_id: the order's id at Polar.
            name: a person's or a company's.
            address: replaces the one before as a whole. Polar lets country and state change only while the order has no
                address. A mapping has the names of BillingAddress's fields.
            order: as `order` has just returned it; saves asking Polar for it again.

        Raises:
            BillingDetailsInvalid: Polar refuses them; `fields` says which and why.
            BillingDetailsMissing: Polar still finds no name or no address.
            OrderNotEligible: a draft or void order gets no invoice.
            OrderNotFound: there is no such order for whoever asks, or this is no id.
            PolarError, PolarMisconfigured: what any call may raise, see above.
        """
        new = address if isinstance(address, BillingAddress) else BillingAddress(**address)
        self._run(
            "billing details",
            polar_order_id,
            lambda identity, order_id: orders.update_billing_details(identity, order_id, name, new, order),
        )

    async def aupdate_billing_details(
        self,
        polar_order_id: uuid.UUID | str,
        *,
        name: str,
        address: BillingAddress | Mapping[str, str],
        order: PortalOrder | None = None,
    ) -> None:
        """See update_billing_details()."""
        await sync_to_async(self.update_billing_details)(polar_order_id, name=name, address=address, order=order)

    def hosted_url(self, *, return_url: str = "") -> str:
        """Return a link to Polar's hosted portal, signed in. It is a secret: send the browser there, store it nowhere.

        A new one is made at each call, of which there may be six a minute for one user, sessions included.

        Args:
            return_url: the absolute URL that the portal leads back to; without it there is no way back.

        Raises:
            PolarMisconfigured: `return_url` is no absolute URL, besides what any call may raise it for.
            PolarError: what any call may raise, see above.
        """
        return self._run("hosted portal", NO_ORDER, lambda identity, _: identity.issue_hosted_url(return_url)).reveal()

    async def ahosted_url(self, *, return_url: str = "") -> str:
        """See hosted_url()."""
        return await sync_to_async(self.hosted_url)(return_url=return_url)


class OrganizationPortal(_Portal[OrganizationIdentity]):
    """What the seller's staff may do about any order: with the organization's own token, never as a customer.

    It knows `invoice`, `generate_invoice`, `receipt`, `cached` and `require`, which do what CustomerPortal's do. It
    looks at no permission: whether somebody may ask is for you to decide. Any call may raise RateLimited,
    PolarUnavailable and PolarMisconfigured.

    Args:
        user: the member of staff it is done for, whom the signal `document_handed_out` tells; None for a script.
    """

    #: For those who ask many things in a row: they keep to half of Polar's limit.
    pace: Pace | None = None

    def __init__(self, user: Any = None) -> None:
        self._user = user

    def __repr__(self) -> str:
        return "OrganizationPortal()"

    @property
    def _asker(self) -> str:
        return "the organization"

    def _identity(self) -> OrganizationIdentity:
        return self.pace.identity() if self.pace else OrganizationIdentity()


def _uuid(polar_order_id: uuid.UUID | str) -> uuid.UUID:
    """Return the id as one of Python's own: of a class made from it, what `str` gives would become part of a path."""
    if type(polar_order_id) is uuid.UUID:
        return polar_order_id
    try:
        if isinstance(polar_order_id, uuid.UUID):
            return uuid.UUID(int=polar_order_id.int)
        return uuid.UUID(str.__str__(polar_order_id))
    except (ValueError, AttributeError, TypeError):
        raise OrderNotFound("This is no order's id.") from None
