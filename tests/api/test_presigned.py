"""Until when a signed URL is good, and where a browser may be sent."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polar_portal.api.presigned import LONGEST_LIFE, life_left, may_redirect_to

SIGNED_AT = datetime(2026, 11, 22, 7, 20, 46, tzinfo=timezone.utc)
SIGNED = SIGNED_AT.timestamp()
POLAR = "https://api.polar.sh"


def signed_url(date: str = "20261122T072046Z", expires: str = "600") -> str:
    return (
        "https://s3.example/polar-customer-invoices/Invoice-1.pdf?response-content-disposition=attachment%3B%20"
        f"filename%3D%221.pdf%22&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date={date}&X-Amz-Expires={expires}"
        "&X-Amz-SignedHeaders=host&X-Amz-Signature=780933a6"
    )


def date_header(epoch: float) -> str:
    return format_datetime(datetime.fromtimestamp(epoch, tz=timezone.utc), usegmt=True)


# How long a URL lives.


def test_fresh_url_lives_as_long_as_it_was_signed_for() -> None:
    assert life_left(signed_url(), date=date_header(SIGNED), now=SIGNED) == 600


def test_time_since_signing_is_taken_off() -> None:
    assert life_left(signed_url(), date=date_header(SIGNED + 45), now=SIGNED + 45) == 555


@pytest.mark.parametrize("off", [-600, -7 * 3600, 600, 7 * 3600], ids=lambda off: f"{off:+} s")
def test_our_clock_does_not_matter_where_the_answer_has_a_date(off: int) -> None:
    assert life_left(signed_url(), date=date_header(SIGNED + 10), now=SIGNED + off) == 590


@pytest.mark.parametrize(
    "date",
    [
        "Sun, 22 Nov 2026 07:20:56 GMT",
        "Sunday, 22-Nov-26 07:20:56 GMT",
        "Sun Nov 22 07:20:56 2026",
        "Sun, 22 Nov 2026 07:20:56 -0000",
        "Sun, 22 Nov 2026 09:20:56 +0200",
    ],
)
def test_every_form_of_date_that_http_knows_is_read(date: str) -> None:
    # The asctime form names no zone; it is UTC all the same, not the zone that Django has set.
    assert life_left(signed_url(), date=date, now=0) == 590


def test_a_url_that_seems_signed_after_the_answer_lives_no_longer_than_signed_for() -> None:
    assert life_left(signed_url(), date=date_header(SIGNED - 300), now=SIGNED) == 600


def test_a_url_that_was_dead_when_it_came_has_no_life_left() -> None:
    assert life_left(signed_url(), date=date_header(SIGNED + 601), now=SIGNED) == 0


def test_without_a_date_our_clock_counts() -> None:
    assert life_left(signed_url(), date=None, now=SIGNED + 100) == 500


@pytest.mark.parametrize("off", [-1, -600, 600, 601, 86400], ids=lambda off: f"{off:+} s")
def test_without_a_date_an_impossible_result_means_that_our_clock_is_wrong(off: int) -> None:
    assert life_left(signed_url(), date=None, now=SIGNED + off) == 600


@pytest.mark.parametrize("date", ["", "yesterday", "Sun, 99 Nov 2026 07:20:56 GMT", "1790000000", "\x00", "Sun, "])
def test_a_date_that_is_none_counts_as_no_date(date: str) -> None:
    assert life_left(signed_url(), date=date, now=SIGNED + 100) == 500


@pytest.mark.parametrize("expires", [0, 1, 60, 604800])
def test_life_is_never_longer_than_signed_for(expires: int) -> None:
    assert life_left(signed_url(expires=str(expires)), date=date_header(SIGNED - 10**6), now=SIGNED) == expires


def test_nothing_is_believed_to_live_longer_than_s3_signs_for() -> None:
    assert life_left(signed_url(expires="999999999999999"), date=date_header(SIGNED), now=SIGNED) == LONGEST_LIFE


@pytest.mark.parametrize(
    "url",
    [
        signed_url(date="20261322T072046Z"),
        signed_url(date="2026-11-22T07:20:46Z"),
        signed_url(date="20261122T072046"),
        signed_url(date=""),
        signed_url(expires=""),
        signed_url(expires="-600"),
        signed_url(expires="600.0"),
        signed_url(expires="1e9"),
        signed_url(expires="٦٠٠"),
        signed_url(expires=" 600"),
        signed_url(expires="9" * 5000),
        signed_url() + "&X-Amz-Expires=604800",
        signed_url() + "&X-Amz-Date=20271122T072046Z",
        "https://s3.example/1.pdf?" + "a=1&" * 200 + "Expires=1",
        "https://s3.example/1.pdf",
        "https://s3.example/1.pdf?x-amz-date=20261122T072046Z&x-amz-expires=600",
        "https://s3.example/1.pdf?X-Amz-Expires=600",
        "https://s3.example/1.pdf?X-Amz-Date=20261122T072046Z",
        "https://[s3.example/1.pdf?X-Amz-Date=20261122T072046Z&X-Amz-Expires=600",
        "https://s3.example/1.pdf#X-Amz-Date=20261122T072046Z&X-Amz-Expires=600",
        "",
    ],
    ids=range(21),
)
def test_a_url_that_does_not_clearly_say_has_an_unknown_life(url: str) -> None:
    assert life_left(url, date=date_header(SIGNED), now=SIGNED) is None


@pytest.mark.parametrize(
    ("answered", "now", "left"),
    [
        (SIGNED, SIGNED + 600, 500),
        (SIGNED + 501, SIGNED, 0),
        (None, SIGNED + 100, 400),
        (None, SIGNED + 500, None),
        (None, SIGNED + 900, None),
        (SIGNED - 10**9, SIGNED, LONGEST_LIFE),
    ],
)
def test_the_older_expires_names_the_moment_itself(answered: float | None, now: float, left: float | None) -> None:
    url = f"https://s3.example/1.pdf?AWSAccessKeyId=A&Signature=B&Expires={SIGNED + 500:.0f}"
    assert life_left(url, date=date_header(answered) if answered else None, now=now) == left


@pytest.mark.parametrize("query", ["Expires=", "Expires=-1", "Expires=soon", "Expires=1&Expires=1790000000"])
def test_an_older_expires_that_is_none_means_unknown(query: str) -> None:
    assert life_left(f"https://s3.example/1.pdf?{query}", date=date_header(0), now=0) is None


TIMES = st.floats(0, 4e9)


@settings(deadline=None)
@given(url=st.text(), date=st.none() | st.text(), now=TIMES)
def test_no_text_makes_life_left_raise(url: str, date: str | None, now: float) -> None:
    left = life_left(url, date=date, now=now)
    assert left is None or 0 <= left <= LONGEST_LIFE


@settings(deadline=None)
@given(
    date_param=st.just("20261122T072046Z") | st.from_regex(r"[0-9]{4,9}T?[0-9]{0,7}Z?", fullmatch=True) | st.text(),
    expires=st.integers(-5, 10**20).map(str) | st.text(),
    date=st.none() | TIMES.map(date_header) | st.from_regex(r"[A-Z][a-z]{2}, \d+ Nov \d+ \d+:\d+:\d+ [+-]\d+"),
    now=TIMES,
)
@example(date_param="00010101T000000Z", expires="600", date=date_header(0), now=0.0)
@example(date_param="99991231T235959Z", expires="604800", date=None, now=4e9)
@example(date_param="20261122T072046Z", expires="600", date="Sun, 01 Jan 0001 00:00:00 +2359", now=0.0)
def test_life_is_always_between_nothing_and_what_was_signed_for(
    date_param: str, expires: str, date: str | None, now: float
) -> None:
    left = life_left(signed_url(date_param, expires), date=date, now=now)
    assert left is None or 0 <= left <= min(int(expires), LONGEST_LIFE)


# Where a browser may be sent.


@pytest.mark.parametrize(
    "url",
    [
        signed_url(),
        "https://polar-customer-invoices.s3.amazonaws.com/1.pdf",
        "https://s3.example:8443/1.pdf?a=b#c",
        "HTTPS://S3.EXAMPLE/1.pdf",
        "https://s3.example",
        "https://s3.example/a'b;c,d=(e)!*[f]{g}|h^i`j%5C",
        "https://s3.example/?at=someone@elsewhere.example",
        "https://[2001:db8::1]/1.pdf",
        "https://192.0.2.7:9000/1.pdf",
        "https://s3_bucket.example/1.pdf",
    ],
)
def test_an_ordinary_https_url_is_good(url: str) -> None:
    assert may_redirect_to(url, base_url=POLAR)


HOSTILE = [
    "",
    "/1.pdf",
    "1.pdf",
    "//s3.example/1.pdf",
    "///s3.example/1.pdf",
    "javascript:alert(1)",
    "JavaScript://s3.example/%0aalert(1)",
    "data:text/html,hello",
    "file:///etc/hostname",
    "ftp://s3.example/1.pdf",
    "blob:https://s3.example/1",
    "https:s3.example/1.pdf",
    "https:/s3.example/1.pdf",
    "https:///s3.example/1.pdf",
    "https:////s3.example/1.pdf",
    "https://",
    "https://?a",
    "https://#a",
    "https://:443/1.pdf",
    "https://@s3.example/1.pdf",
    "https://someone@s3.example/1.pdf",
    "https://someone:word@s3.example/1.pdf",
    "https://s3.example@elsewhere.example/1.pdf",
    "https://s3.example%40elsewhere.example/1.pdf",
    "https://s3.example\\@elsewhere.example/1.pdf",
    "https:\\\\s3.example\\1.pdf",
    "https://s3.example\\1.pdf",
    "https://s3.example/\\1.pdf",
    "https://s3.example/1.pdf\n",
    "\nhttps://s3.example/1.pdf",
    "https://s3.example/1.pdf\r\nSet-Cookie: a=b",
    "ht\ntps://s3.example/1.pdf",
    "https://s3.exa\tmple/1.pdf",
    " https://s3.example/1.pdf",
    "https://s3.example/1.pdf ",
    "https://s3.example/1 2.pdf",
    "https://s3.example/\x001.pdf",
    "https://s3.example/\x7f1.pdf",
    "\x01https://s3.example/1.pdf",
    "https://s3.example/1.pdf\u2028",
    "https://s3.example\u3002evil.example/1.pdf",
    "https://s3.example\uff0f.evil.example/1.pdf",
    "https://s3.ex\u0430mple/1.pdf",
    "https://s3.example/\u202e1.pdf",
    "https://s3.example/\ud800",
    "https://s3.example:port/1.pdf",
    "https://s3.example:99999/1.pdf",
    "https://s3.example:-1/1.pdf",
    "https://s3.example:443:80/1.pdf",
    "https://s3%2eexample/1.pdf",
    "https://s3.example%2felsewhere.example/1.pdf",
    "https://s3.example%00.elsewhere.example/1.pdf",
    "https://s3.example;elsewhere.example/1.pdf",
    "https://<s3.example>/1.pdf",
    "https://s3^.example/1.pdf",
    "https://[::1/1.pdf",
    "https://::1/1.pdf",
    "https://[s3.example]/1.pdf",
    "https://[::1].elsewhere.example/1.pdf",
    "https://[::1]elsewhere/1.pdf",
    "https://[fe80::1%25eth0]/1.pdf",
    "https://s3.example/" + "a" * 8000,
]


@pytest.mark.parametrize("url", HOSTILE, ids=lambda url: ascii(url[:60]))
def test_a_url_that_could_be_read_in_two_ways_is_refused(url: str) -> None:
    assert not may_redirect_to(url, base_url=POLAR)


@pytest.mark.parametrize("url", [None, 5, b"https://s3.example/1.pdf", ["https://s3.example/1.pdf"]])
def test_what_is_no_text_is_refused(url: object) -> None:
    assert not may_redirect_to(url, base_url=POLAR)  # type: ignore[arg-type]  # that is the point


def test_eight_kilobytes_are_the_most() -> None:
    url = "https://s3.example/"
    assert may_redirect_to(url.ljust(8000, "a"), base_url=POLAR)
    assert not may_redirect_to(url.ljust(8001, "a"), base_url=POLAR)


def test_http_is_good_only_where_polar_itself_is_asked_over_http() -> None:
    url = "http://127.0.0.1:9000/1.pdf"
    assert not may_redirect_to(url, base_url=POLAR)
    assert may_redirect_to(url, base_url="http://127.0.0.1:8001")
    assert may_redirect_to("https://s3.example/1.pdf", base_url="http://127.0.0.1:8001")
    assert not may_redirect_to("ftp://127.0.0.1/1.pdf", base_url="http://127.0.0.1:8001")


@pytest.mark.parametrize(
    ("host", "allowed", "good"),
    [
        ("s3.example", ["s3.example"], True),
        ("S3.Example", ["s3.example"], True),
        ("s3.example", ["S3.EXAMPLE"], True),
        ("s3.example:8443", ["s3.example"], True),
        ("s3.example", ["elsewhere.example", "s3.example"], True),
        ("s3.example.", ["s3.example"], False),
        ("a.s3.example", ["s3.example"], False),
        ("as3.example", ["s3.example"], False),
        ("s3.example.elsewhere.net", ["s3.example"], False),
        ("example.com", ["s3.example"], False),
        ("a.example.com", [".example.com"], True),
        ("b.a.example.com", [".example.com"], True),
        ("A.EXAMPLE.COM", [".Example.Com"], True),
        ("example.com", [".example.com"], False),
        ("evil-example.com", [".example.com"], False),
        ("evilexample.com", [".example.com"], False),
        ("example.com.evil.net", [".example.com"], False),
        ("a.example.com.evil.net", [".example.com"], False),
        ("evil.net/.example.com", [".example.com"], False),
        ("evil.net?.example.com", [".example.com"], False),
        ("evil.net#.example.com", [".example.com"], False),
        ("evil.net:80.example.com", [".example.com"], False),
        ("evil.net%2f.example.com", [".example.com"], False),
        ("evil.net%23.example.com", [".example.com"], False),
        ("evil.net;.example.com", [".example.com"], False),
        (".example.com", [".example.com"], False),
        ("s3.example", [""], False),
        ("[::1]", ["::1"], True),
        ("[::1]", ["::2"], False),
    ],
)
def test_only_allowed_hosts_are_good_where_there_are_any(host: str, allowed: list[str], good: bool) -> None:
    assert may_redirect_to(f"https://{host}/1.pdf", base_url=POLAR, allowed_hosts=allowed) is good


def browser_host(url: str) -> str | None:
    """The host that a browser would go to, read the way the URL Standard has browsers read it."""
    url = re.sub(r"[\t\n\r]", "", url.strip("".join(map(chr, range(33)))))
    scheme, colon, rest = url.partition(":")
    if not colon or scheme.lower() not in {"http", "https"}:
        return None
    authority = re.split(r"[/\\?#]", rest.lstrip("/\\"), maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    host = host.partition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    return unquote(host).lower()


HOSTILE_PIECES = (
    r"https: http: // / \ @ example.com .example.com evil . : 80 ? # %2e %2f %40 [::1] [ ] é 。 a 1 ; % & xn--"
)
PIECES = st.sampled_from([*re.split(" ", HOSTILE_PIECES), *"\t\n\x00 "])
URLS = st.lists(PIECES, max_size=8).map("".join) | st.lists(PIECES, max_size=6).map(
    lambda some: "https://" + "".join(some)
)


@settings(deadline=None)
@given(url=st.text(), base_url=st.text(), allowed=st.lists(st.text(), max_size=3))
def test_no_text_makes_may_redirect_to_raise(url: str, base_url: str, allowed: list[str]) -> None:
    assert may_redirect_to(url, base_url=base_url, allowed_hosts=allowed) in {True, False}


@settings(deadline=None, max_examples=300)
@given(url=URLS)
@example(url="https://evil%2eexample.com/")
@example(url="https://example.com%40evil/")
def test_what_is_good_leads_a_browser_where_python_says(url: str) -> None:
    if may_redirect_to(url, base_url=POLAR):
        assert browser_host(url) == urlsplit(url).hostname
        assert urlsplit(url).hostname


@settings(deadline=None, max_examples=300)
@given(url=URLS)
@example(url="https://evil%2f.example.com/")
def test_what_is_allowed_leads_a_browser_to_an_allowed_host(url: str) -> None:
    if may_redirect_to(url, base_url=POLAR, allowed_hosts=[".example.com"]):
        assert (browser_host(url) or "").endswith(".example.com")
