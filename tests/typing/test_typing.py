"""A host project that is checked with the package as it is installed: every public name has the type that is said."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.dispatch import Signal

from polar_portal import admin, exceptions, portal, signals, testing

HOST = Path(__file__).with_name("host.py")
CONFIGURATION = """
[mypy]
strict = True
plugins = mypy_django_plugin.main
cache_dir = {cache}
[mypy.plugins.django-stubs]
django_settings_module = settings
"""
SETTINGS = """
SECRET_KEY = "of the host"
INSTALLED_APPS = [
    "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.messages",
    "django.contrib.sessions", "polar_portal",
]
"""


def public_names() -> set[str]:
    """Names to import, methods, and what the values have that they take and give."""
    names = {*portal.__all__, *exceptions.__all__, *testing.__all__, admin.InvoiceActionMixin.__name__}
    names |= {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    for kind in (portal.CustomerPortal, portal.OrganizationPortal):
        names |= {name for name, _ in inspect.getmembers(kind, inspect.isfunction)}
    values: list[Any] = [portal.Document, portal.Page, portal.PortalOrder, portal.OrderLine, portal.BillingAddress]
    for value in values:
        names |= {field.name for field in dataclasses.fields(value)}
        names |= {name for name, _ in inspect.getmembers(value, lambda each: isinstance(each, property))}
    # What docstrings name of the fake and of a failure.
    for told in (testing.FakePolar(), exceptions.PolarError()):
        names |= {name for name in re.findall(r"\b[a-z_]+\b", inspect.getdoc(told) or "") if hasattr(told, name)}
    return {name for name in names if not name.startswith("_")}


def test_the_host_uses_every_public_name() -> None:
    tree = ast.parse(HOST.read_text(encoding="utf-8"))
    # Not names and texts: a name that is only imported, or only in a comment, has no type that is looked at.
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert sorted(public_names() - used) == []


def test_the_host_is_typed_strictly_with_the_installed_package(
    wheel: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("mypy", reason="mypy, of the dependency group lint, is not installed")
    # An environment with the package that was built, and otherwise with what this one has.
    environment = tmp_path / "environment"
    venv.create(environment, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", "posix_prefix", vars={"base": str(environment)}))
    zipfile.ZipFile(wheel).extractall(packages)
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(HOST, project)
    (project / "settings.py").write_text(SETTINGS, encoding="utf-8")
    cache = request.config.rootpath / ".mypy_cache" / "host"
    (project / "mypy.ini").write_text(CONFIGURATION.format(cache=cache), encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-executable", str(environment / "bin" / "python"), "-v", "host.py"],
        cwd=project,
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    said = "\n".join(line for line in result.stdout.splitlines() if not line.startswith("LOG:"))
    assert result.returncode == 0, said
    assert "Success: no issues found in 1 source file" in said
    # What was looked at is what was installed: `py.typed` is there.
    (seen,) = set(re.findall(r"^LOG: .*\s(\S+/polar_portal/portal\.py)", result.stdout, re.MULTILINE))
    assert seen == str(packages / "polar_portal" / "portal.py")
