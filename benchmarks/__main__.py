"""Every figure of the table: `make bench`, or

python -m benchmarks [--quick] [warm calls cold startup crowd growth export webhooks]
"""

from __future__ import annotations

import argparse
import platform
from importlib import import_module
from importlib.metadata import version

from benchmarks.report import say, table

TITLES = {
    "warm": "1. Warm click",
    "calls": "2. One call to Polar",
    "cold": "3. Cold click",
    "startup": "4. Start-up",
    "crowd": "5. A crowd on one cold document",
    "growth": "6. Growth",
    "export": "7. A zip of 200 invoices",
    "webhooks": "8. Webhook deliveries",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure, beside what it is held against."
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(TITLES)}; all unless given")
    parser.add_argument("--quick", action="store_true", help="fewer turns: to see that it runs, not to believe it")
    options = parser.parse_args()
    unknown = set(options.rows) - set(TITLES)
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    say(
        f"Python {platform.python_version()}, Django {version('django')}, requests {version('requests')}, "
        f"gunicorn {version('gunicorn')}, {platform.machine()}, {platform.system()}"
    )
    say("Ratios of two sides that took turns: the median, and between which values half of all lie.")
    for name in options.rows or TITLES:
        table(TITLES[name], import_module(f"benchmarks.{name}").rows(options.quick))


if __name__ == "__main__":
    main()
