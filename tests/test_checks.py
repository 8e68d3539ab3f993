from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.checks.registry import registry
from pytest_django import Settings

from polar_portal import checks
from polar_portal.conf import Conf

ROOT = Path(__file__).parent.parent
TOKEN = "polar_oat_SHOWNtoNOBODY"
SECRET = "whsec_SHOWNtoNOBODY"
REDIS = "django.core.cache.backends.redis.RedisCache"
DJANGO_REDIS = "django_redis.cache.RedisCache"
REDIS_URL = "redis://:SHOWNtoNOBODY@cache.example:6379/0"


@pytest.fixture(autouse=True)
def sound(settings: Settings, tmp_path: Path) -> None:
    """A site in production with which nothing is wrong; each test breaks one thing."""
    settings.SILENCED_SYSTEM_CHECKS = []
    settings.POLAR_ACCESS_TOKEN = TOKEN
    settings.POLAR_WEBHOOK_SECRET = SECRET
    settings.CACHES = {"default": cache("django.core.cache.backends.filebased.FileBasedCache", str(tmp_path))}


def cache(backend: str, location: Any = "", **options: Any) -> dict[str, Any]:
    return {"BACKEND": backend, "LOCATION": location, "OPTIONS": options}


def ids() -> list[str]:
    """The ids of what is found, without `polar_portal.`; whatever it is, it has a hint and shows no secret."""
    messages = run_checks(tags=["polar_portal"])
    for message in messages:
        assert message.hint
        assert "SHOWNtoNOBODY" not in str(message)
        assert message.is_serious() is (message.id or "").startswith("polar_portal.E")
    return [str(message.id).removeprefix("polar_portal.") for message in messages]


def test_a_sound_installation_is_silent() -> None:
    assert ids() == []


def test_the_settings_of_the_tests_are_silent() -> None:
    command = [sys.executable, "-m", "django", "check", "--settings", "tests.settings"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("System check identified no issues (1 silenced).\n", "")


def test_checks_are_registered() -> None:
    assert checks.check_installation in registry.registered_checks


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("POLAR_ACCESS_TOKEN", None, "E001"),
        ("POLAR_ACCESS_TOKEN", "", "E001"),
        ("POLAR_ACCESS_TOKEN", f"{TOKEN}\n", "E001"),
        ("POLAR_ACCESS_TOKEN", [TOKEN], "E001"),
        ("POLAR_SERVER", "staging", "E002"),
        ("POLAR_SERVER", ["sandbox"], "E002"),
        ("POLAR_BASE_URL", "api.polar.sh", "E003"),
        ("POLAR_BASE_URL", 5, "E003"),
        ("POLAR_BASE_URL", "https://user:SHOWNtoNOBODY@polar.example", "E003"),
        ("POLAR_CUSTOMER_RESOLVER", "no.such.path", "E004"),
        ("POLAR_CUSTOMER_RESOLVER", "polar_portal.conf.conf", "E004"),
        ("POLAR_CUSTOMER_RESOLVER", len, "E004"),
        ("POLAR_CACHE_ALIAS", "nowhere", "E005"),
        ("POLAR_CACHE_ALIAS", ["default"], "E005"),
        ("CACHES", {"default": cache("no.such.Backend")}, "E005"),
        ("CACHES", {"default": cache("tests.test_checks.CacheWithoutItsLibrary")}, "E005"),
        ("POLAR_URL_MIN_LIFE", "60", "E006"),
        ("POLAR_REQUEST_TIMEOUT", 0, "E007"),
        ("POLAR_CLICK_BUDGET", float("inf"), "E008"),
        ("POLAR_ALLOWED_DOCUMENT_HOSTS", "s3.amazonaws.com", "E009"),
        ("ROOT_URLCONF", "example_project.shop.urls", "E010"),
        ("POLAR_WEBHOOK_SECRET", SECRET.encode(), "E011"),
        ("POLAR_WEBHOOK_SECRET", [None], "E011"),
        ("POLAR_RETURN_URL", ["/account/"], "E012"),
        ("POLAR_WEBHOOK_SECRET", None, "W001"),
        ("POLAR_WEBHOOK_SECRET", [""], "W001"),
        ("CACHES", {"default": cache("django.core.cache.backends.locmem.LocMemCache")}, "W002"),
        ("CACHES", {"default": cache("django.core.cache.backends.dummy.DummyCache")}, "W002"),
        ("POLAR_SERVER", "sandbox", "W003"),
        ("DEBUG", True, "W004"),
        ("CACHES", {"default": cache(REDIS, REDIS_URL)}, "W005"),
        ("CACHES", {"default": cache(REDIS, REDIS_URL, SOCKET_TIMEOUT=1)}, "W005"),
        ("CACHES", {"default": cache(REDIS, [f"{REDIS_URL}?socket_timeout=1", REDIS_URL])}, "W005"),
        ("CACHES", {"default": cache(REDIS, f"{REDIS_URL}?socket_timeout=1,{REDIS_URL}")}, "W005"),
        ("CACHES", {"default": cache(REDIS, f"{REDIS_URL}?socket_connect_timeout=1")}, "W005"),
        ("POLAR_REQUEST_TIMEOUT", 10.5, "W006"),
        ("POLAR_CLICK_BUDGET", 4, "W006"),
        ("POLAR_URL_MIN_LIFE", 600, "W007"),
        ("POLAR_ACCESS_TOKEN", "polar_cst_SHOWNtoNOBODY", "W008"),
        ("POLAR_ACCESS_TOKEN", "polar_mst_SHOWNtoNOBODY", "W008"),
        ("POLAR_ACCESS_TOKEN", "whsec_SHOWNtoNOBODYeither", "W008"),
        ("POLAR_WEBHOOK_SECRET", f"{SECRET}\n", "W009"),
        ("POLAR_WEBHOOK_SECRET", [SECRET, f" {SECRET}"], "W009"),
        ("POLAR_WEBHOOK_SECRET", "SHOWNtoNOBODY", "W009"),
        ("POLAR_WEBHOOK_SECRET", [SECRET, TOKEN], "W009"),
        ("POLAR_BASE_URL", "http://polar.example", "W010"),
        ("POLAR_BASE_URL", "http://8.8.8.8:8000", "W010"),
        ("POLAR_BASE_URL", "http://localhost.polar.example", "W010"),
        ("POLAR_BASE_URL", "http://[2606:4700::1111]", "W010"),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_each_wrong_setting_has_its_id(settings: Settings, setting: str, value: Any, expected: str) -> None:
    setattr(settings, setting, value)
    assert ids() == [expected]


class CacheWithoutItsLibrary:
    """As Django's for Memcached, which import their library when they are made."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        raise ModuleNotFoundError("No module named 'pymemcache'")


@pytest.mark.parametrize(
    "changes",
    [
        {"POLAR_WEBHOOK_SECRET": [SECRET, f"{SECRET}too"]},
        {"POLAR_WEBHOOK_SECRET": "sixteen_letters!"},
        # With a base URL, the server does not matter.
        {"POLAR_SERVER": "sandbox", "POLAR_BASE_URL": "https://polar.example"},
        {"DEBUG": True, "POLAR_BASE_URL": "https://polar.example"},
        {"DEBUG": True, "POLAR_SERVER": "sandbox"},
        # One process is all there is while developing.
        {
            "DEBUG": True,
            "POLAR_SERVER": "sandbox",
            "CACHES": {"default": cache("django.core.cache.backends.locmem.LocMemCache")},
        },
        # Another cache than ours is no matter of ours.
        {"CACHES": {"default": cache(REDIS, REDIS_URL, socket_timeout=1), "other": cache(REDIS, REDIS_URL)}},
        {"CACHES": {"default": cache(REDIS, f"{REDIS_URL}?db=1&socket_timeout=0.5")}},
        {"CACHES": {"default": cache(REDIS, [f"{REDIS_URL}?socket_timeout=1", f"{REDIS_URL}?socket_timeout=1"])}},
        {"POLAR_REQUEST_TIMEOUT": 10},
        {"POLAR_URL_MIN_LIFE": 599},
        {"POLAR_BASE_URL": "http://localhost:8001"},
        {"POLAR_BASE_URL": "http://127.0.0.2:8001"},
        {"POLAR_BASE_URL": "http://[::1]:8001"},
        {"POLAR_BASE_URL": "http://192.168.1.5"},
        {"POLAR_BASE_URL": "http://polar-proxy:8080"},
        {"POLAR_BASE_URL": "http://polar-proxy.default.svc.cluster.local"},
        {"POLAR_BASE_URL": "https://polar.example"},
    ],
    ids=str,
)
def test_what_is_right_is_not_warned_of(settings: Settings, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        setattr(settings, name, value)
    assert ids() == []


@pytest.mark.parametrize(
    ("location", "options", "expected"),
    [
        (REDIS_URL, {}, ["W005"]),
        (REDIS_URL, {"socket_timeout": 1}, ["W005"]),
        (REDIS_URL, {"SOCKET_TIMEOUT": 1}, []),
        (REDIS_URL, {"CONNECTION_POOL_KWARGS": {"socket_timeout": 1}}, []),
        (REDIS_URL, {"CONNECTION_POOL_KWARGS": {"max_connections": 1}}, ["W005"]),
        (f"{REDIS_URL}?socket_timeout=1", {}, []),
    ],
    ids=str,
)
def test_django_redis_names_its_timeout_in_another_way(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, location: str, options: dict[str, Any], expected: list[str]
) -> None:
    # Its package need not be installed: which cache it is, is read from the setting.
    monkeypatch.setattr(checks, "backend", lambda: None)
    settings.CACHES = {"default": cache(DJANGO_REDIS, location, **options)}
    assert ids() == expected


@pytest.mark.parametrize(
    ("backend", "words"),
    [("locmem.LocMemCache", "local memory, which each process has for itself"), ("dummy.DummyCache", "a dummy")],
)
def test_each_kind_of_cache_that_is_not_shared_is_named(settings: Settings, backend: str, words: str) -> None:
    settings.CACHES = {"default": cache(f"django.core.cache.backends.{backend}")}
    (message,) = run_checks(tags=["polar_portal"])
    assert words in message.msg


def test_every_setting_that_can_be_refused_has_a_check(settings: Settings) -> None:
    for name in vars(Conf):
        if name.startswith("POLAR_"):
            before = getattr(settings, name, None)
            setattr(settings, name, object())
            (found,) = ids()
            assert found.startswith("E"), name
            setattr(settings, name, before) if before is not None else delattr(settings, name)


def test_several_wrong_settings_are_told_together(settings: Settings) -> None:
    settings.POLAR_ACCESS_TOKEN = None
    settings.POLAR_SERVER = "staging"
    settings.POLAR_WEBHOOK_SECRET = ["short"]
    settings.POLAR_CLICK_BUDGET = 4
    assert ids() == ["E001", "E002", "W006", "W009"]


@pytest.mark.parametrize("find", [entry[1] for entry in checks.CHECKS], ids=[entry[0] for entry in checks.CHECKS])
def test_no_check_asks_the_database_or_the_network(find: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest-django refuses the database to tests that do not ask for it.
    monkeypatch.setattr("socket.socket.connect", lambda *args: pytest.fail("the network was asked"))
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **kwargs: pytest.fail("the network was asked"))
    assert find() == ""
