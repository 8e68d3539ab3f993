"""What this site stands on: its settings, its cache, its database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from django.apps import apps
from django.core.checks import ERROR, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseFailure
from django.db import connections, router, transaction
from django.db.models import Model

from polar_portal import cache
from polar_portal.conf import conf
from polar_portal.diagnosis.findings import A_SETTING, Findings, Row, Status
from polar_portal.exceptions import PolarMisconfigured

#: Checks whose matter has a row of its own, which knows more.
TOLD_BY_A_ROW = {"polar_portal.W001", "polar_portal.W002"}


def look_at_settings(findings: Findings) -> Iterator[Row]:
    try:
        messages = run_checks(tags=["polar_portal"])
    except Exception as error:  # noqa: BLE001 - the host's URLconf and resolver are imported here
        detail = f"they can't be checked: {type(error).__name__} is raised"  # not what it says, which may be anything
        yield Row("settings", "problem", detail, "Run: python manage.py check, which shows where that comes from.")
        return
    findings.checks = {str(message.id) for message in messages}
    findings.silenced = {str(message.id) for message in messages if message.is_silenced()}
    told = [m for m in messages if m.id not in findings.silenced | TOLD_BY_A_ROW]
    for message in told:
        status: Status = "problem" if message.level >= ERROR else "warning"
        yield Row("settings", status, f"{message.msg} ({message.id})", message.hint or "")
    if not told:
        yield Row("settings", "ok", "no issues")


def look_at_cache(findings: Findings) -> Row:
    try:
        backend = cache.backend()
    except PolarMisconfigured:
        return Row("cache", "skipped", A_SETTING)
    name = f"{conf.POLAR_CACHE_ALIAS!r} ({type(backend).__name__})"
    why_not_shared = cache.why_not_shared(backend)
    fault = _within(cache.TOO_SLOW, lambda: cache.find_fault(cache.backend()))
    if fault:
        return Row(
            "cache",
            "problem",
            f"{name} {fault}",
            "Clicks go on without it, slower, and each asks Polar: mend it, or name another in POLAR_CACHE_ALIAS.",
        )
    if why_not_shared and not conf.debug and "polar_portal.W002" not in findings.silenced:
        return Row(
            "cache",
            "warning",
            f"{name} {why_not_shared} (polar_portal.W002)",
            "Let POLAR_CACHE_ALIAS name one that all processes share, such as Redis or Memcached.",
        )
    return Row("cache", "ok", f"{name} {why_not_shared or 'remembers and locks'}")


def look_at_database(findings: Findings) -> Row:
    models = list(apps.get_app_config("polar_portal").get_models())
    missing: list[str] = []
    for model in models:
        alias = router.db_for_read(model)
        try:
            connections[alias].ensure_connection()
        except (DatabaseFailure, ImproperlyConfigured) as error:
            return Row(
                "database",
                "problem",
                f"the database {alias!r} can't be reached ({type(error).__name__})",
                "See DATABASES, and whether its server is running.",
            )
        if not _can_be_read(model, alias):
            missing.append(model._meta.db_table)
    if missing:
        return Row(
            "database",
            "problem",
            f"missing, or not as the migrations make them: {', '.join(missing)}",
            "Run: python manage.py migrate polar_portal",
        )
    findings.has_database = True
    return Row("database", "ok", f"all {len(models)} tables are there")


def _within(seconds: float, find: Callable[[], str]) -> str:
    """Return what `find` says is wrong, or that it has failed or not ended in time."""
    said: list[str] = []

    def look() -> None:
        try:
            said.append(find())
        except Exception as error:  # noqa: BLE001 - each backend raises its own
            # Not what the error says: the address it names may hold a password.
            said.append(f"fails ({type(error).__name__})")
        finally:
            connections.close_all()  # this thread's, for a cache that is in the database

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(seconds)
    return said[0] if said else f"has not answered within {seconds:g} s"


def _can_be_read(model: type[Model], alias: str) -> bool:
    try:
        # Every column of one row, so that a migration that is missing shows; in a transaction, so that the host's own
        # stays usable.
        with transaction.atomic(using=alias):
            list(model._default_manager.using(alias).order_by()[:1])
    except DatabaseFailure:
        return False
    return True
