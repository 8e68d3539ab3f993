"""The webhook: its secret, and whether a delivery that Polar sends would reach it through this whole site."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.urls import NoReverseMatch, get_script_prefix, reverse

from polar_portal.conf import conf
from polar_portal.diagnosis.findings import A_SETTING, Findings, Row, skipped
from polar_portal.exceptions import PolarMisconfigured, WebhookVerificationError


def look_at_webhook(findings: Findings) -> Iterator[Row]:
    try:
        secrets = conf.POLAR_WEBHOOK_SECRET
    except PolarMisconfigured:
        yield from skipped(A_SETTING, "webhook secret", "webhook path")
        return
    if not secrets and "polar_portal.W001" in findings.silenced:
        yield from skipped("no webhook is used: polar_portal.W001 is silenced", "webhook secret", "webhook path")
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
    yield _path(findings)


def _path(findings: Findings) -> Row:
    name = "webhook path"
    if "polar_portal.E010" in findings.checks:
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
        return Row(name, "problem", detail, "Look at MIDDLEWARE: one of them can't be loaded, or lets that through.")
    if response.status_code == 403 and _error_code(response) == WebhookVerificationError.code:
        return Row(name, "ok", f"{path} refuses what is not signed")
    answer, hint = _unwanted(response, path)
    return Row(name, "problem", f"an unsigned POST to {path} is answered {answer}", hint)


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
