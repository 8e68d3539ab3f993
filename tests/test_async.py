"""The service layer's twins for async code do what their originals do, and say so in the same words."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient
from django.urls import path
from pytest_django import Settings

from polar_portal.api.schemas import BillingAddress
from polar_portal.exceptions import (
    BillingDetailsInvalid,
    DocumentPending,
    InvoiceNotGenerated,
    NotACustomer,
    OrderNotFound,
    PolarMisconfigured,
    PolarUnavailable,
    RateLimited,
    ReceiptUnavailable,
)
from polar_portal.portal import CustomerPortal, OrganizationPortal
from polar_portal.testing import FakeCustomer, FakePolar
from tests.conftest import asked

PORTALS: list[type[Any]] = [CustomerPortal, OrganizationPortal]


def public_methods(portal: type[Any]) -> dict[str, Callable[..., Any]]:
    return {name: each for name, each in inspect.getmembers(portal, inspect.isfunction) if not name.startswith("_")}


@pytest.mark.parametrize("portal", PORTALS)
def test_each_method_has_a_twin_and_each_twin_an_original(portal: type[Any]) -> None:
    methods = public_methods(portal)
    twins = {name for name, each in methods.items() if inspect.iscoroutinefunction(each)}
    assert twins == {f"a{name}" for name in methods.keys() - twins}
    assert "ainvoice" in twins


@pytest.mark.parametrize("portal", PORTALS)
def test_a_twin_has_the_signature_of_its_original_and_names_it(portal: type[Any]) -> None:
    for name, original in public_methods(portal).items():
        if twin := getattr(portal, f"a{name}", None):
            assert inspect.signature(twin) == inspect.signature(original), name
            assert get_type_hints(twin) == get_type_hints(original), name
            assert inspect.getdoc(twin) == f"See {name}()."


@pytest.mark.parametrize("portal", PORTALS)
def test_a_twin_hands_on_all_that_it_is_given(portal: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    handed_on: list[dict[str, Any]] = []
    for name, original in public_methods(portal).items():
        if twin := getattr(portal, f"a{name}", None):
            signature = inspect.signature(original)

            def take(*args: Any, signature: inspect.Signature = signature, **kwargs: Any) -> None:
                handed_on.append(signature.bind(*args, **kwargs).arguments)

            monkeypatch.setattr(portal, name, take)
            given = signature.bind_partial(portal(None))
            given.arguments |= {each: f"the {each}" for each in signature.parameters if each != "self"}
            async_to_sync(twin)(*given.args, **given.kwargs)
            assert handed_on.pop() == given.arguments, name


def test_twins_bring_what_their_originals_bring(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    fake_polar.render_seconds = 0
    portal = CustomerPortal(ada)

    async def use() -> None:
        assert await portal.acached("invoice", order.id) is None
        assert await portal.arequire("invoice", order.id) is None  # type: ignore[func-returns-value]
        invoice = await portal.ainvoice(str(order.id))
        assert invoice == await portal.acached("invoice", order.id)
        with pytest.raises(DocumentPending):
            await portal.areceipt(order.id)
        assert (await portal.aorders(page=1)).items == [await portal.aorder(order.id)]
        assert await OrganizationPortal(ada).ainvoice(order.id) != invoice

    async_to_sync(use)()
    assert asked(fake_polar)[:3] == ["POST session", "GET invoice", "GET receipt"]


def test_twins_act(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar)
    portal = CustomerPortal(ada)
    address = BillingAddress(line1="1 New Road", city="Paris", postal_code="75001", country="FR")

    async def use() -> str:
        with pytest.raises(InvoiceNotGenerated):
            await portal.ainvoice(order.id)
        await portal.agenerate_invoice(order.id)
        with pytest.raises(DocumentPending):
            await portal.arequire("invoice", order.id)
        before = await portal.aorder(order.id)
        await portal.aupdate_billing_details(order.id, name="Ada King", address=address, order=before)
        after = await portal.aorder(order.id)
        assert (after.billing_name, after.billing_address) == ("Ada King", address)
        return await portal.ahosted_url(return_url="https://shop.example/")

    assert async_to_sync(use)().startswith(fake_polar.document_base)
    assert fake_polar.count("POST", "/invoice") == 2
    assert asked(fake_polar).count("GET order") == 3, "one of them to see why there is no invoice"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, {"error": "ResourceNotFound", "detail": "Not found"}, OrderNotFound),
        (404, {"error": "ReceiptNotAllocated", "detail": "None"}, ReceiptUnavailable),
        (404, {"detail": "Not Found"}, PolarMisconfigured),
        (429, None, RateLimited),
        (500, None, PolarUnavailable),
    ],
)
def test_a_twin_raises_what_its_original_raises(
    fake_polar: FakePolar,
    ada: User,
    ada_at_polar: FakeCustomer,
    status: int,
    body: object,
    expected: type[Exception],
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    fake_polar.fail("GET", "/receipt", status=status, json=body)
    with pytest.raises(expected) as failure:
        async_to_sync(CustomerPortal(ada).areceipt)(order.id)
    assert failure.type is expected


def test_a_failure_is_one_line_of_the_log_that_names_the_user(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, caplog: pytest.LogCaptureFixture
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    fake_polar.fail("GET", "/receipt", status=500)
    with pytest.raises(PolarUnavailable):
        async_to_sync(CustomerPortal(ada).areceipt)(order.id)
    (line,) = caplog.messages
    assert f"receipt, order {order.id}, user {ada.pk}: " in line


def test_what_can_be_acted_on_comes_through(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar)
    with pytest.raises(BillingDetailsInvalid) as invalid:
        async_to_sync(CustomerPortal(ada).aupdate_billing_details)(order.id, name="Ada", address={"country": "DE"})
    assert invalid.value.fields
    assert invalid.value.polar_order_id == order.id
    with pytest.raises(NotACustomer):
        async_to_sync(CustomerPortal(None).aorders)()


async def show_invoice(request: HttpRequest) -> HttpResponse:
    document = await CustomerPortal(request.user).ainvoice(request.GET["order"])
    return HttpResponse(document.url)


urlpatterns = [path("invoice/", show_invoice)]


def test_a_view_may_give_the_requests_user_without_having_looked_at_it(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings
) -> None:
    # With LoginRequiredMiddleware, somebody else has looked.
    settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if "LoginRequired" not in each]
    settings.ROOT_URLCONF = __name__
    order = fake_polar.add_order(ada_at_polar, invoice=True)

    async def click() -> Any:
        client = AsyncClient()
        await client.aforce_login(ada)
        return await client.get("/invoice/", {"order": str(order.id)})

    assert fake_polar.download(async_to_sync(click)().text).status == 200
