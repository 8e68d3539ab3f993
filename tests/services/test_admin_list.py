"""The admin's lists on a real PostgreSQL: a page costs the same with a million rows as with ten.

Not by the clock: it makes the same queries, each reads a bounded number of rows, and each reads them off an index.
`POSTGRES_URL` says where the server is; a database of its own is made there, and dropped.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection, connections
from django.db.utils import ConnectionHandler
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import localtime
from pytest_django.plugin import DjangoDbBlocker

from polar_portal.admin.lists import MOST_LISTED

psycopg = pytest.importorskip("psycopg", reason="psycopg, which talks to PostgreSQL, is not installed")

URL = os.environ.get("POSTGRES_URL") or "postgres://postgres@127.0.0.1:5432/test"

ORDERS = "/admin/polar_portal/order/"
SESSIONS = "/admin/polar_portal/customersession/"
DELIVERIES = "/admin/polar_portal/webhookdelivery/"

# Each inserts the rows from %(first)s to %(last)s, the oldest first. Of an order's number and of its receipt's the
# first half is the customer's, who has five orders.
ORDER_ROWS = """
    INSERT INTO polar_portal_order (
        polar_order_id, polar_customer_id, status, number, receipt_number, is_invoice_generated, description, currency,
        total_amount, refunded_amount, refunded_tax_amount, created_at, modified_at, edit_posted, edit_post_again
    )
    SELECT
        ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
        ('00000000-0000-4000-9000-' || lpad(to_hex(n / 5), 12, '0'))::uuid,
        CASE n %% 10 WHEN 6 THEN 'pending' WHEN 7 THEN 'refunded' WHEN 8 THEN 'partially_refunded' WHEN 9 THEN 'void'
            ELSE 'paid' END,
        'ACME-' || lpad((n / 5)::text, 8, '0') || '-' || lpad((n %% 5)::text, 4, '0'),
        'RCPT-' || lpad((n / 5)::text, 8, '0') || '-' || lpad((n %% 5)::text, 4, '0'),
        n %% 10 <> 9 AND n %% 3 = 0, 'Pro Plan', 'usd', 5880, 0, 0,
        now() - n * interval '3 minutes', now() - n * interval '3 minutes', false, false
    FROM generate_series(%(last)s, %(first)s, -1) AS n
"""
# Ten of each user, as after ten changes of what the resolver says.
USER_ROWS = """
    INSERT INTO auth_user (
        username, password, first_name, last_name, email, is_staff, is_superuser, is_active, date_joined
    )
    SELECT 'user-' || n, '', '', '', '', false, false, true, now()
    FROM generate_series((%(first)s + 9) / 10, %(last)s / 10) AS n
"""
SESSION_ROWS = """
    INSERT INTO polar_portal_customersession (
        user_id, scope, polar_customer_id, encrypted_token, created_at, expires_at, listed_orders
    )
    SELECT auth_user.id, 'scope-' || n, ('00000000-0000-4000-9000-' || lpad(to_hex(n / 10), 12, '0'))::uuid, '',
        now() - n * interval '1 minute', now() + interval '1 hour' - n * interval '1 minute', '[]'
    FROM generate_series(%(last)s, %(first)s, -1) AS n JOIN auth_user ON username = 'user-' || (n + 9) / 10
"""
# What failed is rare; one type is rare and all old.
DELIVERY_ROWS = """
    INSERT INTO polar_portal_webhookdelivery (delivery_id, type, outcome, error, attempts, received_at)
    SELECT 'delivery-' || n,
        CASE WHEN n > 99000 THEN 'customer.deleted' WHEN n %% 10 = 0 THEN 'order.paid' ELSE 'order.updated' END,
        CASE WHEN n %% 100 = 7 THEN 'failed' WHEN n %% 3 = 0 THEN 'ignored' ELSE 'applied' END,
        '', 1, now() - n * interval '1 minute'
    FROM generate_series(%(last)s, %(first)s, -1) AS n
"""
#: With how many rows each is filled: a million orders and sessions, users and deliveries as they would be.
TABLES = {
    "polar_portal_order": (ORDER_ROWS, 1_000_000),
    "auth_user": (USER_ROWS, 1_000_000),  # ten sessions each
    "polar_portal_customersession": (SESSION_ROWS, 1_000_000),
    "polar_portal_webhookdelivery": (DELIVERY_ROWS, 100_000),
}
FEW = 10

ORDER = "00000000-0000-4000-8000-000000000007"
CUSTOMER = "00000000-0000-4000-9000-000000000001"

#: How many rows a query may read. Those that are counted; more where what is wanted is every third row or so, because
#: then it is as cheap to go through the newest ones.
MOST_READ = 5 * MOST_LISTED

#: Every list, plain, with each filter, and with each kind of search: by what it is, its address.
PAGES = {
    "orders": ORDERS,
    **{
        f"orders that are {status}": f"{ORDERS}?status={status}"
        for status in ("draft", "pending", "paid", "refunded", "partially_refunded", "void")
    },
    "orders of today": f"{ORDERS}?created_at__gte=TODAY&created_at__lt=TOMORROW",
    "orders of a time ago": f"{ORDERS}?created_at__gte=LAST-YEAR&created_at__lt=TODAY",
    "orders with an invoice": f"{ORDERS}?is_invoice_generated__exact=1",
    "orders without an invoice": f"{ORDERS}?is_invoice_generated__exact=0",
    # None, though a tenth is the one and a third is the other.
    "cancelled orders with an invoice": f"{ORDERS}?status=void&is_invoice_generated__exact=1",
    "paid orders of today without one": f"{ORDERS}?status=paid&is_invoice_generated__exact=0&created_at__gte=TODAY",
    "orders of a customer": f"{ORDERS}?polar_customer_id={CUSTOMER}",
    "refunded orders of a customer": f"{ORDERS}?polar_customer_id={CUSTOMER}&status=refunded",
    "order by number": f"{ORDERS}?q=ACME-00000001-0002",
    "order by number in small letters": f"{ORDERS}?q=acme-00000001-0002",
    "order by receipt": f"{ORDERS}?q=RCPT-00000001-0002",
    "orders whose number begins as a customer's": f"{ORDERS}?q=acme-00000001",
    "order by a number that is none": f"{ORDERS}?q=INV-2026-1",
    "order by id": f"{ORDERS}?q={ORDER}",
    "orders by customer": f"{ORDERS}?q={CUSTOMER.replace('-', '')}",
    "order by an id that is none": f"{ORDERS}?q={uuid.UUID(int=7)}",
    "paid order by number": f"{ORDERS}?q=ACME-00000001-0000&status=paid",
    "sessions": SESSIONS,
    "sessions of a customer": f"{SESSIONS}?polar_customer_id={CUSTOMER}",
    "sessions by customer": f"{SESSIONS}?q={CUSTOMER}",
    "sessions by user": f"{SESSIONS}?q=USER",
    "sessions by user name": f"{SESSIONS}?q=user-1",
    "sessions of nobody": f"{SESSIONS}?q=nobody",
    "deliveries": DELIVERIES,
    **{
        f"deliveries that are {outcome}": f"{DELIVERIES}?outcome__exact={outcome}"
        for outcome in ("applied", "ignored", "failed")
    },
    "deliveries of today": f"{DELIVERIES}?received_at__gte=TODAY&received_at__lt=TOMORROW",
    "delivery by id": f"{DELIVERIES}?q=delivery-7",
    "deliveries by type": f"{DELIVERIES}?q=order.updated",
    "deliveries by a rare type": f"{DELIVERIES}?q=customer.deleted",
    "deliveries by a type that is none": f"{DELIVERIES}?q=order",
}

#: Searches that find more than is listed, which takes a million: those of the newest, of the oldest, of all.
BROAD = {
    "orders whose number begins as many of the newest": f"{ORDERS}?q=ACME-0000",
    "orders whose number begins as many of the oldest": f"{ORDERS}?q=acme-0019",
    "orders whose number begins as all": f"{ORDERS}?q=ACME-",
    "cancelled orders whose receipt begins as all": f"{ORDERS}?q=rcpt&status=void",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """A connection to the server, outside Django's."""
    try:
        found = psycopg.connect(URL, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        parts = urlsplit(URL)
        pytest.skip(
            f"no PostgreSQL at {parts.hostname}:{parts.port or 5432} ({type(error).__name__}); see POSTGRES_URL"
        )
    with found:
        yield found


@pytest.fixture(scope="module")
def database(server: Any, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Django's default database for these tests: a new one on that server."""
    name = f"polar_portal_{uuid.uuid4().hex}"
    parts = urlsplit(URL)
    wanted = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
    }
    server.execute(f'CREATE DATABASE "{name}"')
    before = connections["default"]
    connections["default"] = ConnectionHandler({"default": wanted})["default"]
    ContentType.objects.clear_cache()
    try:
        with django_db_blocker.unblock():
            call_command("migrate", verbosity=0)
            yield
    finally:
        connection.close()
        connections["default"] = before
        ContentType.objects.clear_cache()
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="module")
def boss(database: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    return client


@pytest.fixture(scope="module")
def with_few(boss: Client) -> dict[str, list[str]]:
    """The queries of each page with ten rows in each table."""
    for table, (rows, _) in TABLES.items():
        fill(table, rows, 1, FEW)
    return {page: queries(boss, page) for page in PAGES}


@pytest.fixture(scope="module")
def with_many(boss: Client, with_few: dict[str, list[str]]) -> dict[str, list[str]]:
    """The queries of each page with a million rows in each table."""
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        cursor.execute("SET maintenance_work_mem = '256MB'")
    for table, (rows, many) in TABLES.items():
        fill(table, rows, FEW + 1, many)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return {page: queries(boss, page) for page in PAGES | BROAD}


def fill(table: str, rows: str, first: int, last: int) -> None:
    """Insert rows; many of them unlogged, and without the indexes, which are made again afterwards: that is faster."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'f'", [table])
        for (name,) in cursor.fetchall():
            cursor.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
        cursor.execute(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
            " WHERE indrelid = %s::regclass AND indexrelid NOT IN (SELECT conindid FROM pg_constraint)",
            [table],
        )
        indexes = dict(cursor.fetchall()) if last > FEW else {}
        for name in indexes:
            cursor.execute(f"DROP INDEX {name}")
        if last > FEW and table != "auth_user":  # to which others refer
            cursor.execute(f"ALTER TABLE {table} SET UNLOGGED")
        cursor.execute(rows, {"first": first, "last": last})
        for made_by in indexes.values():
            cursor.execute(made_by)


def address(page: str) -> str:
    user = User.objects.get(username="user-1")
    midnight = localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    days = {"TODAY": 0, "TOMORROW": 1, "LAST-YEAR": -365}
    words = {"USER": str(user.pk)} | {name: quote(str(midnight + timedelta(days=ago))) for name, ago in days.items()}
    return re.sub("|".join(words), lambda word: words[word[0]], (PAGES | BROAD)[page])


def queries(boss: Client, page: str) -> list[str]:
    path = address(page)
    with CaptureQueriesContext(connection) as captured:
        assert boss.get(path).status_code == 200
    return [each["sql"] for each in captured]


def kind(sql: str) -> str:
    """A query without its values."""
    return re.sub(r"'[^']*'(::\w+)?|\b\d+\b", "?", sql)


def of_large_tables(sqls: list[str]) -> list[str]:
    return [sql for sql in sqls if re.search(r'FROM "polar_portal|FROM "auth_user" WHERE \("auth_user"."username', sql)]


@pytest.mark.parametrize("page", PAGES)
def test_page_costs_the_same_queries_as_with_ten_rows(
    page: str, with_few: dict[str, list[str]], with_many: dict[str, list[str]]
) -> None:
    assert [kind(sql) for sql in with_many[page]] == [kind(sql) for sql in with_few[page]]
    # The page, its count, and with searches what is meant by them.
    assert len(of_large_tables(with_many[page])) <= 6
    for sql in of_large_tables(with_many[page]):
        assert re.search(r" LIMIT \d+", sql), sql


@pytest.mark.parametrize("page", BROAD)
def test_search_that_finds_too_many_costs_few_queries_more(page: str, with_many: dict[str, list[str]]) -> None:
    assert len(of_large_tables(with_many[page])) <= 8


@pytest.mark.parametrize("page", PAGES | BROAD)
def test_page_reads_no_more_than_it_lists_and_that_off_an_index(page: str, with_many: dict[str, list[str]]) -> None:
    for sql in of_large_tables(with_many[page]):
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
            (plan,) = cursor.fetchone()[0]
        for node in nodes(plan["Plan"]):
            assert node["Node Type"] != "Seq Scan", (sql, node)
            assert rows_read(node) <= MOST_READ, (sql, node)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", []):
        yield from nodes(each)


def rows_read(node: dict[str, Any]) -> float:
    removed = sum(value for name, value in node.items() if name.startswith("Rows Removed"))
    return float((node["Actual Rows"] + removed) * node["Actual Loops"])


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("order by number", 1),
        ("order by number in small letters", 1),
        ("order by receipt", 1),
        ("orders whose number begins as a customer's", 5),
        ("order by a number that is none", 0),
        ("order by id", 1),
        ("orders by customer", 5),
        ("cancelled orders with an invoice", 0),
        ("sessions by user", 10),
        ("sessions by user name", 10),
        ("sessions of nobody", 0),
        ("delivery by id", 1),
        ("deliveries by a rare type", 1000),
        ("deliveries by a type that is none", 0),
    ],
)
def test_what_is_meant_is_found(boss: Client, with_many: dict[str, list[str]], page: str, found: int) -> None:
    assert boss.get(address(page)).context["cl"].result_count == found


def test_capped_list_can_be_paged_through_whole(boss: Client, with_many: dict[str, list[str]]) -> None:
    page = boss.get(ORDERS, {"p": "100"})
    assert len(page.context["cl"].result_list) == 20
    assert "The newest 2,000 orders." in page.text
    assert boss.get(ORDERS, {"p": "101"})["Location"] == f"{ORDERS}?e=1"
