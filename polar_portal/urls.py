from __future__ import annotations

from django.urls import path

from polar_portal import views

app_name = "polar_portal"

urlpatterns = [
    path("orders/<uuid:polar_order_id>/invoice/", views.InvoiceView.as_view(), name="invoice"),
]
