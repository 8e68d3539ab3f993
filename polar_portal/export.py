"""Many invoices, one after another, for a zip or a folder: asked for with the organization's own token."""

from __future__ import annotations

import asyncio
import csv
import heapq
import io
import itertools
import logging
import re
import threading
import time
import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone

from polar_portal.api.schemas import Document
from polar_portal.conf import conf
from polar_portal.documents import ASK_EVERY
from polar_portal.exceptions import DocumentPending, InvoiceNotGenerated, PolarError, PolarMisconfigured
from polar_portal.pace import Pace
from polar_portal.portal import OrganizationPortal

if TYPE_CHECKING:
    from zipfile import ZipInfo

logger = logging.getLogger(__name__)

#: How many orders the admin brings at once; `polar_export_invoices` brings any number.
MOST_AT_ONCE = 500
#: Bytes of one PDF that are kept in memory, and that are copied at once.
IN_MEMORY = 1024 * 1024
PIECE = 64 * 1024
#: Seconds for which invoices that Polar is making are looked for after all others are done.
LOOK_AGAIN_FOR = 60
#: After so many of these in a row the other orders are not asked for: they would fare the same.
MOST_IN_A_ROW = {"misconfigured": 1, "rate_limited": 3, "polar_unavailable": 10}

DOWNLOADED = "downloaded"
NO_ORDER_ID = "no_order_id"

SUMMARY = "summary.csv"
COLUMNS = ("row", "polar_order_id", "outcome", "file", "detail")


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
                heapq.heappush(aside, (time.time() + ASK_EVERY, next(turns), order))
            else:
                yield from _handed_over(brought)
        until = time.time() + LOOK_AGAIN_FOR
        while aside:
            due, _, order = heapq.heappop(aside)
            if self._hopeless is None and (wait := due - time.time()) > 0:
                self.pace.pause(min(wait, ASK_EVERY))
            # However many there are, each is looked for once at least.
            last = time.time() >= until
            brought = self._bring(order, again=True)
            if brought.outcome == DocumentPending.code and not last:
                heapq.heappush(aside, (time.time() + ASK_EVERY, next(turns), order))
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
        raise DocumentPending(polar_order_id=order.polar_order_id, retry_after=ASK_EVERY)

    def _fetch(self, order: Wanted, document: Document) -> IO[bytes]:
        """Return the whole PDF: one that breaks off gets nowhere."""
        from polar_portal.api.client import download  # here: it loads requests

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


class FileNames:
    """Names of invoices' files, each given once. Safe on every system, Windows too, where case does not count."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def take(self, name: str) -> None:
        """Note that a file has this name already."""
        self._given.add(name.lower())

    def give(self, number: str, polar_order_id: uuid.UUID) -> str:
        """Return a name for the invoice with this number, like "Invoice-ACME-XEEDYUEONX-0002.pdf".

        number: whatever Polar says it is; of another form than Polar's, what is left of it. Without: the order's id.
        """
        number = re.sub(r"[^A-Za-z0-9._-]+", "-", number)[:80].strip(".-")
        stem = f"Invoice-{number or polar_order_id}"
        more = (f"-{polar_order_id.hex}-{count}" for count in itertools.count(2))
        for end in itertools.chain(["", f"-{polar_order_id.hex[:8]}", f"-{polar_order_id.hex}"], more):
            name = f"{stem}{end}.pdf"
            if name.lower() not in self._given:
                self.take(name)
                return name
        raise AssertionError("unreachable")


def cell(value: str) -> str:
    """Return a value for a table that no spreadsheet takes for a formula."""
    return f"'{value}" if value[:1] in set("=+-@\t\r\n") else value


# A zip, as the answer to a request


@dataclass(frozen=True)
class Row:
    """One of the host's orders. key: its primary key. polar_order_id: None where it has none that could be one."""

    key: str
    polar_order_id: uuid.UUID | None
    number: str = ""


def zip_response(request: HttpRequest, rows: Sequence[Row], *, generate: bool = False) -> StreamingHttpResponse:
    """Answer with a zip of the rows' invoices and, as its last file, a summary; made while it is sent.

    For whoever may see the invoices of all customers: check that before. Raises PolarMisconfigured when the first
    order shows that there is nothing to be had.
    """
    stopped = threading.Event()
    export = Export(request.user, generate=generate, stopped=stopped)
    orders = {row.polar_order_id: Wanted(row.polar_order_id, row.number) for row in rows if row.polar_order_id}
    for order in itertools.islice(orders.values(), 1):
        export.check(order)
    pieces = _zip(export, list(orders.values()), rows)
    today = (timezone.localtime() if conf.use_tz else timezone.now()).date()
    return StreamingHttpResponse(
        # Without a thread of its own, Django would collect all of it in memory under ASGI.
        _InOneThread(pieces, stopped) if isinstance(request, ASGIRequest) else pieces,
        content_type="application/zip",
        headers={
            "Content-Disposition": f'attachment; filename="invoices-{today.isoformat()}.zip"',
            "Cache-Control": "private, no-store",
        },
    )


def _zip(export: Export, orders: Sequence[Wanted], rows: Sequence[Row]) -> Generator[bytes, None, None]:
    from zipfile import ZipFile  # here, like all that only exports need

    sink = _Sink()
    # Stored as they are: PDFs are compressed inside.
    archive = ZipFile(sink, "w")
    names = FileNames()
    came: dict[uuid.UUID, tuple[str, str, str]] = {}
    for brought in export.bring(orders):
        file = ""
        if brought.pdf:
            file = names.give(brought.number, brought.order.polar_order_id)
            with archive.open(entry(file), "w") as stored:
                while piece := brought.pdf.read(PIECE):
                    stored.write(piece)
                    yield sink.take()
            yield sink.take()
        came[brought.order.polar_order_id] = (brought.outcome, file, brought.detail)
    # Last, so that a zip which was cut is seen to be cut.
    archive.writestr(entry(SUMMARY), _summary(rows, came))
    archive.close()
    yield sink.take()


def _summary(rows: Sequence[Row], came: dict[uuid.UUID, tuple[str, str, str]]) -> str:
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(COLUMNS)
    for row in rows:
        if row.polar_order_id:
            values = [row.key, str(row.polar_order_id), *came[row.polar_order_id]]
        else:
            values = [row.key, "", NO_ORDER_ID, "", "It has no id of an order at Polar."]
        table.writerow(map(cell, values))
    return text.getvalue()


def entry(name: str) -> ZipInfo:
    """Return the head of a file in a zip, from now, that its owner may read and write."""
    from zipfile import ZipInfo

    info = ZipInfo(name, date_time=time.localtime(time.time())[:6])
    info.external_attr = 0o644 << 16
    return info


class _Sink(io.RawIOBase):
    """What a zip is written into when it is sent at once: it can't go back."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Return what has been written since the last time."""
        taken, self._pieces = b"".join(self._pieces), []
        return taken


class _InOneThread:
    """The steps of a generator for an event loop: each runs in one thread of its own, on its own connections.

    stopped: set when nobody wants the rest.
    """

    def __init__(self, pieces: Generator[bytes, None, None], stopped: threading.Event) -> None:
        self._pieces = pieces
        self._stopped = stopped
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="polar_portal_export")
        self._closed = False

    def __aiter__(self) -> _InOneThread:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await asyncio.get_running_loop().run_in_executor(self._thread, next, self._pieces, None)
        except BaseException:
            self.close()  # the client has gone, or it failed
            raise
        if piece is None:
            self.close()
            raise StopAsyncIteration
        return piece

    def close(self) -> None:
        """End it, without waiting for the step that runs: Django calls this too, whatever has happened."""
        if not self._closed:
            self._closed = True
            self._stopped.set()
            self._thread.submit(self._end)
            self._thread.shutdown(wait=False)

    def _end(self) -> None:
        try:
            self._pieces.close()
        finally:
            connections.close_all()
