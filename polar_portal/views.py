"""The pages and the JSON that customers meet. Each asks the service layer and turns its answer into a response."""

from __future__ import annotations

import functools
import logging
import re
import uuid
from datetime import datetime, timezone
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseFailure
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, UnreadablePostError
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import escape_leading_slashes
from django.utils.translation import gettext_lazy as _
from django.views import View
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from polar_portal import events, making, waiting
from polar_portal.conf import conf
from polar_portal.exceptions import (
    COME_BACK,
    BillingDetailsInvalid,
    BillingDetailsMissing,
    DocumentPending,
    InvoiceNotGenerated,
    NotACustomer,
    OrderNotEligible,
    OrderNotFound,
    PolarError,
    PolarMisconfigured,
    PolarUnavailable,
    WebhookVerificationError,
)
from polar_portal.forms import BillingDetailsForm
from polar_portal.portal import CustomerPortal, Document, PortalOrder
from polar_portal.texts import DOCUMENTS, FAILURES

LARGEST_DELIVERY = 1024 * 1024

logger = logging.getLogger(__name__)


#: How browsers say, today and formerly, that they only guess where a customer goes next.
GUESSES = ("HTTP_SEC_PURPOSE", "HTTP_PURPOSE", "HTTP_X_PURPOSE", "HTTP_X_MOZ")


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


class Link:
    """A secret address for a template: `str` gives it; `repr`, which a DEBUG page shows of every variable, does not."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __str__(self) -> str:
        return self._address


def outside_transactions(view: Any) -> Any:
    """Mark a view as not wanting ATOMIC_REQUESTS, of whichever database."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


@functools.lru_cache(maxsize=128)  # browsers send few different ones
def prefers_json(accept: str) -> bool:
    request = HttpRequest()
    request.META["HTTP_ACCEPT"] = accept
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"


def guarded(view: Any) -> Any:
    """Check forms for CSRF, and keep all answers, those of that check too, out of every cache."""
    protected = csrf_protect(view)

    @functools.wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        # Where Django's middleware has let it pass, to check it again is a tenth of our time in a click.
        answer = view if getattr(request, "csrf_processing_done", False) else protected
        response: HttpResponseBase = answer(request, *args, **kwargs)
        response["Vary"] = "Accept, Cookie"  # which is all that it has by now: Cookie, if anything
        response["Cache-Control"] = "private, no-store"
        return response

    return wrapped


class PortalView(View):
    """What all our views have in common: who may come, HTML or JSON, failures, headers.

    Not in the host's transaction, because Polar is called. Exempt from LoginRequiredMiddleware, because the answer to
    those who are not signed in is ours: JSON for those who ask for JSON.
    """

    request: HttpRequest

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        # Here and not by `method_decorator`, which decorates anew at each request.
        return outside_transactions(login_not_required(guarded(super().as_view(**initkwargs))))

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.wants_json = prefers_json(request.META.get("HTTP_ACCEPT", "*/*"))
        user = request.user
        if user.is_authenticated:
            # Looked at by now, so that it is there: what makes it lazy takes a tenth of our time in a click.
            self.portal = CustomerPortal(getattr(user, "_wrapped", user))
            # A browser that only guesses where the customer goes next causes no call to Polar.
            guess = request.method in {"GET", "HEAD"} and is_guess(request)
            try:
                response = self.guessed(**kwargs) if guess else super().dispatch(request, *args, **kwargs)
            except PolarError as failure:
                response = self.failed(failure, **kwargs)
            except ImproperlyConfigured:
                response = self.failed(PolarMisconfigured(), **kwargs)
        elif self.wants_json:
            response = JsonResponse({"error": "not_authenticated", "detail": str(_("Please sign in."))}, status=401)
        else:
            response = redirect_to_login(self.back)
        return response

    def guessed(self, **kwargs: Any) -> HttpResponse:
        """Answer a prefetch without asking Polar."""
        raise PolarUnavailable("not for a prefetch", retry_after=1)

    def failed(self, failure: PolarError | PolarMisconfigured, **kwargs: Any) -> HttpResponse:
        """Answer with the failure's status, in the customer's words."""
        if isinstance(failure, NotACustomer):
            failure = OrderNotFound()  # one answer for all: nobody learns which orders or customers exist
        return self.told(failure)

    @property
    def back(self) -> str:
        """Where a browser goes after signing in, or to try again."""
        # A path that begins with two slashes, which a pattern of the host's may let in, would be another site's.
        return escape_leading_slashes(self.request.get_full_path())

    def told(self, failure: PolarError | PolarMisconfigured) -> HttpResponse:
        title, text = FAILURES[failure.code]
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
                context["retry_url"] = self.back
            response = self.page("failure", context, failure.status)
        if failure.status == 503:
            # It has its line, at the level that it deserves. Django would add one at ERROR for each click while Polar
            # is away, and mail that to ADMINS.
            response._has_been_logged = True  # type: ignore[attr-defined]
        if retry_after is not None:
            response["Retry-After"] = str(retry_after)
        return response

    def page(self, name: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
        return render(self.request, f"polar_portal/{name}.html", context, status=status)


class DocumentView(PortalView):
    """GET leads to the document's PDF, or says what is in the way."""

    kind = ""

    def get(self, request: HttpRequest, polar_order_id: uuid.UUID) -> HttpResponse:
        if self.waits:
            self.portal.require(self.kind, polar_order_id)
            return self.ready(polar_order_id)
        return self.found(self.portal.document(self.kind, polar_order_id))

    def guessed(self, **kwargs: Any) -> HttpResponse:
        if document := self.portal.cached(self.kind, kwargs["polar_order_id"]):
            return self.ready(kwargs["polar_order_id"]) if self.waits else self.found(document)
        return super().guessed(**kwargs)

    def ready(self, polar_order_id: uuid.UUID) -> HttpResponse:
        """Answer a page that starts the download."""
        response = self.page("ready", self.texts(polar_order_id))
        waiting.start_download(response, self.address(polar_order_id))
        response["Referrer-Policy"] = "no-referrer"
        return response

    def found(self, document: Document) -> HttpResponse:
        if self.wants_json:
            response: HttpResponse = JsonResponse(
                {"url": document.url, "expires_at": document.expires_at and iso(document.expires_at)}
            )
        else:
            response = Redirect(document.url, status=302)
        response["Referrer-Policy"] = "no-referrer"
        return response

    def failed(self, failure: PolarError | PolarMisconfigured, **kwargs: Any) -> HttpResponse:
        if self.wants_json or not isinstance(failure, DocumentPending):
            return super().failed(failure, **kwargs)
        return self.wait(kwargs["polar_order_id"], failure.retry_after or making.ASK_EVERY)

    def wait(self, polar_order_id: uuid.UUID, seconds: int) -> HttpResponse:
        """Answer the page that comes back by itself."""
        waited = waiting.waited(self.request) or 0
        context = {**self.texts(polar_order_id), "gave_up": waiting.is_over(waited), "seconds": seconds}
        response = self.page("waiting", context)
        response["Retry-After"] = str(seconds)
        waiting.come_back(response, self.address(polar_order_id), seconds, waited)
        return response

    @property
    def waits(self) -> bool:
        """Whether this is the page that comes back by itself."""
        # Django takes a query apart even when there is none.
        return bool(self.request.META.get("QUERY_STRING")) and "waiting" in self.request.GET and not self.wants_json

    def address(self, polar_order_id: uuid.UUID) -> str:
        return reverse(f"polar_portal:{self.kind}", args=[polar_order_id])

    def texts(self, polar_order_id: uuid.UUID) -> dict[str, Any]:
        pending, ready, download = DOCUMENTS[self.kind]
        return {
            "document_url": self.address(polar_order_id),
            "pending_title": pending,
            "ready_title": ready,
            "download": download,
        }


class InvoiceView(DocumentView):
    """As DocumentView; POST has the invoice made."""

    kind = "invoice"

    def post(self, request: HttpRequest, polar_order_id: uuid.UUID) -> HttpResponse:
        try:
            self.portal.generate_invoice(polar_order_id)
        except BillingDetailsMissing:
            if self.wants_json:
                raise
            return Redirect(reverse("polar_portal:billing_details", args=[polar_order_id]), status=303)
        return made(self, polar_order_id)

    def failed(self, failure: PolarError | PolarMisconfigured, **kwargs: Any) -> HttpResponse:
        if not isinstance(failure, InvoiceNotGenerated):
            return super().failed(failure, **kwargs)
        if waiting.is_believed(waiting.waited(self.request)):
            return super().failed(DocumentPending(retry_after=making.ASK_EVERY), **kwargs)
        return super().failed(failure, **kwargs) if self.wants_json else self.offer(failure, kwargs["polar_order_id"])

    def offer(self, failure: InvoiceNotGenerated, polar_order_id: uuid.UUID) -> HttpResponse:
        """Answer the page that offers to make it, with what it will show."""
        try:
            # It was read on the way, unless another click went that way for us.
            order = failure.order or self.portal.order(polar_order_id)
        except (PolarError, PolarMisconfigured) as other:
            return super().failed(other, polar_order_id=polar_order_id)
        title, text = FAILURES[failure.code]
        return self.page("invoice_offer", {"title": title, "text": text, "order": order})


class ReceiptView(DocumentView):
    kind = "receipt"


class BillingDetailsView(PortalView):
    """The form with what an order's invoice shows; a good one has the invoice made."""

    def get(self, request: HttpRequest, polar_order_id: uuid.UUID) -> HttpResponse:
        form = BillingDetailsForm(self.order(polar_order_id))
        if self.wants_json:
            values = {name: form.initial.get(name, "") for name in BillingDetailsForm.base_fields}
            return JsonResponse({**values, "locked": form.locked})
        return self.page("billing_details", {"form": form, "order": form.order})

    def post(self, request: HttpRequest, polar_order_id: uuid.UUID) -> HttpResponse:
        order = self.order(polar_order_id)
        form = BillingDetailsForm(order, request.POST)
        if form.is_valid():
            try:
                self.portal.update_billing_details(
                    polar_order_id, name=form.cleaned_data["name"], address=form.address, order=order
                )
                return made(self, polar_order_id)
            except BillingDetailsInvalid as refused:
                form.add_refusals(refused.fields)
        status = BillingDetailsInvalid.status
        if self.wants_json:
            detail = str(FAILURES[BillingDetailsInvalid.code][1])
            fields = {name: [str(text) for text in texts] for name, texts in form.errors.items()}
            return JsonResponse(
                {"error": BillingDetailsInvalid.code, "detail": detail, "fields": fields}, status=status
            )
        return self.page("billing_details", {"form": form, "order": order}, status)

    def order(self, polar_order_id: uuid.UUID) -> PortalOrder:
        order = self.portal.order(polar_order_id)
        if not order.may_have_invoice:
            raise OrderNotEligible(polar_order_id=polar_order_id)
        return order


class OrderListView(PortalView):
    def get(self, request: HttpRequest) -> HttpResponse:
        asked = request.GET.get("page", "")
        page = max(1, int(asked)) if re.fullmatch(r"[0-9]{1,6}", asked) else 1
        listed = self.portal.orders(page)
        if self.wants_json:
            body = {
                "items": [order_json(order) for order in listed.items],
                "page": listed.page,
                "pages": listed.pages,
                "total": listed.total,
            }
            return JsonResponse(body | ({"stale": True} if listed.failure else {}))
        return self.page("order_list", {"listed": listed})

    def failed(self, failure: PolarError | PolarMisconfigured, **kwargs: Any) -> HttpResponse:
        if not isinstance(failure, NotACustomer):
            return super().failed(failure, **kwargs)
        if self.wants_json:
            return JsonResponse({"items": [], "page": 1, "pages": 1, "total": 0})
        title, text = FAILURES[failure.code]
        return self.page("order_list", {"title": title, "text": text})


class OrderDetailView(PortalView):
    def get(self, request: HttpRequest, polar_order_id: uuid.UUID) -> HttpResponse:
        order = self.portal.order(polar_order_id)
        if self.wants_json:
            return JsonResponse(order_json(order))
        return self.page("order_detail", {"order": order})


class HostedPortalView(PortalView):
    """POST opens Polar's own portal, signed in."""

    @property
    def back(self) -> str:
        return reverse("polar_portal:order_list")  # where the button is: this address takes no GET

    def post(self, request: HttpRequest) -> HttpResponse:
        back = conf.POLAR_RETURN_URL or self.back
        link = Link(self.portal.hosted_url(return_url=request.build_absolute_uri(back)))
        if self.wants_json:
            response: HttpResponse = JsonResponse({"url": str(link)})
        else:
            # A page, because a form's submission that ends at another origin is blocked under `form-action 'self'`.
            response = self.page("portal", {"hosted_url": link})
            response["Refresh"] = f"0; url={link}"
        response["Referrer-Policy"] = "no-referrer"
        return response

    def failed(self, failure: PolarError | PolarMisconfigured, **kwargs: Any) -> HttpResponse:
        return self.told(failure)


class WebhookView(View):
    """Takes Polar's deliveries. The signature is what lets them in: neither a session nor a CSRF token."""

    http_method_names = ["post"]

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        return outside_transactions(login_not_required(csrf_exempt(super().as_view(**initkwargs))))

    def post(self, request: HttpRequest) -> HttpResponse:
        try:
            if (body := self.body()) is None:
                return self.refused(413, "body_too_large", "A delivery has 1 MiB at most.")
            events.receive(request.headers, body)
        except (WebhookVerificationError, PolarMisconfigured) as failure:
            logger.log(failure.log_level, "%s: %s", failure.code, failure)
            return self.refused(failure.status, failure.code, WebhookVerificationError.default_message)
        except UnreadablePostError:
            return self.refused(400, "body_unreadable", "The body did not arrive.")
        except DatabaseFailure as failure:
            # Polar sends it again, up to ten times.
            logger.error("webhook_not_stored: %s", type(failure).__name__)
            response = self.refused(503, "webhook_not_stored", "The delivery can't be stored at the moment.")
            response["Retry-After"] = str(COME_BACK)
            return response
        return HttpResponse(status=204)

    def body(self) -> bytes | None:
        """Return the body, None for one that is too large; no more than that is read.

        Not `request.body`: what that reads is for the host's DATA_UPLOAD_MAX_MEMORY_SIZE to say.
        """
        length = self.request.headers.get("Content-Length", "")
        # Looked at as text first: of thousands of digits Python makes no number.
        if length.isdecimal() and (len(length) > 20 or int(length) > LARGEST_DELIVERY):
            return None
        body: bytes = self.request.read(LARGEST_DELIVERY + 1)
        return body if len(body) <= LARGEST_DELIVERY else None

    def refused(self, status: int, code: str, detail: str) -> HttpResponse:
        return JsonResponse({"error": code, "detail": detail}, status=status)


def is_guess(request: HttpRequest) -> bool:
    """Tell whether a browser fetches this before anybody has asked for it."""
    said = [request.META[name] for name in GUESSES if name in request.META]
    return bool(said) and any(re.search("prefetch|prerender|preview", each, re.IGNORECASE) for each in said)


def made(view: PortalView, polar_order_id: uuid.UUID) -> HttpResponse:
    """Answer who has had an invoice made: it is being prepared."""
    if view.wants_json:
        return view.told(DocumentPending(retry_after=making.ASK_EVERY))
    return Redirect(waiting.first(reverse("polar_portal:invoice", args=[polar_order_id])), status=303)


def order_json(order: PortalOrder) -> dict[str, Any]:
    """Return an order for a front end; amounts in the currency's smallest unit."""
    return {
        "id": str(order.id),
        "number": order.number or None,
        "status": order.status,
        "created_at": iso(order.created_at),
        "currency": order.currency,
        "total_amount": order.total_amount,
        "refunded_amount": order.refunded_amount,
        "description": order.description,
        "invoice": reverse("polar_portal:invoice", args=[order.id]) if order.may_have_invoice else None,
        "receipt": reverse("polar_portal:receipt", args=[order.id]) if order.has_receipt else None,
    }


def iso(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
