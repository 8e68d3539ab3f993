"""Connections whose every wait ends at one moment.

urllib3's timeouts bound one socket operation each, so a server that sends a byte now and then, or a host with several
dead addresses, holds a call for as long as it likes: 11 s and 13 s were seen for `timeout=1`. Here each address and
each read is given only the time that is left. Name resolution is the exception: the operating system bounds it alone.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import create_connection

_ends_at: ContextVar[float | None] = ContextVar("polar_portal_call_ends_at", default=None)


@contextmanager
def until(ends_at: float) -> Iterator[None]:
    """Let every wait of the connections below end at `ends_at`, a reading of `time.monotonic()`."""
    before = _ends_at.set(ends_at)
    try:
        yield
    finally:
        _ends_at.reset(before)


def time_left() -> float:
    """Return the seconds that this call still has; raise TimeoutError when there are none."""
    left = _seconds_left()
    if left <= 0:
        raise TimeoutError("the time for this call is over")
    return left


def _seconds_left() -> float:
    ends_at = _ends_at.get()
    return 0.0 if ends_at is None else ends_at - time.monotonic()


class _Reader(io.RawIOBase):
    """A socket's bytes; each read waits no longer than the time that is left."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(time_left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        super().close()
        self._raw.close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Reader(self.fp.detach(), sock))

    def begin(self) -> None:
        # http.client passes over 100 alone (Python 3.10 to 3.13). It takes early hints (103) for the answer, and then
        # the answer for that of the next call on this connection, which may be another customer's.
        super().begin()
        while 100 < self.status < 200:
            if self.status == 101:
                raise http.client.BadStatusLine("101, which was not asked for")
            self.headers = None  # type: ignore[assignment]  # what `begin` looks at to see whether it has begun
            super().begin()


class _Connection(HTTPConnection):
    response_class = _Response
    public_only = False

    def _new_conn(self) -> socket.socket:
        host = self._dns_host.strip("[]")
        try:
            found = socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM)
        except OSError as error:  # gaierror; the rest is what resolvers of odd systems raise
            raise NameResolutionError(host, self, socket.gaierror(*error.args)) from None
        if self.public_only and not all(_is_public(str(info[4][0])) for info in found):
            raise NotPublic(self, "an address that is not on the public internet")
        timed_out = False
        for attempts_left, info in zip(range(len(found), 0, -1), found, strict=True):
            try:
                # An even share, so that one address that swallows everything leaves time for the others.
                sock = create_connection(
                    (str(info[4][0]), self.port),
                    time_left() / attempts_left,
                    source_address=self.source_address,
                    socket_options=self.socket_options,
                )
            except TimeoutError:
                timed_out = True
            except OSError:
                timed_out = False
            else:
                # What a TLS handshake, as a whole, waits: all that is left by now, not this address's share again.
                sock.settimeout(max(_seconds_left(), 0.001))
                return sock
        if timed_out:
            raise ConnectTimeoutError(self, "timed out while connecting")
        raise NewConnectionError(self, "no address accepted a connection")


class _SecureConnection(_Connection, HTTPSConnection):
    pass


class _PublicConnection(_Connection):
    public_only = True


class _PublicSecureConnection(_SecureConnection):
    public_only = True


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _PublicPool(HTTPConnectionPool):
    ConnectionCls = _PublicConnection


class _PublicSecurePool(HTTPSConnectionPool):
    ConnectionCls = _PublicSecureConnection


POOL_CLASSES = {"http": _Pool, "https": _SecurePool}
#: Of connections that are not made to this machine or to its own network.
PUBLIC_POOL_CLASSES = {"http": _PublicPool, "https": _PublicSecurePool}


class NotPublic(NewConnectionError):
    """The host's address is one of this machine's own network."""


def is_public(host: str) -> bool:
    """Tell whether all addresses of a host are on the public internet; one that has none is not."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(_is_public(str(info[4][0])) for info in found)


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        # Ways to write an IPv4 address as one of IPv6; NAT64 is the one without a property of its own.
        packed = int(ip) & 0xFFFFFFFF if ip in ipaddress.ip_network("64:ff9b::/96") else None
        inner = ip.ipv4_mapped or ip.sixtofour or (ipaddress.IPv4Address(packed) if packed is not None else None)
        if inner is not None:
            return _is_public(str(inner))
    return ip.is_global and not ip.is_multicast


class _WithoutQuery(logging.Filter):
    """Keep query strings of our calls out of urllib3's log: a signed URL's signature stands there."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _ends_at.get() is None:
            return True
        if record.exc_info:
            # Its warning of odd headers, which repeats them and the URL, with a traceback.
            return False
        if isinstance(record.args, tuple):
            record.args = tuple(arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
        return True


for _name in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(_WithoutQuery())
