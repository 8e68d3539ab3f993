from __future__ import annotations

import pytest
from django.conf import settings

from tests.services.servers import Server


def _without_database() -> str:
    server: Server | str | None = getattr(settings, "DATABASE_SERVER", "")
    if server == "":
        return "runs on each database in turn, with `make services`"
    return server.missing if isinstance(server, Server) else ""


#: For tests that use the database, and processes that share it, as `make services` sets them up.
needs_database = pytest.mark.skipif(bool(_without_database()), reason=_without_database())
