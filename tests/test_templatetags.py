from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.template import Context, Template
from django.test import RequestFactory
from pytest_django import Settings

from polar_portal.testing import FakeCustomer, FakePolar
from polar_portal.testing.records import Status

ID = uuid.UUID("3f2504e0-4f89-41d3-9a0c-0305e82c3301")
URL = f"/billing/orders/{ID}/invoice/"


def render(source: str, user: Any = None, **context: Any) -> str:
    request = RequestFactory().get("/")
    request.user = user or AnonymousUser()
    return Template("{% load polar_portal %}" + source).render(Context({"request": request, **context}))


@pytest.mark.parametrize("order", [ID, str(ID), str(ID).upper(), ID.hex, SimpleNamespace(polar_order_id=ID)])
def test_url_of_whatever_names_an_order(order: Any) -> None:
    assert render("{% polar_invoice_url order %}", order=order) == URL
    assert render("{% polar_invoice_url order as url %}<a href='{{ url }}'>", order=order) == f"<a href='{URL}'>"


@pytest.mark.parametrize(
    "order", [None, "", "abc", 7, object(), SimpleNamespace(polar_order_id=None), "<script>", SimpleNamespace()]
)
def test_without_an_order_nothing_is_rendered(fake_polar: FakePolar, order: Any) -> None:
    assert render("{% polar_invoice_url order %}", order=order) == ""
    assert render("{% polar_invoice_button order %}", order=order) == ""
    assert render("{% polar_invoice order as invoice %}{{ invoice.status }} {{ invoice.url }}", order=order) == (
        "not_found "
    )
    assert fake_polar.calls == []


def test_button_is_a_link_that_a_template_of_yours_may_replace() -> None:
    assert render("{% polar_invoice_button order %}", order=ID).strip() == (
        f'<a class="polar-portal-button" href="{URL}">Download invoice</a>'
    )


def test_buttons_cost_nothing_at_polar(fake_polar: FakePolar, ada: User) -> None:
    orders = [uuid.uuid4() for _ in range(50)]
    page = render("{% for order in orders %}{% polar_invoice_button order %}{% endfor %}", ada, orders=orders)
    assert page.count("Download invoice") == 50
    assert fake_polar.calls == []


def invoice(user: Any, order_id: uuid.UUID) -> list[str]:
    return render(
        "{% polar_invoice order as invoice %}"
        "{{ invoice.status }} {{ invoice.url }} {{ invoice.document_url|default:'' }}"
        " {{ invoice.expires_at|date:'U' }} {{ invoice.retry_after|default:'' }}",
        user,
        order=order_id,
    ).split(" ")


def test_ready(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    status, url, document_url, expires_at, _ = invoice(ada, order.id)
    assert (status, url) == ("ready", f"/billing/orders/{order.id}/invoice/")
    assert fake_polar.download(document_url.replace("&amp;", "&")).status == 200
    assert float(expires_at) > 0
    assert invoice(ada, order.id)[0] == "ready"
    assert fake_polar.count("GET", "/invoice") == 1


def test_not_generated_is_not_generated(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar)
    assert invoice(ada, order.id) == ["not_generated", f"/billing/orders/{order.id}/invoice/", "", "", ""]
    assert fake_polar.count("POST", "/invoice") == 0


def test_pending(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    from polar_portal.portal import CustomerPortal

    order = fake_polar.add_order(ada_at_polar)
    CustomerPortal(ada).generate_invoice(order.id)
    status, _, document_url, _, retry_after = invoice(ada, order.id)
    assert (status, document_url, retry_after) == ("pending", "", "3")


@pytest.mark.parametrize("status", ["draft", "void"])
def test_not_eligible(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, status: Status) -> None:
    assert invoice(ada, fake_polar.add_order(ada_at_polar, status=status).id)[0] == "not_eligible"


def test_not_found(fake_polar: FakePolar, ada: User, bob: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    for user in (bob, AnonymousUser()):
        assert invoice(user, order.id)[0] == "not_found"


def test_unavailable_with_a_time_to_come_back(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    fake_polar.fail("GET", "/invoice", status=500)
    status, _, document_url, _, retry_after = invoice(ada, order.id)
    assert (status, document_url, retry_after) == ("unavailable", "", "30")
    settings.POLAR_ACCESS_TOKEN = None
    settings.POLAR_CACHE_ALIAS = "nowhere"
    assert invoice(ada, order.id)[0] == "unavailable"


def test_user_may_come_without_a_request(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    template = Template("{% load polar_portal %}{% polar_invoice order as invoice %}{{ invoice.status }}")
    assert template.render(Context({"user": ada, "order": order.id})) == "ready"
    assert template.render(Context({"order": order.id})) == "not_found"


def test_repr_of_an_invoice_hides_the_signed_url(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    assert "X-Amz" not in render("{% polar_invoice order as invoice %}{{ invoice }}", ada, order=order.id)


def test_nothing_at_all_is_raised_into_a_template(
    fake_polar: FakePolar, ada: User, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr("polar_portal.customers.by_primary_key", lambda user: user.profile)
    assert invoice(ada, ID)[0] == "unavailable"
    settings.ROOT_URLCONF = "example_project.shop.urls"  # ours are not included
    assert invoice(ada, ID)[:2] == ["unavailable", ""]


def test_in_an_async_view_it_answers_without_the_database(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    import asyncio

    order = fake_polar.add_order(ada_at_polar, invoice=True)

    async def view() -> str:
        return invoice(ada, order.id)[0]

    assert asyncio.run(view()) == "ready"
