"""A document's PDF, from the store that Polar's answer names; that never sees a token."""

from __future__ import annotations

import time
from typing import IO
from urllib.parse import urlsplit

from polar_portal.api import deadline, transport
from polar_portal.api.schemas import Document
from polar_portal.api.transport import Broken
from polar_portal.conf import SERVERS
from polar_portal.exceptions import COME_BACK, PolarUnavailable

LARGEST_DOCUMENT = 20 * 1024 * 1024
#: Seconds for one PDF, which may be larger than any answer of the API.
DOCUMENT_TIMEOUT = 30


def is_public(base_url: str) -> bool:
    """Tell whether Polar is on the public internet: then its documents are too."""
    # Of Polar itself it is known: a resolver that fails must not open the way to this machine's own network.
    return base_url in SERVERS.values() or deadline.is_public(urlsplit(base_url).hostname or "")


def download(document: Document, into: IO[bytes], *, base_url: str, ends_at: float | None = None) -> int:
    """Write the document's PDF into `into`, from where that stands, and return its length in bytes.

    base_url: Polar's; when it is on this machine's own network the PDFs may be there too, else they may not.
    ends_at: the reading of `time.monotonic()` at which it has to be over; 30 s from now unless given.

    Raises PolarUnavailable for what is no PDF, is over 20 MiB, or can't be had; then `into` is as before.
    """
    started = time.monotonic()
    ends_at = started + DOCUMENT_TIMEOUT if ends_at is None else ends_at
    public_only = is_public(base_url)
    start = into.tell()
    tries = 0
    while True:
        tries += 1
        result = _download(document.url, into, public_only, ends_at)
        if isinstance(result, int):
            return result
        into.seek(start)
        into.truncate()
        if tries == 2 or result.for_good or time.monotonic() >= ends_at:
            break
    # Made below and raised here, as in `Client._call`: no frame of the traceback has the URL.
    del document
    raise PolarUnavailable(f"The PDF: {result.reason} after {time.monotonic() - started:.2f} s", retry_after=COME_BACK)


def _download(url: str, into: IO[bytes], public_only: bool, ends_at: float) -> int | Broken:
    try:
        with deadline.until(ends_at):
            response = transport.send(
                transport.document_adapter(public_only=public_only), transport.document_request(url)
            )
            try:
                if response.status_code != 200:
                    passing = response.status_code in {502, 503, 504}
                    return Broken(f"{response.status_code} instead of a file", for_good=not passing)
                length = 0
                while piece := response.raw.read(65536, decode_content=False):
                    if length == 0 and not piece.startswith(b"%PDF"):
                        return Broken("what came is no PDF", for_good=True)
                    length += len(piece)
                    if length > LARGEST_DOCUMENT:
                        return Broken("a file over 20 MiB", for_good=True)
                    into.write(piece)
            finally:
                response.raw.close()
    except transport.ERRORS as error:
        # Not every OSError: one may come from `into`, whose disk is full.
        return Broken.by(error)
    except BaseException as stray:  # noqa: BLE001 - raised again
        # As in `Client._exchange`; here the URL is the secret.
        del url
        stray.__context__ = None
        raise stray.with_traceback(None)  # noqa: B904 - it is the same exception
    return length or Broken("an empty file", for_good=True)
