"""One user and one order that were named: does Polar know the user, and what documents has the order."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import Error as DatabaseFailure

from polar_portal import customers
from polar_portal.api import presigned
from polar_portal.api.schemas import IssuedSession, PortalOrder
from polar_portal.conf import conf
from polar_portal.diagnosis.findings import A_SETTING, Findings, Row, skipped
from polar_portal.diagnosis.polar import ORDERS, SESSIONS, failed, make_client
from polar_portal.exceptions import (
    InvoiceNotGenerated,
    NotACustomer,
    OrderNotFound,
    PolarError,
    PolarMisconfigured,
    TokenRefused,
)

LINK_CUSTOMERS = NotACustomer.default_message.partition(". ")[2]
NO_SUCH_ORDER = (
    "Give an order's id, not a checkout's or a subscription's; of this organization, and of the server that "
    "POLAR_SERVER names."
)


def look_at_user(name: str, findings: Findings) -> Row:
    if SESSIONS not in findings.scopes:
        return Row("user", "skipped", f"{SESSIONS} is not granted, see above")
    try:
        user = _find_user(name)
    except (DatabaseFailure, ImproperlyConfigured) as error:
        if not findings.has_database:
            return Row("user", "skipped", "the database can't be read, see above")
        detail = f"the users can't be read ({type(error).__name__})"
        return Row("user", "problem", detail, "Run: python manage.py migrate")
    if user is None:
        return Row("user", "problem", "nobody here has this username or primary key", "Check what --user was given.")
    who = f"user {user.pk}"
    try:
        customer = customers.resolve(user)
        findings.session = make_client().create_customer_session(customer)
    except NotACustomer as absent:
        said = str(absent).partition(". ")[0].removesuffix(".")
        return Row("user", "problem", f"{who}: {said}", LINK_CUSTOMERS)
    except (PolarError, PolarMisconfigured, TokenRefused) as failure:
        return failed("user", failure)
    return Row("user", "ok", f"Polar knows {who}; one session was made there")


def look_at_order(text: str, findings: Findings, *, with_customer: bool) -> Iterator[Row]:
    rest = ["invoice", "receipt"] + (["customer"] if with_customer else [])
    if ORDERS not in findings.scopes:
        yield from skipped(f"{ORDERS} is not granted, see above", "order", *rest)
        return
    try:
        order_id = uuid.UUID(text)
    except ValueError:
        yield Row("order", "problem", "what --order was given is no UUID", NO_SUCH_ORDER)
        yield from skipped("there is no order", *rest)
        return
    try:
        order = make_client().order(order_id)
    except OrderNotFound:
        yield Row("order", "problem", f"this organization has no order {order_id}", NO_SUCH_ORDER)
    except (PolarError, PolarMisconfigured, TokenRefused) as failure:
        yield failed("order", failure)
    else:
        yield Row("order", "ok", f"{order.id}: {order.status}")
        yield _invoice(order)
        yield _receipt(order)
        if with_customer:
            yield _customer(order, findings.session)
        return
    yield from skipped("there is no order", *rest)


def _customer(order: PortalOrder, session: IssuedSession | None) -> Row:
    if session is None:
        return Row("customer", "skipped", "the user is no customer, see above")
    if session.polar_customer_id == order.polar_customer_id:
        return Row("customer", "ok", "the order is this user's")
    return Row(
        "customer",
        "problem",
        "the order belongs to another customer at Polar than this user",
        LINK_CUSTOMERS,
    )


def _invoice(order: PortalOrder) -> Row:
    if not order.may_have_invoice:
        return Row("invoice", "ok", f"none: a {order.status} order gets no invoice")
    try:
        allowed_hosts = conf.POLAR_ALLOWED_DOCUMENT_HOSTS
    except PolarMisconfigured:
        return Row("invoice", "skipped", A_SETTING)
    asked_at = datetime.now(tz=timezone.utc)
    try:
        document = make_client().invoice(order.id, anywhere=True)
    except InvoiceNotGenerated:
        details = "" if order.has_billing_details else ", and the form asks for billing details first"
        return Row("invoice", "ok", f"not made yet: the customer is offered to have it made{details}")
    except (PolarError, PolarMisconfigured, TokenRefused) as failure:
        return failed("invoice", failure)
    host = urlsplit(document.url).hostname
    if not presigned.may_redirect_to(document.url, base_url=conf.POLAR_BASE_URL, allowed_hosts=allowed_hosts):
        return Row(
            "invoice",
            "problem",
            f"made, but {host} is not in POLAR_ALLOWED_DOCUMENT_HOSTS",
            f"Add {host!r} to POLAR_ALLOWED_DOCUMENT_HOSTS, or leave that setting out.",
        )
    seconds = document.expires_at and (document.expires_at - asked_at).total_seconds()
    life = "does not say how long it lives" if seconds is None else f"lives {seconds:.0f} s"
    return Row("invoice", "ok", f"made; its address, at {host}, {life}")


def _receipt(order: PortalOrder) -> Row:
    # From the order: asking for the receipt itself would make Polar render it.
    if order.has_receipt:
        return Row("receipt", "ok", "allocated: rendered when it is asked for")
    return Row("receipt", "ok", "none: Polar has allocated none to this order")


def _find_user(name: str) -> Any:
    """Return the user with this username, else with this primary key, else None."""
    users = get_user_model()
    for field in (users.USERNAME_FIELD, "pk"):
        try:
            found = users._default_manager.filter(**{field: name}).first()
        except (ValueError, TypeError, ValidationError):
            continue  # no value of that column looks so
        if found is not None:
            return found
    return None
