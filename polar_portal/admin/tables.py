"""Our own tables in the admin: orders, customers' sessions, webhook deliveries."""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote
from django.contrib.auth import get_permission_codename, get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from polar_portal import events
from polar_portal.admin.invoice_action import InvoiceActionMixin
from polar_portal.admin.lists import MOST_LISTED, ReadOnlyMixin
from polar_portal.database import from_field
from polar_portal.models import CustomerSession, Order, WebhookDelivery
from polar_portal.texts import STATUSES, amount_text, status_text

#: How many orders a search by the beginning of a number finds. With 2,000 PostgreSQL would rather look whether each of
#: the newest orders is one of them.
MOST_BEGINNING = 100


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
        ended = [events.run_again(delivery).outcome for delivery in failed]
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


def _as_uuid(text: str) -> uuid.UUID | None:
    """Return what somebody has typed as an id at Polar; None for anything else."""
    try:
        return uuid.UUID(text.strip())
    except ValueError:
        return None
