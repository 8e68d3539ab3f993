"""Settings of these tests: those of the suite, on the database that SERVICES_DATABASE names.

SERVICES_SETTINGS is JSON with what is set differently in a process that a test starts.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import environ  # type: ignore[import-untyped]

from tests.services.servers import MARIADB, POSTGRESQL, Server
from tests.settings import *  # noqa: F403

DATABASE = os.environ["SERVICES_DATABASE"]
DATABASE_SERVER: Server | None = {"sqlite": None, "postgresql": POSTGRESQL, "mariadb": MARIADB}[DATABASE]

# Of this process, so that two runs at once do not meet.
_name = f"polar_portal_services_{os.getpid()}"
_database: dict[str, Any]
if DATABASE_SERVER is None:
    # A file: threads and processes can't share one in memory.
    _file = str(Path(tempfile.gettempdir()) / f"{_name}.sqlite3")
    _database = {"ENGINE": "django.db.backends.sqlite3", "NAME": _file, "TEST": {"NAME": _file}}
else:
    _database = {**environ.Env.db_url_config(DATABASE_SERVER.url), "TEST": {"NAME": _name}}
DATABASES = {"default": _database}
# The second one so that its table is made with the others.
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "database": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "services_cache"},
}

globals().update(json.loads(os.environ.get("SERVICES_SETTINGS", "{}")))
