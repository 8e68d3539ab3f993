"""A host project that uses every public name, for mypy: nothing here is ever run.

`test_typing.py` has it checked with the package as it is installed, and looks whether a name is missing. What mypy must
refuse has a `type: ignore` with the error's code: where it does not, mypy complains of the comment.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import models
from django.dispatch import Signal, receiver
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import include, path, reverse

import polar_portal
from polar_portal.admin import InvoiceActionMixin
from polar_portal.customers import by_primary_key
from polar_portal.exceptions import (
    BillingDetailsInvalid,
    BillingDetailsMissing,
    DocumentPending,
    InvoiceNotGenerated,
    NotACustomer,
    NotPermitted,
    OrderNotEligible,
    OrderNotFound,
    PolarError,
    PolarMisconfigured,
    PolarUnavailable,
    RateLimited,
    ReceiptUnavailable,
    WebhookVerificationError,
)
from polar_portal.models import CustomerSession, Order, WebhookDelivery
from polar_portal.portal import (
    BillingAddress,
    CustomerPortal,
    Document,
    OrderLine,
    OrganizationPortal,
    Page,
    PortalOrder,
)
from polar_portal.signals import document_handed_out, invoice_ready, order_changed, webhook_received
from polar_portal.testing import Answer, Call, Event, FakeCustomer, FakeMember, FakeOrder, FakePolar, Limits

version: str = polar_portal.__version__
urlpatterns = [path("billing/", include("polar_portal.urls"))]


# The resolver


def polar_customer(user: User) -> dict[str, str] | None:
    return {"customer_id": str(uuid.UUID(int=user.pk))} if user.is_active else by_primary_key(user)


# The service layer


def invoice(request: HttpRequest, polar_order_id: uuid.UUID) -> HttpResponse:
    portal = CustomerPortal(request.user)
    try:
        document = portal.cached("invoice", polar_order_id) or portal.invoice(polar_order_id)
    except InvoiceNotGenerated:
        portal.generate_invoice(str(polar_order_id))
    except DocumentPending as pending:
        seconds: int = pending.retry_after or 1
        return HttpResponse(status=pending.status, headers={"Retry-After": str(seconds)})
    except BillingDetailsInvalid as invalid:
        reasons: dict[str, list[str]] = invalid.fields
        return HttpResponse(", ".join(reasons))
    except (PolarError, PolarMisconfigured) as failure:
        code: str = failure.code
        level: int = failure.log_level
        told_before: bool = failure.remembered
        return HttpResponse(f"{code}: {failure} {level} {told_before}", status=failure.status)
    else:
        return HttpResponseRedirect(lead(document))
    return HttpResponseRedirect(reverse("polar_portal:invoice", args=[polar_order_id]))


def lead(document: Document) -> str:
    ends: datetime | None = document.expires_at
    url: str = document.url
    return f"{url}#{ends}"


def receipt(user: User, polar_order_id: str) -> Document:
    portal = CustomerPortal(user)
    portal.require("receipt", polar_order_id)
    document: Document = portal.receipt(polar_order_id) or portal.document("receipt", polar_order_id)
    hosted: str = portal.hosted_url(return_url="https://shop.example/")
    return Document(url=hosted, expires_at=document.expires_at)


async def in_async_code(user: User, polar_order_id: uuid.UUID) -> HttpResponse:
    portal = CustomerPortal(user)
    await portal.agenerate_invoice(polar_order_id)
    await portal.arequire("invoice", polar_order_id)
    document: Document = await portal.acached("invoice", polar_order_id) or await portal.ainvoice(polar_order_id)
    staff = OrganizationPortal()
    receipt: Document = await staff.areceipt(polar_order_id) or await staff.adocument("receipt", polar_order_id)
    page: Page = await portal.aorders(page=2)
    order: PortalOrder = await portal.aorder(polar_order_id)
    await portal.aupdate_billing_details(polar_order_id, name="Ada", address={"country": "GB"}, order=order)
    hosted: str = await portal.ahosted_url(return_url="https://shop.example/")
    return HttpResponse(f"{lead(document)} {lead(receipt)} {page.total} {len(hosted)}")


def every_order(user: User) -> Iterator[PortalOrder]:
    page: Page = CustomerPortal(user).orders()
    while page.page < page.pages:
        yield from page.items
        page = CustomerPortal(user).orders(page=page.next_page)
    failure: PolarError | None = page.failure
    numbers: list[int] = [page.total, page.previous_page]
    print(failure, numbers)  # noqa: T201


def read(user: User, polar_order_id: uuid.UUID) -> list[str]:
    order: PortalOrder = CustomerPortal(user).order(polar_order_id)
    owner: uuid.UUID | None = order.polar_customer_id
    moments: tuple[datetime, datetime] = (order.created_at, order.modified_at)
    amounts: list[int] = [
        order.subtotal_amount,
        order.discount_amount,
        order.tax_amount,
        order.total_amount,
        order.refunded_amount,
        order.refunded_tax_amount,
        order.refunded_total,
    ]
    answers: list[bool] = [
        order.is_invoice_generated,
        order.may_have_invoice,
        order.has_invoice_to_offer,
        order.has_receipt,
        order.has_billing_details,
        order.status in PortalOrder.WITHOUT_INVOICE,
    ]
    lines: tuple[OrderLine, ...] = order.lines
    labels: dict[str, int] = {line.label: line.amount for line in lines}
    print(order.id, owner, moments, amounts, answers, labels)  # noqa: T201
    return [order.number, order.receipt_number, order.currency, order.description, order.external_customer_id]


def correct(user: User, order: PortalOrder) -> None:
    portal = CustomerPortal(user)
    old: BillingAddress = order.billing_address or BillingAddress(country="FR")
    parts: list[str] = [old.line1, old.line2, old.postal_code, old.city, old.state, old.country]
    portal.update_billing_details(order.id, name=order.billing_name, address=old, order=order)
    typed: Mapping[str, str] = {"line1": parts[0], "country": "FR"}
    portal.update_billing_details(str(order.id), name="Ada Lovelace", address=typed)


def of_the_organization(staff: User, polar_order_id: uuid.UUID) -> list[Document]:
    portal = OrganizationPortal(staff)
    portal.generate_invoice(polar_order_id)
    return [portal.invoice(polar_order_id), OrganizationPortal().receipt(polar_order_id)]


# Failures


def act_on(failure: PolarError) -> str:
    which: uuid.UUID | None = failure.polar_order_id
    if isinstance(failure, (OrderNotFound, NotACustomer, OrderNotEligible, ReceiptUnavailable)):
        return f"there is none: {which}"
    if isinstance(failure, (NotPermitted, BillingDetailsMissing)):
        return "somebody else"
    if isinstance(failure, (RateLimited, PolarUnavailable)):
        return "later"
    raise RateLimited("slowly", polar_order_id=which, retry_after=60, fields={"name": ["too long"]})


of_django: list[type[Exception]] = [ImproperlyConfigured, PermissionDenied]
denied: type[PermissionDenied] = WebhookVerificationError
improper: type[ImproperlyConfigured] = PolarMisconfigured


# Signals


@receiver(invoice_ready)
def tell_the_customer(sender: type, polar_order_id: uuid.UUID, **kwargs: Any) -> None: ...


@receiver(order_changed)
def note(sender: type[Order], order: Order, created: bool, **kwargs: Any) -> None:
    known: uuid.UUID = order.polar_order_id
    print(known, order.polar_customer_id, order.total_amount, created)  # noqa: T201


@receiver([document_handed_out, webhook_received])
def count(sender: type, **kwargs: Any) -> None: ...


every_signal: list[Signal] = [order_changed, invoice_ready, document_handed_out, webhook_received]


# The admin


class Purchase(models.Model):
    polar_order_id: models.UUIDField[uuid.UUID, uuid.UUID] = models.UUIDField()

    class Meta:
        app_label = "host"

    def __str__(self) -> str:
        return str(self.polar_order_id)


if TYPE_CHECKING:
    PurchaseModelAdmin = admin.ModelAdmin[Purchase]
else:
    PurchaseModelAdmin = admin.ModelAdmin


@admin.register(Purchase)
class PurchaseAdmin(InvoiceActionMixin, PurchaseModelAdmin):
    polar_order_id_field = "payment__polar_order_id"
    actions = ["download_invoices"]


def tidy_up() -> None:
    WebhookDelivery.objects.filter(outcome=WebhookDelivery.Outcome.FAILED).delete()
    CustomerSession.objects.filter(polar_customer_id=uuid.UUID(int=7)).delete()


# The host's own tests


def test_my_customers_get_their_invoice(fake_polar: FakePolar) -> None:
    ada: FakeCustomer = fake_polar.add_customer(external_id="7", members=[FakeMember(role="owner")])
    order: FakeOrder = fake_polar.add_order(ada, status="pending", amount=100, invoice=False)
    fake_polar.limits = Limits.sandbox()
    fake_polar.limits = Limits(customer=3)
    fake_polar.member_model, fake_polar.delay = True, 0.5
    fake_polar.render_seconds, fake_polar.session_seconds, fake_polar.url_seconds = 3, 60, 60
    fake_polar.scopes.discard("orders:read")
    fake_polar.fail("GET", "/invoice", status=503, json={"detail": "away"}, headers={"retry-after": "7"}, times=None)
    fake_polar.clear_failures()
    fake_polar.hold_jobs()
    fake_polar.release_jobs()
    fake_polar.finish_jobs()
    fake_polar.advance(60)
    fake_polar.update_order(order, status="paid")
    fake_polar.refund(order, 50)
    fake_polar.expire_sessions(ada)
    fake_polar.delete_customer(ada)
    fake_polar.revoke_access_token()
    event: Event = fake_polar.events[-1]
    body, headers = fake_polar.webhook(event)
    sent: tuple[bytes, dict[str, str]] = fake_polar.webhook("order.paid", order, scheme="utf8")
    calls: list[Call] = [*fake_polar.calls, *fake_polar.downloads]
    answer: Answer = fake_polar.download("https://s3.polar.test/", headers=headers)
    asked: int = fake_polar.count("POST", "/invoice")
    fake_polar.clear_calls()
    texts: list[str] = [fake_polar.access_token, fake_polar.webhook_secret, fake_polar.base_url, fake_polar.name]
    texts += [fake_polar.document_base, fake_polar.slug, str(fake_polar.id), str(fake_polar.now)]
    kept: dict[uuid.UUID, FakeOrder] = fake_polar.orders
    print(body, sent, calls, answer.body, answer.json(), asked, texts, kept)  # noqa: T201
    print(fake_polar.customers, fake_polar.sessions, fake_polar.store.files)  # noqa: T201


def serve() -> str:
    polar = FakePolar(clock=lambda: 0.0, name="Acme", access_token="polar_oat_x", webhook_secret="whsec_x")
    with polar.installed() as same, same.serve(port=0) as base_url:
        return base_url


# What mypy must refuse


def wrong(user: User, order: PortalOrder, document: Document, failure: PolarError, fake_polar: FakePolar) -> None:
    CustomerPortal()  # type: ignore[call-arg]
    CustomerPortal(user).invoice(7)  # type: ignore[arg-type]
    CustomerPortal(user).invoice(order)  # type: ignore[arg-type]
    CustomerPortal(user).invoice()  # type: ignore[call-arg]
    CustomerPortal(user).orders(page="2")  # type: ignore[arg-type]
    CustomerPortal(user).hosted_url("https://shop.example/")  # type: ignore[call-arg]
    CustomerPortal(user).update_billing_details(order.id, "Ada", {})  # type: ignore[call-arg]
    CustomerPortal(user).update_billing_details(order.id, name="Ada", address="Paris")  # type: ignore[arg-type]
    OrganizationPortal().orders()  # type: ignore[attr-defined]
    OrganizationPortal().hosted_url()  # type: ignore[attr-defined]
    made: Document = CustomerPortal(user).generate_invoice(order.id)  # type: ignore[func-returns-value, assignment]
    ends: datetime = document.expires_at  # type: ignore[assignment]
    document.url = "https://elsewhere.example/"  # type: ignore[misc]
    order.total_amount = 0  # type: ignore[misc]
    seconds: int = failure.retry_after  # type: ignore[assignment]
    PolarError("late", retry_after="60")  # type: ignore[arg-type]
    fake_polar.add_order("7")  # type: ignore[arg-type]
    fake_polar.add_order(fake_polar.add_customer(), status="payed")  # type: ignore[arg-type]
    fake_polar.webhook("order.paid", scheme="sha1")  # type: ignore[arg-type]
    with fake_polar.serve(port="8000"):  # type: ignore[arg-type]
        print(made, ends, seconds)  # noqa: T201


resolver: Callable[[User], str] = by_primary_key  # type: ignore[assignment]
