"""A host's site under ASGI: `uvicorn tests.asgi.site:application`.

ASGI_SETTINGS is JSON with the settings that differ from those of the suite. Each line that it prints is JSON: what has
happened, and how many database connections are open then.
"""

from __future__ import annotations

import json
import os
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

for name, value in json.loads(os.environ["ASGI_SETTINGS"]).items():
    setattr(settings, name, value)

_django = get_asgi_application()
_connections: list[BaseDatabaseWrapper] = []


def _created(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    _connections.append(connection)


connection_created.connect(_created)


async def application(scope: Any, receive: Any, send: Any) -> None:
    await _django(scope, receive, send)
    tell("ended", scope["path"])


def tell(*what: str) -> None:
    opened = sum(connection.connection is not None for connection in _connections)
    print(json.dumps([*what, opened]), flush=True)  # noqa: T201 - this is how it tells
