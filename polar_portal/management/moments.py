"""Moments as they are typed: `--since 2026-11-01`."""

from __future__ import annotations

from datetime import datetime, time

from django.core.management.base import CommandError
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.timezone import is_aware, make_aware


def moment(option: str, text: str) -> datetime:
    """Return the moment that an option names, in this site's TIME_ZONE unless it says otherwise; of a day, the first.

    Raises CommandError for what is none.
    """
    try:
        day = parse_date(text)
        found = datetime.combine(day, time()) if day else parse_datetime(text)
    except ValueError:
        found = None
    if found is None or not 1970 < found.year < 9999:
        raise CommandError(f"{option} is {text!r}; it must look like 2026-11-01 or 2026-11-01T09:30.")
    return found if is_aware(found) else make_aware(found)
