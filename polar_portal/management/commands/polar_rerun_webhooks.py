from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from polar_portal import events
from polar_portal.models import WebhookDelivery


class Command(BaseCommand):
    help = "Runs webhook deliveries again that were stored but could not be applied. Polar is not called."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--delivery", action="append", metavar="ID", help="only this one, by its webhook-id; may be repeated"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        failed = WebhookDelivery.objects.filter(outcome=WebhookDelivery.Outcome.FAILED).order_by("received_at", "pk")
        if options["delivery"]:
            failed = failed.filter(delivery_id__in=options["delivery"])
            missing = set(options["delivery"]) - set(failed.values_list("delivery_id", flat=True))
            if missing:
                raise CommandError(f"No failed delivery is called {', '.join(sorted(missing))}.")
        ended = [events.run_again(delivery) for delivery in failed.iterator(chunk_size=100)]
        still = [delivery for delivery in ended if delivery.outcome == WebhookDelivery.Outcome.FAILED]
        for delivery in still:
            self.stderr.write(f"{delivery.delivery_id} ({delivery.type or 'unreadable'}): {delivery.error}")
        summary = f"{len(ended)} run again, {len(ended) - len(still)} now applied, {len(still)} still failed."
        if still:
            raise CommandError(summary)
        self.stdout.write(summary)
