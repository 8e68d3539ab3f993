"""The view that one writes around Polar's official SDK: a session and the invoice at every click.

`new_client` as Polar's documentation shows it, with a client for each call; `kept_client` with one that is kept.
"""

from __future__ import annotations

import functools
import uuid
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponseRedirect

from benchmarks.site import settings

try:
    from polar.v2026_10 import Polar  # type: ignore[import-not-found]
except ImportError:
    from polar_sdk import Polar, models  # type: ignore[import-not-found]

    def make() -> Any:
        return Polar(access_token=settings.POLAR_ACCESS_TOKEN, server_url=settings.POLAR_BASE_URL)

    def make_session(polar: Any, user: Any) -> str:
        return str(polar.customer_sessions.create(request={"external_customer_id": str(user.pk)}).token)

    def invoice(polar: Any, order_id: str, token: str) -> str:
        security = models.CustomerPortalOrdersInvoiceSecurity(customer_session=token)
        return str(polar.customer_portal.orders.invoice(security=security, id=order_id).url)
else:

    def make() -> Any:
        return Polar(settings.POLAR_ACCESS_TOKEN, base_url=settings.POLAR_BASE_URL)

    def make_session(polar: Any, user: Any) -> str:
        return str(polar.customer_sessions.create(external_customer_id=str(user.pk)).token)

    def invoice(polar: Any, order_id: str, token: str) -> str:
        return str(polar.customer_portal.orders.invoice(order_id, request_access_token=token).url)


kept = functools.cache(make)


@login_required
def new_client(request: HttpRequest, order_id: uuid.UUID) -> HttpResponseRedirect:
    with make() as polar:
        return HttpResponseRedirect(invoice(polar, str(order_id), make_session(polar, request.user)))


@login_required
def kept_client(request: HttpRequest, order_id: uuid.UUID) -> HttpResponseRedirect:
    return HttpResponseRedirect(invoice(kept(), str(order_id), make_session(kept(), request.user)))
