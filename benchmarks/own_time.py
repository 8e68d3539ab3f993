"""Time cold clicks and bare calls in turn, in this process: `python -m benchmarks.own_time USER ORDER TOKEN TURNS N`"""

from __future__ import annotations

import json
import statistics
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import django


def main() -> None:
    pk, order, token, turns, number = sys.argv[1:]
    django.setup()

    import requests
    from django.contrib.auth.models import User
    from django.core.cache import cache

    from benchmarks.report import in_turn
    from benchmarks.site import settings
    from polar_portal.portal import CustomerPortal

    user, order_id, session = User.objects.get(pk=pk), uuid.UUID(order), requests.Session()
    url = f"{settings.POLAR_BASE_URL}/v1/customer-portal/orders/{order}/invoice"

    def ours() -> None:
        cache.clear()
        CustomerPortal(user).invoice(order_id)

    def bare() -> None:
        answer = session.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=5)
        assert answer.json()["url"]

    def timed(act: Callable[[], Any]) -> float:
        took = []
        for _ in range(int(number)):
            started = time.perf_counter()
            act()
            took.append(time.perf_counter() - started)
        return statistics.median(took)

    ours()
    bare()
    sys.stdout.write(json.dumps(in_turn(int(turns), lambda: timed(ours), lambda: timed(bare))))


if __name__ == "__main__":
    main()
