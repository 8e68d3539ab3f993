"""The JSON that Polar answers: the same fields in the same order as the server's (measured, 2026-08)."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime
from typing import Any

from polar_portal.testing.records import FakeCustomer, FakeOrder, FakeProduct, Session
from polar_portal.testing.wire import iso

Body = dict[str, Any]


def customer_body(customer: FakeCustomer, organization_id: uuid.UUID) -> Body:
    return {
        "id": str(customer.id),
        "created_at": iso(customer.created_at),
        "modified_at": iso(customer.modified_at),
        "metadata": {},
        "external_id": customer.external_id,
        "email": customer.email,
        "email_verified": False,
        "type": customer.type,
        "name": customer.name,
        "billing_name": customer.billing_name,
        "billing_address": customer.billing_address,
        "tax_id": None,
        "locale": None,
        "organization_id": str(organization_id),
        "default_payment_method_id": None,
        "deleted_at": iso(customer.deleted_at),
        "first_user_event_at": None,
        "avatar_url": _avatar(customer),
    }


def session_body(session: Session, organization_id: uuid.UUID, portal_url: str) -> Body:
    return {
        "created_at": iso(session.created_at),
        "modified_at": None,
        "id": str(session.id),
        "token": session.token,
        "expires_at": iso(session.expires_at),
        "return_url": session.return_url,
        "customer_portal_url": portal_url,
        "customer_id": str(session.customer.id),
        "customer": customer_body(session.customer, organization_id),
    }


def user_body(session: Session) -> Body:
    who = session.member or session.customer
    return {
        "type": "customer" if session.member is None else "member",
        "name": who.name,
        "email": who.email,
        "customer_id": str(session.customer.id),
        "member_id": str(session.member.id) if session.member else None,
        "role": session.member.role if session.member else None,
    }


def customer_order_body(order: FakeOrder, organization: Body) -> Body:
    """The order as its customer sees it."""
    product = _product(order.product, organization["id"])
    product |= {"prices": [_price(order.product)], "benefits": [], "medias": [], "organization": organization}
    return {
        **_order(order),
        "user_id": str(order.customer.id),
        "product": product,
        "product_price": _price(order.product),
        "subscription": None,
        **_totals(order),
    }


def merchant_order_body(order: FakeOrder, organization: Body) -> Body:
    """The order as the organization sees it, in the API and in webhooks."""
    customer = order.customer
    user = {
        "id": str(customer.id),
        "email": customer.email,
        "public_name": (customer.name or customer.email)[:1].upper(),
        "avatar_url": _avatar(customer),
        "github_username": None,
    }
    return {
        **_order(order),
        "metadata": {},
        "custom_field_data": {},
        "platform_fee_amount": 0,
        "platform_fee_currency": None,
        "customer": customer_body(customer, uuid.UUID(organization["id"])),
        "user_id": str(customer.id),
        "user": user,
        "product": {"metadata": {}, **_product(order.product, organization["id"])},
        "product_price": _price(order.product),
        "discount": None,
        "subscription": None,
        **_totals(order),
    }


def organization_body(
    organization_id: uuid.UUID, name: str, slug: str, created_at: datetime, *, member_model: bool
) -> Body:
    """The seller as part of a customer's order; settings that no order page reads are left out."""
    return {
        "created_at": iso(created_at),
        "modified_at": None,
        "id": str(organization_id),
        "name": name,
        "slug": slug,
        "avatar_url": None,
        "proration_behavior": "prorate",
        "allow_customer_updates": True,
        "bio": None,
        "company": None,
        "blog": None,
        "location": None,
        "twitter_username": None,
        "email": f"hello@{slug}.example.com",
        "website": None,
        "socials": [],
        "status": "active",
        "details_submitted_at": None,
        "feature_settings": {"member_model_enabled": member_model},
        "subscription_settings": {},
        "customer_email_settings": {},
        "customer_portal_settings": {},
        "organization_features": {"member_model_enabled": member_model},
    }


def _order(order: FakeOrder) -> Body:
    return {
        "id": str(order.id),
        "created_at": iso(order.created_at),
        "modified_at": iso(order.modified_at),
        "status": order.status,
        "paid": order.is_paid,
        "subtotal_amount": order.amount,
        "discount_amount": 0,
        "net_amount": order.amount,
        "tax_amount": order.tax_amount,
        "total_amount": order.total_amount,
        "applied_balance_amount": 0,
        "due_amount": order.total_amount,
        "refunded_amount": order.refunded_amount,
        "refunded_tax_amount": order.refunded_tax_amount,
        "currency": order.currency,
        "billing_reason": "purchase",
        "billing_name": order.billing_name,
        "billing_address": order.billing_address,
        "invoice_number": order.invoice_number,
        "is_invoice_generated": order.is_invoice_generated,
        "receipt_number": order.receipt_number,
        "seats": None,
        "units": None,
        "customer_id": str(order.customer.id),
        "product_id": str(order.product.id),
        "product_price_id": str(order.product.price_id),
        "discount_id": None,
        "subscription_id": None,
        "checkout_id": None,
        "next_payment_attempt_at": None,
    }


def _totals(order: FakeOrder) -> Body:
    item = {
        "created_at": iso(order.created_at),
        "modified_at": None,
        "id": str(order.item_id),
        "label": order.product.name,
        "amount": order.amount,
        "tax_amount": order.tax_amount,
        "proration": False,
        "product_price_id": str(order.product.price_id),
    }
    return {
        "items": [item],
        "description": order.product.name,
        "amount": order.amount,
        "from_balance_amount": 0,
        "refundable_amount": order.amount - order.refunded_amount,
        "refundable_tax_amount": order.tax_amount - order.refunded_tax_amount,
    }


def _product(product: FakeProduct, organization_id: str) -> Body:
    return {
        "id": str(product.id),
        "created_at": iso(product.created_at),
        "modified_at": None,
        "trial_interval": None,
        "trial_interval_count": None,
        "name": product.name,
        "description": None,
        "visibility": "public",
        "recurring_interval": None,
        "recurring_interval_count": None,
        "meter_interval": None,
        "meter_interval_count": None,
        "is_recurring": False,
        "is_archived": False,
        "organization_id": organization_id,
    }


def _price(product: FakeProduct) -> Body:
    return {
        "created_at": iso(product.created_at),
        "modified_at": None,
        "id": str(product.price_id),
        "source": "catalog",
        "amount_type": "fixed",
        "price_currency": product.currency,
        "tax_behavior": None,
        "is_archived": False,
        "product_id": str(product.id),
        "type": "one_time",
        "recurring_interval": None,
        "price_amount": product.amount,
    }


def _avatar(customer: FakeCustomer) -> str:
    digest = hashlib.sha256(customer.email.lower().encode()).hexdigest()
    return f"https://www.gravatar.com/avatar/{digest}?d=404"
