"""7. A zip of 200 invoices from the admin, beside as many single downloads; and what memory it takes."""

from __future__ import annotations

import http.client
import io
import tempfile
import time
import urllib.parse
import zipfile

from benchmarks import load, stage
from benchmarks.report import Row, in_turn, median, ratios, spread

ORDERS = 200
LIST = "/admin/polar_portal/order/"


def rows(quick: bool) -> list[Row]:
    turns = 1  # a second zip within a minute would wait: exports keep to half of what Polar allows
    found = []
    with (
        tempfile.TemporaryDirectory() as folder,
        stage.polar() as polar,
        stage.database(f"sqlite:///{folder}/db.sqlite3") as database,
    ):
        ((pk, cookie),) = stage.users(database, 1)
        (orders,) = polar.do("customers", [pk], ORDERS)
        stage.manage("polar_sync_orders", "-v0", DATABASE_URL=database, **polar.environment)
        env = {"DATABASE_URL": database, **polar.environment}
        for kind in ("WSGI", "ASGI"):
            with stage.site(env, workers=1, threads=2, asgi=kind == "ASGI") as site:
                load.one_by_one(site.port, cookie, iter([LIST]), 1)
                zip_of(site.port, cookie, orders[:1] + orders[-1:])
                before = site.peak_memory()
                whole, singles = in_turn(
                    turns,
                    lambda port=site.port: zip_of(port, cookie, orders),  # type: ignore[misc]
                    lambda port=site.port: one_by_one(port, cookie, orders),  # type: ignore[misc]
                )
                added = site.peak_memory() - before
            share = ratios(whole, singles)
            found += [
                Row(
                    f"{kind}: the zip beside {ORDERS} single downloads",
                    f"{median(share):.2f} ({spread(share)}); {median(whole):.1f} s and {median(singles):.1f} s",
                ),
                Row(f"{kind}: memory over a zip of two", f"{added:.1f} MB", "under 32 MB", added < 32),
            ]
    return found


def zip_of(port: int, cookie: str, orders: list[str]) -> float:
    """Have a zip made; give the seconds until its last byte."""
    started = time.perf_counter()
    fields = [("action", "download_invoices"), ("csrfmiddlewaretoken", "0" * 32), ("without", "1")]
    body = urllib.parse.urlencode(fields + [("_selected_action", order) for order in orders])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Cookie": f"sessionid={cookie}; csrftoken={'0' * 32}",
    }
    connection.request("POST", LIST, body, headers)
    content = connection.getresponse().read()
    connection.close()
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    if len(names) != len(orders) + 1:
        raise RuntimeError(f"{len(names)} files for {len(orders)} orders")
    return time.perf_counter() - started


def one_by_one(port: int, cookie: str, orders: list[str]) -> float:
    """Open each invoice as a customer does and fetch its PDF; give the seconds for all."""
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for order in orders:
        connection.request("GET", f"/billing/orders/{order}/invoice/", headers={"Cookie": f"sessionid={cookie}"})
        answer = connection.getresponse()
        answer.read()
        to = urllib.parse.urlsplit(answer.headers["Location"])
        store = http.client.HTTPConnection(to.netloc, timeout=60)
        store.request("GET", f"{to.path}?{to.query}")
        if not store.getresponse().read().startswith(b"%PDF"):
            raise RuntimeError("no PDF")
        store.close()
    connection.close()
    return time.perf_counter() - started
