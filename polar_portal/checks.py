"""What `manage.py check` says about an installation: settings alone, neither database nor network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.cache import InvalidCacheBackendError, caches
from django.core.checks import CheckMessage, Error, register
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from polar_portal.conf import conf
from polar_portal.exceptions import PolarMisconfigured


@register("polar_portal")
def check_settings(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Each setting that a click would stumble over is told here first, in the same words."""
    return [
        *_reads("E001", "POLAR_ACCESS_TOKEN", "Set POLAR_ACCESS_TOKEN to an organization access token from Polar."),
        *_reads("E002", "POLAR_SERVER", "Set POLAR_SERVER to 'production' (the default) or 'sandbox'."),
        *_reads("E003", "POLAR_BASE_URL", "Leave POLAR_BASE_URL out, unless Polar is behind a proxy of yours."),
        *_resolver(),
        *_cache_alias(),
        *_reads("E006", "POLAR_URL_MIN_LIFE", "Leave POLAR_URL_MIN_LIFE out, or set it to a number."),
        *_reads("E007", "POLAR_REQUEST_TIMEOUT", "Leave POLAR_REQUEST_TIMEOUT out, or set it to a number."),
        *_reads("E008", "POLAR_CLICK_BUDGET", "Leave POLAR_CLICK_BUDGET out, or set it to a number."),
        *_reads("E009", "POLAR_ALLOWED_DOCUMENT_HOSTS", "Leave it out, or set it to a list like ['.amazonaws.com']."),
    ]


@register("polar_portal")
def check_urls(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    try:
        reverse("polar_portal:invoice", args=["00000000-0000-4000-8000-000000000000"])
    except NoReverseMatch:
        return [
            Error(
                "The URLs of polar_portal are not included.",
                hint='Add path("billing/", include("polar_portal.urls")) to your ROOT_URLCONF.',
                id="polar_portal.E010",
            )
        ]
    return []


def _reads(check_id: str, setting: str, hint: str) -> list[CheckMessage]:
    try:
        getattr(conf, setting)
    except PolarMisconfigured as wrong:
        # POLAR_BASE_URL falls back on POLAR_SERVER, which has a check of its own.
        return [Error(str(wrong), hint=hint, id=f"polar_portal.{check_id}")] if setting in str(wrong) else []
    return []


def _resolver() -> list[CheckMessage]:
    path = conf.POLAR_CUSTOMER_RESOLVER
    try:
        sound = callable(import_string(path))
    except (ImportError, AttributeError, TypeError):
        sound = False
    if sound:
        return []
    return [
        Error(
            f"POLAR_CUSTOMER_RESOLVER is {path!r}, which can't be imported or is no function.",
            hint="Leave it out if checkouts are created with external_customer_id=str(user.pk); else give the dotted "
            "path of a function that takes a user and returns a dict like {'external_customer_id': '…'}.",
            id="polar_portal.E004",
        )
    ]


def _cache_alias() -> list[CheckMessage]:
    try:
        caches[conf.POLAR_CACHE_ALIAS]
    except InvalidCacheBackendError:
        return [
            Error(
                f"POLAR_CACHE_ALIAS is {conf.POLAR_CACHE_ALIAS!r}, which is none of CACHES.",
                hint="Name one of the caches in CACHES, or leave POLAR_CACHE_ALIAS out to use 'default'.",
                id="polar_portal.E005",
            )
        ]
    return []
