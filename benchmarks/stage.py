"""The processes that are measured: a Polar, and gunicorn with the site; each ended by its process id."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
#: The Pythons that have the official SDK; made by `make bench`.
SDKS = {"0.32": ROOT / ".venv-sdk-0.32" / "bin" / "python", "1.0": ROOT / ".venv-sdk-1.0" / "bin" / "python"}
POSTGRES_URL = os.environ.get("POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres")
REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")
LOCMEM = "locmemcache://"


class Polar:
    """The embedded Polar in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.environment: dict[str, str] = {f"POLAR_{name.upper()}": text for name, text in self._answer().items()}

    def do(self, act: str, *given: object) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([act, *given]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@contextmanager
def polar() -> Iterator[Polar]:
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.polar"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Polar(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(timeout=10)


def environment(**more: str) -> dict[str, str]:
    # Of Python's own, one would have it compile our modules at each start: that would be measured, and not the start.
    unwanted = ("POLAR_", "DJANGO_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return kept | {"DJANGO_SETTINGS_MODULE": "benchmarks.site.settings", "PYTHONPATH": str(ROOT)} | more


@dataclass(frozen=True)
class Site:
    port: int
    pid: int

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        return [int(each) for each in children.split()]

    def cpu_seconds(self) -> float:
        """Return what the workers have used of the processor so far."""
        ticks = 0
        for pid in self.workers():
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def peak_memory(self) -> float:
        """Return the most memory that a worker has had, in MB."""
        peaks = []
        for pid in self.workers():
            status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
            peaks.append(int(status.partition("VmHWM:")[2].split()[0]) / 1024)
        return max(peaks)


@contextmanager
def site(
    env: Mapping[str, str],
    *,
    python: Path | str = sys.executable,
    workers: int = 2,
    threads: int = 4,
    app: str = "polar_portal",
    asgi: bool = False,
) -> Iterator[Site]:
    """Serve the site by gunicorn."""
    port = free_port()
    command = [
        str(python), "-m", "gunicorn", f"benchmarks.site.{'asgi' if asgi else 'wsgi'}:application",
        "--bind", f"127.0.0.1:{port}", "--workers", str(workers), "--threads", str(threads),
        *(["--worker-class", "uvicorn_worker.UvicornWorker"] if asgi else []),
        "--keep-alive", "30", "--backlog", "4096", "--timeout", "600",
        "--log-level", "error", "--worker-connections", "4096",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, env=environment(BENCH_APP=app, **env))
    try:
        wait_for(port, process)
        yield Site(port, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError("gunicorn ended before it served")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("gunicorn did not serve within 30 s")


def redis_cache(number: int = 9) -> str:
    return f"rediscache://{REDIS_URL.removeprefix('redis://')}/{number}?socket_timeout=2"


def any_database() -> str:
    """Give PostgreSQL's URL if it answers, else that of a file which a process of ours leaves behind in /tmp."""
    if answers(POSTGRES_URL, 5432):
        return POSTGRES_URL
    return f"sqlite:///{tempfile.mkdtemp(prefix='polar-portal-bench-')}/db.sqlite3"


def kind(database_url: str) -> str:
    return "PostgreSQL" if database_url.startswith("postgres") else "SQLite"


def answers(url: str, default_port: int) -> bool:
    """Tell whether a server listens at this URL."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or default_port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def database(url: str) -> Iterator[str]:
    """Give the URL of an empty database with our tables: a file, or one made in this PostgreSQL for the while."""
    if not url.startswith("postgres"):
        yield migrated(url)
        return
    import psycopg

    name = f"polar_portal_bench_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield migrated(f"{url.rpartition('/')[0]}/{name}")
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def migrated(url: str) -> str:
    manage("migrate", "-v0", DATABASE_URL=url)
    return url


def manage(*command: str, **env: str) -> None:
    subprocess.run([sys.executable, "-m", "django", *command], cwd=ROOT, env=environment(**env), check=True)


def users(url: str, number: int) -> list[tuple[str, str]]:
    """Make users who are signed in; give the primary key and the session's key of each."""
    code = (
        "import django, json, sys; django.setup();"
        "from benchmarks.people import make;"
        f"sys.stdout.write(json.dumps(make({number})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(DATABASE_URL=url), check=True, capture_output=True
    )
    return [(pk, key) for pk, key in json.loads(done.stdout)]
