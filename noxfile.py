"""The tests on each Python with each Django, on the package as it is installed.

`make matrix` runs all of it; `nox --list` names the cells, and one runs by its name: `nox -s "tests(3.13-django6.1)"`.
Pythons that this machine does not have are named and left out. What follows `--` goes to pytest.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"
# Those that pyenv keeps, also where its `pyenv global` does not name them.
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
os.environ["PATH"] = os.pathsep.join([*(str(each / "bin") for each in sorted(PYENV.glob("3.*"))), os.environ["PATH"]])

#: Not those with a browser, nor the faults: they take minutes, find what no version causes, and `make test` runs them.
WHOLE = ["tests", "--ignore=tests/browser", "--ignore=tests/faults"]
#: Nor Polar's wire, who may do what, servers, and the fake: they ask less of Django, and of what is new in Python, than
#: views, admin, checks, commands, models, templates and packaging do.
SURFACE = [*WHOLE, *(f"--ignore=tests/{folder}" for folder in ("api", "security", "services", "testing"))]
#: Each thing once, from `migrate` to the PDF, in each kind of project.
HOSTS = ["tests/hosts"]
#: From 6.0 on Django needs Python 3.12. What breaks with a version breaks at the oldest or the newest; so those run the
#: whole suite, each other version the surface once, and the pairs that are left, of versions that work, the hosts.
CELLS = {
    ("3.10", "5.2"): WHOLE,
    ("3.13", "6.1"): WHOLE,
    ("3.11", "5.2"): SURFACE,
    ("3.12", "6.0"): SURFACE,
    ("3.12", "5.2"): HOSTS,
    ("3.12", "6.1"): HOSTS,
    ("3.13", "5.2"): HOSTS,
    ("3.13", "6.0"): HOSTS,
}


@nox.session
@nox.parametrize("python,django", [nox.param(*cell, id="{}-django{}".format(*cell)) for cell in CELLS])
def tests(session: nox.Session, django: str) -> None:
    """Run the tests of one cell."""
    chosen = CELLS[str(session.python), django]
    # The group `lint` for mypy, which checks the host project of tests/typing.
    session.install("--quiet", "--group", "lint" if chosen is WHOLE else "test")
    built = Path(session.create_tmp()) / "dist"
    shutil.rmtree(built, ignore_errors=True)
    session.run("python", "-m", "hatchling", "build", "-t", "wheel", "-d", str(built), silent=True)
    session.run("python", "-m", "pip", "uninstall", "--quiet", "--yes", "django-polar-portal")
    session.install("--quiet", f"django=={django}.*", *map(str, built.glob("*.whl")))
    tree = copy_with_the_installed_package(session)
    session.chdir(tree)
    session.run("python", "-m", "pytest", "-q", *(session.posargs or chosen))


def copy_with_the_installed_package(session: nox.Session) -> Path:
    """Copy the tree, with a link to the installed package instead of the package: what the wheel lacks is missed."""
    here, tree = Path(__file__).parent, Path(session.create_tmp()) / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    for each in here.iterdir():
        if each.is_file():
            shutil.copy(each, tree)
        elif each.name in {"benchmarks", "docs", "example_project", "tests"}:
            shutil.copytree(each, tree / each.name, ignore=shutil.ignore_patterns("__pycache__"))
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    installed = session.run("python", "-c", where, silent=True, log=False)
    (tree / "polar_portal").symlink_to(Path(str(installed).strip()) / "polar_portal")
    return tree
