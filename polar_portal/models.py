"""What this site keeps: sessions to act as a customer, what it knows of orders, and webhook deliveries."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from polar_portal.conf import conf


class CustomerSession(models.Model):
    """A session at Polar to act as one user's customer, kept to be used again until it ends.

    The token is kept as ciphertext that only `polar_portal.customers` can read. Several rows for one user are possible:
    one for each scope, that is for each customer (and server) that the user has been mapped to.
    """

    user = models.ForeignKey(conf.user_model, on_delete=models.CASCADE, related_name="+", verbose_name=_("user"))
    scope = models.CharField(_("scope"), max_length=64, editable=False)
    polar_customer_id: models.UUIDField[uuid.UUID, uuid.UUID] = models.UUIDField(_("Polar customer id"))
    encrypted_token = models.TextField(_("encrypted token"), editable=False)
    created_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(_("created"), default=timezone.now)
    expires_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(_("expires"))
    # Ids of the orders that Polar has listed to this very scope: all that may be shown when Polar can't be reached.
    listed_orders = models.JSONField(default=list, editable=False)

    class Meta:
        verbose_name = _("customer session")
        verbose_name_plural = _("customer sessions")
        constraints = [
            models.UniqueConstraint(fields=["user", "scope"], name="polar_portal_one_session_per_user_and_scope")
        ]
        indexes = [
            models.Index(fields=["-expires_at", "-id"], name="polar_portal_session_newest"),
            models.Index(fields=["polar_customer_id", "-expires_at", "-id"], name="polar_portal_session_customer"),
        ]

    def __str__(self) -> str:
        return f"{self.polar_customer_id} ({self.expires_at:%Y-%m-%d %H:%M})"


class Order(models.Model):
    """What this site knows of an order at Polar. A mirror: Polar's answer is the truth.

    It has no user column. Rows belong to a user only through the `polar_customer_id` that Polar returned for that
    user's own session.
    """

    polar_order_id: models.UUIDField[uuid.UUID, uuid.UUID] = models.UUIDField(_("Polar order id"), primary_key=True)
    polar_customer_id: models.UUIDField[uuid.UUID, uuid.UUID] = models.UUIDField(_("Polar customer id"))
    status = models.CharField(_("status"), max_length=50)
    number = models.CharField(_("invoice number"), max_length=255, blank=True)
    receipt_number = models.CharField(_("receipt number"), max_length=255, blank=True)
    is_invoice_generated = models.BooleanField(_("invoice made"), default=False)
    description = models.TextField(_("description"), blank=True)
    currency = models.CharField(_("currency"), max_length=10)
    total_amount = models.BigIntegerField(_("total"), help_text=_("In the currency's smallest unit."))
    refunded_amount = models.BigIntegerField(_("refunded"), default=0)
    refunded_tax_amount = models.BigIntegerField(_("refunded tax"), default=0)
    created_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(_("created"))
    modified_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(_("modified"))
    # When `polar_sync_orders` last brought it: the newest such order is where the next run goes on.
    synced_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True, editable=False)

    # After an edit of its billing details: Polar has the old invoice until its `modified_at` is later than this.
    # Without an `edit_wait_until` the edit's answer was lost, and nobody knows yet whether it took effect.
    edited_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True, editable=False)
    edit_wait_until: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        null=True, editable=False
    )
    # Whether Polar has been asked to make it again, and has to be asked once more after its next change, because a job
    # may have been running with the old details.
    edit_posted = models.BooleanField(default=False, editable=False)
    edit_post_again = models.BooleanField(default=False, editable=False)

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")
        ordering = ["-created_at", "polar_order_id"]
        # One for each search and filter of the admin, and for two filters at once, in the list's order: so much is read
        # as is shown. Without the last one "cancelled, with an invoice" read all that were cancelled.
        # Not `db_index` for the numbers, with which PostgreSQL would have two for each.
        indexes = [
            models.Index(fields=["number"], name="polar_portal_order_number"),
            models.Index(fields=["receipt_number"], name="polar_portal_order_receipt"),
            models.Index(fields=["-created_at", "polar_order_id"], name="polar_portal_order_newest"),
            models.Index(
                fields=["polar_customer_id", "-created_at", "polar_order_id"], name="polar_portal_order_customer"
            ),
            models.Index(fields=["status", "-created_at", "polar_order_id"], name="polar_portal_order_status"),
            models.Index(
                fields=["is_invoice_generated", "-created_at", "polar_order_id"], name="polar_portal_order_invoice"
            ),
            models.Index(
                fields=["is_invoice_generated", "status", "-created_at", "polar_order_id"],
                name="polar_portal_order_inv_status",
            ),
        ]
        # Django stores this name in the database, so it is not translated.
        permissions = [("download_invoice", "Can download the invoices of all customers")]

    def __str__(self) -> str:
        return self.number or str(self.polar_order_id)


class ExactField(models.CharField):  # type: ignore[type-arg]  # can't be subscripted at run time
    """Text in which upper and lower case differ on every database: by default they do not on MariaDB and MySQL."""

    def db_type(self, connection: Any) -> str | None:
        kind = super().db_type(connection)
        return f"{kind} COLLATE utf8mb4_bin" if connection.vendor == "mysql" else kind


class WebhookDelivery(models.Model):
    """A delivery that Polar has signed, and what became of it.

    Its body is kept only where its effects could not be applied, to run it again.
    """

    class Outcome(models.TextChoices):
        APPLIED = "applied", _("applied")
        IGNORED = "ignored", _("nothing to do")
        FAILED = "failed", _("failed")

    delivery_id = ExactField(_("delivery id"), max_length=255, unique=True)
    type = models.CharField(_("type"), max_length=100, blank=True)
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome.choices, default=Outcome.FAILED)
    error = models.CharField(_("error"), max_length=255, blank=True)
    attempts = models.PositiveIntegerField(_("attempts"), default=1)
    received_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(_("received"), default=timezone.now)
    # Holds the customer's name and addresses, so it is shown nowhere.
    body: models.BinaryField[bytes | None, bytes | None] = models.BinaryField(null=True, editable=False)

    class Meta:
        verbose_name = _("webhook delivery")
        verbose_name_plural = _("webhook deliveries")
        ordering = ["-received_at", "-pk"]
        indexes = [
            models.Index(fields=["-received_at", "-id"], name="polar_portal_delivery_newest"),
            models.Index(fields=["outcome", "-received_at", "-id"], name="polar_portal_delivery_outcome"),
            models.Index(fields=["type", "-received_at", "-id"], name="polar_portal_delivery_type"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.delivery_id}"
