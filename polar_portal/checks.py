"""What `manage.py check` says about an installation: settings alone, neither database nor network.

`docs/reference/checks.md` tells each id; none is ever given to something else. What only Polar, the cache and the
database can tell is for `manage.py polar_check`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's name for it
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from polar_portal.cache import backend, why_not_shared
from polar_portal.conf import conf
from polar_portal.exceptions import PolarMisconfigured

#: Seconds that Polar's signed URLs live (measured 2026-08).
POLARS_URL_LIFE = 600
SHORTEST_SECRET = 16
#: What begins a token or secret of Polar's that is no organization's access token.
OTHERS = {
    "polar_cst_": "a customer session's token",
    "polar_mst_": "a member session's token",
    "whsec_": "a webhook's secret",
}
#: The Redis caches that are known here, and the option that bounds how long each waits for its server.
#: redis-py 8 (2026-05) has a default of 5 s, but up to ten retries on top of it: no click lives so long.
REDIS = {
    "django.core.cache.backends.redis.RedisCache": "socket_timeout",
    "django_redis.cache.RedisCache": "SOCKET_TIMEOUT",
}


@register("polar_portal")
def check_installation(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Each setting that a click would stumble over is told here first, in the same words."""
    found: list[CheckMessage] = []
    for check_id, find, hint in CHECKS:
        try:
            text = find()
        except PolarMisconfigured:
            continue  # a setting that it only looks at: that one has a check of its own
        if text:
            kind = Error if check_id.startswith("E") else Warning
            found.append(kind(text, hint=hint, id=f"polar_portal.{check_id}"))
    return found


def _unusable(setting: str) -> Callable[[], str]:
    """Make a check that says what reading `setting` raises."""

    def find() -> str:
        try:
            getattr(conf, setting)
        except PolarMisconfigured as wrong:
            # POLAR_BASE_URL falls back on POLAR_SERVER, which has a check of its own.
            return str(wrong) if setting in str(wrong) else ""
        return ""

    return find


def _resolver() -> str:
    try:
        path = conf.POLAR_CUSTOMER_RESOLVER
    except PolarMisconfigured as wrong:
        return str(wrong)
    try:
        sound = callable(import_string(path))
    except (ImportError, AttributeError, TypeError):
        sound = False
    return "" if sound else f"POLAR_CUSTOMER_RESOLVER is {path!r}, which can't be imported or is no function."


def _cache_alias() -> str:
    try:
        backend()
    except PolarMisconfigured as wrong:
        return str(wrong)
    return ""


def _urls() -> str:
    try:
        reverse("polar_portal:invoice", args=["00000000-0000-4000-8000-000000000000"])
    except NoReverseMatch:
        return "The URLs of polar_portal are not included."
    return ""


def _no_webhook_secret() -> str:
    if conf.POLAR_WEBHOOK_SECRET:
        return ""
    return "POLAR_WEBHOOK_SECRET is not set: webhook deliveries are refused with 403."


def _cache_not_shared() -> str:
    why = why_not_shared(backend())
    return f"The cache {conf.POLAR_CACHE_ALIAS!r} {why}, while DEBUG is False." if why and not conf.debug else ""


def _sandbox_in_production() -> str:
    if conf.POLAR_SERVER != "sandbox" or conf.debug or conf.has_base_url:
        return ""
    return "POLAR_SERVER is 'sandbox' while DEBUG is False: customers find none of their orders there."


def _production_in_debug() -> str:
    if conf.POLAR_SERVER != "production" or not conf.debug or conf.has_base_url:
        return ""
    return "POLAR_SERVER is 'production' while DEBUG is True: what you try out happens to real orders."


def _redis_that_may_hang() -> str:
    cache = conf.caches.get(conf.POLAR_CACHE_ALIAS, {})
    option = REDIS.get(cache.get("BACKEND"))
    if option is None:
        return ""
    options = cache.get("OPTIONS") or {}
    bounds = [options.get(option), (options.get("CONNECTION_POOL_KWARGS") or {}).get("socket_timeout")]
    location = cache.get("LOCATION") or ()
    urls = re.split("[;,]", location) if isinstance(location, str) else location
    in_the_urls = bool(urls) and all(re.search(r"[?&]socket_timeout=[^&]", str(url)) for url in urls)
    if in_the_urls or any(bound is not None for bound in bounds):
        return ""
    return (
        f"The Redis cache {conf.POLAR_CACHE_ALIAS!r} sets no socket timeout: a Redis that hangs would hang every click."
    )


def _timeout_over_budget() -> str:
    timeout, budget = conf.POLAR_REQUEST_TIMEOUT, conf.POLAR_CLICK_BUDGET
    if timeout <= budget:
        return ""
    return (
        f"POLAR_REQUEST_TIMEOUT ({timeout:g} s) is greater than POLAR_CLICK_BUDGET ({budget:g} s), which cuts it off."
    )


def _nothing_is_used_again() -> str:
    if conf.POLAR_URL_MIN_LIFE < POLARS_URL_LIFE:
        return ""
    return (
        f"POLAR_URL_MIN_LIFE is {conf.POLAR_URL_MIN_LIFE:g}, and Polar's URLs live {POLARS_URL_LIFE} s: "
        "none would ever be used again."
    )


def _token_of_another_kind() -> str:
    token = conf.POLAR_ACCESS_TOKEN.reveal()
    kinds = [kind for prefix, kind in OTHERS.items() if token.startswith(prefix)]
    return f"POLAR_ACCESS_TOKEN is {kinds[0]}, not an organization's." if kinds else ""


def _weak_webhook_secret() -> str:
    secrets = [secret.reveal() for secret in conf.POLAR_WEBHOOK_SECRET]
    if any(secret != secret.strip() for secret in secrets):
        return "POLAR_WEBHOOK_SECRET has white space around it, which no signature will match."
    if any(len(secret) < SHORTEST_SECRET for secret in secrets):
        return f"POLAR_WEBHOOK_SECRET is shorter than {SHORTEST_SECRET} characters: it can be guessed."
    if conf.POLAR_ACCESS_TOKEN.reveal() in secrets:
        return "POLAR_WEBHOOK_SECRET is the same as POLAR_ACCESS_TOKEN."
    return ""


def _token_in_the_clear() -> str:
    parts = urlsplit(conf.POLAR_BASE_URL)
    if parts.scheme == "https" or _is_near(parts.hostname or ""):
        return ""
    return f"POLAR_BASE_URL is http:// at {parts.hostname}: POLAR_ACCESS_TOKEN travels there in the clear."


def _is_near(host: str) -> bool:
    """Tell whether a host's name or address, by its look, is of this machine or of a network of one's own."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        # One label, as Docker's and Kubernetes' services have, or a name that the public DNS will never have.
        return re.search(r"^[^.]+\.?$|\.(localhost|local|internal|lan)\.?$", host) is not None


#: Id, what finds it, and the way out. Errors stop `manage.py`; warnings are only shown.
CHECKS: list[tuple[str, Callable[[], str], str]] = [
    ("E001", _unusable("POLAR_ACCESS_TOKEN"), "Set POLAR_ACCESS_TOKEN to an organization access token from Polar."),
    ("E002", _unusable("POLAR_SERVER"), "Set POLAR_SERVER to 'production' (the default) or 'sandbox'."),
    ("E003", _unusable("POLAR_BASE_URL"), "Leave POLAR_BASE_URL out, unless Polar is behind a proxy of yours."),
    (
        "E004",
        _resolver,
        "Leave it out if checkouts are created with external_customer_id=str(user.pk); else give the dotted path of a "
        "function that takes a user and returns a dict like {'external_customer_id': '…'}.",
    ),
    ("E005", _cache_alias, "Name one of the caches in CACHES, or leave POLAR_CACHE_ALIAS out to use 'default'."),
    ("E006", _unusable("POLAR_URL_MIN_LIFE"), "Leave POLAR_URL_MIN_LIFE out, or set it to a number."),
    ("E007", _unusable("POLAR_REQUEST_TIMEOUT"), "Leave POLAR_REQUEST_TIMEOUT out, or set it to a number."),
    ("E008", _unusable("POLAR_CLICK_BUDGET"), "Leave POLAR_CLICK_BUDGET out, or set it to a number."),
    ("E009", _unusable("POLAR_ALLOWED_DOCUMENT_HOSTS"), "Leave it out, or set it to a list like ['.amazonaws.com']."),
    ("E010", _urls, 'Add path("billing/", include("polar_portal.urls")) to your ROOT_URLCONF.'),
    (
        "E011",
        _unusable("POLAR_WEBHOOK_SECRET"),
        "Set POLAR_WEBHOOK_SECRET to the secret of your webhook endpoint at Polar, a string.",
    ),
    (
        "E012",
        _unusable("POLAR_RETURN_URL"),
        "Leave POLAR_RETURN_URL out to lead back to the order list, or set it to a URL, a string.",
    ),
    (
        "W001",
        _no_webhook_secret,
        "Set it to the secret of your webhook endpoint at Polar. If you use no webhook, add 'polar_portal.W001' to "
        "SILENCED_SYSTEM_CHECKS.",
    ),
    (
        "W002",
        _cache_not_shared,
        "Let POLAR_CACHE_ALIAS name a cache that all processes share, such as Redis or Memcached. If there is only one "
        "process, add 'polar_portal.W002' to SILENCED_SYSTEM_CHECKS.",
    ),
    (
        "W003",
        _sandbox_in_production,
        "Set POLAR_SERVER to 'production', or leave it out, and POLAR_ACCESS_TOKEN to a token made there.",
    ),
    ("W004", _production_in_debug, "Set POLAR_SERVER to 'sandbox', and POLAR_ACCESS_TOKEN to a token made there."),
    (
        "W005",
        _redis_that_may_hang,
        "Set one under OPTIONS in CACHES: 'socket_timeout': 1, or with django-redis 'SOCKET_TIMEOUT': 1.",
    ),
    (
        "W006",
        _timeout_over_budget,
        "Set POLAR_REQUEST_TIMEOUT to half of POLAR_CLICK_BUDGET or less: a click may need two calls.",
    ),
    ("W007", _nothing_is_used_again, "Leave POLAR_URL_MIN_LIFE out, or set it to a minute or two."),
    (
        "W008",
        _token_of_another_kind,
        "Create an organization access token in Polar's settings; it starts with polar_oat_.",
    ),
    (
        "W009",
        _weak_webhook_secret,
        "Copy the secret that Polar shows for your webhook endpoint; better let Polar make it than type one in.",
    ),
    ("W010", _token_in_the_clear, "Use https:// in POLAR_BASE_URL."),
]
