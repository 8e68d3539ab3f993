"""Until when is this URL good, and may we send a browser to it.

Polar hands out documents as URLs that S3 has signed for 600 seconds. Its API tells no expiry: it is read off the URL.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from urllib.parse import unquote_plus, urlsplit

#: S3 signs for seven days at most.
LONGEST_LIFE = 7 * 24 * 3600

#: S3's URLs have about ten.
MOST_PARAMETERS = 100

#: What common servers and browsers accept as one header line.
LONGEST_URL = 8000

#: A scheme, a host and perhaps a port, as every browser reads them. Percent signs in a host are decoded by browsers
#: alone, and what stands behind a bracket is dropped by some versions of urllib.parse.
_ORIGIN = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?([/?#]|\Z)", re.IGNORECASE)
_SOUND = re.compile(r"[!-\[\]-~]+")


def life_left(url: str, *, date: str | None, now: float) -> float | None:
    """Return for how many seconds from now the signed `url` is good, or None when it does not say.

    date: the `Date` header of the answer that brought the URL. Counting by the server's own clock keeps ours out of it:
        one that is ten minutes wrong would stop every click, or double a URL's life.
    now: epoch seconds by our clock, from before the call; it counts only where there is no usable `date`.
    """
    try:
        query = urlsplit(url).query
    except ValueError:
        return None
    if query.count("&") >= MOST_PARAMETERS:
        return None
    parameters = [(unquote_plus(name), value) for name, _, value in (each.partition("=") for each in query.split("&"))]
    answered = epoch(date)
    signed_at, signed_for = _single(parameters, "X-Amz-Date"), _whole(_single(parameters, "X-Amz-Expires"))
    if signed_at is not None and signed_for is not None:
        longest = min(signed_for, LONGEST_LIFE)
        start = _stamp(signed_at)
        if start is None:
            return None
        if answered is not None:
            return min(max(start + longest - answered, 0), longest)
        left = start + longest - now
        return left if 0 < left <= longest else float(longest)
    # Signature version 2, and CloudFront: the moment itself.
    expires = _whole(_single(parameters, "Expires"))
    if expires is None:
        return None
    left = expires - (now if answered is None else answered)
    if answered is None and left <= 0:
        return None
    return float(min(max(left, 0), LONGEST_LIFE))


def epoch(date: str | None) -> float | None:
    """Return an HTTP date as epoch seconds, None for what is no date."""
    try:
        moment = parsedate_to_datetime(date) if date else None
        if moment is None:
            return None
        # Of HTTP's three forms one names no zone, and all mean UTC.
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def may_redirect_to(url: str, *, base_url: str, allowed_hosts: Collection[str] = ()) -> bool:
    """Tell whether a browser may be sent to `url`.

    It must be https (http only when Polar's `base_url` is), of an allowed host (any when `allowed_hosts` is empty;
    `.example.com` allows every name below it), under 8 kB, and without user info, control characters, white space,
    backslashes or anything that is not ASCII: those are read differently by different browsers.
    """
    if not isinstance(url, str) or len(url) > LONGEST_URL or not _SOUND.fullmatch(url):
        return False
    origin = _ORIGIN.match(url)
    if origin is None:
        return False
    scheme, host, port = origin[1].lower(), origin[2].lower(), origin[3]
    if port and int(port) > 65535:
        return False
    if scheme != "https" and not base_url.startswith("http://"):
        return False
    if host.startswith("["):
        try:
            host = urlsplit(url).hostname or ""
        except ValueError:  # no address of IPv6
            return False
    return not allowed_hosts or any(_is_host(host, allowed.lower()) for allowed in allowed_hosts)


def _is_host(host: str, allowed: str) -> bool:
    return host.endswith(allowed) and len(host) > len(allowed) if allowed.startswith(".") else host == allowed


def _single(parameters: list[tuple[str, str]], name: str) -> str | None:
    """Return the value of a parameter that is there once. Only that is decoded: the others are long."""
    values = [value for each, value in parameters if each == name]
    return unquote_plus(values[0]) if len(values) == 1 else None


def _stamp(text: str) -> float | None:
    """Read S3's way to write a moment, 20261122T120000Z, as epoch seconds. A tenth of what strptime takes."""
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", text, re.ASCII)
    if found is None:
        return None
    year, month, day, hour, minute, second = map(int, found.groups())
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc).timestamp()
    except (ValueError, OverflowError):
        return None


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,15}", text) else None
