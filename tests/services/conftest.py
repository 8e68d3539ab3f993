from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from pytest_django import DjangoDbBlocker, Settings

from tests.services.polar import Polar
from tests.services.servers import MEMCACHED, MEMCACHED_OPTIONS, REDIS, REDIS_OPTIONS, SQLITE_OPTIONS, Server

ROOT = Path(__file__).parent.parent.parent
#: Django's caches, each with its place and its OPTIONS.
BACKENDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "Redis": ("redis.RedisCache", REDIS.url, REDIS_OPTIONS),
    "Memcached": ("memcached.PyMemcacheCache", "{}:{}".format(*MEMCACHED.address), MEMCACHED_OPTIONS),
    "database": ("db.DatabaseCache", "services_cache", {}),
    "local memory": ("locmem.LocMemCache", "services", {}),
    "files": ("filebased.FileBasedCache", "", {}),
    "dummy": ("dummy.DummyCache", "services", {}),
}


def caches(*names: str) -> list[str]:
    """Return those of these caches that a module's tests are worth while on with this database.

    For tests that ask the database for little: a cache of its own is the same on each, and is looked at on the first.
    """
    first = getattr(settings, "DATABASE", "sqlite") == "sqlite"
    return [name for name in names if first or name == "database"]


#: For tests that use the database, and processes that share it, as `make services` sets them up.
needs_database = pytest.mark.needs_database


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave them out where `make services` has set up no database; skip them where its server does not answer."""
    needing = [item for item in items if item.get_closest_marker("needs_database")]
    server: Server | str | None = getattr(settings, "DATABASE_SERVER", "")
    if server == "":
        items[:] = [item for item in items if item not in needing]
        config.hook.pytest_deselected(items=needing)
    elif isinstance(server, Server) and server.missing:
        for item in needing:
            item.add_marker(pytest.mark.skip(reason=server.missing))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    left_out = terminalreporter.stats.get("deselected", [])
    if number := sum(bool(item.get_closest_marker("needs_database")) for item in left_out):
        terminalreporter.write_line(f"{number} tests of tests/services run on each database, with `make services`.")


@contextmanager
def started(*command: str, inherits: Sequence[int] = (), **different: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a module of Python on the database of this test, with settings that are different; end it in any case.

    inherits: file descriptors that it gets.
    """
    database = {name: value for name, value in connection.settings_dict.items() if name != "TEST"}
    if connection.vendor == "sqlite":
        # By default, of 200 users who clicked at once some waited for the database until their budget was used up.
        database["OPTIONS"] = SQLITE_OPTIONS
    environment = {**os.environ, "SERVICES_SETTINGS": json.dumps({"DATABASES": {"default": database}, **different})}
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment,
        pass_fds=inherits,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


class Worker:
    """A process of `tests/services/worker.py`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def do(self, *what: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline() or '"it ended"')


@contextmanager
def workers(number: int, **different: Any) -> Iterator[list[Worker]]:
    with ExitStack() as stack:
        started_ = [Worker(stack.enter_context(started("tests.services.worker", **different))) for _ in range(number)]
        assert [worker.answer() for worker in started_] == ["ready"] * number
        yield started_


@pytest.fixture
def polar() -> Iterator[Polar]:
    """A stand-in for Polar that counts what it is asked."""
    polar = Polar()
    with polar.served():
        yield polar


@pytest.fixture
def kept_in(
    request: pytest.FixtureRequest,
    settings: Settings,
    tmp_path: Path,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[dict[str, Any]]:
    """The setting CACHES for the cache that a test is parametrized with, in force; its keys are this test's own."""
    missing = {"Redis": REDIS.missing, "Memcached": MEMCACHED.missing}.get(request.param)
    if missing:
        pytest.skip(missing)
    backend, location, options = BACKENDS[request.param]
    caches = {
        "default": {
            "BACKEND": f"django.core.cache.backends.{backend}",
            "LOCATION": location or str(tmp_path),
            "OPTIONS": options,
            "KEY_PREFIX": uuid.uuid4().hex,
        }
    }
    settings.CACHES = caches
    # One of the caches is kept in the database, whose table was made with the others.
    with django_db_blocker.unblock():
        yield caches


@pytest.fixture
def _lets_one_in(kept_in: dict[str, Any]) -> None:
    """For what takes a cache whose `add` lets one of many in."""
    if "DatabaseCache" in kept_in["default"]["BACKEND"] and connection.vendor == "sqlite":
        # Seen with 50 threads: 12 calls. SQLite refuses to write, and Django then says "there is one already".
        pytest.skip("kept in SQLite, a cache that many write to at once lets more than one in")


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    """Instead of the suite's own, which empties the cache: it may be a server that others use too."""
