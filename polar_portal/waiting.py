"""A page that waits for a document and comes back by itself, without JavaScript too, until it starts the download.

How often it has come back stands in its address: `?waiting=3`.
"""

from __future__ import annotations

import re

from django.http import HttpRequest, HttpResponse

from polar_portal.exceptions import DocumentPending

#: How often a waiting page comes back by itself before it offers a way out instead.
LONGEST_WAIT = 20
#: How often it is believed that Polar makes an invoice only because the address says so: for 20 seconds or so.
WAIT_UNSEEN = 6


def first(address: str) -> str:
    """Return where the waiting for what is at `address` begins."""
    return f"{address}?waiting=0"


def waited(request: HttpRequest) -> int | None:
    """Return how often this page has come back by itself; None when nobody waits."""
    waiting = request.GET.get("waiting", "")
    return min(int(waiting), LONGEST_WAIT) if re.fullmatch(r"[0-9]{1,4}", waiting) else None


def is_believed(waited: int | None) -> bool:
    """Tell whether Polar may be making an invoice although nobody remembers to have asked it to.

    Without a cache nobody does. The address does, for as long as that takes.
    """
    return waited is not None and waited < WAIT_UNSEEN


def is_over(waited: int) -> bool:
    """Tell whether this page has come back often enough, and offers a way out."""
    return waited >= LONGEST_WAIT


def come_back(response: HttpResponse, address: str, seconds: int, waited: int) -> None:
    """Have a page come back after so many seconds, but not for ever."""
    response.status_code = DocumentPending.status
    if not is_over(waited):
        response["Refresh"] = f"{seconds}; url={address}?waiting={waited + 1}"


def start_download(response: HttpResponse, address: str) -> None:
    """Have a page start the download, so that the page left behind tells the truth.

    And because what led here is a form: under `form-action 'self'` browsers silently block a form's submission that
    ends elsewhere, redirects included.
    """
    response["Refresh"] = f"0; url={address}"
