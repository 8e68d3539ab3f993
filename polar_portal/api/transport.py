"""What carries a request: connections, proxies and certificates, and what can break on the way.

The only module that imports `requests`. Each call is a prepared request through one adapter per process, never a
`requests.Session`: no cookie jar that customers would share, no `.netrc` that would replace the token, no redirect that
would carry it elsewhere.
"""

from __future__ import annotations

import functools
import os
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import get_environ_proxies

from polar_portal import __version__
from polar_portal.api import deadline
from polar_portal.conf import Secret

POLAR_VERSION = "2026-04"
USER_AGENT = f"django-polar-portal/{__version__}"

#: What a request that breaks raises. ValueError: header lines that http.client can't read. What these say is never
#: repeated: it holds URLs.
ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, TimeoutError, ConnectionError, ValueError)


class _Adapter(HTTPAdapter):
    """requests' own adapter over connections that end in time."""

    pool_classes: dict[str, type] = deadline.POOL_CLASSES

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self.pool_classes

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if not proxy.lower().startswith(("http://", "https://")):
            # SOCKS brings connections of its own, which would not end in time.
            raise requests.exceptions.InvalidProxyURL("not an http or https proxy")
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = deadline.POOL_CLASSES
        return manager

    def build_response(self, req: requests.PreparedRequest, resp: urllib3.BaseHTTPResponse) -> requests.Response:
        # What is read here, and not the cookies, whose reading takes as long as all else that is ours in a call.
        response = requests.Response()
        response.status_code = resp.status
        response.headers = resp.headers  # type: ignore[assignment]  # of urllib3, blind to case as well
        response.raw = resp
        response.request = req
        return response


class _PublicAdapter(_Adapter):
    """Refuses hosts of this machine's own network: Polar's answer says which host is asked."""

    pool_classes = deadline.PUBLIC_POOL_CLASSES


@functools.cache
def api_adapter() -> HTTPAdapter:
    """Return this process's adapter, whose connections all API calls share."""
    # More kept connections than a worker has threads: none is thrown away after use.
    return _Adapter(pool_connections=10, pool_maxsize=128, max_retries=0)


@functools.cache
def document_adapter(*, public_only: bool) -> HTTPAdapter:
    """Return the adapter for PDFs, which never sees a token."""
    return (_PublicAdapter if public_only else _Adapter)(pool_connections=10, pool_maxsize=10, max_retries=0)


# Two processes that read from one inherited socket would get each other's answers.
if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=api_adapter.cache_clear)
    os.register_at_fork(after_in_child=document_adapter.cache_clear)


def api_request(method: str, url: str, token: Secret, content: bytes) -> requests.PreparedRequest:
    """Return a request to Polar's API. content: its body, JSON; empty for none."""
    # Put together by hand: `Request.prepare()` takes the URL and the headers apart, which are sound, and that is a
    # fifth of our own time.
    request = requests.PreparedRequest()
    request.method = method
    request.url = url
    request.headers = CaseInsensitiveDict(
        {
            "Accept": "application/json",
            "Authorization": f"Bearer {token.reveal()}",
            "Polar-Version": POLAR_VERSION,
            "User-Agent": USER_AGENT,
        }
    )
    if content:
        request.body = content
        request.headers["Content-Type"] = "application/json"
    if method != "GET":
        request.headers["Content-Length"] = str(len(content))  # without it Polar answers 411
    return request


def document_request(url: str) -> requests.PreparedRequest:
    """Return a request for a PDF as it is stored: a packed one that unpacks to gigabytes is not even looked at."""
    return requests.Request("GET", url, headers={"Accept-Encoding": "identity", "User-Agent": USER_AGENT}).prepare()


def send(adapter: HTTPAdapter, request: requests.PreparedRequest) -> requests.Response:
    """Send within `deadline.until`; proxies and certificates as the environment says."""
    return adapter.send(
        request,
        stream=True,
        timeout=deadline.time_left(),
        verify=os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True,
        proxies=_proxies(request.url or ""),
    )


def _proxies(url: str) -> dict[str, str]:
    """The proxies that the environment names for this URL's host."""
    parts = urlsplit(url)
    return _proxies_of(f"{parts.scheme}://{parts.netloc}/", tuple(map(os.environ.get, PROXY_VARIABLES)))


PROXY_VARIABLES = [
    spelled for name in ("http", "https", "all", "no") for spelled in (f"{name}_proxy", f"{name}_PROXY".upper())
]


@functools.lru_cache(maxsize=32)
def _proxies_of(origin: str, variables: tuple[str | None, ...]) -> dict[str, str]:
    # requests reads the whole environment twice for it, which is half of what a call costs us.
    return get_environ_proxies(origin, no_proxy=None)


@dataclass(frozen=True)
class Broken:
    """No answer, or none that could be read to its end; `for_good` when asking again would bring the same."""

    reason: str
    may_have_arrived: bool = True
    for_good: bool = False
    too_large: bool = False

    @classmethod
    def by(cls, error: Exception) -> Broken:
        cause: object = error.args[0] if isinstance(error, requests.ConnectionError) and error.args else error
        cause = cause.reason if isinstance(cause, urllib3.exceptions.MaxRetryError) else cause
        # ConnectTimeoutError includes NewConnectionError and, of that, NameResolutionError. Nothing else proves that
        # the request did not arrive.
        if isinstance(cause, deadline.NotPublic):
            return cls("an address that is not on the public internet", may_have_arrived=False, for_good=True)
        if isinstance(cause, urllib3.exceptions.ConnectTimeoutError):
            kind = "connecting failed" if isinstance(cause, urllib3.exceptions.NewConnectionError) else "timed out"
            return cls(f"{kind} ({type(cause).__name__})", may_have_arrived=False)
        if isinstance(error, (requests.Timeout, TimeoutError, urllib3.exceptions.TimeoutError)):
            return cls("timed out")
        if isinstance(cause, urllib3.exceptions.SSLError) and isinstance(cause.args[0], ssl.SSLCertVerificationError):
            return cls("the certificate does not verify", for_good=True)
        if isinstance(error, requests.exceptions.InvalidProxyURL):
            return cls("the environment names a proxy that is no http or https one", for_good=True)
        return cls(f"the connection broke ({type(cause).__name__})")
