"""Correcting what an invoice shows: the form, Polar's refusals, and never the old file in silence."""

from __future__ import annotations

import io
from datetime import datetime, timezone
from typing import Any

import pypdf
import pytest
import requests
import time_machine
from django.contrib.auth.models import User
from django.test import Client
from django.utils.translation import override
from pytest_django import Settings

from polar_portal import events
from polar_portal.exceptions import BillingDetailsInvalid, DocumentPending, OrderNotFound, PolarUnavailable
from polar_portal.models import Order
from polar_portal.portal import BillingAddress, CustomerPortal, OrganizationPortal
from polar_portal.testing import FakeCustomer, FakeOrder, FakePolar
from tests.conftest import JSON, ReadsFromReplica, asked

ADDRESS = {"line1": "1 Main St", "city": "San Francisco", "postal_code": "94105", "country": "US", "state": "US-CA"}
GOOD = {"name": "Ada Lovelace", "line2": "", **ADDRESS}
FRENCH = {"line1": "12 rue de la Paix", "postal_code": "75002", "city": "Paris", "country": "FR"}


pytestmark = pytest.mark.usefixtures("now")


@pytest.fixture
def unaddressed(fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> FakeOrder:
    return fake_polar.add_order(ada_at_polar, billing_name=None, billing_address=None)


@pytest.fixture
def invoiced(fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> FakeOrder:
    return fake_polar.add_order(ada_at_polar, invoice=True, billing_address=FRENCH)


def path(order: FakeOrder) -> str:
    return f"/billing/orders/{order.id}/billing-details/"


def browse(user: User, order: FakeOrder, data: Any = None, **headers: Any) -> Any:
    client = Client()
    client.force_login(user)
    return client.get(path(order), headers=headers) if data is None else client.post(path(order), data, headers=headers)


def text_of(fake_polar: FakePolar, url: str) -> str:
    return pypdf.PdfReader(io.BytesIO(fake_polar.download(url).body)).pages[0].extract_text()


# The form


def test_missing_details_are_saved_and_the_invoice_is_made(
    fake_polar: FakePolar, ada: User, unaddressed: FakeOrder, now: time_machine.Traveller
) -> None:
    response = browse(ada, unaddressed, GOOD)
    assert (response.status_code, response["Location"]) == (303, f"/billing/orders/{unaddressed.id}/invoice/?waiting=0")
    assert asked(fake_polar) == ["POST session", "GET order", "PATCH order", "POST invoice"]
    assert fake_polar.calls[2].body == {
        "billing_name": "Ada Lovelace",
        "billing_address": {**ADDRESS, "line2": None},
    }
    now.shift(6)
    assert "San Francisco" in text_of(fake_polar, CustomerPortal(ada).invoice(unaddressed.id).url)


def test_json_has_the_same_form(fake_polar: FakePolar, ada: User, unaddressed: FakeOrder) -> None:
    assert browse(ada, unaddressed, **JSON).json() == {
        "name": "", "line1": "", "line2": "", "postal_code": "", "city": "", "country": "", "state": "", "locked": [],
    }  # fmt: skip
    response = browse(ada, unaddressed, {"name": "Ada"}, **JSON)
    assert response.status_code == 422
    assert response.json()["error"] == "billing_details_invalid"
    assert response.json()["fields"].keys() == {"line1", "city", "country"}
    response = browse(ada, unaddressed, GOOD, **JSON)
    assert (response.status_code, response.json()["error"]) == (202, "pending")


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": "Ada\x00"}, "name"),
        ({"name": "Ada\x07"}, "name"),
        ({"name": "Ada \u202egnp.exe"}, "name"),
        ({"line1": ""}, "line1"),
        ({"city": ""}, "city"),
        ({"postal_code": ""}, "postal_code"),
        ({"country": ""}, "country"),
        ({"country": "XX"}, "country"),
        ({"country": "RU"}, "country"),
        ({"country": "us"}, "country"),
        ({"state": ""}, "state"),
        ({"state": "US-ZZ"}, "state"),
        ({"state": "CA-QC"}, "state"),
        ({"country": "CA"}, "state"),
        ({"country": "FR"}, "state"),
        ({"state": "US-PR"}, "state"),
    ],
)
def test_what_polar_would_take_is_refused_beside_its_field(
    fake_polar: FakePolar, ada: User, unaddressed: FakeOrder, change: dict[str, str], wrong: str
) -> None:
    response = browse(ada, unaddressed, GOOD | change, **JSON)
    assert response.status_code == 422
    assert list(response.json()["fields"]) == [wrong]
    assert fake_polar.count("PATCH") == 0
    assert fake_polar.count("POST", "/invoice") == 0


def test_nothing_typed_is_lost(fake_polar: FakePolar, ada: User, unaddressed: FakeOrder) -> None:
    response = browse(ada, unaddressed, GOOD | {"name": '"><script>alert(1)</script>', "city": ""})
    assert response.status_code == 422
    assert 'value="1 Main St"' in response.text
    assert '<option value="US-CA" selected>' in response.text
    assert "&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in response.text
    assert "<script>alert" not in response.text


@pytest.mark.parametrize("name", ["עדה לאבלייס", "أدا لوفلايس", "李小龍", "Zoë Ågren", "O'Neil & Søns <GmbH>"])
def test_names_of_all_scripts_are_welcome(fake_polar: FakePolar, ada: User, unaddressed: FakeOrder, name: str) -> None:
    assert browse(ada, unaddressed, GOOD | {"name": name}).status_code == 303
    assert unaddressed.billing_name == name


@pytest.mark.parametrize(
    "details", [{**FRENCH, "state": ""}, {"line1": "1 Queen's Road", "city": "Hong Kong", "country": "HK"}]
)
def test_countries_without_states_or_postal_codes(
    fake_polar: FakePolar, ada: User, unaddressed: FakeOrder, details: dict[str, str]
) -> None:
    assert browse(ada, unaddressed, {"name": "Ada", **details}).status_code == 303


def test_empty_form(fake_polar: FakePolar, ada: User, unaddressed: FakeOrder) -> None:
    response = browse(ada, unaddressed, {})
    assert response.status_code == 422
    assert response.text.count("This field is required.") == 4
    assert fake_polar.count("PATCH") == 0


def test_country_and_state_are_shown_locked(
    fake_polar: FakePolar, ada: User, invoiced: FakeOrder, ada_at_polar: FakeCustomer
) -> None:
    body = browse(ada, invoiced, **JSON).json()
    assert (body["country"], body["locked"]) == ("FR", ["country", "state"])
    page = browse(ada, invoiced).text
    assert 'name="state"' not in page
    american = fake_polar.add_order(ada_at_polar, billing_address=ADDRESS)
    page = browse(ada, american).text
    assert page.count("disabled") == 2
    assert (
        browse(ada, american, {"name": "Ada", "line1": "2 Main St", "city": "LA", "postal_code": "1"}).status_code
        == 303
    )
    assert fake_polar.calls[-2].body["billing_address"]["state"] == "US-CA"


def test_stale_form_from_before_there_was_an_address(fake_polar: FakePolar, ada: User, unaddressed: FakeOrder) -> None:
    fake_polar.update_order(unaddressed, billing_name="Ada", billing_address=FRENCH)
    fake_polar.clear_calls()
    response = browse(ada, unaddressed, GOOD, **JSON)
    assert response.status_code == 422
    assert response.json()["fields"]["country"] == ["The country can't be changed any more."]
    assert fake_polar.count("PATCH") == 0


def test_american_address_without_a_state_can_never_get_one(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    order = fake_polar.add_order(ada_at_polar, billing_address={**ADDRESS, "state": None})
    response = browse(ada, order, {"name": "New Name", "line1": "1", "city": "X", "postal_code": "94105"})
    assert response.status_code == 303
    assert order.billing_name == "New Name"


@pytest.mark.parametrize(
    ("detail", "field", "text"),
    [
        ([{"loc": ["body", "billing_address", "country"], "msg": "Country cannot be changed"}], "country",
         "The country can't be changed any more."),
        ([{"loc": ["body", "billing_address", "state"], "msg": "State cannot be changed"}], "state",
         "The state or province can't be changed any more."),
        ([{"loc": ["body", "billing_address"], "msg": "Value error, Invalid US state"}], "state",
         "Please choose one of the United States."),
        ([{"loc": ["body", "billing_name"], "msg": "<b>Too odd</b>"}], "name", "<b>Too odd</b>"),
        ([{"loc": ["body", "billing_address", "country"], "msg": "Input should be " + "'AD', " * 100}], "country",
         "Polar does not accept this."),
    ],
)  # fmt: skip
def test_polars_own_refusals_land_beside_the_field(
    fake_polar: FakePolar, ada: User, unaddressed: FakeOrder, detail: list[Any], field: str, text: str
) -> None:
    body = {"error": "PolarRequestValidationError", "detail": detail}
    fake_polar.fail("PATCH", status=422, json=body, times=2)
    response = browse(ada, unaddressed, GOOD, **JSON)
    assert (response.status_code, response.json()["fields"]) == (422, {field: [text]})
    page = browse(ada, unaddressed, GOOD).text
    assert 'value="1 Main St"' in page
    assert "<b>Too odd</b>" not in page
    assert fake_polar.count("POST", "/invoice") == 0


def test_form_for_someone_elses_order(
    fake_polar: FakePolar, bob: User, bob_at_polar: FakeCustomer, unaddressed: FakeOrder
) -> None:
    assert browse(bob, unaddressed).status_code == 404
    assert browse(bob, unaddressed, GOOD).status_code == 404
    assert unaddressed.billing_name is None


@pytest.mark.parametrize("status", ["draft", "void"])
def test_form_of_an_order_that_gets_no_invoice(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, status: Any
) -> None:
    order = fake_polar.add_order(ada_at_polar, status=status)
    assert browse(ada, order).status_code == 409
    assert browse(ada, order, GOOD).status_code == 409
    assert fake_polar.count("PATCH") == 0


def test_form_needs_a_csrf_token(fake_polar: FakePolar, ada: User, unaddressed: FakeOrder) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    assert client.post(path(unaddressed), GOOD).status_code == 403
    assert fake_polar.calls == []


def test_country_names_are_in_the_customers_language(fake_polar: FakePolar, ada: User, unaddressed: FakeOrder) -> None:
    from polar_portal.forms import countries

    with override("de"):
        assert ("DE", "Deutschland") in countries()
        names = [name for _, name in countries()]
    assert names.index("Österreich") < names.index("Polen")


def test_misspelt_address_of_a_caller_is_an_error_of_the_caller(ada: User, fake_polar: FakePolar) -> None:
    with pytest.raises(TypeError):
        CustomerPortal(ada).update_billing_details(
            "3f2504e0-4f89-41d3-9a0c-0305e82c3301", name="A", address={"zip": "1"}
        )


# After an edit


def edit(user: User, order: FakeOrder, name: str) -> None:
    CustomerPortal(user).update_billing_details(order.id, name=name, address=BillingAddress(**FRENCH))


def wait_for(user: User, order: FakeOrder, now: time_machine.Traveller) -> str:
    """Come back every three seconds, as the page does; give the address that arrives."""
    for _ in range(30):
        try:
            return CustomerPortal(user).invoice(order.id).url
        except DocumentPending:
            now.shift(3)
    raise AssertionError("it never arrived")


def test_edited_invoice_arrives_with_its_new_details(
    fake_polar: FakePolar, ada: User, invoiced: FakeOrder, now: time_machine.Traveller
) -> None:
    CustomerPortal(ada).invoice(invoiced.id)  # the old address is in the cache
    edit(ada, invoiced, "New Name Ltd")
    with pytest.raises(DocumentPending):
        CustomerPortal(ada).invoice(invoiced.id)
    assert "New Name Ltd" in text_of(fake_polar, wait_for(ada, invoiced, now))
    assert Order.objects.get(pk=invoiced.id).edited_at is None
    assert fake_polar.count("POST", "/invoice") == 1


def test_nobody_else_who_has_it_in_the_cache_meets_the_old_file(
    fake_polar: FakePolar,
    ada: User,
    bob: User,
    invoiced: FakeOrder,
    now: time_machine.Traveller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("polar_portal.customers.by_primary_key", lambda user: {"external_customer_id": str(ada.pk)})
    askers: list[Any] = [CustomerPortal(ada), CustomerPortal(bob), OrganizationPortal()]
    for asker in askers:
        asker.invoice(invoiced.id)
    edit(ada, invoiced, "New Name Ltd")
    for asker in askers:
        with pytest.raises(DocumentPending):
            asker.invoice(invoiced.id)
    now.shift(6)
    for asker in askers:
        assert "New Name Ltd" in text_of(fake_polar, asker.invoice(invoiced.id).url)


def test_edit_without_the_organizations_token_is_made_all_the_same(
    fake_polar: FakePolar, ada: User, invoiced: FakeOrder, settings: Settings
) -> None:
    CustomerPortal(ada).invoice(invoiced.id)
    settings.POLAR_ACCESS_TOKEN = None
    edit(ada, invoiced, "New Name Ltd")
    assert fake_polar.count("POST", "/invoice") == 1


def test_note_of_an_edit_outlives_the_cache(
    fake_polar: FakePolar, ada: User, invoiced: FakeOrder, now: time_machine.Traveller, settings: Settings
) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    edit(ada, invoiced, "New Name Ltd")
    with pytest.raises(DocumentPending):
        CustomerPortal(ada).invoice(invoiced.id)
    assert "New Name Ltd" in text_of(fake_polar, wait_for(ada, invoiced, now))


@pytest.mark.django_db
def test_a_replica_that_lags_brings_neither_the_old_file_back_nor_a_second_session(
    fake_polar: FakePolar, ada: User, invoiced: FakeOrder, now: time_machine.Traveller, settings: Settings
) -> None:
    settings.DATABASE_ROUTERS = [ReadsFromReplica()]
    CustomerPortal(ada).invoice(invoiced.id)
    CustomerPortal(ada).update_billing_details(invoiced.id, name="Augusta King", address=FRENCH)
    with pytest.raises(DocumentPending):
        CustomerPortal(ada).invoice(invoiced.id)
    now.shift(15)
    body, headers = fake_polar.webhook("order.updated", invoiced)
    assert events.receive(headers, body).outcome == "applied"
    assert "Augusta King" in text_of(fake_polar, CustomerPortal(ada).invoice(invoiced.id).url)
    assert fake_polar.count("POST", "/customer-sessions/") == 1


def test_edit_while_the_first_job_has_read_the_old_name(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, now: time_machine.Traveller
) -> None:
    """The real race: Polar's job has started, and with it the old name goes into the file."""
    order = fake_polar.add_order(ada_at_polar, billing_name="Old Name", billing_address=FRENCH)
    CustomerPortal(ada).generate_invoice(order.id)
    now.shift(1)
    edit(ada, order, "New Name Ltd")
    url = wait_for(ada, order, now)
    assert "New Name Ltd" in text_of(fake_polar, url)
    assert "Old Name" not in text_of(fake_polar, url)
    # To make it, after the edit, and once more after the first file had come.
    assert fake_polar.count("POST", "/invoice") == 3


def test_edit_of_an_invoice_that_was_just_made_waits_no_longer_than_others(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, now: time_machine.Traveller
) -> None:
    order = fake_polar.add_order(ada_at_polar, billing_name="Old Name", billing_address=FRENCH)
    CustomerPortal(ada).generate_invoice(order.id)
    wait_for(ada, order, now)
    edit(ada, order, "New Name Ltd")
    began = datetime.now(timezone.utc)
    assert "New Name Ltd" in text_of(fake_polar, wait_for(ada, order, now))
    assert (datetime.now(timezone.utc) - began).total_seconds() == 6
    # No job was running any more, so once was enough.
    assert fake_polar.count("POST", "/invoice") == 2


def test_no_click_ever_meets_the_old_file_after_an_edit(
    fake_polar: FakePolar, ada: User, invoiced: FakeOrder, now: time_machine.Traveller
) -> None:
    edit(ada, invoiced, "New Name Ltd")
    for _ in range(60):
        now.shift(1)
        try:
            assert "New Name Ltd" in text_of(fake_polar, CustomerPortal(ada).invoice(invoiced.id).url)
        except DocumentPending:
            continue
    assert Order.objects.get(pk=invoiced.id).edited_at is None


def test_edit_that_lands_while_the_url_is_fetched_is_not_kept(
    fake_polar: FakePolar, ada: User, invoiced: FakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polar_portal.api.client import Client as Api

    CustomerPortal(ada).order(invoiced.id)
    genuine = Api.invoice

    def edited_meanwhile(self: Api, *args: Any) -> Any:
        document = genuine(self, *args)
        later = datetime(2026, 11, 22, 13, tzinfo=timezone.utc)
        Order.objects.update(edited_at=later, edit_wait_until=later, edit_posted=True)
        return document

    monkeypatch.setattr(Api, "invoice", edited_meanwhile)
    with pytest.raises(DocumentPending):
        CustomerPortal(ada).invoice(invoiced.id)
    assert CustomerPortal(ada).cached("invoice", invoiced.id) is None


def test_nothing_changed_is_nothing_to_wait_for(fake_polar: FakePolar, ada: User, invoiced: FakeOrder) -> None:
    edit(ada, invoiced, "Ada Lovelace")
    assert fake_polar.count("PATCH") == 0
    assert Order.objects.get(pk=invoiced.id).edited_at is None


def test_only_what_changed_is_sent(fake_polar: FakePolar, ada: User, invoiced: FakeOrder) -> None:
    edit(ada, invoiced, "New Name Ltd")
    (patch,) = [call for call in fake_polar.calls if call.method == "PATCH"]
    assert patch.body == {"billing_name": "New Name Ltd"}


def test_forty_five_seconds_end_it(
    fake_polar: FakePolar, ada: User, invoiced: FakeOrder, now: time_machine.Traveller
) -> None:
    fake_polar.render_seconds = 1000
    edit(ada, invoiced, "New Name Ltd")
    now.shift(44)
    with pytest.raises(DocumentPending):
        CustomerPortal(ada).invoice(invoiced.id)
    now.shift(4)
    assert CustomerPortal(ada).invoice(invoiced.id)


def test_tabs_that_wait_for_an_edit_ask_every_few_seconds(
    fake_polar: FakePolar, ada: User, invoiced: FakeOrder, now: time_machine.Traveller
) -> None:
    fake_polar.render_seconds = 1000
    edit(ada, invoiced, "New Name Ltd")
    fake_polar.clear_calls()
    for _ in range(30):
        for _ in range(5):
            with pytest.raises(DocumentPending):
                CustomerPortal(ada).invoice(invoiced.id)
        now.shift(1)
    assert asked(fake_polar) == ["GET order"] * 9


def test_post_that_fails_after_the_edit_is_made_up_for(
    fake_polar: FakePolar, ada: User, invoiced: FakeOrder, now: time_machine.Traveller
) -> None:
    fake_polar.fail("POST", "/invoice", status=500)
    with pytest.raises(PolarUnavailable):
        edit(ada, invoiced, "New Name Ltd")
    assert "New Name Ltd" in text_of(fake_polar, wait_for(ada, invoiced, now))
    assert fake_polar.count("POST", "/invoice") == 2


def test_post_that_is_made_up_for_late_is_waited_for_all_the_same(
    fake_polar: FakePolar, ada: User, invoiced: FakeOrder, now: time_machine.Traveller
) -> None:
    fake_polar.fail("POST", "/invoice", status=500)
    with pytest.raises(PolarUnavailable):
        edit(ada, invoiced, "New Name Ltd")
    now.shift(300)
    # Staff, who ask as the organization, neither wait for ever nor end the customer's wait.
    assert OrganizationPortal().invoice(invoiced.id)
    assert "New Name Ltd" in text_of(fake_polar, wait_for(ada, invoiced, now))
    assert fake_polar.count("POST", "/invoice") == 2


def test_refused_edit_leaves_things_as_they_were(fake_polar: FakePolar, ada: User, invoiced: FakeOrder) -> None:
    portal = CustomerPortal(ada)
    kept = portal.invoice(invoiced.id)
    with pytest.raises(BillingDetailsInvalid) as refused:
        portal.update_billing_details(invoiced.id, name="X", address={**FRENCH, "country": "DE"})
    assert refused.value.fields == {"country": ["Country cannot be changed"]}
    assert portal.invoice(invoiced.id) == kept


# An edit whose answer is lost


@pytest.mark.parametrize("next_click", ["the same form once more", "the invoice"])
@pytest.mark.parametrize("told", [True, False], ids=["with a webhook", "without"])
def test_edit_that_took_effect_though_its_answer_was_lost(
    fake_polar: FakePolar, ada: User, invoiced: FakeOrder, now: time_machine.Traveller, next_click: str, told: bool
) -> None:
    CustomerPortal(ada).invoice(invoiced.id)  # the old address is in the cache
    now.shift(1)
    fake_polar.fail("PATCH", exception=requests.Timeout("too late"), arrives=True)
    with pytest.raises(PolarUnavailable):
        edit(ada, invoiced, "New Name Ltd")
    assert invoiced.billing_name == "New Name Ltd"
    if told:
        body, headers = fake_polar.webhook(fake_polar.events[-1])
        Client().post("/billing/webhook/", body, content_type="application/json", headers=headers)
    if next_click == "the same form once more":
        edit(ada, invoiced, "New Name Ltd")
    with pytest.raises(DocumentPending):
        CustomerPortal(ada).invoice(invoiced.id)
    assert "New Name Ltd" in text_of(fake_polar, wait_for(ada, invoiced, now))
    assert fake_polar.count("POST", "/invoice") == 1
    assert Order.objects.get(pk=invoiced.id).edited_at is None


def test_edit_that_never_arrived_is_not_waited_for(
    fake_polar: FakePolar, ada: User, invoiced: FakeOrder, now: time_machine.Traveller
) -> None:
    fake_polar.fail("PATCH", status=503)
    with pytest.raises(PolarUnavailable):
        edit(ada, invoiced, "New Name Ltd")
    fake_polar.clear_calls()
    assert "Ada Lovelace" in text_of(fake_polar, CustomerPortal(ada).invoice(invoiced.id).url)
    assert asked(fake_polar) == ["GET order", "GET invoice"]
    # And that is known from then on.
    assert Order.objects.get(pk=invoiced.id).edited_at is None


def test_lost_edit_while_another_is_waited_for(
    fake_polar: FakePolar, ada: User, invoiced: FakeOrder, now: time_machine.Traveller
) -> None:
    edit(ada, invoiced, "New Name Ltd")
    now.shift(1)
    fake_polar.fail("PATCH", exception=requests.Timeout("too late"), arrives=True)
    with pytest.raises(PolarUnavailable):
        edit(ada, invoiced, "Newer Name Ltd")
    assert "Newer Name Ltd" in text_of(fake_polar, wait_for(ada, invoiced, now))


def test_lost_edit_is_no_business_of_strangers(
    fake_polar: FakePolar, ada: User, bob: User, bob_at_polar: FakeCustomer, invoiced: FakeOrder
) -> None:
    fake_polar.fail("PATCH", exception=requests.Timeout("too late"), arrives=True)
    with pytest.raises(PolarUnavailable):
        edit(ada, invoiced, "New Name Ltd")
    noted = Order.objects.values().get()
    with pytest.raises(OrderNotFound):
        CustomerPortal(bob).invoice(invoiced.id)
    # Staff get what there is, and leave the rest to the customer.
    assert "Ada Lovelace" in text_of(fake_polar, OrganizationPortal().invoice(invoiced.id).url)
    assert Order.objects.values().get() == noted
    assert fake_polar.count("POST", "/invoice") == 0
