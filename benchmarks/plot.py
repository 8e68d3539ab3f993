"""Draws the plot of docs/explanation/at-scale.md."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

os.environ.setdefault("MPLCONFIGDIR", tempfile.gettempdir())

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot
from matplotlib.axes import Axes

from benchmarks.report import Row, machine

SIZES = ("10", "10,000", "1,000,000")
#: Of all clicks, each hundredth.
SHARES = [share / 100 for share in range(1, 100)]


def draw(found: Mapping[str, Sequence[Row]], file: Path) -> None:
    """Draw what was found for the rows warm, crowd and growth, side by side, with the machine under it."""
    panels = [(name, draws) for name, draws in (("warm", warm), ("crowd", crowd), ("growth", growth)) if name in found]
    mpl.rcParams.update({"svg.hashsalt": "polar_portal", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3})
    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.6 * len(panels), 3.8), squeeze=False)
    for (name, draws), axis in zip(panels, axes[0], strict=True):
        lines = {title: values for row in found[name] for title, values in row.lines.items()}
        draws(axis, lines)
        axis.spines[["top", "right"]].set_visible(False)
    figure.text(0.01, 0.01, machine(), fontsize=7.5, color="#555")
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(file, format="svg", metadata={"Date": None})


def warm(axis: Axes, lines: Mapping[str, Sequence[float]]) -> None:
    for title, seconds in lines.items():
        style = "--" if title.startswith("bare") else "-"
        axis.plot(hundredths(seconds), [share * 100 for share in SHARES], style, label=title, linewidth=1.3)
    axis.set(title="Warm clicks, 8 at a time", xlabel="answered within … ms", ylabel="% of clicks", ylim=(0, 100))
    axis.set_xscale("log")
    axis.legend(fontsize=7.5, loc="lower right")


def crowd(axis: Axes, lines: Mapping[str, Sequence[float]]) -> None:
    for title, seconds in lines.items():
        axis.plot(hundredths(seconds), [share * 100 for share in SHARES], label=title, linewidth=1.3)
    axis.set(
        title="1,000 clicks at once on one cold document,\none call to Polar, 100 ms away",
        xlabel="answered within … ms",
        ylabel="% of clicks",
        ylim=(0, 100),
    )
    axis.set_xlim(left=0)


def growth(axis: Axes, lines: Mapping[str, Sequence[float]]) -> None:
    for title, seconds in lines.items():
        axis.plot(SIZES, [each * 1000 for each in seconds], marker="o", markersize=3.5, label=title, linewidth=1.3)
    axis.set(
        title="Growth, PostgreSQL (ten rows fill no page)", xlabel="orders, and as many sessions", ylabel="ms, median"
    )
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=7)


def hundredths(seconds: Sequence[float]) -> list[float]:
    return [each * 1000 for each in statistics.quantiles(seconds, n=100)]
