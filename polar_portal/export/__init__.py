"""Many invoices, one after another: asked for with the organization's own token.

For a zip (`zips`) or for the folder of `polar_export_invoices`. Loaded at first use: it brings `requests`.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import re
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any
from urllib.parse import parse_qs, urlsplit

from polar_portal import making
from polar_portal.api.download import download
from polar_portal.api.schemas import Document
from polar_portal.conf import conf
from polar_portal.exceptions import DocumentPending, InvoiceNotGenerated, PolarError, PolarMisconfigured
from polar_portal.pace import Pace
from polar_portal.portal import OrganizationPortal

logger = logging.getLogger(__name__)

#: Bytes of one PDF that are kept in memory.
IN_MEMORY = 1024 * 1024
#: Seconds for which invoices that Polar is making are looked for after all others are done.
LOOK_AGAIN_FOR = 60
#: After so many of these in a row the other orders are not asked for: they would fare the same.
MOST_IN_A_ROW = {"misconfigured": 1, "rate_limited": 3, "polar_unavailable": 10}

DOWNLOADED = "downloaded"


@dataclass(frozen=True)
class Wanted:
    """An order whose invoice is wanted.

    number: its invoice number, "" where it is not known.
    without_invoice: whether Polar has just said that none has been made.
    """

    polar_order_id: uuid.UUID
    number: str = ""
    without_invoice: bool = False


@dataclass(frozen=True)
class Brought:
    """What came of an order: DOWNLOADED, or the failure's code and text.

    pdf: the invoice from its beginning; closed when the next order's turn comes.
    """

    order: Wanted
    outcome: str
    detail: str = ""
    number: str = ""
    pdf: IO[bytes] | None = None


class Export:
    """Brings the invoices of many orders. Keeps to half of Polar's limit, waits out a 429.

    user: for whom, as the signal `document_handed_out` tells it; None for a script.
    generate: whether to have invoices made that were not.
    stopped: set by another thread when nobody wants the rest.
    """

    def __init__(self, user: Any = None, *, generate: bool = False, stopped: threading.Event | None = None) -> None:
        self.pace = Pace(stopped)
        self._portal = OrganizationPortal(user)
        self._portal.pace = self.pace
        self._generate = generate
        self._checked: dict[uuid.UUID, Document | PolarError] = {}
        self._failed_like = ""
        self._in_a_row = 0
        self._hopeless: PolarError | PolarMisconfigured | None = None

    def check(self, order: Wanted) -> None:
        """Ask for one order at once, waiting for no limit. What Polar answers is kept for `bring`.

        Raises PolarMisconfigured: then no other order would fare better.
        """
        try:
            self._checked[order.polar_order_id] = self._document(order)
        except PolarError as failure:
            self._checked[order.polar_order_id] = failure

    def bring(self, orders: Iterable[Wanted]) -> Iterator[Brought]:
        """Give what came of each order, one by one; those whose invoice is being made come last.

        No failure of one order is raised. Raises OSError when the disk for temporary files is full, and Stopped.
        """
        aside: list[tuple[float, int, Wanted]] = []
        turns = itertools.count()
        for order in orders:
            brought = self._bring(order)
            if brought.outcome == DocumentPending.code:
                heapq.heappush(aside, (time.time() + making.ASK_EVERY, next(turns), order))
            else:
                yield from _handed_over(brought)
        until = time.time() + LOOK_AGAIN_FOR
        while aside:
            due, _, order = heapq.heappop(aside)
            if self._hopeless is None and (wait := due - time.time()) > 0:
                self.pace.pause(min(wait, making.ASK_EVERY))
            # However many there are, each is looked for once at least.
            last = time.time() >= until
            brought = self._bring(order, again=True)
            if brought.outcome == DocumentPending.code and not last:
                heapq.heappush(aside, (time.time() + making.ASK_EVERY, next(turns), order))
            else:
                yield from _handed_over(brought)

    def _bring(self, order: Wanted, *, again: bool = False) -> Brought:
        self.pace.go_on()
        if self._hopeless:
            return Brought(order, self._hopeless.code, str(self._hopeless))
        try:
            document = self.pace.patiently(lambda: self._document(order, again=again))
            pdf = self._fetch(order, document)
        except (PolarError, PolarMisconfigured) as failure:
            self._note(failure)
            return Brought(order, failure.code, str(failure))
        self._failed_like = ""
        return Brought(order, DOWNLOADED, number=order.number or _number_in(document.url), pdf=pdf)

    def _document(self, order: Wanted, *, again: bool = False) -> Document:
        checked = self._checked.pop(order.polar_order_id, None)
        if isinstance(checked, PolarError):
            raise checked.with_traceback(None)
        if checked:
            return checked
        if again or not (self._generate and order.without_invoice):
            try:
                return self._portal.invoice(order.polar_order_id)
            except InvoiceNotGenerated:
                if not self._generate:
                    raise
        if not again:
            self._portal.generate_invoice(order.polar_order_id)
        raise DocumentPending(polar_order_id=order.polar_order_id, retry_after=making.ASK_EVERY)

    def _fetch(self, order: Wanted, document: Document) -> IO[bytes]:
        """Return the whole PDF: one that breaks off gets nowhere."""
        pdf = SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - closed by who has been given it
        try:
            download(document, pdf, base_url=conf.POLAR_BASE_URL)
            pdf.seek(0)
        except BaseException as failure:
            pdf.close()
            if isinstance(failure, PolarError):
                logger.log(failure.log_level, "%s: invoice, order %s: %s", failure.code, order.polar_order_id, failure)
            raise
        return pdf

    def _note(self, failure: PolarError | PolarMisconfigured) -> None:
        self._in_a_row = self._in_a_row + 1 if failure.code == self._failed_like else 1
        self._failed_like = failure.code
        if self._in_a_row == MOST_IN_A_ROW.get(failure.code):
            self._hopeless = failure


def _handed_over(brought: Brought) -> Iterator[Brought]:
    try:
        yield brought
    finally:
        if brought.pdf:
            brought.pdf.close()


def _number_in(url: str) -> str:
    """Return the invoice number in the file name that a signed URL gives the PDF, "" for anything odd."""
    try:
        query = parse_qs(urlsplit(url).query, max_num_fields=100)
    except ValueError:
        return ""
    found = re.search(
        r'filename="?Invoice-([\w.-]{1,100})\.pdf"?\Z', query.get("response-content-disposition", [""])[0]
    )
    return found[1] if found else ""
