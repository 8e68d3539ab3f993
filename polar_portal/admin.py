"""The Django admin: our own tables, and downloading invoices of selected orders with the organization's own token."""

from __future__ import annotations

import contextlib
import itertools
import re
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.contrib.auth import get_permission_codename, get_user_model
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from polar_portal import events
from polar_portal.documents import ASK_EVERY
from polar_portal.exceptions import (
    DocumentPending,
    InvoiceNotGenerated,
    OrderNotFound,
    PolarError,
    PolarMisconfigured,
)
from polar_portal.export import MOST_AT_ONCE, Row, zip_response
from polar_portal.models import CustomerSession, Order, WebhookDelivery, from_field, tolerating_database
from polar_portal.portal import OrganizationPortal, PortalOrder
from polar_portal.texts import DOCUMENTS, FAILURES, STATUSES, amount_text, status_text
from polar_portal.views import LONGEST_WAIT, WAIT_UNSEEN, Redirect

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    ListPaginator = Paginator[Any]
else:
    ModelAdmin = object
    ListPaginator = Paginator

#: How many rows a list pages through. Counting them all takes as long as reading them all, and nobody pages that far.
MOST_LISTED = 2000
#: How many orders a search by the beginning of a number finds. With 2,000 PostgreSQL would rather look whether each of
#: the newest orders is one of them.
MOST_BEGINNING = 100


class InvoiceActionMixin(ModelAdmin):
    """Adds the action "Download invoice" to the admin of your own order model.

        @admin.register(Purchase)
        class PurchaseAdmin(InvoiceActionMixin, admin.ModelAdmin):
            polar_order_id_field = "polar_order_id"

    polar_order_id_field: the field with the order's id at Polar; `payment__polar_order_id` follows a relation.

    For staff with the permission `polar_portal.download_invoice`. Polar is asked as the organization, not as the
    customer, so this reaches the orders of all customers.
    """

    polar_order_id_field = "polar_order_id"
    actions: Any = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Keep our action where the subclass lists actions of its own, unless it wants none (`actions = None`)."""
        super().__init_subclass__(**kwargs)
        if cls.actions is not None and "download_invoices" not in cls.actions:
            cls.actions = [*cls.actions, "download_invoices"]

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "polar-invoice/<uuid:polar_order_id>/",
                self.admin_site.admin_view(self.polar_invoice_view),
                name=self._polar_invoice_name,
            ),
            *super().get_urls(),
        ]

    def has_download_invoice_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("polar_portal.download_invoice")

    @admin.action(permissions=["download_invoice"], description=_("Download invoice"))
    def download_invoices(self, request: HttpRequest, queryset: QuerySet[Model]) -> HttpResponseBase | None:
        """Lead to the invoice of the one selected order, or answer with a zip of several."""
        if not self.has_download_invoice_permission(request):
            raise PermissionDenied
        chosen = list(queryset.values_list("pk", self.polar_order_id_field)[: MOST_AT_ONCE + 1])
        if len(chosen) > MOST_AT_ONCE:
            text = _("Please select at most %(most)d orders. For more there is the command %(command)s.")
            told = {"most": MOST_AT_ONCE, "command": "polar_export_invoices"}
            self.message_user(request, text % told, messages.ERROR)
            return None
        try:
            if len(chosen) == 1:
                return self._download_one(request, *chosen[0])
            return self._download_several(request, chosen) if chosen else None
        except (PolarError, PolarMisconfigured) as failure:
            self._tell(request, failure)
            return None

    def _download_one(self, request: HttpRequest, pk: Any, polar_order_id: Any) -> HttpResponse | None:
        if not str(polar_order_id or "").strip():
            self.message_user(request, _("There is no order at Polar for this one: it has no id."), messages.ERROR)
            return None
        portal, order_id = OrganizationPortal(), _as_uuid(polar_order_id)
        if order_id is None:
            raise OrderNotFound("This is no order's id.")
        address = reverse(f"{self.admin_site.name}:{self._polar_invoice_name}", args=[order_id])
        try:
            if "generate" in request.POST:
                portal.generate_invoice(order_id)
                return Redirect(f"{address}?waiting=0", status=303)
            portal.require("invoice", order_id)
        except InvoiceNotGenerated as missing:
            context = {
                "title": _("This order has no invoice yet"),
                "text": FAILURES[missing.code][1],
                "generate": _("Make invoice"),
            }
            return self._ask_first(request, [pk], context)
        except DocumentPending:
            return Redirect(f"{address}?waiting=0", status=303)
        return self._ready(request, address)

    def _download_several(self, request: HttpRequest, chosen: Sequence[tuple[Any, Any]]) -> HttpResponseBase:
        rows = [(str(pk), _as_uuid(polar_order_id)) for pk, polar_order_id in chosen]
        known = {order.pk: order for order in _known([order_id for _pk, order_id in rows if order_id])}
        missing = sum(_misses_invoice(known[order_id]) for _pk, order_id in rows if order_id in known)
        if missing and not {"generate", "without"} & request.POST.keys():
            text = ngettext(
                "%(missing)d of the %(count)d selected orders has no invoice yet.",
                "%(missing)d of the %(count)d selected orders have no invoice yet.",
                missing,
            )
            context = {
                "title": _("Not every order has an invoice yet"),
                "text": text % {"missing": missing, "count": len(rows)},
                "generate": _("Make what is missing and download all"),
                "without": _("Download what is there"),
            }
            return self._ask_first(request, [pk for pk, _order in rows], context)
        return zip_response(
            request,
            [Row(pk, order_id, known[order_id].number if order_id in known else "") for pk, order_id in rows],
            generate="generate" in request.POST,
        )

    def _ask_first(self, request: HttpRequest, pks: Sequence[Any], context: dict[str, Any]) -> HttpResponse:
        """Answer a page that has the same action done for the same orders, whatever is on the list by then."""
        context |= {"pks": [str(pk) for pk in pks], "checkbox": ACTION_CHECKBOX_NAME}
        return self._page(request, "not_made", context)

    def polar_invoice_view(self, request: HttpRequest, polar_order_id: uuid.UUID) -> HttpResponse:
        """Redirect staff to the PDF: from the cache, where the action has just put it. With `waiting`, wait for it."""
        if not self.has_download_invoice_permission(request):
            raise PermissionDenied
        waiting = request.GET.get("waiting", "")
        waited = min(int(waiting), LONGEST_WAIT) if re.fullmatch(r"[0-9]{1,4}", waiting) else None
        try:
            if waited is not None:
                return self._wait(request, polar_order_id, waited)
            document = OrganizationPortal(request.user).invoice(polar_order_id)
        except (PolarError, PolarMisconfigured) as failure:
            self._tell(request, failure)
            return Redirect(reverse(f"{self.admin_site.name}:{self._changelist_name}"), status=302)
        response = Redirect(document.url, status=302)
        response["Cache-Control"] = "private, no-store"
        response["Referrer-Policy"] = "no-referrer"
        return response

    def _wait(self, request: HttpRequest, polar_order_id: uuid.UUID, waited: int) -> HttpResponse:
        """Answer a page that comes back by itself until the invoice is there, but not for ever."""
        try:
            OrganizationPortal().require("invoice", polar_order_id)
        except DocumentPending as pending:
            seconds = pending.retry_after or ASK_EVERY
        except InvoiceNotGenerated:
            # Without a cache nobody remembers that Polar was asked to make it. The address does, for a while.
            if waited >= WAIT_UNSEEN:
                raise
            seconds = ASK_EVERY
        else:
            return self._ready(request, request.path)
        gave_up = waited >= LONGEST_WAIT
        title = DOCUMENTS["invoice"][0]
        response = self._page(request, "waiting", {"title": title, "gave_up": gave_up, "document_url": request.path})
        response.status_code = DocumentPending.status
        if not gave_up:
            response["Refresh"] = f"{seconds}; url={request.path}?waiting={waited + 1}"
        return response

    def _ready(self, request: HttpRequest, address: str) -> HttpResponse:
        # A page that opens the PDF, because the action is a form: under `form-action 'self'` browsers silently block a
        # form's submission that ends elsewhere, redirects included.
        response = self._page(request, "ready", {"title": _("The invoice is ready"), "document_url": address})
        response["Refresh"] = f"0; url={address}"
        return response

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        list_url = reverse(f"{self.admin_site.name}:{self._changelist_name}")
        context = {**self.admin_site.each_context(request), "list_url": list_url, **context}
        response = render(request, f"admin/polar_portal/{name}.html", context)
        response["Cache-Control"] = "private, no-store"
        return response

    def _tell(self, request: HttpRequest, failure: PolarError | PolarMisconfigured) -> None:
        """Say what is in the way: in the customer's words, and in those of the log, which staff can use."""
        text = _("No invoice. %(title)s (%(reason)s)") % {"title": FAILURES[failure.code][0], "reason": failure}
        self.message_user(request, text, messages.ERROR)

    @property
    def _polar_invoice_name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_polar_invoice"

    @property
    def _changelist_name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_changelist"


def _as_uuid(value: Any) -> uuid.UUID | None:
    """Return what a host's field holds, or somebody has typed, as an id at Polar; None for anything else."""
    try:
        return value if isinstance(value, uuid.UUID) else uuid.UUID(str(value).strip())
    except ValueError:
        return None


def _known(order_ids: Collection[uuid.UUID]) -> list[Order]:
    """Return what this site knows of these orders; Polar is not asked."""
    with tolerating_database("Known orders can't be read"):
        return list(Order.objects.filter(pk__in=order_ids).only("pk", "number", "status", "is_invoice_generated"))
    return []


def _misses_invoice(order: Order) -> bool:
    return not order.is_invoice_generated and order.status not in PortalOrder.WITHOUT_INVOICE


# Our own tables. Polar writes them, people only look. They are as quick with a million rows as with ten: each page is
# read off an index, of which there is one for each filter and search, and nothing can be sorted.


class CappedPaginator(ListPaginator):
    """Pages through MOST_LISTED rows at most, and counts hardly more."""

    @cached_property
    def count(self) -> int:
        return min(self._counted, MOST_LISTED)

    @property
    def is_capped(self) -> bool:
        return self._counted > MOST_LISTED

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        # As they are listed, so that the index which the page is read off serves here too.
        return int(rows[: MOST_LISTED + 1].count())


class CappedChangeList(ChangeList):
    """A list that says so when there is more than it pages through."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        if self.paginator.is_capped:
            shown = {
                "count": number_format(MOST_LISTED, force_grouping=True),
                "name": self.opts.verbose_name_plural,
            }
            if self._is_narrowed:
                self.title = (
                    _("%(count)s of the %(name)s found. Search or filter more narrowly to find others.") % shown
                )
            else:
                self.title = _("The newest %(count)s %(name)s. Search or filter to find others.") % shown

    @property
    def _is_narrowed(self) -> bool:
        return bool(self.query or self.has_active_filters)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if self.paginator.is_capped or not self._is_narrowed:
            self.full_result_count = self.result_count  # which keeps "2000 results" from being said beside the search
        # Where all were on one page when they were counted, Django would read however many there are by now.
        self.result_list = self.result_list[:MOST_LISTED]

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        # Asked for by hand, since no column offers it: there is no index for it.
        self.params.pop(ORDER_VAR, None)
        return super().get_ordering(request, queryset)


class ReadOnlyMixin(ModelAdmin):
    """For a table of ours: nobody adds, changes or deletes; whoever may view it finds rows without reading them all.

    lookups: what the address of the list may filter by. Django allows every column, and whoever may ask what a column
        begins with can read it, a token's ciphertext too.
    """

    lookups: frozenset[str] = frozenset()
    list_per_page = 20  # as on the customers' own list; drawing a row takes longer than finding it
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they would count the table, once for each choice
    sortable_by = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return CappedChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup in self.lookups

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return self.search(request, queryset, term) if term else queryset, False

    def search(self, request: HttpRequest, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        """Return those of the rows that are meant by what was typed."""
        raise NotImplementedError

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any) -> Any:
        """Run an action; on "all" of a list only on those that the list has counted."""
        if request.POST.get("select_across", "0") not in {"", "0"}:
            queryset = queryset.filter(pk__in=list(queryset.values_list("pk", flat=True)[:MOST_LISTED]))
        return super().response_action(request, queryset, *args, **kwargs)

    def list_url(self, request: HttpRequest, model: type[Model], query: str = "") -> str:
        """Return the address of a model's list in this admin site, or "" if this member of staff can't see it."""
        if not self._shows(request, model):
            return ""
        address = reverse(f"{self.admin_site.name}:{model._meta.app_label}_{model._meta.model_name}_changelist")
        return f"{address}?{query}" if query else address

    def _shows(self, request: HttpRequest, model: type[Model]) -> bool:
        site = self.admin_site
        return site.is_registered(model) and site.get_model_admin(model).has_view_permission(request)

    def customer_field(self, request: HttpRequest) -> Callable[[Any], str]:
        """Make the field with a row's customer, and where to find what else there is of them."""
        links = (
            (_("Orders of this customer"), Order),
            (_("Sessions of this customer"), CustomerSession),
        )

        @admin.display(description=_("Polar customer id"))
        def customer(row: Order | CustomerSession) -> str:
            text = format_html("{}", row.polar_customer_id)
            for title, model in links:
                if address := self.list_url(request, model, f"polar_customer_id={row.polar_customer_id}"):
                    text = format_html('{}<br><a href="{}">{}</a>', text, address, title)
            return text

        return customer


class StatusFilter(admin.SimpleListFilter):
    """By the statuses that are known: to find those in use the whole table would have to be read."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return STATUSES.items()

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(status=self.value()) if self.value() in STATUSES else queryset


class CustomerFilter(admin.SimpleListFilter):
    """By one customer. It offers none; it shows the one that the address names, and the way back to all."""

    title = _("Polar customer id")
    parameter_name = "polar_customer_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(value, value)] if (value := self.value()) else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not (value := self.value()):
            return queryset
        if (customer_id := _as_uuid(value)) is None:
            raise IncorrectLookupParameters
        return queryset.filter(polar_customer_id=customer_id)


@admin.register(Order)
class OrderAdmin(InvoiceActionMixin, ReadOnlyMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """What this site knows of the orders at Polar."""

    list_display = ["number", "status_", "description", "total", "refunded", "created", "has_invoice"]
    list_filter = [StatusFilter, "created_at", "is_invoice_generated", CustomerFilter]
    lookups = frozenset(
        {"status", "created_at__gte", "created_at__lt", "is_invoice_generated__exact", "polar_customer_id"}
    )
    search_fields = ["number"]  # shows the search box; `search` does the rest
    search_help_text = _(
        "An invoice or receipt number, or how it begins; or the id of an order or of a customer at Polar."
    )

    def get_fields(self, request: HttpRequest, obj: Order | None = None) -> Any:
        return [
            "number", "receipt_number", "status_", "description", "total", "refunded", "is_invoice_generated",
            "created_at", "modified_at", "polar_order_id", self.customer_field(request),
        ]  # fmt: skip

    @admin.display(description=_("status"))
    def status_(self, order: Order) -> str:
        return status_text(order.status)

    @admin.display(description=_("total"))
    def total(self, order: Order) -> str:
        return amount_text(order.total_amount, order.currency)

    @admin.display(description=_("refunded"))
    def refunded(self, order: Order) -> str:
        refunded = order.refunded_amount + order.refunded_tax_amount
        return amount_text(refunded, order.currency) if refunded else self.get_empty_value_display()

    @admin.display(description=_("invoice"), boolean=True)
    def has_invoice(self, order: Order) -> bool:
        return order.is_invoice_generated

    @admin.display(description=_("created"))
    def created(self, order: Order) -> str:
        # Short, and as text, in which a line may break: else the last column is out of sight on most screens.
        return date_format(timezone.localtime(from_field(order.created_at)), "SHORT_DATETIME_FORMAT")

    def search(self, request: HttpRequest, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        if polar_id := _as_uuid(term):
            # One or the other, not either in one question: so each is read off its own index, in the list's order.
            order = rows.filter(pk=polar_id)
            return order if order.exists() else rows.filter(polar_customer_id=polar_id)
        variants = itertools.product(("number", "receipt_number"), {term, term.upper()})
        found = [_beginning_with(field, text) for field, text in variants]
        if max(map(len, found)) > MOST_BEGINNING and request.method == "GET":
            said = _("More than %(count)s numbers begin like this: type more to find them all.")
            self.message_user(request, said % {"count": MOST_BEGINNING}, messages.WARNING)
        return rows.filter(pk__in=set().union(*found))


@admin.register(CustomerSession)
class CustomerSessionAdmin(ReadOnlyMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """Which users act as which customers of Polar. What they act with is not shown: it is as good as a password."""

    ordering = ["-expires_at", "-pk"]
    list_filter = [CustomerFilter]
    lookups = frozenset({"polar_customer_id"})
    search_fields = ["user"]  # shows the search box; `search` does the rest
    search_help_text = _("A user's primary key or exact username, or the id of a customer at Polar.")

    def get_queryset(self, request: HttpRequest) -> QuerySet[CustomerSession]:
        return super().get_queryset(request).only("user_id", "polar_customer_id", "created_at", "expires_at")

    def get_list_display(self, request: HttpRequest) -> Any:
        return ["polar_customer_id", self.user_field(request), "created_at", "expires_at", "is_live"]

    def get_fields(self, request: HttpRequest, obj: CustomerSession | None = None) -> Any:
        return [
            self.user_field(request), self.customer_field(request), "created_at", "expires_at", "is_live",
        ]  # fmt: skip

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Tell whether a session may go along with its user, who is being deleted; here it can't be deleted."""
        match = request.resolver_match
        ours = f"{self.opts.app_label}_{self.opts.model_name}_"
        users = get_user_model()._meta
        may_delete_user = f"{users.app_label}.{get_permission_codename('delete', users)}"
        return bool(
            obj and match and not str(match.url_name).startswith(ours) and request.user.has_perm(may_delete_user)
        )

    def user_field(self, request: HttpRequest) -> Callable[[CustomerSession], str]:
        """Make the field with a session's user: the primary key alone, because their name may be an e-mail address."""
        users = get_user_model()
        linked = self._shows(request, users)
        page = f"{self.admin_site.name}:{users._meta.app_label}_{users._meta.model_name}_change"

        @admin.display(description=_("user"))
        def user(session: CustomerSession) -> str:
            if not linked:
                return str(session.user_id)
            address = reverse(page, args=[quote(session.user_id)])
            return format_html('<a href="{}">{}</a>', address, session.user_id)

        return user

    @admin.display(description=_("live"), boolean=True)
    def is_live(self, session: CustomerSession) -> bool:
        return session.expires_at > timezone.now()

    def search(self, request: HttpRequest, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        users = get_user_model()
        named = Q(**{users.USERNAME_FIELD: term})
        with contextlib.suppress(ValidationError):  # no primary key looks like this
            named |= Q(pk=users._meta.pk.to_python(term))
        # First the users, who are few: joined, both tables would be read.
        wanted = Q(user__in=list(users._default_manager.filter(named).values_list("pk", flat=True)[:MOST_LISTED]))
        if polar_id := _as_uuid(term):
            wanted |= Q(polar_customer_id=polar_id)
        return rows.filter(wanted)


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """What Polar has delivered, and what became of it. Its body is not shown: the customer's address stands there."""

    actions = ["run_again"]
    list_display = ["received_at", "type", "outcome", "attempts", "error", "delivery_id"]
    fields = ["delivery_id", "type", "received_at", "outcome", "attempts", "error"]
    list_filter = ["outcome", "received_at"]
    lookups = frozenset({"outcome__exact", "received_at__gte", "received_at__lt"})
    search_fields = ["delivery_id"]  # shows the search box; `search` does the rest
    search_help_text = _("The exact id of a delivery, or the exact type of its event.")

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookDelivery]:
        return super().get_queryset(request).defer("body")

    def has_run_again_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("polar_portal.change_webhookdelivery")

    @admin.action(permissions=["run_again"], description=_("Run again what failed"))
    def run_again(self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]) -> None:
        """Apply the selected deliveries that could not be applied; the others are left as they are."""
        failed = queryset.filter(outcome=WebhookDelivery.Outcome.FAILED).order_by("received_at", "pk")
        ended = [events.run_again(delivery).outcome for delivery in failed[:MOST_LISTED]]
        still = ended.count(WebhookDelivery.Outcome.FAILED)
        done = len(ended) - still
        if done or not still:
            text = ngettext("%(count)d delivery has taken effect.", "%(count)d deliveries have taken effect.", done)
            self.message_user(request, text % {"count": done}, messages.SUCCESS if done else messages.INFO)
        if still:
            text = ngettext("%(count)d delivery has failed again.", "%(count)d deliveries have failed again.", still)
            self.message_user(request, text % {"count": still}, messages.ERROR)

    def search(self, request: HttpRequest, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        # As with an order's id.
        delivery = rows.filter(delivery_id=term)
        return delivery if delivery.exists() else rows.filter(type=term)


def _beginning_with(field: str, text: str) -> set[uuid.UUID]:
    """Return the orders of which this field begins with `text`: MOST_BEGINNING, and one more if there are more.

    They are those that come next in the field's index, which serves this on every database. `LIKE` does not: SQLite and
    MySQL read the whole table for it, and PostgreSQL, where it expects many, all the orders that are newer than those.
    """
    from_there = Order.objects.filter(**{f"{field}__gte": text}).order_by(field).values_list(field, "pk")
    return {pk for value, pk in from_there[: MOST_BEGINNING + 1] if value.startswith(text)}
