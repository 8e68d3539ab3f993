"""The Django admin: our own tables, read-only, and the action "Download invoice" for your own model of orders too.

Django imports this when it starts, so nothing here asks the database or Polar.
"""

from __future__ import annotations

from polar_portal.admin.invoice_action import InvoiceActionMixin
from polar_portal.admin.tables import CustomerSessionAdmin, OrderAdmin, WebhookDeliveryAdmin

__all__ = ["CustomerSessionAdmin", "InvoiceActionMixin", "OrderAdmin", "WebhookDeliveryAdmin"]
