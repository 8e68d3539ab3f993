from __future__ import annotations

from django.urls import path

from polar_portal import views

app_name = "polar_portal"

urlpatterns = [
    path("orders/<uuid:polar_order_id>/invoice/", views.InvoiceView.as_view(), name="invoice"),  # most clicked
    path("orders/", views.OrderListView.as_view(), name="order_list"),
    path("orders/<uuid:polar_order_id>/", views.OrderDetailView.as_view(), name="order_detail"),
    path("orders/<uuid:polar_order_id>/receipt/", views.ReceiptView.as_view(), name="receipt"),
    path("orders/<uuid:polar_order_id>/billing-details/", views.BillingDetailsView.as_view(), name="billing_details"),
    path("portal/", views.HostedPortalView.as_view(), name="portal"),
    path("webhook/", views.WebhookView.as_view(), name="webhook"),
    # As some enter it at Polar, where a redirect counts as a failure and ten of those end it.
    path("webhook", views.WebhookView.as_view()),
]
