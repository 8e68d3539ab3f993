from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone

from polar_portal.models import Order
from polar_portal.portal import PortalOrder


class PurchaseManager(models.Manager["Purchase"]):
    def add(self, user_id: Any, order: Order | PortalOrder) -> Purchase:
        """Return the purchase of this order at Polar, made for the user unless it is there."""
        # The same facts, as this site keeps them or as Polar has just answered them.
        order_id = order.polar_order_id if isinstance(order, Order) else order.id
        purchase, _created = self.get_or_create(
            polar_order_id=order_id,
            defaults={
                "user_id": user_id,
                "product_name": order.description[:200],
                "amount": order.total_amount,
                "currency": order.currency[:3],
                "status": order.status,
                "polar_customer_id": order.polar_customer_id,
                "created_at": order.created_at,
            },
        )
        return purchase


class Purchase(models.Model):
    """What somebody bought. All that polar_portal needs of it is `polar_order_id`."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="purchases")
    product_name = models.CharField(max_length=200)
    amount = models.PositiveIntegerField(help_text="In cents, taxes included.")
    currency = models.CharField(max_length=3, default="usd")
    status = models.CharField(max_length=50, default="paid", help_text="As Polar calls it.")
    # Empty for what was not sold through Polar.
    polar_order_id = models.UUIDField("Polar order id", null=True, blank=True, unique=True)
    # Tells whose an order is that comes without its buyer, such as the next month of a subscription.
    polar_customer_id = models.UUIDField("Polar customer id", null=True, blank=True, db_index=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = PurchaseManager()

    class Meta:
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return self.product_name

    def get_absolute_url(self) -> str:
        return reverse("shop:purchase_detail", args=[self.pk])

    @property
    def price(self) -> str:
        """The amount to read, e.g. `24.00 USD`."""
        return f"{self.amount / 100:,.2f} {self.currency.upper()}"
