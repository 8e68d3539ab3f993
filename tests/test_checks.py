from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.checks.registry import registry
from pytest_django import Settings

from polar_portal import checks


def ids() -> list[str | None]:
    return [message.id for message in run_checks(tags=["polar_portal"])]


def test_a_sound_installation_is_silent() -> None:
    assert ids() == []


def test_checks_are_registered() -> None:
    assert {checks.check_settings, checks.check_urls} <= registry.registered_checks


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("POLAR_ACCESS_TOKEN", None, "E001"),
        ("POLAR_ACCESS_TOKEN", "", "E001"),
        ("POLAR_ACCESS_TOKEN", "polar_oat_x\n", "E001"),
        ("POLAR_SERVER", "staging", "E002"),
        ("POLAR_BASE_URL", "api.polar.sh", "E003"),
        ("POLAR_BASE_URL", "https://user:secret@polar.example", "E003"),
        ("POLAR_CUSTOMER_RESOLVER", "no.such.path", "E004"),
        ("POLAR_CUSTOMER_RESOLVER", "polar_portal.conf.conf", "E004"),
        ("POLAR_CACHE_ALIAS", "nowhere", "E005"),
        ("POLAR_URL_MIN_LIFE", "60", "E006"),
        ("POLAR_REQUEST_TIMEOUT", 0, "E007"),
        ("POLAR_CLICK_BUDGET", float("inf"), "E008"),
        ("POLAR_ALLOWED_DOCUMENT_HOSTS", "s3.amazonaws.com", "E009"),
        ("ROOT_URLCONF", "example_project.shop.urls", "E010"),
    ],
)
def test_each_wrong_setting_has_its_id(settings: Settings, setting: str, value: Any, expected: str) -> None:
    setattr(settings, setting, value)
    (message,) = run_checks(tags=["polar_portal"])
    assert message.id == f"polar_portal.{expected}"
    assert message.hint
    assert "secret" not in str(message)
