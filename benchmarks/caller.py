"""One way to make one call, in a process of its own: `python -m benchmarks.caller KIND BASE_URL TOKEN ORDER`

Reads a number a line, makes so many calls, and answers the seconds that each took as a line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any


def ours(base_url: str, token: str, order: str) -> Callable[[], Any]:
    import uuid

    import django
    from django.conf import settings

    settings.configure(USE_TZ=True)
    django.setup()
    from polar_portal.api.client import Client
    from polar_portal.conf import Secret

    order_id = uuid.UUID(order)
    orders = "/v1/customer-portal/orders/"
    return lambda: Client(base_url, Secret(token), time.monotonic() + 10, orders=orders).invoice(order_id)


def urllib3(base_url: str, token: str, order: str) -> Callable[[], Any]:
    import urllib3

    pool = urllib3.PoolManager()
    url = f"{base_url}/v1/customer-portal/orders/{order}/invoice"
    return lambda: json.loads(pool.request("GET", url, headers={"Authorization": f"Bearer {token}"}).data)["url"]


def requests(base_url: str, token: str, order: str) -> Callable[[], Any]:
    import requests

    session = requests.Session()
    url = f"{base_url}/v1/customer-portal/orders/{order}/invoice"
    return lambda: session.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=5).json()["url"]


def sdk(base_url: str, token: str, order: str) -> Callable[[], Any]:
    make, ask = _sdk(base_url)
    polar = make()
    return lambda: ask(polar, token, order)


def sdk_new(base_url: str, token: str, order: str) -> Callable[[], Any]:
    make, ask = _sdk(base_url)

    def call() -> Any:
        with make() as polar:
            return ask(polar, token, order)

    return call


def _sdk(base_url: str) -> tuple[Callable[[], Any], Callable[[Any, str, str], Any]]:
    try:
        from polar.v2026_10 import Polar  # type: ignore[import-not-found]
    except ImportError:
        from polar_sdk import Polar, models  # type: ignore[import-not-found]

        return (
            lambda: Polar(server_url=base_url),
            lambda polar, token, order: (
                polar.customer_portal.orders.invoice(
                    security=models.CustomerPortalOrdersInvoiceSecurity(customer_session=token), id=order
                ).url
            ),
        )
    return lambda: Polar(
        "", base_url=base_url
    ), lambda polar, token, order: polar.customer_portal.orders.invoice(order, request_access_token=token).url


def main() -> None:
    kind, *given = sys.argv[1:]
    call = {each.__name__: each for each in (ours, urllib3, requests, sdk, sdk_new)}[kind](*given)
    call()
    for line in sys.stdin:
        took = []
        for _ in range(int(line)):
            started = time.perf_counter()
            assert call()
            took.append(time.perf_counter() - started)
        sys.stdout.write(json.dumps(took) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
