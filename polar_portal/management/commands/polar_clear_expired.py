"""`manage.py polar_clear_expired`: delete what has served its time.

`docs/reference/commands.md` tells when to run it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet
from django.utils import timezone

from polar_portal.models import CustomerSession, WebhookDelivery

#: How many rows are deleted at once: no statement takes long, locks many, or loads more than their keys.
BATCH = 1000
#: A delivery is known by its row, and Polar may repeat one for a while: what is younger than a day stays.
LEAST_DAYS = 1


class Command(BaseCommand):
    help = (
        "Deletes customer sessions that have ended, and webhook deliveries received more than so many days ago, failed "
        "ones too. What is in use stays. Polar is not called."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--days", type=int, default=30, metavar="N", help="the age up to which deliveries are kept (default: 30)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Write how many of each were deleted. A wrong number of days raises CommandError: it exits with 1."""
        days, now = options["days"], timezone.now()
        if not LEAST_DAYS <= days <= 36500:
            raise CommandError(f"--days is {days}; it must be {LEAST_DAYS} or more, and a hundred years at most.")
        sessions = _delete(CustomerSession.objects.filter(expires_at__lte=now), "expires_at")
        old = WebhookDelivery.objects.filter(received_at__lt=now - timedelta(days=days))
        failed = _delete(old.filter(outcome=WebhookDelivery.Outcome.FAILED), "received_at")
        others = _delete(old, "received_at")
        if options["verbosity"] > 0:
            self.stdout.write(
                f"Deleted: {sessions:,} customer sessions that had ended, and {failed + others:,} webhook deliveries "
                f"older than {days:,} days, {failed:,} of which had failed."
            )


def _delete(rows: QuerySet[Any], by: str) -> int:
    """Delete rows in batches, the oldest first. by: the moment that makes them old, which has an index."""
    deleted, left = 0, rows
    while batch := list(left.order_by(by).values_list("pk", by)[:BATCH]):
        # Once more that it is old: a session may have been renewed meanwhile.
        deleted += rows.filter(pk__in=[pk for pk, _ in batch]).delete()[0]
        # From here on, not from the beginning, where PostgreSQL meets what was just deleted again and again while a
        # backup runs: for 300,000 rows 18 s instead of 4 s.
        left = rows.filter(**{f"{by}__gte": batch[-1][1]})
    return deleted
