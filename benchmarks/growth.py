"""6. Growth: the same click, and the admin's list, with ever more sessions and orders in PostgreSQL.

A view that reads neither table is clicked in turn with them: what it takes longer too, the machine is to blame for.
"""

from __future__ import annotations

import itertools

from benchmarks import load, stage
from benchmarks.report import Row, median, say

SIZES = (10, 10_000, 1_000_000)

SESSIONS = """
INSERT INTO auth_user (password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
SELECT '', false, 'grown-' || n, '', '', '', false, true, now() FROM generate_series(%(start)s, %(stop)s) n;
INSERT INTO polar_portal_customersession
    (user_id, scope, polar_customer_id, encrypted_token, created_at, expires_at, listed_orders)
SELECT id, md5(id::text) || md5(username), gen_random_uuid(), repeat('x', 160), now(), now() + interval '1 hour', '[]'
FROM auth_user WHERE username LIKE 'grown-%%' AND substring(username FROM 7)::int BETWEEN %(start)s AND %(stop)s;
"""
ORDERS = """
INSERT INTO polar_portal_order
    (polar_order_id, polar_customer_id, status, number, receipt_number, is_invoice_generated, description, currency,
     total_amount, refunded_amount, refunded_tax_amount, created_at, modified_at, edit_posted, edit_post_again)
SELECT gen_random_uuid(), gen_random_uuid(), (ARRAY['paid', 'paid', 'paid', 'refunded', 'void'])[1 + n %% 5],
       'GROWN-' || n, 'RCPT-' || n, n %% 2 = 0, 'Pro Plan', 'usd', 5880, 0, 0,
       now() - n * interval '1 minute', now() - n * interval '1 minute', false, false
FROM generate_series(%(start)s, %(stop)s) n;
"""
CLICKS = WARM, COLD = "warm click", "cold click"
BARE = "bare view"
PAGES = {
    "admin list of orders": "/admin/polar_portal/order/",
    "  filtered by status": "/admin/polar_portal/order/?status=refunded",
    "  searched by number": "/admin/polar_portal/order/?q=GROWN-7",
    "admin list of sessions": "/admin/polar_portal/customersession/",
}


def rows(quick: bool) -> list[Row]:
    if not stage.answers(stage.POSTGRES_URL, 5432):
        say("  PostgreSQL does not answer: not measured.")
        return [Row("growth", "not measured")]
    import psycopg

    turns, number = (2, 10) if quick else (7, 30)
    measured: dict[str, list[float]] = {}
    with stage.polar() as polar, stage.database(stage.POSTGRES_URL) as database:
        ((pk, cookie),) = stage.users(database, 1)
        grown = 0
        with stage.site({"DATABASE_URL": database, **polar.environment}, workers=1, threads=2) as site:
            for size in SIZES:
                with psycopg.connect(database, autocommit=True) as connection:
                    for statement in (SESSIONS, ORDERS):
                        connection.execute(fill(statement, grown + 1, size))
                    connection.execute("VACUUM ANALYZE")
                grown = size
                for name, seconds in clicks(polar, site.port, pk, cookie, turns, number).items():
                    measured.setdefault(name, []).append(seconds)
    found = []
    bare = measured.pop(BARE)
    for name, (few, some, many) in measured.items():
        share = (many / few) / (bare[2] / bare[0])
        figure = f"{few * 1000:.1f}, {some * 1000:.1f}, {many * 1000:.1f} ms at 10, 10,000, 1,000,000: {share:.2f}"
        if name not in CLICKS:
            # Ten rows fill no page: beside ten thousand, which fill one as a million do.
            share = (many / some) / (bare[2] / bare[1])
            figure += f"; over 10,000: {share:.2f}"
        lines = {name.strip(): (few, some, many)}
        found.append(Row(name, figure, "within 1.2", share <= 1.2, lines))
    return [
        *found,
        Row(BARE, f"{bare[0] * 1000:.1f}, {bare[1] * 1000:.1f}, {bare[2] * 1000:.1f} ms", lines={BARE: bare}),
    ]


def fill(statement: str, start: int, stop: int) -> str:
    return statement % {"start": start, "stop": stop}


def clicks(polar: stage.Polar, port: int, pk: str, cookie: str, turns: int, number: int) -> dict[str, float]:
    """Give the median seconds of each kind of click."""
    orders = (
        polar.do("orders", pk, (turns + 1) * number + 1)
        if polar.do("known", pk)
        else polar.do("customers", [pk], (turns + 1) * number + 1)[0]
    )
    warm, cold = f"/billing/orders/{orders[0]}/invoice/", (f"/billing/orders/{order}/invoice/" for order in orders[1:])
    took: dict[str, list[float]] = {}
    load.one_by_one(port, cookie, iter([warm, *PAGES.values()] * 2), 2 * (1 + len(PAGES)))
    load.one_by_one(port, cookie, cold, number)
    for _ in range(turns):
        for name, paths in ((WARM, itertools.repeat(warm)), (COLD, cold), (BARE, itertools.repeat("/bare/"))):
            took.setdefault(name, []).extend(each.seconds for each in load.one_by_one(port, cookie, paths, number))
        for name, page in PAGES.items():
            answers = load.one_by_one(port, cookie, itertools.repeat(page), max(3, number // 5))
            if {each.status for each in answers} != {200}:
                raise RuntimeError(f"{page} answered {answers[0].status}")
            took.setdefault(name, []).extend(each.seconds for each in answers)
    return {name: median(seconds) for name, seconds in took.items()}
