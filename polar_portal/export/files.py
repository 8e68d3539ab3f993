"""How exported files are named and listed, in a zip and in a folder alike."""

from __future__ import annotations

import itertools
import re
import time
import uuid
from zipfile import ZipInfo

#: The table that says what came of each order, and its columns.
SUMMARY = "summary.csv"
COLUMNS = ("row", "polar_order_id", "outcome", "file", "detail")
#: Bytes that are copied at once.
PIECE = 64 * 1024


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


def entry(name: str) -> ZipInfo:
    """Return the head of a file in a zip, from now, that its owner may read and write."""
    info = ZipInfo(name, date_time=time.localtime(time.time())[:6])
    info.external_attr = 0o644 << 16
    return info
