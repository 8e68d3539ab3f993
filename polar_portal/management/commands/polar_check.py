"""`manage.py polar_check`: is this installation sound? `docs/reference/commands.md` tells what each row means."""

from __future__ import annotations

import json
import shutil
import textwrap
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from polar_portal.diagnosis import Row, diagnose

#: Where the columns of the table begin.
NAME, DETAIL = 9, 34


class Command(BaseCommand):
    help = (
        "Tells whether this installation of polar_portal is sound: settings, Polar and the token's scopes, clock, "
        "cache, database, webhook. Changes nothing. Exits with 1 if there is a problem."
    )
    # What they say is part of the answer, and an error must not stop the rest of it.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--user",
            help="a username, or a primary key: does Polar know this user? Makes one session at Polar",
        )
        parser.add_argument("--order", help="an order's id at Polar: has it an invoice and a receipt?")
        parser.add_argument("--json", action="store_true", help="JSON instead of a table")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the table, or the JSON, to stdout. A problem raises CommandError: the command exits with 1."""
        rows: list[Row] = []
        for row in diagnose(options["user"], options["order"]):
            rows.append(row)
            if not options["json"]:
                self.stdout.write(self._in_words(row))
        problems, warnings = (sum(row.status == status for row in rows) for status in ("problem", "warning"))
        if options["json"]:
            self.stdout.write(json.dumps({"ok": not problems, "checks": [asdict(row) for row in rows]}, indent=2))
        else:
            self.stdout.write()
        summary = f"{_count(problems, 'problem')}, {_count(warnings, 'warning')}."
        if problems:
            raise CommandError(summary)
        if not options["json"]:
            self.stdout.write(summary)

    def _in_words(self, row: Row) -> str:
        """One line, or on a terminal as many as it is narrow; and the way out below."""
        paint = {"ok": self.style.SUCCESS, "warning": self.style.WARNING, "problem": self.style.ERROR}.get(
            row.status, str
        )
        width = shutil.get_terminal_size().columns if self.stdout.isatty() else 100_000
        detail = textwrap.fill(row.detail, max(width - DETAIL, 20), break_long_words=False, break_on_hyphens=False)
        lines = textwrap.indent(detail, " " * DETAIL).lstrip()
        text = f"{paint(row.status)}{' ' * (NAME - len(row.status))}{row.name:<{DETAIL - NAME}}{lines}"
        if row.hint:
            hint = textwrap.fill(
                f"-> {row.hint}", max(width - NAME, 20), subsequent_indent="   ", break_long_words=False
            )
            text += "\n" + textwrap.indent(hint, " " * NAME)
        return text


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
