"""The folder that `polar_export_invoices` fills: PDFs, and a summary that says which."""

from __future__ import annotations

import csv
import io
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple
from zipfile import ZipFile

from django.core.management.base import CommandError

from polar_portal.api.schemas import PortalOrder
from polar_portal.export import DOWNLOADED
from polar_portal.export.files import PIECE, SUMMARY, FileNames, cell, entry


class Line(NamedTuple):
    """One line of the summary; the columns of a zip from the admin, and of which state of the order the invoice is."""

    row: str
    polar_order_id: str
    outcome: str
    file: str
    detail: str
    modified_at: str


class Folder:
    """Invoices in a folder, and the summary that says which: each line as soon as it is true.

    Raises OSError for what can't be read or written, CommandError for a folder that is not meant for this.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: dict[str, Line] = {}
        self._names = FileNames()

    def __enter__(self) -> Folder:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass  # found out before Polar is asked for anything
        except OSError as error:
            raise CommandError(f"{self.path} can't be used as a folder for invoices: {error.strerror}.") from None
        whole = self._read()
        self._file: IO[str] = (self.path / SUMMARY).open("a+", encoding="utf-8", newline="")
        self._file.truncate(whole)
        if not whole:
            self._write(Line._fields)
        return self

    def __exit__(self, *raised: object) -> None:
        with suppress(OSError):  # a full disk has been told by then
            self._file.close()

    def _read(self) -> int:
        """Read the lines of former runs. Return how many bytes of the summary are whole lines."""
        try:
            content = (self.path / SUMMARY).read_bytes()
        except FileNotFoundError:
            return 0
        # The last line may have been half written.
        whole = content[: content.rfind(b"\n") + 1]
        text = whole.decode("utf-8", "replace").replace("\0", "")
        try:
            header, *rows = csv.reader(io.StringIO(text, newline="")) if whole else [[]]
        except csv.Error:
            header, rows = [], []
        if tuple(header) != Line._fields and not _table([]).encode().startswith(content):
            raise CommandError(f"{self.path / SUMMARY} was not written by this command. Choose another folder.")
        for values in rows:
            if len(values) == len(Line._fields):
                self._keep(Line(*values))
        return len(whole)

    def has(self, order: PortalOrder) -> bool:
        """Tell whether the order's invoice is here, and the order has not been changed since."""
        line = self._lines.get(str(order.id))
        if line is None or line.outcome != DOWNLOADED or line.modified_at != order.modified_at.isoformat():
            return False
        file = self._file_of(line)
        return file is not None and file.is_file() and file.stat().st_size > 0

    def store(self, order_id: uuid.UUID, number: str, pdf: IO[bytes]) -> str:
        """Put a PDF here, whole or not at all, and return its name."""
        known = self._lines.get(str(order_id))
        file = (known and self._file_of(known)) or self.path / self._names.give(number, order_id)
        with _in_the_end(file, self.path / f"{file.name}.part") as part, part.open("wb") as stored:
            shutil.copyfileobj(pdf, stored, PIECE)
        return file.name

    def note(self, order_id: uuid.UUID, outcome: str, name: str, detail: str, modified_at: str) -> None:
        line = Line("", str(order_id), outcome, name, cell(" ".join(detail.split())), modified_at)
        self._keep(line)
        self._write(line)

    def finish(self) -> None:
        """Write the summary anew, with one line for each order."""
        self._file.close()
        with _in_the_end(self.path / SUMMARY, self.path / f"{SUMMARY}.part") as part:
            part.write_text(_table(self._lines.values()), encoding="utf-8", newline="")

    def pack(self, into: Path, order_ids: Iterable[uuid.UUID]) -> None:
        """Make a zip of these orders' invoices and of what the summary says of them, which comes last."""
        lines = [self._lines[str(order_id)] for order_id in order_ids]
        with _in_the_end(into, self.path / f"{into.name}.part") as part, ZipFile(part, "w") as archive:
            for file in filter(None, map(self._file_of, lines)):
                with file.open("rb") as pdf, archive.open(entry(file.name), "w") as stored:
                    shutil.copyfileobj(pdf, stored, PIECE)
            archive.writestr(entry(SUMMARY), _table(lines))

    def remove(self) -> None:
        """Remove what is ours, and the folder unless there is something else in it."""
        for file in (*self.path.glob("Invoice-*.pdf"), *self.path.glob("*.part"), self.path / SUMMARY):
            file.unlink()
        with suppress(OSError):
            self.path.rmdir()

    def _keep(self, line: Line) -> None:
        self._lines[line.polar_order_id] = line
        self._names.take(line.file)

    def _write(self, values: Iterable[str]) -> None:
        csv.writer(self._file).writerow(values)
        self._file.flush()

    def _file_of(self, line: Line) -> Path | None:
        # Whatever has been written into the summary meanwhile: nothing outside of this folder.
        return self.path / line.file if re.fullmatch(r"Invoice-[A-Za-z0-9._-]+\.pdf", line.file) else None


@contextmanager
def _in_the_end(file: Path, part: Path) -> Iterator[Path]:
    """Give `part` to be written; in the end it takes the place of `file`, or is removed if that failed."""
    try:
        yield part
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _table(lines: Iterable[Line]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([Line._fields, *lines])
    return text.getvalue()
