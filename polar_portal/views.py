"""The pages and the JSON that customers meet. Each asks the service layer and turns its answer into a response."""

from __future__ import annotations

import re
import uuid
from contextlib import suppress
from datetime import timezone
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views import View
from django.views.decorators.csrf import csrf_protect

from polar_portal.documents import ASK_EVERY
from polar_portal.exceptions import (
    BillingDetailsMissing,
    DocumentPending,
    InvoiceNotGenerated,
    NotACustomer,
    NotPermitted,
    OrderNotEligible,
    OrderNotFound,
    PolarError,
    PolarMisconfigured,
    PolarUnavailable,
    RateLimited,
)
from polar_portal.portal import CustomerPortal, Document

#: How often a waiting page comes back by itself before it offers a way out instead.
LONGEST_WAIT = 20

#: Seconds after which to come back when a failure does not say.
COME_BACK = 30

#: What a customer is told: a title and a text, by the failure's code.
MESSAGES = {
    DocumentPending.code: (
        _("Your invoice is being prepared"),
        _("This takes a few seconds. You can stay on this page: the invoice opens by itself when it is ready."),
    ),
    InvoiceNotGenerated.code: (
        _("Your invoice has not been made yet"),
        _("It is made when you ask for it, and takes a few seconds."),
    ),
    OrderNotFound.code: (
        _("Order not found"),
        _("There is no such order in your account. Perhaps you bought it with another account than this one."),
    ),
    OrderNotEligible.code: (
        _("This order gets no invoice"),
        _("Invoices are made for completed orders only. This order was never completed, or was cancelled."),
    ),
    BillingDetailsMissing.code: (
        _("Billing details are missing"),
        _("An invoice needs a billing name and address, and this order has none. Please contact us to add them."),
    ),
    NotPermitted.code: (
        _("You may not see this order's billing"),
        _("Only owners and billing managers of your team can. Please ask one of them."),
    ),
    RateLimited.code: (
        _("Too many requests at the moment"),
        _("Your order is safe. Please try again in a minute."),
    ),
    PolarUnavailable.code: (
        _("Invoices can't be reached at the moment"),
        _("Our billing provider does not answer as it should. Your order is safe. Please try again in a minute."),
    ),
    PolarMisconfigured.code: (
        _("Something is wrong on our side"),
        _("A mistake in our set-up is in the way of your invoice; nothing you did caused it. Please contact us."),
    ),
}


class Redirect(HttpResponse):
    """A redirect to an address that we have made or checked.

    Not Django's: that refuses over 2,048 characters, which a URL signed with a role's credentials has, and its `repr`
    shows the address.
    """

    def __init__(self, address: str, *, status: int) -> None:
        super().__init__(status=status, headers={"Location": address})

    @property
    def url(self) -> str:
        return self["Location"]


@method_decorator([transaction.non_atomic_requests, login_not_required, csrf_protect], name="dispatch")
class PortalView(View):
    """What all our views have in common: who may come, HTML or JSON, failures, headers.

    Not in the host's transaction, because Polar is called. Exempt from LoginRequiredMiddleware, because the answer to
    those who are not signed in is ours: JSON for those who ask for JSON.
    """

    request: HttpRequest

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.wants_json = request.get_preferred_type(["text/html", "application/json"]) == "application/json"
        if request.user.is_authenticated:
            try:
                response = super().dispatch(request, *args, **kwargs)
            except PolarError as failure:
                response = self.failed(failure, **kwargs)
            except ImproperlyConfigured:
                response = self.failed(PolarMisconfigured(), **kwargs)
        elif self.wants_json:
            response = JsonResponse({"error": "not_authenticated", "detail": str(_("Please sign in."))}, status=401)
        else:
            response = redirect_to_login(request.get_full_path())
        patch_vary_headers(response, ["Accept", "Cookie"])
        response["Cache-Control"] = "private, no-store"
        return response

    def failed(self, failure: PolarError | PolarMisconfigured, **kwargs: Any) -> HttpResponse:
        """Answer with the failure's status, in the customer's words."""
        if isinstance(failure, NotACustomer):
            failure = OrderNotFound()  # one answer for all: nobody learns which orders or customers exist
        title, text = MESSAGES[failure.code]
        retry_after = getattr(failure, "retry_after", None)
        if failure.status == 503:
            retry_after = retry_after or COME_BACK
        if self.wants_json:
            body: dict[str, Any] = {"error": failure.code, "detail": str(text)}
            if retry_after is not None:
                body["retry_after"] = retry_after
            response: HttpResponse = JsonResponse(body, status=failure.status)
        else:
            context = {"code": failure.code, "title": title, "text": text}
            if failure.status == 503:
                context["retry_url"] = self.request.path
            response = self.page("failure", context, failure.status)
        if retry_after is not None:
            response["Retry-After"] = str(retry_after)
        return response

    def page(self, name: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
        return render(self.request, f"polar_portal/{name}.html", context, status=status)


class InvoiceView(PortalView):
    """GET leads to the invoice's PDF, or says what is in the way. POST has it made."""

    def get(self, request: HttpRequest, polar_order_id: uuid.UUID) -> HttpResponse:
        portal = CustomerPortal(request.user)
        if request.headers.get("Sec-Purpose", "").startswith("prefetch"):
            # A browser that only guesses where the customer goes next causes no call to Polar.
            document = portal.cached_invoice(polar_order_id)
            if document is None:
                raise PolarUnavailable("not for a prefetch", retry_after=1)
        else:
            document = portal.invoice(polar_order_id)
        if not self.wants_json and "waiting" in request.GET:
            return self.ready(polar_order_id)
        return self.hand_out(document)

    def post(self, request: HttpRequest, polar_order_id: uuid.UUID) -> HttpResponse:
        with suppress(DocumentPending):  # another tab has just asked for it
            CustomerPortal(request.user).generate_invoice(polar_order_id)
        if self.wants_json:
            return self.failed(DocumentPending(retry_after=ASK_EVERY), polar_order_id=polar_order_id)
        return Redirect(f"{self.address(polar_order_id)}?waiting=0", status=303)

    def hand_out(self, document: Document) -> HttpResponse:
        if self.wants_json:
            expires_at = document.expires_at and document.expires_at.astimezone(timezone.utc)
            response: HttpResponse = JsonResponse(
                {"url": document.url, "expires_at": expires_at and expires_at.isoformat().replace("+00:00", "Z")}
            )
        else:
            response = Redirect(document.url, status=302)
        response["Referrer-Policy"] = "no-referrer"
        return response

    def ready(self, polar_order_id: uuid.UUID) -> HttpResponse:
        """Answer a page that starts the download, so that the page left behind tells the truth."""
        address = self.address(polar_order_id)
        response = self.page("ready", {"title": _("Your invoice is ready"), "document_url": address})
        response["Refresh"] = f"0; url={address}"
        response["Referrer-Policy"] = "no-referrer"
        return response

    def failed(self, failure: PolarError | PolarMisconfigured, **kwargs: Any) -> HttpResponse:
        if self.wants_json or not isinstance(failure, (DocumentPending, InvoiceNotGenerated)):
            return super().failed(failure, **kwargs)
        address, waited = self.address(kwargs["polar_order_id"]), self.waited()
        context: dict[str, Any] = {"invoice_url": address}
        # Without a cache nobody remembers that Polar was asked to make it; the address does.
        if isinstance(failure, InvoiceNotGenerated) and (waited is None or waited >= LONGEST_WAIT):
            context["title"], context["text"] = MESSAGES[failure.code]
            return self.page("invoice_offer", context)
        context["title"], context["text"] = MESSAGES[DocumentPending.code]
        waited = waited or 0
        context["gave_up"] = waited >= LONGEST_WAIT
        response = self.page("waiting", context, DocumentPending.status)
        retry_after = failure.retry_after or ASK_EVERY
        response["Retry-After"] = str(retry_after)
        if not context["gave_up"]:
            response["Refresh"] = f"{retry_after}; url={address}?waiting={waited + 1}"
        return response

    def waited(self) -> int | None:
        """Return how often this page has come back by itself; None when nobody waits."""
        waiting = self.request.GET.get("waiting", "")
        return min(int(waiting), LONGEST_WAIT) if re.fullmatch(r"[0-9]{1,4}", waiting) else None

    def address(self, polar_order_id: uuid.UUID) -> str:
        return reverse("polar_portal:invoice", args=[polar_order_id])
