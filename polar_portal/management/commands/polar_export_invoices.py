"""Download invoices by the thousand: into a folder or a zip, in one go or in several."""

from __future__ import annotations

import tempfile
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from polar_portal.api.schemas import PortalOrder
from polar_portal.exceptions import (
    BillingDetailsMissing,
    InvoiceNotGenerated,
    OrderNotEligible,
    PolarError,
    PolarMisconfigured,
)
from polar_portal.export import DOWNLOADED, Export, Wanted
from polar_portal.export.files import SUMMARY
from polar_portal.management.export_folder import Folder
from polar_portal.management.moments import moment
from polar_portal.management.progress import Progress
from polar_portal.sync import all_pages

if TYPE_CHECKING:
    from polar_portal.api.client import Client

TELL_EVERY = 100
ALREADY_THERE = "already there"
#: Of orders in Polar's list that make no sense.
LEFT_OUT = "left out"
#: Nobody need look after these: they are here, or have no invoice that could be.
FINE = {DOWNLOADED, ALREADY_THERE, InvoiceNotGenerated.code, OrderNotEligible.code, BillingDetailsMissing.code}
GO_ON = "What has been stored is kept: the same command goes on from there."


@dataclass(frozen=True)
class Filter:
    """Which orders are wanted: created at `since` or later, before `until`, of this customer."""

    since: datetime | None = None
    until: datetime | None = None
    customer: uuid.UUID | str = ""

    def for_polar(self) -> dict[str, str]:
        wanted = {"sorting": "created_at"}
        if self.since:
            # Polar's "after" may or may not mean the moment itself; `meets` knows.
            wanted["created_after"] = (self.since - timedelta(seconds=1)).isoformat()
        if self.until:
            wanted["created_before"] = self.until.isoformat()
        if self.customer:
            by = "customer_id" if isinstance(self.customer, uuid.UUID) else "external_customer_id"
            wanted[by] = str(self.customer)
        return wanted

    def meets(self, order: PortalOrder) -> bool:
        """Ask once more on our side: a server that ignored the question would give away other customers' invoices."""
        if (self.since and order.created_at < self.since) or (self.until and order.created_at >= self.until):
            return False
        return not self.customer or self.customer in (order.polar_customer_id, order.external_customer_id)


def _ask(order_id: uuid.UUID, client: Client) -> PortalOrder:
    return client.order(order_id)


class Command(BaseCommand):
    help = (
        "Downloads the invoices of your customers' orders into a folder or a zip, the oldest orders first, with the "
        "organization's own token. Run again, it goes on where it stopped and fetches what is new."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--output", required=True, metavar="PATH", help="a folder, or a file that ends in .zip; made if need be"
        )
        parser.add_argument(
            "--since", metavar="DATE", help="orders created then or later, like 2026-11-01 or 2026-11-01T09:30"
        )
        parser.add_argument("--until", metavar="DATE", help="orders created before then")
        parser.add_argument(
            "--customer",
            action="append",
            metavar="ID",
            help="orders of this customer: the id at Polar if it is a UUID, else your own (may be repeated)",
        )
        parser.add_argument("--order", action="append", metavar="ID", help="this order alone (may be repeated)")
        parser.add_argument("--generate", action="store_true", help="have invoices made that have not been made")

    def handle(self, *args: Any, **options: Any) -> None:
        order_ids = [_order_id(text) for text in options["order"] or []]
        filters = _filters(options["since"], options["until"], options["customer"] or [])
        if order_ids and filters != [Filter()]:
            raise CommandError("--order names the orders; it goes with neither --since, --until nor --customer.")
        output = Path(options["output"])
        packed = output.suffix.lower() == ".zip"
        if packed and output.is_dir():
            raise CommandError(f"{output} is a folder. Name a file that ends in .zip, or a folder of another name.")
        self.counts: Counter[str] = Counter()
        self.progress = Progress(self, quiet=options["verbosity"] < 1, every=TELL_EVERY)
        self.progress.say(f"Downloading invoices to {output}")
        try:
            with self.progress, Folder(output.with_name(f"{output.name}.part") if packed else output) as folder:
                seen = self.bring(folder, order_ids, filters, generate=options["generate"])
                folder.finish()
                failed = {outcome: count for outcome, count in self.counts.items() if outcome not in FINE}
                if packed:
                    folder.pack(output, seen)
            if packed and not failed:
                folder.remove()
        except KeyboardInterrupt:
            raise CommandError(f"Stopped. {GO_ON}", returncode=130) from None
        except OSError as error:
            where = error.filename or f"{output}, or {tempfile.gettempdir()} for temporary files"
            raise CommandError(f"{where}: {error.strerror or type(error).__name__}. {GO_ON}") from None
        except (PolarError, PolarMisconfigured) as failure:
            raise CommandError(f"Polar can't be asked for its orders: {failure} {GO_ON}") from None
        self.progress.say(f"Done. {self.told_counts()}")
        if failed:
            kept = f"{folder.path} is kept: the" if packed else "The"
            raise CommandError(
                f"{sum(failed.values())} of {self.counts.total()} could not be downloaded ({_told(failed)}). "
                f"{SUMMARY} says which and why. {kept} same command tries them again."
            )

    def bring(
        self, folder: Folder, order_ids: list[uuid.UUID], filters: list[Filter], *, generate: bool
    ) -> dict[uuid.UUID, None]:
        """Store what is wanted and not there yet. Return all that were wanted."""
        bringing = Export(generate=generate)
        seen: dict[uuid.UUID, None] = {}
        waiting: dict[uuid.UUID, PortalOrder] = {}

        def wanted() -> Iterator[Wanted]:
            asked = (
                self.named(bringing, folder, order_ids, seen)
                if order_ids
                else (order for each in filters for order in self.listed(bringing, each) if order.may_have_invoice)
            )
            for order in asked:
                if order.id in seen:
                    continue
                seen[order.id] = None
                if folder.has(order):
                    self.count(ALREADY_THERE)
                elif not order.may_have_invoice:
                    self.note(folder, order.id, OrderNotEligible.code, f"A {order.status} order gets no invoice.")
                elif not order.is_invoice_generated and not generate:
                    self.note(folder, order.id, InvoiceNotGenerated.code, "The invoice has not been made.", order)
                else:
                    waiting[order.id] = order
                    yield Wanted(order.id, order.number, without_invoice=not order.is_invoice_generated)

        for brought in bringing.bring(wanted()):
            order = waiting.pop(brought.order.polar_order_id)
            name = folder.store(order.id, brought.number, brought.pdf) if brought.pdf else ""
            # As it was when it was listed: what is changed since then, a making of the invoice too, is fetched again.
            self.note(folder, order.id, brought.outcome, brought.detail, order, name)
        return seen

    def listed(self, bringing: Export, wanted: Filter) -> Iterator[PortalOrder]:
        """Give the orders of Polar's own list that are wanted, the oldest first."""
        for page in all_pages(bringing.pace, wanted.for_polar()):
            for each in page.left_out:
                self.progress.warn(f"Left out: order {each}")
                self.count(LEFT_OUT)
            yield from filter(wanted.meets, page.orders)

    def named(
        self, bringing: Export, folder: Folder, order_ids: Iterable[uuid.UUID], seen: dict[uuid.UUID, None]
    ) -> Iterator[PortalOrder]:
        """Give these orders, asked for one by one; note why one can't be had."""
        for order_id in order_ids:
            if order_id in seen:
                continue
            try:
                order = bringing.pace.ask(partial(_ask, order_id))
            except PolarError as failure:
                seen[order_id] = None
                self.note(folder, order_id, failure.code, str(failure))
            else:
                yield order

    # What is told

    def note(
        self,
        folder: Folder,
        order_id: uuid.UUID,
        outcome: str,
        detail: str,
        order: PortalOrder | None = None,
        name: str = "",
    ) -> None:
        folder.note(order_id, outcome, name, detail, order.modified_at.isoformat() if order else "")
        self.count(outcome)

    def count(self, outcome: str) -> None:
        self.counts[outcome] += 1
        self.progress.reached(self.counts.total(), self.told_counts())

    def told_counts(self) -> str:
        total = self.counts.total()
        return f"{total} {'order' if total == 1 else 'orders'}" + (f": {_told(self.counts)}" if total else "")


def _told(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items())


def _filters(since: str | None, until: str | None, customers: list[str]) -> list[Filter]:
    start, end = _moment("--since", since), _moment("--until", until)
    if start and end and start >= end:
        raise CommandError("--until must be later than --since: it names the moment before which orders are wanted.")
    if not all(customers):
        raise CommandError("--customer must not be empty.")
    return [Filter(start, end, _customer(text)) for text in customers] or [Filter(start, end)]


def _moment(option: str, text: str | None) -> datetime | None:
    return None if text is None else moment(option, text).astimezone(timezone.utc)


def _customer(text: str) -> uuid.UUID | str:
    try:
        return uuid.UUID(text)
    except ValueError:
        return text


def _order_id(text: Any) -> uuid.UUID:
    try:
        return uuid.UUID(str(text))
    except ValueError:
        raise CommandError("--order must be the id of an order at Polar, a UUID.") from None
