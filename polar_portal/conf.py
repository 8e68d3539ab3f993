"""Every setting of polar_portal, under its own name, read from Django's settings when it is used.

>>> from polar_portal.conf import conf
>>> conf.POLAR_CLICK_BUDGET
10.0

This is the only module that reads Django's settings.
"""

from __future__ import annotations

import functools
import re
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.functional import empty

from polar_portal.exceptions import PolarMisconfigured

SERVERS = {
    "production": "https://api.polar.sh",
    "sandbox": "https://sandbox-api.polar.sh",
}


class Secret:
    """A string that is not shown by accident: `repr` and `str` hide it, pickling refuses; `reveal()` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret('…')"

    def __reduce__(self) -> Any:
        raise TypeError("A Secret is not to be pickled.")


@functools.lru_cache(maxsize=8)  # it is read at every click
def _base_url(text: str) -> str | None:
    """Return a base URL without a slash at its end, None for what is none."""
    try:
        parts = urlsplit(text)
        sound = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and (parts.port is None or parts.port > 0)
            and parts.username is None
            and not set(text) & set("?#")
            and text.isascii()
            and text.isprintable()
            and " " not in text
        )
    except ValueError:
        sound = False
    return f"{parts.scheme}{text[len(parts.scheme) :].rstrip('/')}" if sound else None


def _read(name: str, default: Any) -> Any:
    # Django's lazy `settings` answers by several calls in Python, and raises and swallows an AttributeError for a name
    # that is not set, as most of ours are not: for the six of a warm click that was a fourth of our time. What it wraps
    # answers at once.
    wrapped = object.__getattribute__(settings, "_wrapped")
    return getattr(settings if wrapped is empty else wrapped, name, default)


class Conf:
    """The settings, each a property of its own name; and what of Django's own settings we need, in lower case.

    Each raises PolarMisconfigured for a value that can't be used.
    """

    @property
    def POLAR_ACCESS_TOKEN(self) -> Secret:
        """The organization's access token."""
        token = _read("POLAR_ACCESS_TOKEN", None)
        if not token:
            raise PolarMisconfigured(
                "POLAR_ACCESS_TOKEN is not set. Create an organization access token in Polar's settings with the "
                "scopes customer_sessions:write and orders:read."
            )
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
            raise PolarMisconfigured("POLAR_ACCESS_TOKEN is not a token: it holds spaces, line ends or odd characters.")
        return Secret(token)

    @property
    def POLAR_SERVER(self) -> str:
        """`"production"` or `"sandbox"`."""
        server = _read("POLAR_SERVER", "production")
        if not isinstance(server, str) or server not in SERVERS:
            raise PolarMisconfigured(f"POLAR_SERVER is {server!r}; it must be 'production' or 'sandbox'.")
        return server

    @property
    def POLAR_BASE_URL(self) -> str:
        """Where Polar's API is, without a slash at its end; by default what POLAR_SERVER says."""
        base_url = _read("POLAR_BASE_URL", None)
        if not base_url:
            return SERVERS[self.POLAR_SERVER]
        sound = _base_url(base_url) if isinstance(base_url, str) else None
        if sound is None:
            raise PolarMisconfigured(
                "POLAR_BASE_URL must look like 'https://api.polar.sh': http or https, a host, no user name, no query."
            )
        return sound

    @property
    def has_base_url(self) -> bool:
        """Whether POLAR_BASE_URL says where Polar is, so that POLAR_SERVER does not matter."""
        return bool(_read("POLAR_BASE_URL", None))

    @property
    def POLAR_WEBHOOK_SECRET(self) -> list[Secret]:
        """The secrets that sign webhook deliveries; several while rotating."""
        secrets = _read("POLAR_WEBHOOK_SECRET", None) or []
        secrets = [secrets] if isinstance(secrets, str) else secrets
        if not isinstance(secrets, (list, tuple)) or not all(isinstance(secret, str) for secret in secrets):
            raise PolarMisconfigured("POLAR_WEBHOOK_SECRET must be a string, or a list of strings while rotating.")
        # With an empty one anybody could sign.
        return [Secret(secret) for secret in secrets if secret]

    @property
    def POLAR_RETURN_URL(self) -> str:
        """Where Polar's hosted portal leads back to; empty: our list of orders."""
        return self._text("POLAR_RETURN_URL", "")

    @property
    def POLAR_CUSTOMER_RESOLVER(self) -> str:
        """Dotted path of the function that says which customer of Polar a user is."""
        return self._text("POLAR_CUSTOMER_RESOLVER", "polar_portal.customers.by_primary_key")

    @property
    def POLAR_CACHE_ALIAS(self) -> str:
        """Which of Django's caches keeps signed URLs."""
        return self._text("POLAR_CACHE_ALIAS", "default")

    @property
    def POLAR_URL_MIN_LIFE(self) -> float:
        """Seconds that a cached signed URL must still have to be used again."""
        return self._seconds("POLAR_URL_MIN_LIFE", 60, least=0)

    @property
    def POLAR_REQUEST_TIMEOUT(self) -> float:
        """Seconds for one call to Polar, from connecting to the last byte of the body."""
        return self._seconds("POLAR_REQUEST_TIMEOUT", 5, least=0.001)

    @property
    def POLAR_CLICK_BUDGET(self) -> float:
        """Seconds that one click may take, whatever Polar does."""
        return self._seconds("POLAR_CLICK_BUDGET", 10, least=0.001)

    @property
    def POLAR_ALLOWED_DOCUMENT_HOSTS(self) -> list[str]:
        """Hosts that documents may come from, `.suffix` allowed; empty: any https host."""
        hosts = _read("POLAR_ALLOWED_DOCUMENT_HOSTS", [])
        if not isinstance(hosts, (list, tuple, set, frozenset)) or not all(
            isinstance(host, str) and re.fullmatch(r"\.?[\w-]+(\.[\w-]+)*|\[[0-9a-fA-F:.]+\]", host, re.ASCII)
            for host in hosts
        ):
            raise PolarMisconfigured(
                "POLAR_ALLOWED_DOCUMENT_HOSTS must be a list of host names, like ['s3.amazonaws.com', '.example.com']."
            )
        return list(hosts)

    @property
    def secret_keys(self) -> list[Secret]:
        """Django's SECRET_KEY, then its SECRET_KEY_FALLBACKS."""
        keys: list[Any] = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]  # Django takes bytes as well
        return [Secret(key) for key in keys]

    @property
    def user_model(self) -> str:
        """Django's AUTH_USER_MODEL."""
        return settings.AUTH_USER_MODEL

    @property
    def use_tz(self) -> bool:
        """Django's USE_TZ: whether its database fields want aware datetimes."""
        return settings.USE_TZ

    @property
    def debug(self) -> bool:
        """Django's DEBUG."""
        return settings.DEBUG

    @property
    def caches(self) -> dict[str, Any]:
        """Django's CACHES."""
        return settings.CACHES

    @property
    def allowed_hosts(self) -> list[str]:
        """Django's ALLOWED_HOSTS."""
        return settings.ALLOWED_HOSTS

    @staticmethod
    def _text(name: str, default: str) -> str:
        value = _read(name, default)
        if not isinstance(value, (str, type(None))):
            raise PolarMisconfigured(f"{name} must be a string, not {value!r}.")
        return value or default

    @staticmethod
    def _seconds(name: str, default: float, *, least: float) -> float:
        value = _read(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= 86400:
            raise PolarMisconfigured(f"{name} must be a number of seconds, not {value!r}.")
        return float(value)


conf = Conf()
