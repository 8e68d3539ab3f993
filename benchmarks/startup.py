"""4. What the app adds to the start of a Django project, in time and memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import stage
from benchmarks.report import Row, in_turn, median, spread

#: A project of one file, with the admin; with the app too, when the first argument says so.
PROJECT = """
import resource, sys, time
started = time.process_time()
APPS = ["polar_portal"] if sys.argv.pop(1) == "with" else []
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="x", USE_TZ=True, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], POLAR_ACCESS_TOKEN="x", STATIC_URL="s/",
    SILENCED_SYSTEM_CHECKS=["polar_portal.W001", "polar_portal.W002"],
    INSTALLED_APPS=["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
                    "django.contrib.messages", "django.contrib.sessions"] + APPS,
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware",
                "django.middleware.csrf.CsrfViewMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware",
                "django.contrib.messages.middleware.MessageMiddleware"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {
        "context_processors": ["django.template.context_processors.request",
                               "django.contrib.auth.context_processors.auth",
                               "django.contrib.messages.context_processors.messages"]}}],
)
urlpatterns = []

def urls():
    from django.contrib import admin
    from django.urls import include, path
    urlpatterns.append(path("admin/", admin.site.urls))
    urlpatterns.extend(path("billing/", include("polar_portal.urls")) for _ in APPS)

if sys.argv[1] == "check":
    django.setup()
    urls()
    from django.core.management import call_command
    from io import StringIO
    call_command("check", stdout=StringIO())
else:
    # What a worker does until its first response.
    from django.core.wsgi import get_wsgi_application
    application = get_wsgi_application()
    urls()
    from io import BytesIO
    asked = {"REQUEST_METHOD": "GET", "PATH_INFO": "/admin/login/", "SERVER_NAME": "x", "SERVER_PORT": "80",
             "wsgi.input": BytesIO(), "wsgi.url_scheme": "http"}
    answer = application(asked, lambda status, headers: None)
    assert answer.status_code == 200
took = time.process_time() - started
print(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
STARTS = {"check": "manage.py check", "serve": "a worker's first response"}


def rows(quick: bool) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project.py"
        project.write_text(PROJECT, encoding="utf-8")
        return [row for what in STARTS for row in added(project, what, 5 if quick else 31)]


def added(project: Path, what: str, turns: int) -> list[Row]:
    """Start it with and without the app in turn. Processor time, with what Python's collector takes of it."""
    memory: dict[str, list[float]] = {"with": [], "without": []}

    def start(which: str) -> float:
        command = [sys.executable, str(project), which, what]
        done = subprocess.run(command, cwd=stage.ROOT, env=stage.environment(), check=True, capture_output=True)
        seconds, megabytes = map(float, done.stdout.split())
        memory[which].append(megabytes)
        return seconds * 1000

    for which in memory:
        start(which)  # writes what Python has compiled
        memory[which].clear()
    ours, bare = in_turn(turns, lambda: start("with"), lambda: start("without"))
    time_added = [mine - other for mine, other in zip(ours, bare, strict=True)]
    memory_added = [mine - other for mine, other in zip(memory["with"], memory["without"], strict=True)]
    return [
        Row(
            f"{STARTS[what]}: processor time that the app adds",
            f"{median(time_added):.1f} ms ({spread(time_added)}) over {median(bare):.0f} ms",
            "at most 20 ms",
            median(time_added) <= 20,
        ),
        Row(
            f"{STARTS[what]}: memory that the app adds",
            f"{median(memory_added):.1f} MB ({spread(memory_added)}) over {median(memory['without']):.0f} MB",
            "at most 3 MB",
            median(memory_added) <= 3,
        ),
    ]
