"""Every public name that other people's projects are written against. Removing or renaming one turns this red."""

from __future__ import annotations

import inspect
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.core.management import load_command_class
from django.dispatch import Signal
from django.urls import resolve, reverse

from polar_portal import admin, conf, customers, exceptions, models, portal, signals, testing
from polar_portal.conf import Conf

ID = uuid.UUID("3f2504e0-4f89-41d3-9a0c-0305e82c3301")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("order_list", "/billing/orders/"),
        ("order_detail", f"/billing/orders/{ID}/"),
        ("invoice", f"/billing/orders/{ID}/invoice/"),
        ("receipt", f"/billing/orders/{ID}/receipt/"),
        ("billing_details", f"/billing/orders/{ID}/billing-details/"),
        ("portal", "/billing/portal/"),
        ("webhook", "/billing/webhook/"),
    ],
)
def test_urls(name: str, path: str) -> None:
    kwargs = {"polar_order_id": ID} if str(ID) in path else {}
    assert reverse(f"polar_portal:{name}", kwargs=kwargs) == path
    assert resolve(path).view_name == f"polar_portal:{name}"


@pytest.mark.parametrize(
    "tag",
    [
        "polar_invoice_url", "polar_invoice_button", "polar_invoice", "polar_receipt_url", "polar_receipt_button",
        "polar_portal_button",
    ],
)  # fmt: skip
def test_template_tags(tag: str) -> None:
    from polar_portal.templatetags.polar_portal import register

    assert tag in register.tags


def test_exceptions_form_the_promised_tree() -> None:
    in_the_tree = {
        "OrderNotFound", "InvoiceNotGenerated", "DocumentPending", "BillingDetailsMissing", "BillingDetailsInvalid",
        "OrderNotEligible", "ReceiptUnavailable", "NotACustomer", "NotPermitted", "RateLimited", "PolarUnavailable",
        "WebhookVerificationError",
    }  # fmt: skip
    assert {kind.__name__ for kind in exceptions.PolarError.__subclasses__()} == in_the_tree
    assert set(exceptions.__all__) == in_the_tree | {"PolarError", "PolarMisconfigured"}
    assert issubclass(exceptions.WebhookVerificationError, PermissionDenied)
    assert issubclass(exceptions.PolarMisconfigured, ImproperlyConfigured)
    assert not issubclass(exceptions.PolarMisconfigured, exceptions.PolarError)
    for name in exceptions.__all__:
        assert name in (exceptions.__doc__ or ""), f"{name} is missing in the drawing"


def test_each_failure_has_a_code_of_its_own() -> None:
    kinds: list[Any] = [*exceptions.PolarError.__subclasses__(), exceptions.PolarMisconfigured]
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert all(inspect.getdoc(kind) for kind in kinds)


def test_what_a_caller_can_act_on_survives_pickling() -> None:
    import pickle

    failure = exceptions.RateLimited("slowly", polar_order_id=ID, retry_after=60, fields={"name": ["too long"]})
    copy = pickle.loads(pickle.dumps(failure))  # noqa: S301 - our own
    assert (str(copy), copy.polar_order_id, copy.retry_after, copy.fields) == ("slowly", ID, 60, {"name": ["too long"]})


def test_service_layer() -> None:
    for kind in (portal.CustomerPortal, portal.OrganizationPortal):
        for name in ("invoice", "generate_invoice", "receipt"):
            assert list(inspect.signature(getattr(kind, name)).parameters) == ["self", "polar_order_id"]
            assert inspect.getdoc(getattr(kind, name))
    for name, parameters in {
        "orders": ["self", "page"],
        "order": ["self", "polar_order_id"],
        "update_billing_details": ["self", "polar_order_id", "name", "address", "order"],
        "hosted_url": ["self", "return_url"],
    }.items():
        assert list(inspect.signature(getattr(portal.CustomerPortal, name)).parameters) == parameters
        assert inspect.getdoc(getattr(portal.CustomerPortal, name))
    assert {"items", "page", "pages", "total"} <= set(portal.Page.__dataclass_fields__)
    assert list(inspect.signature(portal.CustomerPortal).parameters) == ["user"]
    assert list(inspect.signature(portal.OrganizationPortal).parameters) == ["user"]
    assert portal.OrganizationPortal(), "nobody in particular"
    assert set(portal.Document.__dataclass_fields__) == {"url", "expires_at"}


def test_models_and_permission(db: None) -> None:
    assert models.CustomerSession._meta.label == "polar_portal.CustomerSession"
    assert models.Order._meta.label == "polar_portal.Order"
    assert models.WebhookDelivery._meta.label == "polar_portal.WebhookDelivery"
    assert {"polar_order_id", "polar_customer_id"} <= {field.name for field in models.Order._meta.fields}
    assert not any(field.is_relation for field in models.Order._meta.fields), "an order has no owner of its own"
    assert Permission.objects.get(codename="download_invoice").content_type.app_label == "polar_portal"


def test_admin_mixin() -> None:
    assert admin.InvoiceActionMixin.polar_order_id_field == "polar_order_id"
    assert callable(admin.InvoiceActionMixin.download_invoices)


def test_signals() -> None:
    assert {name for name, value in vars(signals).items() if isinstance(value, Signal)} == {
        "order_changed", "invoice_ready", "document_handed_out", "webhook_received",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["polar_check", "polar_sync_orders", "polar_export_invoices", "polar_clear_expired", "polar_rerun_webhooks"],
)
def test_commands(name: str) -> None:
    command = load_command_class("polar_portal", name)
    assert command.help


def test_the_rest() -> None:
    assert customers.by_primary_key(type("User", (), {"pk": 7})) == {"external_customer_id": "7"}
    assert isinstance(conf.conf, Conf)
    assert testing.FakePolar.__name__ == "FakePolar"


def test_settings_are_those_that_the_design_names() -> None:
    assert {name for name in vars(Conf) if name.startswith("POLAR_")} == {
        "POLAR_ACCESS_TOKEN", "POLAR_SERVER", "POLAR_BASE_URL", "POLAR_WEBHOOK_SECRET", "POLAR_CUSTOMER_RESOLVER",
        "POLAR_CACHE_ALIAS", "POLAR_URL_MIN_LIFE", "POLAR_REQUEST_TIMEOUT", "POLAR_CLICK_BUDGET", "POLAR_RETURN_URL",
        "POLAR_ALLOWED_DOCUMENT_HOSTS",
    }  # fmt: skip
