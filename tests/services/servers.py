"""The servers that the tests of this folder use: where they are, and whether they answer."""

from __future__ import annotations

import functools
import os
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Server:
    """name: as people call it. variable: of the environment, with its URL. usual: the URL where that is not set."""

    name: str
    variable: str
    usual: str

    @property
    def url(self) -> str:
        return os.environ.get(self.variable) or self.usual

    @property
    def address(self) -> tuple[str, int]:
        parts, usual = urlsplit(self.url), urlsplit(self.usual)
        return parts.hostname or usual.hostname or "", parts.port or usual.port or 0

    @functools.cached_property
    def missing(self) -> str:
        """Why it can't be used; "" when it answers."""
        host, port = self.address
        try:
            socket.create_connection((host, port), timeout=2).close()
        except OSError as error:
            return f"no {self.name} answers at {host}:{port}, where {self.variable} says ({type(error).__name__})"
        return ""


POSTGRESQL = Server("PostgreSQL", "POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres")
MARIADB = Server("MariaDB", "MARIADB_URL", "mysql://root@127.0.0.1:3306/")
# A number of its own, so that nobody's keys are met there. Nothing is ever flushed.
REDIS = Server("Redis", "REDIS_URL", "redis://127.0.0.1:6379/15")
MEMCACHED = Server("Memcached", "MEMCACHED_URL", "memcached://127.0.0.1:11211")

#: OPTIONS as docs/howto/caches-and-databases.md has them.
REDIS_OPTIONS = {"socket_timeout": 1, "socket_connect_timeout": 1}
MEMCACHED_OPTIONS = {"timeout": 1, "connect_timeout": 1}
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL",
}
