"""The docs, held against the code."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from django.dispatch import Signal

from polar_portal import checks, signals
from tests.test_polar_check import ROWS

ROOT = Path(__file__).parent.parent
TEMPLATES = ROOT / "polar_portal" / "templates" / "polar_portal"
DOCS = (ROOT / "docs" / "templates.md").read_text(encoding="utf-8")
CHECKS = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
COMMANDS = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")


def told() -> dict[str, set[str]]:
    """Each template's row: its name, and the names its context is said to have."""
    rows = re.findall(r"^\| `([\w.]+)` \| .* \|(.*)\|$", DOCS, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", context)) for name, context in rows}


def test_every_template_is_told() -> None:
    assert told().keys() == {path.name for path in TEMPLATES.iterdir()}


def test_every_variable_of_a_template_is_told() -> None:
    # What a template makes itself, with `as`, `with` or `for`, and what Django gives to every page.
    everywhere = {"language", "bidi", "forloop", "block", "request", "user", "csrf_token"}
    for name, context in told().items():
        source = (TEMPLATES / name).read_text(encoding="utf-8")
        made = set(re.findall(r"\bas (\w+)\b|\bfor (\w+) in|\b(\w+)=", source))
        own = {each for names in made for each in names if each}
        used = set(re.findall(r"{{ ?(\w+)", source)) | set(re.findall(r"{% (?:el)?if (?:not )?(\w+)", source))
        assert used - own - everywhere <= context, name


def test_every_signal_is_told() -> None:
    webhooks = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(\w+)` \| `", webhooks, re.MULTILINE)
    assert sorted(told) == sorted(name for name, value in vars(signals).items() if isinstance(value, Signal))


def test_every_check_is_told_and_has_an_id_of_its_own() -> None:
    ours = [check_id for check_id, _, _ in checks.CHECKS]
    assert re.findall(r"^\| `polar_portal\.(\w+)` \|", CHECKS, re.MULTILINE) == ours
    # One id, one place that gives it: each kind of message has its own.
    source = Path(checks.__file__).read_text(encoding="utf-8")
    assert Counter(re.findall(r"\b[EW]\d{3}\b", source)) == Counter([*ours, "W001", "W002"])  # those two in their hints


def test_every_row_of_polar_check_is_told() -> None:
    section = COMMANDS.partition("## polar_check\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    assert rows == [*ROWS, "user", "order", "invoice", "receipt", "customer"]
