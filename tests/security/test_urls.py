"""Signed addresses: read as browsers read them, and never handed out dead."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from datetime import datetime, timedelta, timezone

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.cache import cache
from hypothesis import example, given
from hypothesis import strategies as st
from pytest_django import Settings

from polar_portal.api.presigned import may_redirect_to
from polar_portal.portal import CustomerPortal, OrganizationPortal
from polar_portal.testing import FakeCustomer, FakePolar

from .conftest import quick

NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
POLAR = "https://api.polar.sh"
ALLOWED = ["example.com", ".example.com"]
PIECES = [
    *"https: http: HtTpS: https javascript: :// // / \\ @ example.com .example.com evil.com user pass a 1 0x7f".split(),
    *". .. : 80 443 0 99999 ? # %2e %2f %40 %00 %5c [::1] [fe80::1%25eth0] [fe80::1%eth0] [ ] :: xn-- é 。 ß".split(),
    *"; & = - _ ~ ' < ^ | ` { 127.0.0.1 2130706433 0177.1 xn--nxasmq6b \u200b \u212a \u017f".split(),
    *'"\t\n\r \x00\x7f',
]

#: Reads addresses as the URL Standard has browsers do, relative to a page of the host's.
READER = """
const read = (url) => {
  try {
    const found = new URL(url, "https://shop.example/billing/");
    return { scheme: found.protocol, host: found.hostname, user: found.username + found.password };
  } catch { return null; }
};
process.stdout.write(JSON.stringify(JSON.parse(require("fs").readFileSync(0, "utf8")).map(read)));
"""


def odd_urls(number: int) -> list[str]:
    choose = random.Random(number)  # noqa: S311 - the same ones each time
    found: set[str] = set()
    while len(found) < number:
        url = "".join(choose.choices(PIECES, k=choose.randint(1, 8)))
        found.add(url if choose.random() < 0.2 else f"https://{url}")
    return sorted(found)


@pytest.mark.skipif(not shutil.which("node"), reason="there is no Node.js on this machine, which reads as browsers do")
def test_what_is_good_leads_a_real_reader_of_urls_nowhere_else() -> None:
    good = [url for url in odd_urls(30_000) if may_redirect_to(url, base_url=POLAR)]
    assert len(good) > 500
    node = shutil.which("node") or ""
    output = subprocess.run([node, "-e", READER], input=json.dumps(good), capture_output=True, text=True, check=True)
    for url, read in zip(good, json.loads(output.stdout), strict=True):
        if read is None:
            continue  # a browser goes nowhere at all
        assert (read["scheme"], read["user"]) == ("https:", ""), url
        assert read["host"] != "shop.example", url
        if may_redirect_to(url, base_url=POLAR, allowed_hosts=ALLOWED):
            assert re.fullmatch(r"(.+\.)?example\.com", read["host"]), url


@quick(300)
@given(url=st.lists(st.sampled_from(PIECES), max_size=7).map("".join) | st.text(), prefix=st.booleans())
def test_what_is_good_can_be_put_into_a_header_and_a_page(url: str, prefix: bool) -> None:
    url = f"https://{url}" if prefix else url
    if may_redirect_to(url, base_url=POLAR):
        assert url.isascii()
        assert url.isprintable()
        assert not set(url) & set(" \\")
        assert re.match(r"https://[^/?#@]", url, re.IGNORECASE)


@quick(60)
@given(
    lives=st.integers(1, 800),
    off=st.sampled_from([0, 0, 600, -600, 7 * 3600, -7 * 3600]),
    least=st.sampled_from([0, 1, 60, 300]),
    pauses=st.lists(st.integers(0, 400), min_size=1, max_size=5),
)
@example(lives=60, off=0, least=60, pauses=[0, 1])
@example(lives=61, off=-600, least=60, pauses=[1, 1])
@example(lives=600, off=600, least=60, pauses=[539, 1, 1])
def test_no_address_is_dead_by_polars_clock_when_it_is_handed_out(
    fake_polar: FakePolar,
    ada: User,
    ada_at_polar: FakeCustomer,
    lives: int,
    off: int,
    least: int,
    pauses: list[int],
) -> None:
    cache.clear()
    polar = FakePolar()
    with polar.installed(), time_machine.travel(NOON, tick=False) as now, pytest.MonkeyPatch.context() as patch:
        patch.setattr("polar_portal.conf.Conf.POLAR_URL_MIN_LIFE", float(least))
        patch.setattr("polar_portal.customers.by_primary_key", lambda user: {"external_customer_id": "ada"})
        polar.advance(off)
        polar.url_seconds = lives
        order = polar.add_order(polar.add_customer("ada"), invoice=True)
        for pause in pauses:
            for portal in (CustomerPortal(ada), OrganizationPortal()):
                before = len(polar.calls)
                document = portal.invoice(order.id)
                assert polar.download(document.url).status == 200
                assert document.expires_at
                if len(polar.calls) == before:
                    # One that was kept has as much left as it should.
                    now.shift(timedelta(seconds=max(least - 1, 0)))
                    assert polar.download(document.url).status == 200
                    now.shift(timedelta(seconds=-max(least - 1, 0)))
            now.shift(timedelta(seconds=pause))


@pytest.mark.parametrize("least", [0, 60])
def test_one_that_dies_on_its_way_is_not_given_again(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings, least: int
) -> None:
    settings.POLAR_URL_MIN_LIFE = least
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    with time_machine.travel(NOON, tick=False) as now:
        first = CustomerPortal(ada).invoice(order.id).url
        now.shift(timedelta(seconds=599 - least))
        assert CustomerPortal(ada).invoice(order.id).url == first
        now.shift(timedelta(seconds=1))
        assert CustomerPortal(ada).invoice(order.id).url != first
