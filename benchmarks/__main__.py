"""Every figure of the table: `make bench`, or

python -m benchmarks [--quick] [warm calls cold startup crowd growth export webhooks sizes]
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from benchmarks.report import machine, say, table

TITLES = {
    "warm": "1. Warm click",
    "calls": "2. One call to Polar",
    "cold": "3. Cold click",
    "startup": "4. Start-up",
    "crowd": "5. A crowd on one cold document",
    "growth": "6. Growth",
    "export": "7. A zip of 200 invoices",
    "webhooks": "8. Webhook deliveries",
    "sizes": "9. What is kept",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure, beside what it is held against."
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(TITLES)}; all unless given")
    parser.add_argument("--quick", action="store_true", help="fewer turns: to see that it runs, not to believe it")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the rows warm, crowd and growth, as an SVG")
    options = parser.parse_args()
    unknown = set(options.rows) - set(TITLES)
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    say(machine())
    say("Ratios of two sides that took turns: the median, and between which values half of all lie.")
    found = {}
    for name in options.rows or TITLES:
        found[name] = import_module(f"benchmarks.{name}").rows(options.quick)
        table(TITLES[name], found[name])
    if options.plot:
        from benchmarks.plot import draw

        draw(found, options.plot)


if __name__ == "__main__":
    main()
