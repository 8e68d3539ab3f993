"""Projects that are set up in another way than the suite's own: what a customer, staff and Polar do works in each."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
HOSTS = re.findall(r'^    case "(.*)":$', (HERE / "settings.py").read_text(encoding="utf-8"), re.MULTILINE)


def visit(host: str, *, databases: dict[str, Any] | None = None) -> None:
    """Run `visit.py` in a host; its failures are this test's."""
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "visit.py")],
        cwd=HERE.parent.parent,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.hosts.settings",
            "HOST": host,
            **({"HOST_DATABASES": json.dumps(databases)} if databases else {}),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    assert re.search(r"^\d{2} passed in", result.stdout, re.MULTILINE), result.stdout


@pytest.mark.parametrize("host", HOSTS)
def test_all_works_in_a_host(host: str) -> None:
    visit(host)
