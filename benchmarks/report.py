"""The table, and what a figure is: a ratio of two sides that took turns in one run, its median and its spread."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path


@dataclass
class Row:
    """One line of the table. goal: in words; reached: None where there is none; lines: what the plot shows of it."""

    name: str
    figure: str
    goal: str = ""
    reached: bool | None = None
    lines: Mapping[str, Sequence[float]] = field(default_factory=dict)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> str:
    """The quarter and three-quarter points: half of all values are between them."""
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return f"{low:.2f}–{high:.2f}"


def in_turn(times: int, *sides: Callable[[], float]) -> list[list[float]]:
    """Measure each side so many times, in turn, the order reversed each time; give the measures of each."""
    measured: list[list[float]] = [[] for _ in sides]
    for number in range(times):
        order = range(len(sides)) if number % 2 == 0 else reversed(range(len(sides)))
        for side in order:
            measured[side].append(sides[side]())
    return measured


def ratios(ours: Sequence[float], others: Sequence[float]) -> list[float]:
    return [mine / other for mine, other in zip(ours, others, strict=True)]


def machine() -> str:
    """Say what was measured on, and with which versions."""
    cpuinfo = Path("/proc/cpuinfo")
    model = (
        cpuinfo.read_text(encoding="utf-8").partition("model name")[2].partition("\n")[0] if cpuinfo.exists() else ""
    )
    model = model.strip(" \t:")
    versions = ", ".join(f"{name} {version(name.lower())}" for name in ("Django", "requests", "gunicorn"))
    return (
        f"{os.cpu_count()} cores of {model or platform.machine()}, {platform.system()}, "
        f"Python {platform.python_version()}, {versions}"
    )


def say(text: str = "") -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def table(title: str, rows: Sequence[Row]) -> None:
    say(f"\n{title}")
    width = max(len(row.name) for row in rows)
    for row in rows:
        mark = {True: "  reached", False: "  NOT REACHED", None: ""}[row.reached]
        goal = f"  (goal: {row.goal})" if row.goal else ""
        say(f"  {row.name:<{width}}  {row.figure}{goal}{mark}")
