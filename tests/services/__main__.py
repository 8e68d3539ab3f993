"""Prints what is promised on which database and cache, and whether it is so: `make services`"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.services.servers import MARIADB, MEMCACHED, POSTGRESQL, REDIS

DATABASES = {"SQLite": "sqlite", "PostgreSQL": "postgresql", "MariaDB": "mariadb"}
#: Of the suite's own tests those that ask most of a database.
SUITE = [
    f"tests/test_{name}.py"
    for name in ("billing_details", "documents", "identity", "mirror", "orders", "webhook_effects")
]
#: For each promise and database: what became of it, of how many tests, and why it was skipped.
Results = dict[str, dict[str, list[tuple[str, str]]]]


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for server in (POSTGRESQL, MARIADB, REDIS, MEMCACHED):
        say(f"{server.name}: {server.missing or 'answers at {}:{}'.format(*server.address)}")
    results: Results = {}
    code = 0
    for database in DATABASES:
        if not code:
            code = run(database, results)
    say(table(results))
    return code


def run(database: str, results: Results) -> int:
    """Run the tests on one database and note what became of them; print what pytest says if one is off."""
    missing = {"PostgreSQL": POSTGRESQL.missing, "MariaDB": MARIADB.missing}.get(database)
    # On SQLite `make test` has run the others already.
    tests = ["tests/services", *([] if missing or database == "SQLite" else SUITE)]
    command = ["pytest", "-x", "-q", "-p", "tests.services.table", *tests]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "results"
        file.touch()
        with subprocess.Popen(
            [sys.executable, "-m", *command],
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.services.settings",
                "SERVICES_DATABASE": DATABASES[database],
                "SERVICES_RESULTS": str(file),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                said, _ = process.communicate()
            except KeyboardInterrupt:
                process.terminate()
                raise
        for line in file.read_text(encoding="utf-8").splitlines():
            promise, outcome, why = json.loads(line)
            results.setdefault(promise, {}).setdefault(database, []).append((outcome, why))
    say(said if process.returncode else f"{database}: {said.splitlines()[-1]}")
    return process.returncode


def table(results: Results) -> str:
    reasons: list[str] = []

    def cell(outcomes: list[tuple[str, str]]) -> str:
        if any(outcome == "failed" for outcome, _ in outcomes):
            return "FAILED"
        ok = sum(outcome == "passed" for outcome, _ in outcomes)
        if ok or not outcomes:
            return ("ok" if ok == 1 else f"ok ({ok})") if ok else "-"
        why = outcomes[0][1]
        if why not in reasons:
            reasons.append(why)
        return f"skipped [{reasons.index(why) + 1}]"

    rows = [["promise", *DATABASES]]
    rows += [[name, *(cell(by.get(database, [])) for database in DATABASES)] for name, by in results.items()]
    wide = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, wide, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in wide))
    reasons = [f"[{number}] {why}" for number, why in enumerate(reasons, 1)]
    # The suite's tests that use the database run on SQLite in `make test`.
    reasons.append("-: shown by `make test`, or the same on each database and shown on SQLite")
    return "\n".join(["", *lines, "", *reasons])


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
