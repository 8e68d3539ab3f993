"""A plugin of pytest that notes, for each promise, what became of it: `-p tests.services.table`

Of the suite's other tests it leaves those that use the database.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_configure() -> None:
    # As Ctrl-C, so that what was started is ended and the database dropped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    out = [item for item in items if item.path.parent != HERE and "db" not in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]
    for item in items:
        item.user_properties.append(("promise", promise(item)))


def promise(item: pytest.Item) -> str:
    """Return the row of the table that a test belongs to."""
    if item.path.parent != HERE or not isinstance(item, pytest.Function):
        return f"the suite's tests that use the database, {item.path.name}"
    given = item.callspec if hasattr(item, "callspec") else None
    if item.function.__module__ != item.module.__name__:
        origin = item.function.__module__.rpartition(".")[2]
        return f"the suite's tests of the cache, {origin}.py, {given.params['kept_in'] if given else ''}"
    how = [each for each in given.id.split("-") if each] if given else []
    return ", ".join([item.function.__name__.removeprefix("test_").replace("_", " "), *how])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write a line for each test that has ended: its promise, what became of it, and why it was skipped."""
    if report.when == "call" or not report.passed:
        why = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
        with Path(os.environ["SERVICES_RESULTS"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps([dict(report.user_properties)["promise"], report.outcome, why]) + "\n")
