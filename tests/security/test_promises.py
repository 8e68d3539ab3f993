"""SECURITY.md, held against what there is."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_each_promise_names_tests_that_are_there() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 8
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)`", row)
        assert named, row
        for path in named:
            assert (ROOT / path).is_file(), path


def test_each_file_of_these_tests_is_named() -> None:
    here = Path(__file__)
    for path in here.parent.glob("test_*.py"):
        assert path == here or f"tests/security/{path.name}" in PAGE, path.name


def test_each_setting_that_is_named_exists() -> None:
    from polar_portal.conf import Conf

    for name in set(re.findall(r"`(POLAR_\w+)", PAGE)):
        assert hasattr(Conf, name), name
