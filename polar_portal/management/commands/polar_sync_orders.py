"""`manage.py polar_sync_orders`: fill the mirror of orders from Polar.

`docs/reference/commands.md` tells when to run it.
"""

from __future__ import annotations

from datetime import timezone
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from polar_portal.exceptions import PolarError, PolarMisconfigured
from polar_portal.management.moments import moment
from polar_portal.management.progress import Progress
from polar_portal.sync import OVERLAP, SyncRun, sync

#: After how many orders there is a line where nobody watches.
EVERY = 1000


class Command(BaseCommand):
    help = (
        "Brings your orders from Polar into this site's database: those made since the last run, or all the first "
        "time. Polar can't list what has changed, so what becomes of an old order (a payment, a refund, an invoice) is "
        "brought by webhooks or by --full."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--full", action="store_true", help="all orders, and with them what has become of old ones")
        which.add_argument("--since", metavar="DATE", help="those made since, like 2026-11-01 or 2026-11-01T09:30")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write how it goes. What Polar refuses, or what makes no sense, raises CommandError: it exits with 1."""
        if options["full"] and options["since"]:
            raise CommandError("--full and --since say different things: give one of them.")
        since = moment("--since", options["since"]) if options["since"] else None
        progress = Progress(self, quiet=options["verbosity"] < 1, every=EVERY)
        run = SyncRun(since=None)
        named = 0
        try:
            with progress:
                for run in sync(full=options["full"], since=since):
                    if run.seen:
                        progress.reached(run.seen, f"{run.seen:,} of {run.total:,} orders")
                    else:
                        progress.say(
                            f"Orders made since {run.since:%Y-%m-%d %H:%M %Z}:" if run.since else "All orders:"
                        )
                    for each in run.left_out[named:]:
                        progress.warn(f"Left out: order {each}")
                    named = len(run.left_out)
        except (PolarError, PolarMisconfigured) as failure:
            raise CommandError(f"{str(failure).rstrip('.')}. {_way_on(run)}") from None
        except KeyboardInterrupt:
            raise CommandError(f"Stopped. {_way_on(run)}", returncode=130) from None
        progress.say(f"Done: {run.seen:,} orders seen, {run.new:,} new, {run.changed:,} changed.")
        if run.left_out:
            raise CommandError(f"{len(run.left_out):,} left out, because they make no sense: see above.")


def _way_on(run: SyncRun) -> str:
    if run.reached is None:
        return "What was brought stays. Run it again."
    # As far back as every run goes.
    since = (run.reached - OVERLAP).astimezone(timezone.utc)
    return f"What was brought stays. To go on from there: polar_sync_orders --since {since:%Y-%m-%dT%H:%M:%SZ}"
