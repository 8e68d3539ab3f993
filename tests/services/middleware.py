from __future__ import annotations

import os
import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


def clocked(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Tell in each answer which process gave it, and how many seconds it took, without the wait for a free thread."""

    def middleware(request: HttpRequest) -> HttpResponse:
        started = time.monotonic()
        response = get_response(request)
        response["X-Worker"] = str(os.getpid())
        response["X-Took"] = f"{time.monotonic() - started:.3f}"
        return response

    return middleware
