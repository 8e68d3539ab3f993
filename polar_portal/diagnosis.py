"""Is this installation sound? What the settings alone can't tell, found by trying it out.

Each row tells one thing. What can't be judged because of an earlier problem is skipped, so that one mistake is told
once. Nothing is changed at Polar, save that one session is made for a user who is named.

No row holds a token, a signed URL, or what Polar or the resolver calls a customer.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal
from urllib.parse import urlsplit

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.checks import ERROR, run_checks
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import Error as DatabaseFailure
from django.db import connections, router, transaction
from django.db.models import Model
from django.urls import NoReverseMatch, get_script_prefix, reverse

from polar_portal import cache, customers
from polar_portal.api import presigned
from polar_portal.api.client import PROBES, Client, Probe
from polar_portal.api.schemas import IssuedSession, PortalOrder
from polar_portal.conf import SERVERS, conf
from polar_portal.exceptions import (
    InvoiceNotGenerated,
    NotACustomer,
    OrderNotFound,
    PolarError,
    PolarMisconfigured,
    PolarUnavailable,
    RateLimited,
    TokenRefused,
    WebhookVerificationError,
)
from polar_portal.identity import OrganizationIdentity

Status = Literal["ok", "warning", "problem", "skipped"]

#: Seconds by which two clocks may differ; beyond the second one a webhook's signature counts as too old.
CLOCKS_DIFFER = 30
CLOCKS_DISAGREE = 300
#: Checks whose matter has a row of its own, which knows more.
TOLD_BY_A_ROW = {"polar_portal.W001", "polar_portal.W002"}
SESSIONS, ORDERS = PROBES

A_SETTING = "a setting that it needs is wrong, see above"

#: The way out when the network is in the way, by a word of what the client says of it.
NETWORK = {
    "NameResolutionError": "This machine can't resolve that host's name: look at its DNS, and at POLAR_BASE_URL.",
    "certificate": "Update this machine's CA certificates; if a proxy opens TLS, name its CA in REQUESTS_CA_BUNDLE.",
    "proxy": "Look at HTTPS_PROXY and HTTP_PROXY in the environment.",
    "connecting failed": "Nothing accepts connections there: look at POLAR_BASE_URL, and at the firewall.",
    "timed out": "Let the firewall pass connections to that host; if they pass, raise POLAR_REQUEST_TIMEOUT.",
    "connection broke": "Something between this machine and Polar cuts connections: a proxy or a firewall.",
}


@dataclass(frozen=True)
class Row:
    """One thing that was looked at. `hint` is the way out of a problem or a warning."""

    name: str
    status: Status
    detail: str
    hint: str = ""


class Diagnosis:
    """Looks at this installation.

    user: a username or primary key, of whom to see whether Polar knows them; None for nobody.
    order: an order's id at Polar to look at; None for none.
    """

    def __init__(self, user: str | None = None, order: str | None = None) -> None:
        self._user_name = user
        self._order_id = order
        self._found: set[str] = set()
        self._silenced: set[str] = set()
        self._granted: set[str] = set()
        self._has_database = False
        self._session: IssuedSession | None = None

    def rows(self) -> Iterator[Row]:
        """Look at one thing after the other."""
        yield from self._settings()
        yield from self._polar()
        yield self._cache()
        yield self._database()
        yield from self._webhook()
        if self._user_name is not None:
            yield self._user(self._user_name)
        if self._order_id is not None:
            yield from self._order(self._order_id)

    def _settings(self) -> Iterator[Row]:
        try:
            messages = run_checks(tags=["polar_portal"])
        except Exception as error:  # noqa: BLE001 - the host's URLconf and resolver are imported here
            detail = (
                f"they can't be checked: {type(error).__name__} is raised"  # not what it says, which may be anything
            )
            yield Row("settings", "problem", detail, "Run: python manage.py check, which shows where that comes from.")
            return
        self._found = {str(message.id) for message in messages}
        self._silenced = {str(message.id) for message in messages if message.is_silenced()}
        told = [m for m in messages if m.id not in self._silenced | TOLD_BY_A_ROW]
        for message in told:
            status: Status = "problem" if message.level >= ERROR else "warning"
            yield Row("settings", status, f"{message.msg} ({message.id})", message.hint or "")
        if not told:
            yield Row("settings", "ok", "no issues")

    # Polar

    def _polar(self) -> Iterator[Row]:
        try:
            client = _client()
        except PolarMisconfigured:
            yield from _skipped(A_SETTING, "server", "token", *PROBES, "clock")
            return
        try:
            probe = client.probe(SESSIONS)
        except (PolarError, PolarMisconfigured) as failure:
            yield Row("server", "problem", f"{conf.POLAR_BASE_URL}: {failure}", _way_out(failure))
            yield from _skipped("Polar was not reached", "token", *PROBES, "clock")
            return
        yield Row("server", "ok", f"{conf.POLAR_BASE_URL} answered in {probe.took:.2f} s")
        if probe.accepted:
            yield Row("token", "ok", "Polar accepts it")
            yield self._scope(SESSIONS, probe)
            try:
                yield self._scope(ORDERS, _client().probe(ORDERS))
            except (PolarError, PolarMisconfigured) as failure:
                yield _failed(ORDERS, failure)
        else:
            yield _refused_token()
            yield from _skipped("the token is refused", *PROBES)
        yield _clock(probe.clock_ahead)

    def _scope(self, scope: str, probe: Probe) -> Row:
        if probe.granted:
            self._granted.add(scope)
            return Row(scope, "ok", "the token has this scope")
        return Row(
            scope,
            "problem",
            f"POLAR_ACCESS_TOKEN lacks the scope {scope}",
            f"Give the token the scope {scope} in your organization's settings at Polar, or make one that has it.",
        )

    # Cache and database

    def _cache(self) -> Row:
        try:
            backend = cache.backend()
        except PolarMisconfigured:
            return Row("cache", "skipped", A_SETTING)
        name = f"{conf.POLAR_CACHE_ALIAS!r} ({type(backend).__name__})"
        why_not_shared = cache.why_not_shared(backend)
        fault = _within(cache.TOO_SLOW, lambda: cache.find_fault(cache.backend()))
        if fault:
            return Row(
                "cache",
                "problem",
                f"{name} {fault}",
                "Clicks go on without it, slower, and each asks Polar: mend it, or name another in POLAR_CACHE_ALIAS.",
            )
        if why_not_shared and not conf.debug and "polar_portal.W002" not in self._silenced:
            return Row(
                "cache",
                "warning",
                f"{name} {why_not_shared} (polar_portal.W002)",
                "Let POLAR_CACHE_ALIAS name one that all processes share, such as Redis or Memcached.",
            )
        return Row("cache", "ok", f"{name} {why_not_shared or 'remembers and locks'}")

    def _database(self) -> Row:
        models = list(apps.get_app_config("polar_portal").get_models())
        missing: list[str] = []
        for model in models:
            alias = router.db_for_read(model)
            try:
                connections[alias].ensure_connection()
            except (DatabaseFailure, ImproperlyConfigured) as error:
                return Row(
                    "database",
                    "problem",
                    f"the database {alias!r} can't be reached ({type(error).__name__})",
                    "See DATABASES, and whether its server is running.",
                )
            if not _can_be_read(model, alias):
                missing.append(model._meta.db_table)
        if missing:
            return Row(
                "database",
                "problem",
                f"missing, or not as the migrations make them: {', '.join(missing)}",
                "Run: python manage.py migrate polar_portal",
            )
        self._has_database = True
        return Row("database", "ok", f"all {len(models)} tables are there")

    # Webhook

    def _webhook(self) -> Iterator[Row]:
        try:
            secrets = conf.POLAR_WEBHOOK_SECRET
        except PolarMisconfigured:
            yield from _skipped(A_SETTING, "webhook secret", "webhook path")
            return
        if not secrets and "polar_portal.W001" in self._silenced:
            yield from _skipped("no webhook is used: polar_portal.W001 is silenced", "webhook secret", "webhook path")
            return
        if secrets:
            yield Row("webhook secret", "ok", "set" if len(secrets) == 1 else f"{len(secrets)} are set")
        else:
            yield Row(
                "webhook secret",
                "warning",  # a site may well do without
                "POLAR_WEBHOOK_SECRET is not set: every delivery is refused (polar_portal.W001)",
                "Set it to the secret of your webhook endpoint at Polar. If you use no webhook, add "
                "'polar_portal.W001' to SILENCED_SYSTEM_CHECKS.",
            )
        yield self._webhook_path()

    def _webhook_path(self) -> Row:
        name = "webhook path"
        if "polar_portal.E010" in self._found:
            return Row(name, "skipped", "the URLs of polar_portal are not included, see above")
        try:
            path = reverse("polar_portal:webhook")
        except NoReverseMatch:
            return Row(
                name,
                "problem",
                "there is no URL with the name polar_portal:webhook",
                "Include polar_portal.urls as a whole, and not a list of your own under the same namespace.",
            )
        except Exception:  # noqa: BLE001 - the host's URLconf, which has failed above
            return Row(name, "skipped", "the project's URLs can't be loaded, see above")
        host = _allowed_host()
        if not host:
            return Row(
                name,
                "problem",
                f"{path} can't be reached: ALLOWED_HOSTS is empty",
                "Name your site's host in ALLOWED_HOSTS.",
            )
        try:
            response = _unsigned_delivery(path, host)
        except Exception as error:  # noqa: BLE001 - the host's middleware
            detail = f"an unsigned POST to {path} raises {type(error).__name__}"
            return Row(
                name, "problem", detail, "Look at MIDDLEWARE: one of them can't be loaded, or lets that through."
            )
        if response.status_code == 403 and _error_code(response) == WebhookVerificationError.code:
            return Row(name, "ok", f"{path} refuses what is not signed")
        answer, hint = _unwanted(response, path)
        return Row(name, "problem", f"an unsigned POST to {path} is answered {answer}", hint)

    # One user, one order

    def _user(self, name: str) -> Row:
        if SESSIONS not in self._granted:
            return Row("user", "skipped", f"{SESSIONS} is not granted, see above")
        try:
            user = _find_user(name)
        except (DatabaseFailure, ImproperlyConfigured) as error:
            if not self._has_database:
                return Row("user", "skipped", "the database can't be read, see above")
            detail = f"the users can't be read ({type(error).__name__})"
            return Row("user", "problem", detail, "Run: python manage.py migrate")
        if user is None:
            return Row(
                "user", "problem", "nobody here has this username or primary key", "Check what --user was given."
            )
        who = f"user {user.pk}"
        try:
            customer = customers.resolve(user)
            self._session = _client().create_customer_session(customer)
        except NotACustomer as absent:
            said = str(absent).partition(". ")[0].removesuffix(".")
            return Row("user", "problem", f"{who}: {said}", LINK_CUSTOMERS)
        except (PolarError, PolarMisconfigured, TokenRefused) as failure:
            return _failed("user", failure)
        return Row("user", "ok", f"Polar knows {who}; one session was made there")

    def _order(self, text: str) -> Iterator[Row]:
        rest = ["invoice", "receipt"] + (["customer"] if self._user_name is not None else [])
        if ORDERS not in self._granted:
            yield from _skipped(f"{ORDERS} is not granted, see above", "order", *rest)
            return
        try:
            order_id = uuid.UUID(text)
        except ValueError:
            yield Row("order", "problem", "what --order was given is no UUID", NO_SUCH_ORDER)
            yield from _skipped("there is no order", *rest)
            return
        try:
            order = _client().order(OrganizationIdentity.orders, order_id)
        except OrderNotFound:
            yield Row("order", "problem", f"this organization has no order {order_id}", NO_SUCH_ORDER)
        except (PolarError, PolarMisconfigured, TokenRefused) as failure:
            yield _failed("order", failure)
        else:
            yield Row("order", "ok", f"{order.id}: {order.status}")
            yield _invoice(order)
            yield _receipt(order)
            if self._user_name is not None:
                yield self._customer(order)
            return
        yield from _skipped("there is no order", *rest)

    def _customer(self, order: PortalOrder) -> Row:
        if self._session is None:
            return Row("customer", "skipped", "the user is no customer, see above")
        if self._session.polar_customer_id == order.polar_customer_id:
            return Row("customer", "ok", "the order is this user's")
        return Row(
            "customer",
            "problem",
            "the order belongs to another customer at Polar than this user",
            LINK_CUSTOMERS,
        )


LINK_CUSTOMERS = NotACustomer.default_message.partition(". ")[2]
NO_SUCH_ORDER = (
    "Give an order's id, not a checkout's or a subscription's; of this organization, and of the server that "
    "POLAR_SERVER names."
)


def _skipped(why: str, *names: str) -> Iterator[Row]:
    for name in names:
        yield Row(name, "skipped", why)


def _failed(name: str, failure: Exception) -> Row:
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


# Polar


def _client(base_url: str = "") -> Client:
    """Make a client for one call with the organization's token, without the cache, which may be what is wrong."""
    return Client(
        base_url or conf.POLAR_BASE_URL, conf.POLAR_ACCESS_TOKEN, time.monotonic() + conf.POLAR_REQUEST_TIMEOUT
    )


def _refused_token() -> Row:
    """Say that Polar refuses the token; and whether it belongs to Polar's other server, which is asked."""
    detail = "Polar refuses POLAR_ACCESS_TOKEN: it is expired, revoked or mistyped"
    hint = f"Make a new organization access token in Polar's settings, with the scopes {' and '.join(PROBES)}."
    if not conf.has_base_url:
        detail += ", or belongs to another server"
        (other,) = SERVERS.keys() - {conf.POLAR_SERVER}
        try:
            belongs_there = _client(SERVERS[other]).probe(SESSIONS).accepted
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


def _invoice(order: PortalOrder) -> Row:
    if not order.may_have_invoice:
        return Row("invoice", "ok", f"none: a {order.status} order gets no invoice")
    try:
        allowed_hosts = conf.POLAR_ALLOWED_DOCUMENT_HOSTS
    except PolarMisconfigured:
        return Row("invoice", "skipped", A_SETTING)
    asked_at = datetime.now(tz=timezone.utc)
    try:
        document = _client().invoice(OrganizationIdentity.orders, order.id, anywhere=True)
    except InvoiceNotGenerated:
        details = "" if order.has_billing_details else ", and the form asks for billing details first"
        return Row("invoice", "ok", f"not made yet: the customer is offered to have it made{details}")
    except (PolarError, PolarMisconfigured, TokenRefused) as failure:
        return _failed("invoice", failure)
    host = urlsplit(document.url).hostname
    if not presigned.may_redirect_to(document.url, base_url=conf.POLAR_BASE_URL, allowed_hosts=allowed_hosts):
        return Row(
            "invoice",
            "problem",
            f"made, but {host} is not in POLAR_ALLOWED_DOCUMENT_HOSTS",
            f"Add {host!r} to POLAR_ALLOWED_DOCUMENT_HOSTS, or leave that setting out.",
        )
    seconds = document.expires_at and (document.expires_at - asked_at).total_seconds()
    life = "does not say how long it lives" if seconds is None else f"lives {seconds:.0f} s"
    return Row("invoice", "ok", f"made; its address, at {host}, {life}")


def _receipt(order: PortalOrder) -> Row:
    # From the order: asking for the receipt itself would make Polar render it.
    if order.has_receipt:
        return Row("receipt", "ok", "allocated: rendered when it is asked for")
    return Row("receipt", "ok", "none: Polar has allocated none to this order")


# Cache, database, users


def _within(seconds: float, find: Callable[[], str]) -> str:
    """Return what `find` says is wrong, or that it has failed or not ended in time."""
    said: list[str] = []

    def look() -> None:
        try:
            said.append(find())
        except Exception as error:  # noqa: BLE001 - each backend raises its own
            # Not what the error says: the address it names may hold a password.
            said.append(f"fails ({type(error).__name__})")
        finally:
            connections.close_all()  # this thread's, for a cache that is in the database

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(seconds)
    return said[0] if said else f"has not answered within {seconds:g} s"


def _can_be_read(model: type[Model], alias: str) -> bool:
    try:
        # Every column of one row, so that a migration that is missing shows; in a transaction, so that the host's own
        # stays usable.
        with transaction.atomic(using=alias):
            list(model._default_manager.using(alias).order_by()[:1])
    except DatabaseFailure:
        return False
    return True


def _find_user(name: str) -> Any:
    """Return the user with this username, else with this primary key, else None."""
    users = get_user_model()
    for field in (users.USERNAME_FIELD, "pk"):
        try:
            found = users._default_manager.filter(**{field: name}).first()
        except (ValueError, TypeError, ValidationError):
            continue  # no value of that column looks so
        if found is not None:
            return found
    return None


# The webhook's path


def _allowed_host() -> str:
    """Return a host name that ALLOWED_HOSTS allows, "" if there is none."""
    for host in conf.allowed_hosts or (["localhost"] if conf.debug else []):
        return "localhost" if host == "*" else host.lstrip(".")
    return ""


def _unsigned_delivery(path: str, host: str) -> Any:
    """Send an unsigned delivery through the whole of the site, in this process, and return the response."""
    from django.test import Client as Browser  # here: it brings Django's whole test support

    browser = Browser(enforce_csrf_checks=True, raise_request_exception=False)
    with _without_warnings():
        return browser.post(
            f"/{path.removeprefix(get_script_prefix())}",
            data=b"{}",
            content_type="application/json",
            secure=True,
            headers={"host": host},
        )


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep the log's line of a refused delivery off the terminal: to be refused is what is hoped for."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)


def _error_code(response: Any) -> str:
    try:
        data = json.loads(response.getvalue())
    except ValueError:
        return ""
    return str(data.get("error", "")) if isinstance(data, dict) else ""


def _unwanted(response: Any, path: str) -> tuple[str, str]:
    """Say what came instead of the webhook's own answer, and the way out."""
    status = response.status_code
    if 300 <= status < 400:
        # Without its query, which may hold anything.
        to, _, query = response.headers.get("Location", "").partition("?")
        if "next=" in query:
            hint = f"Polar can't sign in: let your middleware leave {path} out."
        else:
            hint = f"Polar follows no redirect, and gives up after ten: let your middleware leave {path} out."
        return f"with a redirect ({status}) to {to}", hint
    if status == 403 and b"CSRF" in response.getvalue():
        return "403 by a CSRF check", f"Let the check leave {path} out: Polar has no CSRF token."
    if status in {404, 405}:
        return f"{status}", f"Another URL pattern, or your middleware, takes {path}: let polar_portal.urls come first."
    if status >= 500:
        return f"{status}", "The log has the traceback."
    return f"{status}", f"A middleware takes {path}, perhaps for its host name or address: let it leave that path out."
