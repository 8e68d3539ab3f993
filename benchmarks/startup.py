"""4. What the app adds to the start of a Django project, in time and memory."""

from __future__ import annotations

import subprocess
import sys

from benchmarks import stage
from benchmarks.report import Row, in_turn, median, spread

#: Set up, load the URLs as the first request does, and say what that took and how much memory there is.
CODE = """
import resource, sys, time
started = time.process_time()
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="x", USE_TZ=True, ROOT_URLCONF=__name__, POLAR_ACCESS_TOKEN="x",
    INSTALLED_APPS=["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
                    "django.contrib.messages", "django.contrib.sessions"] + APPS,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
)
django.setup()
from django.contrib import admin
from django.urls import include, path
urlpatterns = [path("admin/", admin.site.urls)] + ([path("billing/", include("polar_portal.urls"))] if APPS else [])
from django.urls import get_resolver
get_resolver().reverse_dict
from django.core.wsgi import get_wsgi_application
get_wsgi_application()
took = time.process_time() - started
print(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def rows(quick: bool) -> list[Row]:
    memory: dict[str, list[float]] = {"with": [], "without": []}

    def start(which: str) -> float:
        code = f"APPS = {['polar_portal'] if which == 'with' else []!r}\n{CODE}"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=stage.ROOT, env=stage.environment(), check=True, capture_output=True
        )
        seconds, megabytes = map(float, done.stdout.split())
        memory[which].append(megabytes)
        return seconds * 1000

    ours, bare = in_turn(5 if quick else 21, lambda: start("with"), lambda: start("without"))
    time_added = [mine - other for mine, other in zip(ours, bare, strict=True)]
    memory_added = [mine - other for mine, other in zip(memory["with"], memory["without"], strict=True)]
    return [
        Row(
            "processor time that the app adds",
            f"{median(time_added):.1f} ms ({spread(time_added)}) over {median(bare):.0f} ms",
            "at most 20 ms",
            median(time_added) <= 20,
        ),
        Row(
            "memory that the app adds",
            f"{median(memory_added):.1f} MB ({spread(memory_added)}) over {median(memory['without']):.0f} MB",
            "at most 3 MB",
            median(memory_added) <= 3,
        ),
    ]
