from __future__ import annotations

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone


class Purchase(models.Model):
    """What somebody bought. All that polar_portal needs of it is `polar_order_id`."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="purchases")
    product_name = models.CharField(max_length=200)
    amount = models.PositiveIntegerField(help_text="In cents, taxes included.")
    currency = models.CharField(max_length=3, default="usd")
    # Of the order at Polar: `data.id` of an `order.paid` webhook. Empty for what was not sold through Polar.
    polar_order_id = models.UUIDField("Polar order id", null=True, blank=True, unique=True)
    created_at = models.DateTimeField(default=timezone.now)

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
