"""Polar as it answers from here: the server, the token and its scopes, the clock."""

from __future__ import annotations

import time
from collections.abc import Iterator

from polar_portal.api.client import PROBES, Client, Probe
from polar_portal.conf import SERVERS, conf
from polar_portal.diagnosis.findings import A_SETTING, Findings, Row, skipped
from polar_portal.exceptions import PolarError, PolarMisconfigured, PolarUnavailable, RateLimited
from polar_portal.identity import OrganizationIdentity

SESSIONS, ORDERS = PROBES

#: Seconds by which two clocks may differ; beyond the second one a webhook's signature counts as too old.
CLOCKS_DIFFER = 30
CLOCKS_DISAGREE = 300

#: The way out when the network is in the way, by a word of what the client says of it.
NETWORK = {
    "NameResolutionError": "This machine can't resolve that host's name: look at its DNS, and at POLAR_BASE_URL.",
    "certificate": "Update this machine's CA certificates; if a proxy opens TLS, name its CA in REQUESTS_CA_BUNDLE.",
    "proxy": "Look at HTTPS_PROXY and HTTP_PROXY in the environment.",
    "connecting failed": "Nothing accepts connections there: look at POLAR_BASE_URL, and at the firewall.",
    "timed out": "Let the firewall pass connections to that host; if they pass, raise POLAR_REQUEST_TIMEOUT.",
    "connection broke": "Something between this machine and Polar cuts connections: a proxy or a firewall.",
}


def make_client(base_url: str = "") -> Client:
    """Make a client for one call with the organization's token, without the cache, which may be what is wrong."""
    return Client(
        base_url or conf.POLAR_BASE_URL,
        conf.POLAR_ACCESS_TOKEN,
        time.monotonic() + conf.POLAR_REQUEST_TIMEOUT,
        orders=OrganizationIdentity.orders,
    )


def look_at_polar(findings: Findings) -> Iterator[Row]:
    try:
        client = make_client()
    except PolarMisconfigured:
        yield from skipped(A_SETTING, "server", "token", *PROBES, "clock")
        return
    try:
        probe = client.probe(SESSIONS)
    except (PolarError, PolarMisconfigured) as failure:
        yield Row("server", "problem", f"{conf.POLAR_BASE_URL}: {failure}", _way_out(failure))
        yield from skipped("Polar was not reached", "token", *PROBES, "clock")
        return
    yield Row("server", "ok", f"{conf.POLAR_BASE_URL} answered in {probe.took:.2f} s")
    if probe.accepted:
        yield Row("token", "ok", "Polar accepts it")
        yield _scope(SESSIONS, probe, findings)
        try:
            yield _scope(ORDERS, make_client().probe(ORDERS), findings)
        except (PolarError, PolarMisconfigured) as failure:
            yield failed(ORDERS, failure)
    else:
        yield _refused_token()
        yield from skipped("the token is refused", *PROBES)
    yield _clock(probe.clock_ahead)


def _scope(scope: str, probe: Probe, findings: Findings) -> Row:
    if probe.granted:
        findings.scopes.add(scope)
        return Row(scope, "ok", "the token has this scope")
    return Row(
        scope,
        "problem",
        f"POLAR_ACCESS_TOKEN lacks the scope {scope}",
        f"Give the token the scope {scope} in your organization's settings at Polar, or make one that has it.",
    )


def _refused_token() -> Row:
    """Say that Polar refuses the token; and whether it belongs to Polar's other server, which is asked."""
    detail = "Polar refuses POLAR_ACCESS_TOKEN: it is expired, revoked or mistyped"
    hint = f"Make a new organization access token in Polar's settings, with the scopes {' and '.join(PROBES)}."
    if not conf.has_base_url:
        detail += ", or belongs to another server"
        (other,) = SERVERS.keys() - {conf.POLAR_SERVER}
        try:
            belongs_there = make_client(SERVERS[other]).probe(SESSIONS).accepted
        except (PolarError, PolarMisconfigured):
            belongs_there = False
        if belongs_there:
            detail = f"this token belongs to Polar's {other}, and POLAR_SERVER is {conf.POLAR_SERVER!r}"
            hint = (
                f"Set POLAR_SERVER to {other!r}, or POLAR_ACCESS_TOKEN to a token made at Polar's {conf.POLAR_SERVER}."
            )
    return Row("token", "problem", detail, hint)


def _clock(ahead: float | None) -> Row:
    if ahead is None:
        return Row("clock", "skipped", "the answer does not tell Polar's time")
    apart = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} Polar's"
    if abs(ahead) <= CLOCKS_DIFFER:
        return Row("clock", "ok", apart)
    disagrees = abs(ahead) > CLOCKS_DISAGREE
    return Row(
        "clock",
        "problem" if disagrees else "warning",
        f"{apart}; {'' if disagrees else f'over {CLOCKS_DISAGREE} s '}webhook signatures are refused",
        "Let this machine set its clock by NTP.",
    )


def failed(name: str, failure: Exception) -> Row:
    """Say that Polar gave no answer that this row could be judged by, and the way out."""
    return Row(name, "problem", str(failure), _way_out(failure))


def _way_out(failure: Exception) -> str:
    if isinstance(failure, RateLimited):
        return "Run this again in a minute."
    if isinstance(failure, PolarUnavailable):
        hints = [hint for word, hint in NETWORK.items() if word in str(failure)]
        return hints[0] if hints else "Polar, or what stands between, has trouble of its own: run this again later."
    if isinstance(failure, PolarMisconfigured) and "POLAR_BASE_URL" in str(failure):
        if conf.has_base_url:
            return "Set POLAR_BASE_URL to where your proxy has the root of Polar's API, or leave it out."
        return "Something between this machine and Polar answers in its place, such as a proxy."
    return ""
