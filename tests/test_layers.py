"""Imports only point down, and each job has one way in."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import polar_portal

PACKAGE = Path(polar_portal.__file__).parent

#: From the top down; a module may import what is below it or beside it.
FLOORS = [
    {"urls"},
    {"views", "waiting", "admin", "management", "templatetags", "checks", "apps", "forms", "texts"},
    {"portal", "events", "export", "diagnosis"},
    {"documents", "orders", "edits", "making", "sync"},
    {"identity", "customers", "pace"},
    {"cache", "models", "database", "mirror", "api"},
    {"conf", "exceptions", "signals"},
]


def modules() -> list[Path]:
    return [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parent.name != "migrations" and "testing" not in path.relative_to(PACKAGE).parts
    ]


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def floor(module: str) -> int:
    return next(number for number, names in enumerate(FLOORS) if module in names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts == ("__init__",):
        assert not {name for name in imported(path) if name.startswith("polar_portal")}
        return
    ours = {name.split(".")[1] for name in imported(path) if name.startswith("polar_portal.")} - {"__version__"}
    for module in ours:
        assert floor(module) >= floor(parts[0]), f"{'.'.join(parts)} imports polar_portal.{module}"


def who_imports(*names: str) -> set[str]:
    return {
        str(path.relative_to(PACKAGE))
        for path in modules()
        if any(found == name or found.startswith(f"{name}.") for found in imported(path) for name in names)
    }


def test_one_way_in_for_each_job() -> None:
    assert who_imports("requests") == {"api/transport.py"}
    assert who_imports("django.conf") == {"conf.py"}
    assert who_imports("cryptography") == {"customers.py"}
    assert who_imports("django.core.cache") == {"cache.py"}
    assert who_imports("environ", "os") == {"api/transport.py"}


def test_nothing_heavy_is_imported_when_django_starts() -> None:
    code = (
        "import sys, django; django.setup();"
        "from django.urls import get_resolver; get_resolver().url_patterns;"
        "import polar_portal.templatetags.polar_portal, polar_portal.admin;"
        "heavy = ('requests', 'urllib3', 'cryptography', 'babel', 'pycountry', 'polar_portal.testing');"
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[]"


def test_pytest_starts_without_importing_ours_or_djangos() -> None:
    code = (
        "import sys, polar_portal.testing.plugin;"
        "print([name for name in sys.modules if name.split('.')[0] in ('django', 'requests')"
        " or name.startswith('polar_portal') and name not in"
        " ('polar_portal', 'polar_portal.testing', 'polar_portal.testing.plugin')])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[]"
