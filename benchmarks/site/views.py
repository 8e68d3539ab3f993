"""The least that a view can do, to compare with."""

from __future__ import annotations

import functools
import uuid
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.http import HttpRequest, HttpResponseRedirect

from benchmarks.site import settings

ADDRESS = "https://s3.example/polar-customer-invoices/Invoice.pdf?X-Amz-Expires=600&X-Amz-Signature=" + "0" * 400


@login_required
def bare(request: HttpRequest) -> HttpResponseRedirect:
    """Read the cache once and redirect."""
    address = cache.get("bare")
    if address is None:
        address = ADDRESS
        cache.set("bare", address, None)
    return HttpResponseRedirect(address)


@functools.cache
def session() -> Any:
    import requests

    return requests.Session()


@login_required
def call(request: HttpRequest, order_id: uuid.UUID) -> HttpResponseRedirect:
    """Call Polar once, with a token that is at hand, and redirect."""
    answer = session().get(
        f"{settings.POLAR_BASE_URL}/v1/customer-portal/orders/{order_id}/invoice",
        headers={"Authorization": f"Bearer {settings.CUSTOMER_TOKEN}"},
        timeout=5,
    )
    answer.raise_for_status()
    return HttpResponseRedirect(answer.json()["url"])
