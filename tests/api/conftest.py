from __future__ import annotations

import datetime
import ipaddress
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from polar_portal.api.client import Client
from polar_portal.api.transport import api_adapter
from polar_portal.conf import Secret

from .server import HOST, RawServer, Turn

TOKEN = "polar_oat_TOKENofTHEtests"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, CA bundle or .netrc of the machine that runs the tests reaches them."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "curl_ca_bundle", "netrc"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def own_transport() -> Iterator[None]:
    """Each test starts without connections and leaves none open."""
    api_adapter.cache_clear()
    yield
    if api_adapter.cache_info().currsize:
        api_adapter().close()
        api_adapter.cache_clear()


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    """Start servers that end with the test."""
    with ExitStack() as running:

        def start(*turns: Turn, tls: ssl.SSLContext | None = None) -> RawServer:
            return running.enter_context(RawServer(*turns, tls=tls))

        yield start


@pytest.fixture
def connect() -> Callable[..., Client]:
    """Make a client of a server or of a base URL."""

    def make(
        to: RawServer | str, *, token: str = TOKEN, budget: float = 10, orders: str = "/v1/customer-portal/orders/"
    ) -> Client:
        base_url = to if isinstance(to, str) else to.url
        return Client(base_url, Secret(token), time.monotonic() + budget, orders=orders)

    return make


@dataclass(frozen=True)
class Certificate:
    """A certificate that signs itself; `path` is the bundle to trust, `context` what a server needs."""

    path: Path
    context: ssl.SSLContext


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """For 127.0.0.1 and polar.test."""
    return _certificate(
        tmp_path_factory.mktemp("tls"), [x509.IPAddress(ipaddress.ip_address(HOST)), x509.DNSName("polar.test")]
    )


@pytest.fixture(scope="session")
def certificate_of_another(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """For elsewhere.test alone."""
    return _certificate(tmp_path_factory.mktemp("tls"), [x509.DNSName("elsewhere.test")])


def _certificate(folder: Path, names: list[x509.GeneralName]) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "of the tests")])
    now = datetime.datetime.now(tz=datetime.timezone.utc)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    bundle = folder / "ca.pem"
    bundle.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private = folder / "key.pem"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bundle, private)
    return Certificate(bundle, context)
