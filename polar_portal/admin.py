"""The Django admin: our own tables, and downloading invoices of selected orders with the organization's own token."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.contrib.auth import get_permission_codename, get_user_model
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from polar_portal.exceptions import PolarError, PolarMisconfigured
from polar_portal.models import CustomerSession, Order, WebhookDelivery, from_field
from polar_portal.portal import OrganizationPortal
from polar_portal.texts import FAILURES, STATUSES, amount_text, status_text
from polar_portal.views import Redirect

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    ListPaginator = Paginator[Any]
else:
    ModelAdmin = object
    ListPaginator = Paginator

#: How many rows a list pages through. Counting them all takes as long as reading them all, and nobody pages that far.
MOST_LISTED = 2000


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
    def download_invoices(self, request: HttpRequest, queryset: QuerySet[Model]) -> HttpResponse | None:
        """Open the invoice of the one selected order."""
        chosen = list(queryset.values_list(self.polar_order_id_field, flat=True)[:2])
        if len(chosen) != 1:
            self.message_user(
                request, _("Please select one order: several at once can't be downloaded yet."), messages.ERROR
            )
            return None
        chosen_id = str(chosen[0] or "").strip()
        if not chosen_id:
            self.message_user(request, _("There is no order at Polar for this one: it has no id."), messages.ERROR)
            return None
        try:
            OrganizationPortal().require("invoice", chosen_id)
        except (PolarError, PolarMisconfigured) as failure:
            self._tell(request, failure)
            return None
        # A page that opens the PDF, because the action is a form: under `form-action 'self'` browsers silently block a
        # form's submission that ends elsewhere, redirects included.
        order_id = uuid.UUID(chosen_id)
        address = reverse(f"{self.admin_site.name}:{self._polar_invoice_name}", args=[order_id])
        context = {
            **self.admin_site.each_context(request),
            "title": _("The invoice is ready"),
            "document_url": address,
            "list_url": reverse(f"{self.admin_site.name}:{self._changelist_name}"),
        }
        response = render(request, "admin/polar_portal/ready.html", context)
        response["Refresh"] = f"0; url={address}"
        response["Cache-Control"] = "private, no-store"
        return response

    def polar_invoice_view(self, request: HttpRequest, polar_order_id: uuid.UUID) -> HttpResponse:
        """Redirect staff to the PDF: from the cache, where the action has just put it."""
        if not self.has_download_invoice_permission(request):
            raise PermissionDenied
        try:
            document = OrganizationPortal(request.user).invoice(polar_order_id)
        except (PolarError, PolarMisconfigured) as failure:
            self._tell(request, failure)
            return Redirect(reverse(f"{self.admin_site.name}:{self._changelist_name}"), status=302)
        response = Redirect(document.url, status=302)
        response["Cache-Control"] = "private, no-store"
        response["Referrer-Policy"] = "no-referrer"
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
                    _("The newest %(count)s of the %(name)s found. Search or filter more narrowly to find others.")
                    % shown
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
        return self.search(queryset, term) if term else queryset, False

    def search(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
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

    def search(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        if polar_id := _as_uuid(term):
            # One or the other, not either in one question: so each is read off its own index, in the list's order.
            order = rows.filter(pk=polar_id)
            return order if order.exists() else rows.filter(polar_customer_id=polar_id)
        begins = Q()
        for text in {term, term.upper()}:
            begins |= Q(number__startswith=text) | Q(receipt_number__startswith=text)
        return rows.filter(begins)


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

    def search(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
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

    list_display = ["received_at", "type", "outcome", "attempts", "error", "delivery_id"]
    fields = ["delivery_id", "type", "received_at", "outcome", "attempts", "error"]
    list_filter = ["outcome", "received_at"]
    lookups = frozenset({"outcome__exact", "received_at__gte", "received_at__lt"})
    search_fields = ["delivery_id"]  # shows the search box; `search` does the rest
    search_help_text = _("The exact id of a delivery, or the exact type of events, like order.paid.")

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookDelivery]:
        return super().get_queryset(request).defer("body")

    def search(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        # As with an order's id.
        delivery = rows.filter(delivery_id=term)
        return delivery if delivery.exists() else rows.filter(type=term)


def _as_uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
