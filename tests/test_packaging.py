"""The package as it is built: what is in it, and what an index and pip are told of it."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata

import polar_portal

ROOT = Path(__file__).parent.parent
HOME = "https://github.com/polar-portal/django-polar-portal"


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


@pytest.fixture(scope="module")
def sdist(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hatchling.builders.sdist import SdistBuilder

    return Path(next(SdistBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("sdist")))))


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Metadata:
    """What the wheel says of itself; raises for a field that an index refuses."""
    (text,) = [text for name, text in contents(wheel).items() if name.endswith(".dist-info/METADATA")]
    return Metadata.from_email(text, validate=True)


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    package = {
        path.relative_to(ROOT).as_posix(): path.read_bytes()
        for path in (ROOT / "polar_portal").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    built = {name: text for name, text in contents(wheel).items() if ".dist-info/" not in name}
    assert built == package
    for needed in (
        "polar_portal/py.typed",
        "polar_portal/migrations/0001_initial.py",
        "polar_portal/locale/de/LC_MESSAGES/django.mo",
        "polar_portal/templates/polar_portal/base.html",
        "polar_portal/templates/admin/polar_portal/ready.html",
        "polar_portal/static/polar_portal/polar_portal.css",
        "polar_portal/testing/plugin.py",
    ):
        assert needed in built


def test_sdist_holds_what_the_package_is_built_from_and_nothing_else(sdist: Path) -> None:
    with tarfile.open(sdist) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {name.partition("/")[0] for name in names} == {
        ".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "polar_portal", "pyproject.toml",
    }  # fmt: skip


def test_sdist_builds_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as opened:
        # Not as an argument, which Pythons before 3.11.4 do not take, Debian 12's among them.
        opened.extraction_filter = getattr(tarfile, "data_filter", None)
        opened.extractall(tmp_path)  # noqa: S202 - our own
    (source,) = tmp_path.iterdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "built")]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (again,) = (tmp_path / "built").iterdir()
    assert again.name == wheel.name
    assert contents(again) == contents(wheel)


def test_metadata_is_complete(metadata: Metadata) -> None:
    assert metadata.name == "django-polar-portal"
    assert str(metadata.version) == polar_portal.__version__
    assert metadata.license_expression == "MIT"
    assert metadata.license_files == ["LICENSE"]
    assert metadata.summary
    assert metadata.keywords
    urls = metadata.project_urls or {}
    assert urls.keys() == {"Homepage", "Documentation", "Changelog", "Issues", "Source"}
    assert all(url.startswith(HOME) for url in urls.values())


def test_classifiers_tell_the_pythons_and_djangos_that_are_tested(metadata: Metadata) -> None:
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    cells = re.findall(r'^    \("([\d.]+)", "([\d.]+)"\): ', noxfile, re.MULTILINE)
    told = metadata.classifiers or []
    for kind, tested in (
        ("Programming Language :: Python", {python for python, _ in cells}),
        ("Framework :: Django", {django for _, django in cells}),
    ):
        assert {each.rpartition(" :: ")[2] for each in told if re.fullmatch(rf"{kind} :: \d+\.\d+", each)} == tested
    oldest = min(tuple(map(int, python.split("."))) for python, _ in cells)
    assert str(metadata.requires_python) == ">={}.{}".format(*oldest)


def test_no_link_of_the_description_leads_to_a_file_beside_it(metadata: Metadata) -> None:
    description = metadata.description or ""
    links = re.findall(r'\]\(([^)]+)\)|(?:src|srcset|href)="([^"]+)"', description)
    led = [link for each in links for link in each if link]
    assert [link for link in led if not link.startswith(("https://", "#"))] == []
    # They lead to files that there are.
    own = [link.partition("/main/")[2].partition("#")[0] for link in led if "/main/" in link]
    assert len(own) > 5
    assert [path for path in own if not (ROOT / path).exists()] == []


def test_changelog_begins_with_this_version() -> None:
    entries = re.findall(r"^## \[(.+?)\] - (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert entries[0][0] == polar_portal.__version__
    assert all(re.fullmatch(r"unreleased|\d{4}-\d{2}-\d{2}", date) for _, date in entries)
