"""A zip of invoices as the answer to a request, made while it is sent."""

from __future__ import annotations

import asyncio
import csv
import io
import itertools
import threading
import uuid
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from zipfile import ZipFile

from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone

from polar_portal.conf import conf
from polar_portal.export import Export, Wanted
from polar_portal.export.files import COLUMNS, PIECE, SUMMARY, FileNames, cell, entry

NO_ORDER_ID = "no_order_id"


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
