"""The Django admin: downloading invoices of selected orders, with the organization's own token."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _

from polar_portal.exceptions import PolarError, PolarMisconfigured
from polar_portal.portal import OrganizationPortal
from polar_portal.texts import FAILURES
from polar_portal.views import Redirect

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = object


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
