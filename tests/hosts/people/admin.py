from __future__ import annotations

from django.contrib import admin

from polar_portal.admin import InvoiceActionMixin
from tests.hosts.people.models import Sale


@admin.register(Sale)
class SaleAdmin(InvoiceActionMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    polar_order_id_field = "payment__order"
