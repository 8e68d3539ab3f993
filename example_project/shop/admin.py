from __future__ import annotations

from django.contrib import admin

from example_project.shop.models import Purchase
from polar_portal.admin import InvoiceActionMixin


@admin.register(Purchase)
class PurchaseAdmin(InvoiceActionMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["product_name", "user", "price", "status", "created_at"]
    list_filter = ["status"]
    list_select_related = ["user"]
    search_fields = ["product_name", "user__username", "polar_order_id"]
    autocomplete_fields = ["user"]
