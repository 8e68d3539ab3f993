"""Every setting: what is read, what is assumed, and what is refused in words that name the setting."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from polar_portal.conf import SERVERS, Conf, Secret, conf
from polar_portal.exceptions import PolarMisconfigured

TOKEN = "polar_oat_SHOWNtoNOBODY"
DEFAULTS: dict[str, Any] = {
    "POLAR_SERVER": "production",
    "POLAR_BASE_URL": "https://api.polar.sh",
    "POLAR_WEBHOOK_SECRET": [],
    "POLAR_CUSTOMER_RESOLVER": "polar_portal.customers.by_primary_key",
    "POLAR_CACHE_ALIAS": "default",
    "POLAR_URL_MIN_LIFE": 60,
    "POLAR_REQUEST_TIMEOUT": 5,
    "POLAR_CLICK_BUDGET": 10,
    "POLAR_RETURN_URL": "",
    "POLAR_ALLOWED_DOCUMENT_HOSTS": [],
}


@pytest.fixture(autouse=True)
def nothing_is_set() -> Any:
    """None of our settings is in force but what a test sets."""
    with override_settings():
        for name in dir(django_settings):
            if name.startswith("POLAR_"):
                delattr(django_settings, name)
        yield


def read(name: str) -> Any:
    return getattr(conf, name)


@pytest.mark.parametrize(("name", "default"), DEFAULTS.items())
def test_a_setting_that_is_not_set_has_its_default(name: str, default: Any) -> None:
    assert read(name) == default


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POLAR_SERVER", "sandbox"),
        ("POLAR_BASE_URL", "http://127.0.0.1:8001"),
        ("POLAR_CUSTOMER_RESOLVER", "shop.customers.resolve"),
        ("POLAR_CACHE_ALIAS", "urls"),
        ("POLAR_URL_MIN_LIFE", 0),
        ("POLAR_REQUEST_TIMEOUT", 0.25),
        ("POLAR_CLICK_BUDGET", 86400),
        ("POLAR_RETURN_URL", "https://shop.example/account/"),
        ("POLAR_ALLOWED_DOCUMENT_HOSTS", ["s3.example", ".amazonaws.com"]),
    ],
)
def test_a_setting_is_read_when_it_is_used(name: str, value: Any) -> None:
    with override_settings(**{name: value}):
        assert read(name) == value
    assert read(name) == DEFAULTS[name]


def test_every_setting_that_is_read_is_tested_here() -> None:
    names = {name for name in vars(Conf) if name.startswith("POLAR_")}
    assert names == {*DEFAULTS, "POLAR_ACCESS_TOKEN"}


def test_the_token_is_read_and_hidden() -> None:
    with override_settings(POLAR_ACCESS_TOKEN=TOKEN):
        token = conf.POLAR_ACCESS_TOKEN
    assert token.reveal() == TOKEN
    assert TOKEN not in f"{token} {token!r} {[token]} %s" % token


@pytest.mark.parametrize("value", [None, "", False])
def test_a_missing_token_is_named_with_the_scopes_that_it_needs(value: Any) -> None:
    with (
        override_settings(POLAR_ACCESS_TOKEN=value),
        pytest.raises(PolarMisconfigured, match=r"POLAR_ACCESS_TOKEN.*customer_sessions:write.*orders:read"),
    ):
        read("POLAR_ACCESS_TOKEN")


@pytest.mark.parametrize(
    "value",
    [
        TOKEN + "\n",
        " " + TOKEN,
        f"Bearer {TOKEN}",
        TOKEN + "\r\nX-Other: a",
        TOKEN + "é",
        TOKEN + "\x00",
        TOKEN.encode(),
        [TOKEN],
        5,
    ],
    ids=ascii,
)
def test_a_token_that_no_header_could_carry_is_refused_without_being_shown(value: Any) -> None:
    with override_settings(POLAR_ACCESS_TOKEN=value), pytest.raises(PolarMisconfigured) as caught:
        read("POLAR_ACCESS_TOKEN")
    assert "POLAR_ACCESS_TOKEN" in str(caught.value)
    assert TOKEN not in repr(caught.value)


@pytest.mark.parametrize(("server", "base_url"), SERVERS.items())
def test_server_decides_the_base_url(server: str, base_url: str) -> None:
    with override_settings(POLAR_SERVER=server):
        assert base_url == conf.POLAR_BASE_URL


def test_a_base_url_of_its_own_wins_over_the_server_and_loses_its_last_slash() -> None:
    with override_settings(POLAR_SERVER="sandbox", POLAR_BASE_URL="https://proxy.example/polar/"):
        assert conf.POLAR_BASE_URL == "https://proxy.example/polar"


@pytest.mark.parametrize("server", ["", "Production", "live", None, 5, True])
def test_an_unknown_server_is_refused(server: Any) -> None:
    for name in ("POLAR_SERVER", "POLAR_BASE_URL"):
        with override_settings(POLAR_SERVER=server), pytest.raises(PolarMisconfigured, match="POLAR_SERVER"):
            read(name)


@pytest.mark.parametrize("server", [["sandbox"], {"sandbox"}, {}])
def test_a_server_that_is_no_text_is_refused(server: Any) -> None:
    with override_settings(POLAR_SERVER=server), pytest.raises(PolarMisconfigured, match="POLAR_SERVER"):
        read("POLAR_SERVER")


@pytest.mark.parametrize(
    "base_url",
    [
        "api.polar.sh",
        "//api.polar.sh",
        "ftp://api.polar.sh",
        "https://",
        "https:///v1",
        "https://someone:SHOWNtoNOBODY@api.polar.sh",
        "https://SHOWNtoNOBODY@api.polar.sh",
        "https://api.polar.sh?token=SHOWNtoNOBODY",
        "https://api.polar.sh#SHOWNtoNOBODY",
        "https://api.polar.sh:port",
        "https://api.polar.sh:0",
        "https://api.polar.sh:99999",
        "https://api.polar.sh/\n",
        "https://api.polar.sh /",
        "https://ap\u0456.polar.sh",
        "https://[::1",
        b"https://api.polar.sh",
        ["https://api.polar.sh"],
        5,
        True,
    ],
    ids=ascii,
)
def test_a_base_url_that_is_none_is_refused_without_being_shown(base_url: Any) -> None:
    with override_settings(POLAR_BASE_URL=base_url), pytest.raises(PolarMisconfigured) as caught:
        read("POLAR_BASE_URL")
    assert "POLAR_BASE_URL" in str(caught.value)
    assert "SHOWNtoNOBODY" not in repr(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize("base_url", ["https://api.polar.sh?", "https://api.polar.sh#", "https://api.polar.sh/?"])
def test_a_base_url_that_would_swallow_the_path_is_refused(base_url: str) -> None:
    with override_settings(POLAR_BASE_URL=base_url), pytest.raises(PolarMisconfigured, match="POLAR_BASE_URL"):
        read("POLAR_BASE_URL")


@pytest.mark.parametrize(
    ("value", "secrets"),
    [
        ("whsec_a", ["whsec_a"]),
        (["whsec_a", "whsec_b"], ["whsec_a", "whsec_b"]),
        (("whsec_a",), ["whsec_a"]),
        ("", []),
        ([], []),
        (None, []),
    ],
)
def test_one_webhook_secret_or_several_while_rotating(value: Any, secrets: list[str]) -> None:
    with override_settings(POLAR_WEBHOOK_SECRET=value):
        assert [secret.reveal() for secret in conf.POLAR_WEBHOOK_SECRET] == secrets
        assert "whsec" not in repr(conf.POLAR_WEBHOOK_SECRET)


@pytest.mark.parametrize("value", [[""], ["whsec_a", ""]])
def test_an_empty_webhook_secret_never_becomes_a_key(value: list[str]) -> None:
    with override_settings(POLAR_WEBHOOK_SECRET=value):
        assert [secret.reveal() for secret in conf.POLAR_WEBHOOK_SECRET] == [secret for secret in value if secret]


@pytest.mark.parametrize("value", [5, True, b"whsec_a", [None], [b"whsec_a"], {"key": "whsec_a"}], ids=ascii)
def test_a_webhook_secret_that_is_no_text_is_refused(value: Any) -> None:
    with override_settings(POLAR_WEBHOOK_SECRET=value), pytest.raises(PolarMisconfigured, match="POLAR_WEBHOOK_SECRET"):
        read("POLAR_WEBHOOK_SECRET")


@pytest.mark.parametrize("name", ["POLAR_URL_MIN_LIFE", "POLAR_REQUEST_TIMEOUT", "POLAR_CLICK_BUDGET"])
@pytest.mark.parametrize(
    "value", [None, "5", True, -1, 86401, float("nan"), float("inf"), float("-inf"), [5], 5j, 10**400], ids=ascii
)
def test_what_is_no_number_of_seconds_is_refused(name: str, value: Any) -> None:
    with override_settings(**{name: value}), pytest.raises(PolarMisconfigured, match=name):
        read(name)


@pytest.mark.parametrize("name", ["POLAR_REQUEST_TIMEOUT", "POLAR_CLICK_BUDGET"])
def test_no_time_at_all_is_refused(name: str) -> None:
    with override_settings(**{name: 0}), pytest.raises(PolarMisconfigured, match=name):
        read(name)


@pytest.mark.parametrize("name", ["POLAR_URL_MIN_LIFE", "POLAR_REQUEST_TIMEOUT", "POLAR_CLICK_BUDGET"])
def test_seconds_are_a_float(name: str) -> None:
    with override_settings(**{name: 7}):
        assert type(read(name)) is float


@pytest.mark.parametrize("value", ["s3.example", None, 5, [None], [b"s3.example"], {"s3.example": 1}, [["s3.example"]]])
def test_allowed_hosts_that_are_no_list_of_names_are_refused(value: Any) -> None:
    with (
        override_settings(POLAR_ALLOWED_DOCUMENT_HOSTS=value),
        pytest.raises(PolarMisconfigured, match="POLAR_ALLOWED_DOCUMENT_HOSTS"),
    ):
        read("POLAR_ALLOWED_DOCUMENT_HOSTS")


@pytest.mark.parametrize("host", ["", ".", " s3.example", "https://s3.example", "s3.example/", "*.s3.example"])
def test_allowed_hosts_that_can_match_nothing_are_refused(host: str) -> None:
    with (
        override_settings(POLAR_ALLOWED_DOCUMENT_HOSTS=[host]),
        pytest.raises(PolarMisconfigured, match="POLAR_ALLOWED_DOCUMENT_HOSTS"),
    ):
        read("POLAR_ALLOWED_DOCUMENT_HOSTS")


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset])
def test_allowed_hosts_may_be_any_collection(kind: Any) -> None:
    with override_settings(POLAR_ALLOWED_DOCUMENT_HOSTS=kind(["s3.example"])):
        assert conf.POLAR_ALLOWED_DOCUMENT_HOSTS == ["s3.example"]


def test_the_list_of_allowed_hosts_is_a_copy() -> None:
    with override_settings(POLAR_ALLOWED_DOCUMENT_HOSTS=["s3.example"]):
        conf.POLAR_ALLOWED_DOCUMENT_HOSTS.append("elsewhere.example")
        assert conf.POLAR_ALLOWED_DOCUMENT_HOSTS == ["s3.example"]


@override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old", "older"])
def test_the_keys_of_django_come_newest_first() -> None:
    assert [key.reveal() for key in conf.secret_keys] == ["new", "old", "older"]
    assert "old" not in repr(conf.secret_keys)


def test_misconfigured_is_what_django_calls_improperly_configured() -> None:
    assert issubclass(PolarMisconfigured, ImproperlyConfigured)


# Secret.


def test_a_secret_hides_wherever_it_is_shown() -> None:
    secret = Secret(TOKEN)
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!s}", repr({"a": (secret,)})):
        assert TOKEN not in shown
    assert not hasattr(secret, "__dict__")


def test_a_secret_is_neither_pickled_nor_copied() -> None:
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="pickled"):
            copied(Secret(TOKEN))


def test_secrets_compare_by_what_they_hold() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret("")
    assert Secret("a")
