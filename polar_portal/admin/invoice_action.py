"""The action "Download invoice": leads to one invoice or to a zip of several, with the organization's own token."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from polar_portal import making, mirror, waiting
from polar_portal.exceptions import (
    DocumentPending,
    InvoiceNotGenerated,
    OrderNotFound,
    PolarError,
    PolarMisconfigured,
)
from polar_portal.portal import OrganizationPortal, order_id_of
from polar_portal.texts import DOCUMENTS, FAILURES
from polar_portal.views import Redirect

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = object

#: How many orders this brings at once; `polar_export_invoices` brings any number.
MOST_AT_ONCE = 500


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
        portal, order_id = OrganizationPortal(), _order_id(polar_order_id)
        if order_id is None:
            raise OrderNotFound("This is no order's id.")
        address = reverse(f"{self.admin_site.name}:{self._polar_invoice_name}", args=[order_id])
        try:
            if "generate" in request.POST:
                portal.generate_invoice(order_id)
                return Redirect(waiting.first(address), status=303)
            portal.require("invoice", order_id)
        except InvoiceNotGenerated as missing:
            context = {
                "title": _("This order has no invoice yet"),
                "text": FAILURES[missing.code][1],
                "generate": _("Make invoice"),
            }
            return self._ask_first(request, [pk], context)
        except DocumentPending:
            return Redirect(waiting.first(address), status=303)
        return self._ready(request, address)

    def _download_several(self, request: HttpRequest, chosen: Sequence[tuple[Any, Any]]) -> HttpResponseBase:
        from polar_portal.export.zips import Row, zip_response  # here: it loads requests

        rows = [(str(pk), _order_id(polar_order_id)) for pk, polar_order_id in chosen]
        known = mirror.known([order_id for _pk, order_id in rows if order_id])
        orders = [known[order_id] for _pk, order_id in rows if order_id in known]
        missing = sum(order.may_have_invoice and not order.is_invoice_generated for order in orders)
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
        waited = waiting.waited(request)
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
            seconds = pending.retry_after or making.ASK_EVERY
        except InvoiceNotGenerated:
            if not waiting.is_believed(waited):
                raise
            seconds = making.ASK_EVERY
        else:
            return self._ready(request, request.path)
        title, gave_up = DOCUMENTS["invoice"][0], waiting.is_over(waited)
        response = self._page(request, "waiting", {"title": title, "gave_up": gave_up, "document_url": request.path})
        waiting.come_back(response, request.path, seconds, waited)
        return response

    def _ready(self, request: HttpRequest, address: str) -> HttpResponse:
        response = self._page(request, "ready", {"title": _("The invoice is ready"), "document_url": address})
        waiting.start_download(response, address)
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


def _order_id(value: Any) -> uuid.UUID | None:
    """Return what a host's field holds as an order's id at Polar; None for anything else."""
    return order_id_of(str(value).strip())
