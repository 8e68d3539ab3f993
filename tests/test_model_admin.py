"""Staff look at our own tables: read-only, without secrets, however many rows there are."""

from __future__ import annotations

import html
import re
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.sites import AdminSite
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import override as use_zone
from django.utils.translation import override
from pytest_django import Settings

from polar_portal.admin import CustomerSessionAdmin, OrderAdmin, WebhookDeliveryAdmin, lists, tables
from polar_portal.models import CustomerSession, Order, WebhookDelivery
from polar_portal.testing import FakeCustomer, FakePolar

ORDERS = "/admin/polar_portal/order/"
SESSIONS = "/admin/polar_portal/customersession/"
DELIVERIES = "/admin/polar_portal/webhookdelivery/"
LISTS = [ORDERS, SESSIONS, DELIVERIES]

NOW = datetime.now(timezone.utc)
CUSTOMER, OTHER = uuid.UUID(int=101), uuid.UUID(int=102)


def add_order(which: int = 7, *, days: int = 0, **values: Any) -> Order:
    """Add an order to the mirror. which: of them; days: its age."""
    moment = NOW - timedelta(days=days)
    given = {
        "polar_customer_id": CUSTOMER, "status": "paid", "currency": "usd", "total_amount": 5880,
        "number": f"ACME-{which:04d}", "receipt_number": f"RCPT-{which:04d}", "description": "Pro Plan", **values
    }  # fmt: skip
    return Order.objects.create(pk=uuid.UUID(int=which), created_at=moment, modified_at=moment, **given)


def add_session(user: User, scope: str = "one", *, minutes: int = 60, **values: Any) -> CustomerSession:
    """Add a session. minutes: for which it lives on; negative: since when it has ended."""
    given = {"polar_customer_id": CUSTOMER, "encrypted_token": "gAAAA-ciphertext", **values}
    return CustomerSession.objects.create(user=user, scope=scope, expires_at=NOW + timedelta(minutes=minutes), **given)


def add_delivery(which: int = 1, **values: Any) -> WebhookDelivery:
    given = {"type": "order.updated", "outcome": "applied", "body": b'{"email": "ada@shop.example"}', **values}
    return WebhookDelivery.objects.create(delivery_id=f"delivery-{which}", **given)


@pytest.fixture
def sam(db: None) -> User:
    """Staff who may view our tables, and nothing else."""
    staff = User.objects.create_user("sam", is_staff=True)
    codenames = ["view_order", "view_customersession", "view_webhookdelivery"]
    staff.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return staff


@pytest.fixture
def boss(db: None) -> User:
    return User.objects.create_superuser("boss", "boss@shop.example")


def get(staff: User, path: str, **query: str) -> Any:
    client = Client()
    client.force_login(staff)
    return client.get(path, query)


def cells(response: Any) -> list[list[str]]:
    """What each row of a list says, column by column; of an icon, what it stands for."""
    rows = re.findall(r"<tr>(.*?)</tr>", response.text.partition('id="result_list"')[2], re.DOTALL)
    found = [re.findall(r'<t[hd] class="field[^"]*">(.*?)</t[hd]>', row, re.DOTALL) for row in rows]
    return [
        [html.unescape(re.sub(r'<img [^>]*alt="(\w+)"[^>]*>|<[^>]+>', r"\1", cell)).strip() for cell in row]
        for row in found
        if row
    ]


def numbers(response: Any) -> list[str]:
    """The first column of the list's rows."""
    assert response.status_code == 200, response
    return [row[0] for row in cells(response)]


# Who may, and what


@pytest.mark.parametrize("path", LISTS)
def test_view_permission_is_needed(sam: User, path: str) -> None:
    assert get(sam, path).status_code == 200
    sam.user_permissions.clear()
    assert get(sam, path).status_code == 403


@pytest.mark.parametrize("path", LISTS)
def test_nobody_adds_changes_or_deletes(boss: User, path: str) -> None:
    row: Any = {ORDERS: add_order(), SESSIONS: add_session(boss), DELIVERIES: add_delivery()}[path]
    client = Client()
    client.force_login(boss)
    before = {field.name: getattr(row, field.name) for field in row._meta.fields}
    assert client.get(f"{path}add/").status_code == 403
    assert client.post(f"{path}{row.pk}/change/", {"status": "void", "outcome": "failed"}).status_code == 403
    assert client.get(f"{path}{row.pk}/delete/").status_code == 403
    assert client.post(f"{path}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(path, {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"})
    row = type(row).objects.get()
    assert {field.name: getattr(row, field.name) for field in row._meta.fields} == before
    page = client.get(f"{path}{row.pk}/change/").text
    assert 'type="submit" value="Save"' not in page
    assert "deletelink" not in page
    assert "delete_selected" not in client.get(path).text


def run_again(staff: User, *deliveries: WebhookDelivery) -> str:
    """Run the action on the list, and return the page that follows."""
    client = Client()
    client.force_login(staff)
    chosen = [delivery.pk for delivery in deliveries]
    return str(client.post(DELIVERIES, {"action": "run_again", "_selected_action": chosen}, follow=True).text)


def test_failed_deliveries_are_run_again(boss: User, fake_polar: FakePolar) -> None:
    order = fake_polar.add_order(fake_polar.add_customer())
    body, _ = fake_polar.webhook("order.paid", order)
    mended, hopeless = add_delivery(1, outcome="failed", body=body), add_delivery(2, outcome="failed", body=b"?")
    applied = add_delivery(3)
    page = run_again(boss, mended, hopeless, applied)
    assert "1 delivery has taken effect." in page
    assert "1 delivery has failed again." in page
    assert Order.objects.get().pk == order.id
    outcomes = WebhookDelivery.objects.order_by("pk").values_list("outcome", "attempts")
    assert list(outcomes) == [("applied", 2), ("failed", 2), ("applied", 1)]
    assert "0 deliveries have taken effect." in run_again(boss, applied)
    assert fake_polar.calls == []


def test_deliveries_are_run_again_by_those_who_may_change_them_alone(sam: User) -> None:
    failed = add_delivery(outcome="failed", body=b"?")
    run_again(sam, failed)
    assert WebhookDelivery.objects.get().attempts == 1
    sam.user_permissions.add(Permission.objects.get(codename="change_webhookdelivery"))
    run_again(sam, failed)
    assert WebhookDelivery.objects.get().attempts == 2


def test_each_list_offers_its_action_to_those_who_may(boss: User, sam: User) -> None:
    add_order()
    add_session(boss)
    add_delivery()
    assert 'value="download_invoices"' in get(boss, ORDERS).text
    for path in LISTS:
        assert 'name="action"' not in get(sam, path).text
    assert 'name="action"' not in get(boss, SESSIONS).text
    assert 'value="run_again"' in get(boss, DELIVERIES).text


def test_action_downloads_the_invoice_of_a_mirrored_order(
    fake_polar: FakePolar, boss: User, ada_at_polar: FakeCustomer
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    add_order(order.id.int)
    client = Client()
    client.force_login(boss)
    response = client.post(ORDERS, {"action": "download_invoices", "_selected_action": order.id})
    assert response["Refresh"] == f"0; url={ORDERS}polar-invoice/{order.id}/"
    assert [call.path for call in fake_polar.calls] == [f"/v1/orders/{order.id}/invoice"]


def test_secrets_and_addresses_are_on_no_page(boss: User) -> None:
    ada = User.objects.create_user("ada@shop.example")
    order = add_order(edited_at=NOW, edit_wait_until=NOW)
    session = add_session(ada, scope="a-scope", listed_orders=["listed"])
    delivery = add_delivery()
    for path, row in ((ORDERS, order), (SESSIONS, session), (DELIVERIES, delivery)):
        for page in (get(boss, path).text, get(boss, f"{path}{row.pk}/change/").text):
            for secret in ("ciphertext", "a-scope", "listed", "ada@shop.example", "email", "edit"):
                assert secret not in page, (path, secret)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (SESSIONS, "encrypted_token__startswith=g"),
        (SESSIONS, "scope__startswith=a"),
        (SESSIONS, "user__email__startswith=a"),
        (SESSIONS, "user__username=ada"),
        (DELIVERIES, "body__contains=ada"),
        (DELIVERIES, "error__contains=a"),
        (ORDERS, "description__contains=Pro"),
        (ORDERS, "edited_at__isnull=0"),
    ],
)
def test_no_address_of_a_list_asks_what_a_hidden_column_holds(boss: User, path: str, query: str) -> None:
    name, _, value = query.partition("=")
    with CaptureQueriesContext(connection) as queries:
        assert get(boss, path, **{name: value}).status_code == 400
    assert not [each for each in queries if 'FROM "polar_portal' in each["sql"]]


def test_what_may_be_large_or_secret_is_not_even_read(boss: User) -> None:
    session, delivery = add_session(boss), add_delivery()
    with CaptureQueriesContext(connection) as queries:
        for path, row in ((SESSIONS, session), (DELIVERIES, delivery)):
            assert numbers(get(boss, path))
            assert get(boss, f"{path}{row.pk}/change/").status_code == 200
    read = [each["sql"].partition(" FROM ")[0] for each in queries if 'FROM "polar_portal' in each["sql"]]
    assert len(read) >= 4
    assert not [columns for columns in read if "encrypted_token" in columns or '"body"' in columns]


# Orders


def test_an_orders_row(boss: User) -> None:
    add_order(1, days=1, refunded_amount=1000, refunded_tax_amount=200, is_invoice_generated=True)
    add_order(2, days=2, number="", status="under_review", currency="jpy", description="<script>alert(1)</script>")
    response = get(boss, ORDERS)
    assert [[*row[:5], row[6]] for row in cells(response)] == [
        ["ACME-0001", "Paid", "Pro Plan", "$58.80", "$12.00", "True"],
        ["-", "Under review", "<script>alert(1)</script>", "¥5,880", "-", "False"],
    ]
    assert "<script>alert" not in response.text
    with override("de"), use_zone("Europe/Berlin"):
        Order.objects.update(created_at=datetime(2026, 11, 16, 23, 30, tzinfo=timezone.utc))
        assert cells(get(boss, ORDERS))[0][3:6:2] == ["58,80\xa0$", "17.11.2026 00:30"]


@pytest.mark.parametrize("currency", ["", "xyz", "no-currency", "¤"])
def test_odd_currencies_do_no_harm(boss: User, currency: str) -> None:
    add_order(currency=currency[:10])
    assert "58.80" in cells(get(boss, ORDERS))[0][3]


def test_an_orders_page(boss: User) -> None:
    add_order(refunded_amount=1000)
    page = get(boss, f"{ORDERS}{uuid.UUID(int=7)}/change/").text
    for said in (
        "ACME-0007",
        "RCPT-0007",
        "Paid",
        "Pro Plan",
        "$58.80",
        "$10.00",
        str(uuid.UUID(int=7)),
        str(CUSTOMER),
    ):
        assert said in page
    assert f'<a href="{ORDERS}?polar_customer_id={CUSTOMER}">Orders of this customer</a>' in page
    assert f'<a href="{SESSIONS}?polar_customer_id={CUSTOMER}">Sessions of this customer</a>' in page


def test_who_may_not_view_sessions_is_not_led_there(sam: User) -> None:
    add_order()
    path = f"{ORDERS}{uuid.UUID(int=7)}/change/"
    assert "Sessions of this customer" in get(sam, path).text
    sam.user_permissions.remove(Permission.objects.get(codename="view_customersession"))
    page = get(sam, path).text
    assert "Orders of this customer" in page
    assert "Sessions of this customer" not in page


def test_newest_come_first_and_no_address_sorts_otherwise(boss: User) -> None:
    for which, days in ((1, 3), (2, 1), (3, 2)):
        add_order(which, days=days, description=f"Tea {which}")
    newest_first = ["ACME-0002", "ACME-0003", "ACME-0001"]
    assert numbers(get(boss, ORDERS)) == newest_first
    with CaptureQueriesContext(connection) as queries:
        assert numbers(get(boss, ORDERS, o="2.-3")) == newest_first
    assert not [each for each in queries if re.search(r"ORDER BY .*(description|status)", each["sql"])]
    assert "?o=" not in get(boss, ORDERS).text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"status": "void"}, [4]),
        ({"status": "no-such"}, [1, 2, 3, 4]),
        ({"is_invoice_generated__exact": "1"}, [2]),
        ({"is_invoice_generated__exact": "0", "status": "paid"}, [1, 3]),
        ({"created_at__gte": str(NOW - timedelta(days=2, hours=1)), "created_at__lt": str(NOW)}, [2]),
        ({"polar_customer_id": str(OTHER)}, [3]),
        ({"polar_customer_id": OTHER.hex.upper()}, [3]),
    ],
)
def test_filters_of_orders(boss: User, query: dict[str, str], expected: list[int]) -> None:
    add_order(1)
    add_order(2, days=2, is_invoice_generated=True)
    add_order(3, days=9, polar_customer_id=OTHER)
    add_order(4, days=12, status="void")
    assert numbers(get(boss, ORDERS, **query)) == [f"ACME-{which:04d}" for which in expected]


def test_filter_offers_the_known_statuses_in_words(boss: User) -> None:
    page = get(boss, ORDERS).text
    for status, text in (("draft", "Draft"), ("partially_refunded", "Partially refunded"), ("void", "Cancelled")):
        assert f'<a href="?status={status}">{text}</a>' in page.replace("\n", "").replace("  ", "")


def test_filter_by_customer_says_which_and_leads_back(boss: User) -> None:
    add_order()
    assert "By Polar customer id" not in get(boss, ORDERS).text
    response = get(boss, ORDERS, polar_customer_id=str(OTHER))
    assert "By Polar customer id" in response.text
    assert "Clear all filters" in response.text
    response = get(boss, ORDERS, polar_customer_id="' OR 1=1")
    assert (response.status_code, response["Location"]) == (302, f"{ORDERS}?e=1")


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("ACME-0012", [12]),
        ("  acme-0012 ", [12]),
        ("ACME-001", [12, 13]),
        ("rcpt-0013", [13]),
        ("RCPT-", [12, 13, 21]),
        ("mixed-21", [21]),
        ("Mixed-2", [21]),
        ("0012", []),
        ("ACME%", []),
        ("ACME_0012", []),
        ("Pro Plan", []),
        (str(uuid.UUID(int=13)), [13]),
        (uuid.UUID(int=13).hex, [13]),
        (f"{{{uuid.UUID(int=13)}}}".upper(), [13]),
        (uuid.UUID(int=13).urn, [13]),
        (str(OTHER), [21]),
        (OTHER.hex, [21]),
        (str(uuid.UUID(int=999)), []),
    ],
)
def test_search_for_orders(boss: User, term: str, expected: list[int]) -> None:
    add_order(12)
    add_order(13, days=1)
    add_order(21, days=2, number="mixed-21", polar_customer_id=OTHER)
    if term == "Mixed-2":
        Order.objects.filter(pk=uuid.UUID(int=21)).update(number="Mixed-21")
    found = {row["pk"] for row in get(boss, ORDERS, q=term).context["cl"].result_list.values("pk")}
    assert found == {uuid.UUID(int=which) for which in expected}


@pytest.mark.parametrize("term", ["\x00", "ACME\x00", "\ud800", "a" * 5000, "' OR 1=1 --", "9" * 40, "🫖", '"'])
@pytest.mark.parametrize("path", LISTS)
def test_odd_searches_do_no_harm(boss: User, path: str, term: str) -> None:
    add_order()
    add_session(boss)
    add_delivery()
    client = Client()
    client.force_login(boss)
    response = client.get(path, QUERY_STRING="q=" + "".join(f"%{byte:02X}" for byte in term.encode("utf-8", "replace")))
    assert response.status_code == 200


def test_search_says_what_can_be_searched(boss: User) -> None:
    for path, said in ((ORDERS, "receipt number"), (SESSIONS, "primary key"), (DELIVERIES, "type of its event")):
        assert re.search(rf'id="searchbar_helptext">[^<]*{said}', get(boss, path).text)


# More than a list pages through


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists page through five rows, two a page, and five numbers are found by how they begin."""
    monkeypatch.setattr(lists, "MOST_LISTED", 5)
    monkeypatch.setattr(tables, "MOST_BEGINNING", 5)
    monkeypatch.setattr(lists.ReadOnlyMixin, "list_per_page", 2)


def title(response: Any) -> str:
    found = re.search(r"<h1>(.*?)</h1>", response.text)
    assert found
    return found[1]


def test_list_pages_through_the_newest_and_says_so(few: None, boss: User) -> None:
    for which in range(1, 10):
        add_order(which, days=which)
    pages = [get(boss, ORDERS, p=str(page)) for page in (1, 2, 3)]
    assert [numbers(page) for page in pages] == [["ACME-0001", "ACME-0002"], ["ACME-0003", "ACME-0004"], ["ACME-0005"]]
    assert {title(page) for page in pages} == {"The newest 5 orders. Search or filter to find others."}
    assert get(boss, ORDERS, p="4")["Location"] == f"{ORDERS}?e=1"


@pytest.mark.parametrize("how_many", [0, 1, 2, 5])
def test_list_that_is_shown_whole_says_nothing(few: None, boss: User, how_many: int) -> None:
    for which in range(how_many):
        add_order(which)
    response = get(boss, ORDERS)
    assert title(response) == "Select order to view"
    assert f"\n{how_many} order" in response.text
    assert "result" not in response.text.partition('id="changelist-search"')[2].partition("</form>")[0]
    assert f"{how_many} result" in get(boss, ORDERS, q="ACME").text


@pytest.mark.parametrize("query", [{"status": "paid"}, {"q": str(CUSTOMER)}, {"polar_customer_id": str(CUSTOMER)}])
def test_capped_list_of_what_was_found_says_so(few: None, boss: User, query: dict[str, str]) -> None:
    for which in range(8):
        add_order(which, days=which)
    response = get(boss, ORDERS, **query, p="3")
    assert numbers(response) == ["ACME-0004"]
    assert "5 results" not in response.text, "there are more"
    assert title(response) == "5 of the orders found. Search or filter more narrowly to find others."


def test_search_that_finds_too_many_numbers_says_so(few: None, boss: User) -> None:
    said = "More than 5 numbers begin like this: type more to find them all."
    for which in range(30):
        add_order(which, days=which, status="void" if which == 29 else "paid")
    assert said in get(boss, ORDERS, q="ACME-").text
    assert said in get(boss, ORDERS, q="acme-", status="void").text, "some may be among those that were not looked at"
    response = get(boss, ORDERS, q="ACME-000", p="2")
    assert said in response.text
    for query in ({"q": "ACME-0029"}, {"q": str(CUSTOMER)}, {"q": "none"}, {}):
        assert said not in get(boss, ORDERS, **query).text
    client = Client()
    client.force_login(boss)
    client.post(f"{ORDERS}?q=ACME-", {"action": "nothing", "_selected_action": "1", "index": "0"})
    assert said not in client.get(ORDERS).text, "it is said on the page that it is about"


def test_two_thousand_are_paged_through_whole(boss: User) -> None:
    moments = {"created_at": NOW, "modified_at": NOW}
    Order.objects.bulk_create(
        Order(pk=uuid.UUID(int=which), polar_customer_id=CUSTOMER, currency="usd", total_amount=1, **moments)
        for which in range(2001)
    )
    assert title(get(boss, ORDERS)) == "The newest 2,000 orders. Search or filter to find others."
    assert len(cells(get(boss, ORDERS, p="100"))) == 20
    Order.objects.filter(pk=uuid.UUID(int=0)).delete()
    assert title(get(boss, ORDERS)) == "Select order to view"
    assert len(cells(get(boss, ORDERS, p="100"))) == 20


def chosen_by_action(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Replace what the action does by noting the orders it is given."""
    chosen: list[list[str]] = []

    @admin.action(description="Note")
    def note(self: Any, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        chosen.append([order.number for order in queryset])

    monkeypatch.setattr(OrderAdmin, "note", note, raising=False)
    monkeypatch.setattr(OrderAdmin, "actions", ["note"])
    return chosen


@pytest.mark.parametrize("query", ["", "?status=paid", f"?q={CUSTOMER}"])
def test_all_that_are_selected_are_as_many_as_was_said(
    few: None, boss: User, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    chosen = chosen_by_action(monkeypatch)
    for which in range(9):
        add_order(which, days=which)
    client = Client()
    client.force_login(boss)
    assert "Select all 5 orders" in client.get(ORDERS + query).text
    page = ["ACME-0000", "ACME-0001"]
    ids = [str(uuid.UUID(int=which)) for which in (0, 1)]
    client.post(ORDERS + query, {"action": "note", "_selected_action": ids, "select_across": "1", "index": "0"})
    client.post(ORDERS + query, {"action": "note", "_selected_action": ids, "select_across": "0", "index": "0"})
    # One that has been pushed off the list's end since it was shown is still the one that was ticked.
    client.post(ORDERS + query, {"action": "note", "_selected_action": [str(uuid.UUID(int=8))], "index": "0"})
    assert chosen == [[*page, "ACME-0002", "ACME-0003", "ACME-0004"], page, ["ACME-0008"]]


def test_rows_that_come_between_counting_and_reading_do_not_make_the_page_long(few: None, boss: User) -> None:
    add_order(1)

    def meanwhile(execute: Any, sql: str, *args: Any) -> Any:
        result = execute(sql, *args)
        if sql.startswith("SELECT COUNT(*)") and 'FROM "polar_portal_order"' in sql:
            for which in range(2, 30):
                add_order(which)
        return result

    with connection.execute_wrapper(meanwhile):
        assert len(cells(get(boss, ORDERS))) == 5


@pytest.mark.parametrize("path", LISTS)
def test_counting_is_bounded_and_facets_are_off(boss: User, path: str) -> None:
    add_session(boss)
    add_order(number="BOSS")
    for query in ({}, {"_facets": "True"}, {"q": "boss"}):
        with CaptureQueriesContext(connection) as queries:
            assert "Show counts" not in get(boss, path, **query).text
        counts = [each["sql"] for each in queries if "COUNT(" in each["sql"]]
        assert len(counts) == 1
        assert "LIMIT 2001" in counts[0]


@pytest.mark.parametrize("path", LISTS)
def test_a_full_page_costs_as_many_queries_as_a_row(boss: User, path: str) -> None:
    def add(which: int) -> None:
        add_order(which)
        add_session(User.objects.create_user(f"user-{which}"), polar_customer_id=uuid.UUID(int=which))
        add_delivery(which)

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            get(boss, path)
        return len(queries)

    add(1)
    for_one = cost()
    for which in range(2, 61):
        add(which)
    assert cost() == for_one


# Sessions


def test_a_sessions_row_and_page(boss: User) -> None:
    ada = User.objects.create_user("ada@shop.example")
    live, ended = add_session(ada), add_session(ada, "two", minutes=-1, polar_customer_id=OTHER)
    response = get(boss, SESSIONS)
    assert [(row[0], row[1], row[4]) for row in cells(response)] == [
        (str(CUSTOMER), str(ada.pk), "True"),
        (str(OTHER), str(ada.pk), "False"),
    ]
    link = f'<a href="/admin/auth/user/{ada.pk}/change/">{ada.pk}</a>'
    assert link in response.text
    page = get(boss, f"{SESSIONS}{ended.pk}/change/").text
    assert link in page
    assert f'<a href="{ORDERS}?polar_customer_id={OTHER}">Orders of this customer</a>' in page
    assert get(boss, f"{SESSIONS}{live.pk}/change/").status_code == 200


def test_user_is_a_link_only_for_those_who_may_follow_it(sam: User) -> None:
    add_session(sam)
    assert "/admin/auth/user/" not in get(sam, SESSIONS).text
    assert cells(get(sam, SESSIONS))[0][1] == str(sam.pk)
    sam.user_permissions.add(Permission.objects.get(codename="view_user"))
    assert f"/admin/auth/user/{sam.pk}/change/" in get(User.objects.get(pk=sam.pk), SESSIONS).text


def test_an_admin_without_users_or_sessions_links_to_none(boss: User) -> None:
    site = AdminSite("bare")
    site.register(Order, OrderAdmin)
    request = RequestFactory().get("/")
    request.user = boss
    registered = site.get_model_admin(Order)
    assert isinstance(registered, OrderAdmin)
    assert registered.list_url(request, CustomerSession) == ""
    session = add_session(boss)
    assert CustomerSessionAdmin(CustomerSession, site).user_field(request)(session) == str(boss.pk)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("ada@shop.example", 1),
        ("ADA@shop.example", 0),
        ("ada", 0),
        ("PK", 1),
        (str(OTHER), 1),
        (OTHER.hex, 1),
        ("-1", 0),
    ],
)
def test_search_for_sessions(boss: User, term: str, expected: int) -> None:
    ada = User.objects.create_user("ada@shop.example")
    add_session(ada, polar_customer_id=OTHER)
    add_session(boss)
    response = get(boss, SESSIONS, q=str(ada.pk) if term == "PK" else term)
    assert numbers(response) == [str(OTHER)] * expected


def test_user_with_sessions_can_still_be_deleted(boss: User, sam: User) -> None:
    """Django asks the admin of what goes with a user whether it may be deleted."""
    ada = User.objects.create_user("ada")
    session = add_session(ada)
    sam.user_permissions.add(*Permission.objects.filter(codename__in=["view_user", "change_user", "delete_user"]))
    client = Client()
    client.force_login(sam)
    path = f"/admin/auth/user/{ada.pk}/delete/"
    page = client.get(path).text
    assert "Are you sure" in page
    assert "permission to delete" not in page
    assert client.post(f"{SESSIONS}{session.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(path, {"post": "yes"})
    assert not User.objects.filter(username="ada").exists()
    assert not CustomerSession.objects.exists()


# Deliveries


def test_a_deliverys_row_and_page(boss: User) -> None:
    delivery = add_delivery(outcome="failed", error="OperationalError", attempts=3)
    assert cells(get(boss, DELIVERIES))[0][1:] == ["order.updated", "failed", "3", "OperationalError", "delivery-1"]
    page = get(boss, f"{DELIVERIES}{delivery.pk}/change/").text
    for said in ("order.updated", "failed", "OperationalError", "delivery-1"):
        assert said in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"outcome__exact": "failed"}, ["delivery-2"]),
        ({"received_at__gte": str(NOW - timedelta(days=2))}, ["delivery-2", "delivery-1"]),
        ({"q": "delivery-3"}, ["delivery-3"]),
        ({"q": "delivery"}, []),
        ({"q": "order.paid"}, ["delivery-3", "delivery-2"]),
        ({"q": "order"}, []),
    ],
)
def test_filters_and_search_of_deliveries(boss: User, query: dict[str, str], expected: list[str]) -> None:
    add_delivery(1)
    add_delivery(2, type="order.paid", outcome="failed")
    add_delivery(3, type="order.paid")
    for which, days in ((1, 1), (3, 9), (2, 0)):
        WebhookDelivery.objects.filter(delivery_id=f"delivery-{which}").update(received_at=NOW - timedelta(days=days))
    expected_order = sorted(expected, key="delivery-2 delivery-1 delivery-3".split().index)
    assert [row[-1] for row in cells(get(boss, DELIVERIES, **query))] == expected_order


def test_admins_are_quiet_under_djangos_own_checks(settings: Settings) -> None:
    for kind, model in (
        (OrderAdmin, Order), (CustomerSessionAdmin, CustomerSession), (WebhookDeliveryAdmin, WebhookDelivery)
    ):  # fmt: skip
        assert kind(model, admin.site).check() == []


def test_lists_work_without_time_zones_too(boss: User, settings: Settings) -> None:
    add_order()
    settings.USE_TZ = False
    assert numbers(get(boss, ORDERS)) == ["ACME-0007"]
    CustomerSession.objects.create(
        user=boss,
        scope="one",
        polar_customer_id=CUSTOMER,
        expires_at=datetime.now() + timedelta(hours=1),  # noqa: DTZ005
    )
    assert cells(get(boss, SESSIONS))[0][4] == "True"
