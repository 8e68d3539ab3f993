"""The README's steps, followed to the letter in a bare project, with the package as it is built."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from polar_portal.conf import Conf
from polar_portal.exceptions import PolarError, PolarMisconfigured
from polar_portal.testing import FakePolar
from polar_portal.texts import FAILURES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

PAGE = """
from django.contrib.auth.models import User
from django.test import Client

from polar_portal.testing import FakePolar

ada = User.objects.create_user("ada")
polar = FakePolar()
order = polar.add_order(polar.add_customer(external_id=str(ada.pk)), invoice=True)
with polar.installed():
    client = Client(raise_request_exception=True)
    client.force_login(ada)
    from django.template import Context, Template

    button = Template(BUTTON).render(Context({"order": {"polar_order_id": order.id}}))
    address = button.split('href="')[1].split('"')[0]
    response = client.get(address, headers={"host": "localhost"})
    assert polar.download(response["Location"]).body.startswith(b"%PDF"), response
import polar_portal
print("downloaded with", polar_portal.__file__)
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def run(*command: str, cwd: Path, **environment: str) -> str:
    result = subprocess.run(
        command,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_a_bare_project_shows_the_button_by_the_readmes_steps(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    project = tmp_path / "project"
    project.mkdir()
    run(sys.executable, "-m", "django", "startproject", "mysite", ".", cwd=project)
    # In the order of the README, up to the resolver, which is for those whose customers are linked in another way.
    for block in blocks("python"):
        name, _, lines = block.partition("\n")
        if "POLAR_CUSTOMER_RESOLVER" in lines:
            break
        file = project / "mysite" / name.removeprefix("# ")
        file.write_text(file.read_text(encoding="utf-8") + lines, encoding="utf-8")
    manage = [
        line.removeprefix("$ python ").split() for line in "".join(blocks("console")).splitlines() if "manage" in line
    ]
    assert [command[1] for command in manage] == ["migrate", "check"]
    environment = {
        "PYTHONPATH": str(installed),
        "POLAR_ACCESS_TOKEN": "polar_oat_x",
        "POLAR_WEBHOOK_SECRET": "whsec_of_the_tests",
    }
    for command in manage:
        output = run(sys.executable, *command, cwd=project, **environment)
    assert "no issues" in output
    script = f"BUTTON = '''{blocks('html')[0]}'''\n{PAGE}"
    output = run(sys.executable, "manage.py", "shell", "-c", script, cwd=project, **environment)
    assert f"downloaded with {installed}" in output


def test_a_polar_of_ones_own_is_what_the_project_talks_to(wheel: Path, tmp_path: Path) -> None:
    installed, port = tmp_path / "installed", free_port()
    zipfile.ZipFile(wheel).extractall(installed)
    run(sys.executable, "-m", "django", "startproject", "mysite", ".", cwd=tmp_path)
    polar, where = (block for block in blocks("python") if "8001" in block)
    (urls,) = (block for block in blocks("python") if block.startswith("# urls.py"))
    for name, added in (("settings.py", blocks("python")[0] + where), ("urls.py", urls)):
        file = tmp_path / "mysite" / name
        file.write_text(file.read_text(encoding="utf-8") + added.replace("8001", str(port)), encoding="utf-8")
    (tmp_path / "polar.py").write_text(polar.replace("8001", str(port)), encoding="utf-8")
    environment = {"PYTHONPATH": str(installed), "POLAR_ACCESS_TOKEN": "polar_oat_of_nobody"}
    for command in ("migrate", "createsuperuser --noinput --username ada --email ada@shop.example"):
        run(sys.executable, "manage.py", *command.split(), cwd=tmp_path, DJANGO_SUPERUSER_PASSWORD="x", **environment)
    with subprocess.Popen(
        [sys.executable, "-u", "polar.py"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as served:
        assert served.stdin
        assert served.stdout
        try:
            assert served.stdout.read(len("Polar is at ")) == "Polar is at "
            report = run(sys.executable, "manage.py", "polar_check", "--user", "ada", cwd=tmp_path, **environment)
        finally:
            served.communicate("\n")
    assert f"127.0.0.1:{port}" in report
    assert re.search(r"^ok +user ", report, re.MULTILINE)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_missing_token_is_named_by_check(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    run(sys.executable, "-m", "django", "startproject", "mysite", ".", cwd=tmp_path)
    settings = tmp_path / "mysite" / "settings.py"
    settings.write_text(settings.read_text(encoding="utf-8") + 'INSTALLED_APPS += ["polar_portal"]\n', encoding="utf-8")
    with pytest.raises(AssertionError, match=r"polar_portal\.E001"):
        run(sys.executable, "manage.py", "check", cwd=tmp_path, PYTHONPATH=str(installed))


def test_snippets_for_tests_work(fake_polar: FakePolar, client: object, django_user_model: object, db: None) -> None:
    (snippet,) = [block for block in blocks("python") if block.startswith("def test_")]
    names: dict[str, object] = {}
    exec(snippet, names)  # noqa: S102 - our own README
    test = names["test_my_customers_get_their_invoice"]
    test(fake_polar, client, django_user_model)  # type: ignore[operator]


def test_python_snippets_compile_and_import() -> None:
    for block in blocks("python"):
        compile(block, "README.md", "exec")
        for line in block.splitlines():
            if line.startswith(("from polar_portal", "import polar_portal")):
                exec(line)  # noqa: S102 - our own README


def test_pictures_are_there_light_and_dark_and_quick_to_load() -> None:
    told = re.findall(r'(?:src|srcset)="(docs/images/[\w-]+\.png)"', README)
    assert sorted(told) == sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "images").glob("*.png"))
    for name in told:
        picture = (ROOT / name).read_bytes()
        assert len(picture) < 200_000, name
        assert int.from_bytes(picture[16:20], "big") >= 1280, f"{name} is blurred on a sharp screen"


def test_settings_are_told_with_their_defaults() -> None:
    told = dict(re.findall(r"^\| `(POLAR_\w+)` \| (.*?) \|", README, re.MULTILINE))
    assert told.keys() == {name for name in vars(Conf) if name.startswith("POLAR_")}


def test_failures_are_told_with_code_and_title() -> None:
    told = re.findall(r"^\| (.+?) \(`(\w+)`\) \| (\d+)", README, re.MULTILINE)
    every: list[Any] = [*PolarError.__subclasses__(), PolarMisconfigured]
    kinds = {kind.code: kind for kind in every}
    assert {code: title for title, code, _ in told} == {code: str(title) for code, (title, _) in FAILURES.items()}
    for _, code, status in told:
        assert status == ("200" if code == "invoice_not_generated" else str(kinds[code].status))
