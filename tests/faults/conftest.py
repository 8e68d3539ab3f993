from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.api.conftest import bare_environment, certificate, certificate_of_another, own_transport
from tests.api.server import RawServer

from .polar import RawPolar

__all__ = ["bare_environment", "certificate", "certificate_of_another", "own_transport"]

HERE = Path(__file__).parent


@pytest.fixture
def polar() -> Iterator[RawPolar]:
    """Polar, not listening yet, and another host, which never hears anything."""
    with ExitStack() as running:
        elsewhere = running.enter_context(RawServer(b""))
        polar = RawPolar(elsewhere)
        running.push(polar)
        yield polar
        assert elsewhere.connections == 0


@pytest.fixture(autouse=True)
def every_logger_tells_all(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and logger.level:
            caplog.set_level(logging.DEBUG, name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table when it is the table that was asked for, as `make faults` does."""
    if not all((config.invocation_params.dir / arg).is_relative_to(HERE) for arg in config.args):
        return
    rows: dict[str, list[tuple[str, ...]]] = {}
    for report in [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]:
        for name, value in getattr(report, "user_properties", ()):
            if name == "fault" and report.when == "call":
                row, *columns = value
                rows.setdefault(row, []).append((*columns, "" if report.passed else "OFF"))
    width = max(map(len, rows), default=0)
    terminalreporter.write_line(f"\n{'fault':{width}}  status   seconds  calls to Polar; leaked")
    for row, forms in rows.items():
        statuses = "/".join(dict.fromkeys(form[0] for form in forms))
        seconds = max(form[1] for form in forms)
        calls = " | ".join(dict.fromkeys(form[2] for form in forms))
        leaked = " | ".join(dict.fromkeys(form[3] for form in forms))
        off = "  OFF" if any(form[4] for form in forms) else ""
        terminalreporter.write_line(f"{row:{width}}  {statuses:7}  {seconds:>7}  {calls}; {leaked}{off}")
    terminalreporter.write_line(f"{len(rows)} faults")
