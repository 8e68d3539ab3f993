"""A process of its own that clicks: `python -m tests.services.worker`

It says that it is ready, and for each line of JSON, a user's key, an order's id and a number, makes so many clicks at
once; it answers with a line of JSON: for each click the document's address, or the code of what was in the way.
"""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import django


def main() -> None:
    django.setup()
    from django.db import connection

    # Kept open: the last connection that closes takes its log away from an SQLite file, and refuses who opens it then.
    connection.ensure_connection()
    answer("ready")
    for line in sys.stdin:
        answer(clicks(*json.loads(line)))


def clicks(user_key: int, polar_order_id: str, number: int) -> list[str]:
    from django.contrib.auth.models import User
    from django.core.cache import caches
    from django.db import connections

    from polar_portal.exceptions import PolarError
    from polar_portal.portal import CustomerPortal

    user = User.objects.get(pk=user_key)
    together = threading.Barrier(number)

    def click(_: int) -> str:
        together.wait()
        try:
            return CustomerPortal(user).invoice(polar_order_id).url
        except PolarError as failure:
            return failure.code
        finally:
            caches.close_all()
            connections.close_all()

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(click, range(number)))


def answer(value: Any) -> None:
    print(json.dumps(value), flush=True)  # noqa: T201 - this is how it answers


if __name__ == "__main__":
    main()
