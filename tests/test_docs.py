"""The docs, held against the code."""

from __future__ import annotations

import ast
import inspect
import json
import logging
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.core.cache import cache
from django.core.checks import run_checks
from django.core.management import BaseCommand, get_commands, load_command_class
from django.dispatch import Signal
from django.template import Context, Template
from django.test import Client, RequestFactory, override_settings
from django.test.signals import template_rendered

from polar_portal import admin, checks, exceptions, models, portal, signals, testing, urls, views
from polar_portal import conf as conf_module
from polar_portal.conf import SERVERS, Conf, conf
from polar_portal.exceptions import PolarMisconfigured
from polar_portal.portal import CustomerPortal, Document, OrganizationPortal
from polar_portal.templatetags import polar_portal as tags
from polar_portal.templatetags.polar_portal import Invoice, register
from polar_portal.testing import FakeCustomer, FakeOrder, FakePolar
from polar_portal.texts import FAILURES as TEXTS
from tests.conftest import JSON
from tests.faults.rows import TABLE
from tests.services.conftest import BACKENDS
from tests.services.servers import MEMCACHED_OPTIONS, REDIS_OPTIONS, SQLITE_OPTIONS
from tests.test_polar_check import ROWS

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"
TEMPLATES = ROOT / "polar_portal" / "templates" / "polar_portal"
FAILURES = (REFERENCE / "failures.md").read_text(encoding="utf-8")
DOCS = (REFERENCE / "templates.md").read_text(encoding="utf-8")
CHECKS = (REFERENCE / "checks.md").read_text(encoding="utf-8")
COMMANDS = (REFERENCE / "commands.md").read_text(encoding="utf-8")
PYTHON = (REFERENCE / "python.md").read_text(encoding="utf-8")
TESTING = (REFERENCE / "testing.md").read_text(encoding="utf-8")
TAGS = (REFERENCE / "template-tags.md").read_text(encoding="utf-8")
URLS = (REFERENCE / "urls.md").read_text(encoding="utf-8")
SETTINGS = (REFERENCE / "settings.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def sections(page: str, level: str = "##") -> dict[str, str]:
    """The parts of a page, by their headings."""
    parts = re.split(rf"^{level} (.+)\n", page, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def told() -> dict[str, set[str]]:
    """Each template's row: its name, and the names its context is said to have."""
    rows = re.findall(r"^\| `([\w.]+)` \| .* \|(.*)\|$", DOCS, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", context)) for name, context in rows}


def test_every_template_is_told() -> None:
    assert told().keys() == {path.name for path in TEMPLATES.iterdir()}


def test_every_template_of_the_admin_is_told() -> None:
    told = re.findall(r"^\| `admin/polar_portal/([\w.]+)` \|", DOCS, re.MULTILINE)
    assert sorted(told) == sorted(path.name for path in (TEMPLATES.parent / "admin" / "polar_portal").iterdir())


def test_every_block_of_the_base_template_is_told() -> None:
    (told,) = re.findall(r"`polar_portal/base.html` has the blocks (.*?), and nothing else", DOCS, re.DOTALL)
    source = (TEMPLATES / "base.html").read_text(encoding="utf-8")
    assert sorted(re.findall(r"`(\w+)`", told)) == sorted(re.findall(r"{% block (\w+) %}", source))


def test_every_custom_property_and_class_of_the_stylesheet_is_told() -> None:
    css = (ROOT / "polar_portal" / "static" / "polar_portal" / "polar_portal.css").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"^ +(--polar-[\w-]+): (.*);", part, re.MULTILINE)) for part in css.split("@supports")
    )
    told = re.findall(r"^\| `(--[\w-]+)` \| `(#\w+)` \| `(#\w+)` \|", DOCS, re.MULTILINE)
    assert {name: value for name, value, _ in told} == light
    assert {name: f"light-dark({value}, {other})" for name, value, other in told} == dark
    classes = re.findall(
        r"`(polar-portal[\w-]*)`", "".join(re.findall(r"^\| (`polar-portal.*?) \|", DOCS, re.MULTILINE))
    )
    assert len(set(classes)) == len(classes)
    assert set(classes) == set(re.findall(r"\.(polar-portal[\w-]*)", css)) - {"polar-portal-turn"}
    used = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES.iterdir())
    assert set(re.findall(r"polar-portal[\w-]*", used)) == set(classes)


ORDER = SimpleNamespace(polar_order_id=UUID("3f2504e0-4f89-41d3-9a0c-0305e82c3301"))


def rendered(source: str, user: Any = None, **context: Any) -> str:
    request = RequestFactory().get("/")
    request.user = user or AnonymousUser()
    return Template("{% load polar_portal %}" + source).render(Context({"request": request, "order": ORDER, **context}))


def test_every_tag_and_filter_is_told() -> None:
    assert sorted(sections(TAGS, "###")) == sorted(register.tags)
    filters = re.findall(r"^\| `(\w+)` \| `({{ .*? }})` \| `(.*?)` \|", TAGS, re.MULTILINE)
    assert sorted(name for name, _, _ in filters) == sorted(register.filters)
    for _, example, gives in filters:
        assert rendered(example.replace("\\|", "|")) == gives


@pytest.mark.parametrize("name", [name for name, text in sections(TAGS, "###").items() if "```html\n" in text])
def test_a_tag_renders_what_is_told(name: str) -> None:
    section = sections(TAGS, "###")[name]
    (example,) = re.findall(r"```html\+django\n(.*?)```", section, re.DOTALL)
    (html,) = re.findall(r"```html\n(.*?)```", section, re.DOTALL)
    assert name in example
    used: list[str] = []

    def note(template: Template, **kwargs: Any) -> None:
        used.extend([template.name] if template.name else [])

    template_rendered.connect(note)
    assert rendered(example, csrf_token="PzuY…").strip() == html.strip()
    assert re.findall(r"Renders the template `(.*?)`", section) == used
    # Without an order nothing of it is left, without a token none is sent.
    without = rendered(example, order=None)
    assert "3f2504e0" not in without
    assert "csrfmiddlewaretoken" not in without


def test_what_a_tag_says_of_an_invoice_is_told(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    section = sections(TAGS, "###")["polar_invoice"]
    attributes, statuses = (
        re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
        for table in section.partition("## ")[0].split("| `status` | means |")
    )
    assert attributes == [field.name for field in fields(Invoice)]
    source = Path(tags.__file__).read_text(encoding="utf-8")
    assert set(statuses) == {*tags._STATUSES.values(), *re.findall(r'Invoice\("(\w+)"', source)}
    (example,) = re.findall(r"```html\+django\n(.*?)```", section, re.DOTALL)
    order = fake_polar.add_order(ada_at_polar)
    assert "Make invoice" in rendered(example, ada, order=order.id)
    CustomerPortal(ada).generate_invoice(order.id)
    assert "being made" in rendered(example, ada, order=order.id)
    fake_polar.finish_jobs()
    cache.clear()
    assert f'<a href="/billing/orders/{order.id}/invoice/">Download' in rendered(example, ada, order=order.id)


def test_every_variable_of_a_template_is_told() -> None:
    # What a template makes itself, with `as`, `with` or `for`, and what Django gives to every page.
    everywhere = {"language", "bidi", "forloop", "block", "request", "user", "csrf_token"}
    for name, context in told().items():
        source = (TEMPLATES / name).read_text(encoding="utf-8")
        made = set(re.findall(r"\bas (\w+)\b|\bfor (\w+) in|\b(\w+)=", source))
        own = {each for names in made for each in names if each}
        used = set(re.findall(r"{{ ?(\w+)", source)) | set(re.findall(r"{% (?:el)?if (?:not )?(\w+)", source))
        assert used - own - everywhere <= context, name


def public(kind: type) -> dict[str, Any]:
    """What a class offers, inherited or not, without the twins of its methods for async code."""
    names = {
        name: value
        for base in reversed(kind.__mro__[:-1])
        for name, value in vars(base).items()
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
    }
    return {name: value for name, value in names.items() if name.removeprefix("a") not in names or name[0] != "a"}


def arguments(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def documented(kind: Any, title: str) -> list[str]:
    """The names that a docstring tells under this title, for Sphinx to find."""
    section = f"{inspect.getdoc(kind)}\n\n".partition(f"{title}:\n")[2].partition("\n\n")[0]
    return re.findall(r"^    ([\w, ]+): ", section, re.MULTILINE)


def test_every_method_of_the_service_layer_is_told() -> None:
    told = re.findall(r"^\| `(\w+)\((.*?)\)` \| (yes|no) \|", sections(PYTHON)["Service layer"], re.MULTILINE)
    assert [name for name, _, _ in told] == list(public(CustomerPortal))
    for name, given, staff in told:
        method = getattr(CustomerPortal, name)
        assert [each.partition("=")[0] for each in given.split(", ")] == arguments(method)
        for parameter, default in re.findall(r"(\w+)=([^,]+)", given):
            assert inspect.signature(method).parameters[parameter].default == ast.literal_eval(default)
        assert hasattr(OrganizationPortal, name) is (staff == "yes")
        assert documented(method, "Args") == arguments(method)
    assert f"`{OrganizationPortal.__name__}(user=None)`" in PYTHON
    twins = {name for name in dir(CustomerPortal) if name[0] == "a" and name[1:] in public(CustomerPortal)}
    assert twins == {f"a{name}" for name in public(CustomerPortal)}, "each has one"


def test_everything_that_the_service_layer_returns_is_told() -> None:
    shown = re.findall(r"^\.\. autoclass:: polar_portal\.portal\.(\w+)", PYTHON, re.MULTILINE)
    assert sorted(shown) == sorted(portal.__all__)
    for kind in (portal.BillingAddress, Document, portal.OrderLine, portal.Page, portal.PortalOrder):
        assert documented(kind, "Attributes") == [field.name for field in fields(kind)], kind
        # Without a docstring Sphinx leaves it out.
        assert [name for name, value in public(kind).items() if isinstance(value, property) and not value.__doc__] == []


def test_every_exception_is_told_in_the_words_of_its_docstring() -> None:
    told = re.findall(r"^\| `(\w+)` \| (.*?) \|(.*)\|$", sections(PYTHON)["Exceptions"], re.MULTILINE)
    assert [f"{name}: Raised {when}" for name, when, _ in told] == [
        f"{kind.__name__}: {inspect.getdoc(kind)}" for kind in kinds_as_drawn()
    ]
    for name, _, also in told:
        djangos = [base.__name__ for base in getattr(exceptions, name).__mro__ if base.__module__.startswith("django")]
        assert re.findall(r"\w+", also) == djangos, name
    attributes = {*vars(exceptions.PolarError("")), "code", "status", "log_level"}
    assert set(documented(exceptions.PolarError, "Attributes")) == attributes


def kinds_as_drawn() -> list[Any]:
    """The exceptions in the order in which the module's docstring draws them."""
    names = re.findall(r"^(?:[├└]── )?(\w+) {3,}", exceptions.__doc__ or "", re.MULTILINE)
    return [getattr(exceptions, name) for name in names if name != "PolarError"]


def test_every_signal_is_told_with_its_arguments() -> None:
    told = re.findall(r"^\| `(\w+)` \| (.*?) \|", sections(PYTHON)["Signals"], re.MULTILINE)
    assert [name for name, _ in told] == [name for name, value in vars(signals).items() if isinstance(value, Signal)]
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "polar_portal").rglob("*.py"))
    for name, text in told:
        sent = {tuple(re.findall(r"(\w+)=", call)) for call in re.findall(rf"announce\({name}, (.*)\)\n", source)}
        assert sent == {tuple(name for name in re.findall(r"(?:^|; )`(\w+)`", text))}, name


def test_every_field_of_a_model_is_told() -> None:
    told = sections(PYTHON.partition("## Models")[2].partition("\n## ")[0], "###")
    assert sorted(told) == sorted(model.__name__ for model in apps.get_app_config("polar_portal").get_models())
    for name, section in told.items():
        rows = "".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE))
        # What nobody may edit in a form is for our own code.
        ours = [field.name for field in getattr(models, name)._meta.fields if field.editable and field.name != "id"]
        assert sorted(re.findall(r"`(\w+)`", rows)) == sorted(ours)
    outcomes = re.findall(r"^\| `outcome` \| (.*?) \(", told["WebhookDelivery"], re.MULTILINE)
    assert re.findall(r"`(\w+)`", outcomes[0]) == models.WebhookDelivery.Outcome.values


def test_everything_of_the_mixin_is_told() -> None:
    told = re.findall(r"^\| `(\w+)(?:\(request\))?` \|", sections(PYTHON)["Admin"], re.MULTILINE)
    inherited = {"get_urls", "actions", "media"}
    assert sorted(told) == sorted(
        name for name in vars(admin.InvoiceActionMixin) if not name.startswith("_") and name not in inherited
    )
    assert f'`"{admin.InvoiceActionMixin.polar_order_id_field}"` unless set' in PYTHON
    (most,) = re.findall(r"up to (\d+) come as one zip", PYTHON)
    paths = (ROOT / "polar_portal").rglob("*.py")
    assert any(f"MOST_AT_ONCE = {most}\n" in path.read_text(encoding="utf-8") for path in paths)


def test_everything_of_the_fake_is_told() -> None:
    rows = re.findall(r"^\| (`.*?) \| .* \|$", sections(TESTING)["FakePolar"], re.MULTILINE)
    told = re.findall(r"`(\w+)(\()?(.*?)\)?`", " ".join(rows))
    ours = {name for name in dir(FakePolar()) if not name.startswith("_")}
    assert sorted(name for name, _, _ in told) == sorted(ours)
    (call,) = re.findall(r"^`FakePolar\((.*?)\)`", TESTING, re.MULTILINE)
    assert re.findall(r"(\w+)=", call) == list(inspect.signature(FakePolar).parameters)
    for name, called, given in [("__init__", "(", call), *told]:
        value: Any = getattr(FakePolar, name, None)
        assert inspect.isfunction(value) is bool(called), name
        for parameter, default in re.findall(r"(\w+)(?:=([^,]+))?", given):
            usual = inspect.signature(value).parameters[parameter].default
            assert default == "" or usual == ast.literal_eval(default), name
    for name, default in re.findall(r"^\| `(\w+)` \| [^|]*, `?(\d+|False)`? \|$", TESTING, re.MULTILINE):
        assert getattr(FakePolar(), name) == ast.literal_eval(default), name
    (lives,) = re.findall(r"^\| `session_seconds`, `url_seconds` \| .*, (\d+ and \d+) \|$", TESTING, re.MULTILINE)
    assert lives == f"{FakePolar().session_seconds} and {FakePolar().url_seconds}"
    assert set(re.findall(r"automethod:: FakePolar\.(\w+)", TESTING)) <= ours


def test_everything_that_the_fake_hands_out_is_told() -> None:
    told = re.findall(r"^\| `(\w+)` \| (.*) \|$", sections(TESTING)["What it hands out"], re.MULTILINE)
    assert sorted([*[name for name, _ in told], "FakePolar"]) == sorted(testing.__all__)
    for name, text in told:
        kind = getattr(testing, name)
        names = re.findall(r"`(\w+)`", re.sub(r"\(.*?\)(?!`)", "", text))
        there = {field.name for field in fields(kind)} | set(public(kind))
        assert set(names) <= there, name
        assert "and more" in text or {field.name for field in fields(kind)} <= set(names), name


def test_the_examples_for_tests_pass(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", TESTING, re.DOTALL)
    for number, block in enumerate(blocks):
        name, _, _ = block.removeprefix("# ").partition("\n")
        file = tmp_path / (name if block.startswith("# ") else f"test_{number}.py")
        file.parent.mkdir(exist_ok=True)
        file.write_text(block, encoding="utf-8")
    (tmp_path / "shop" / "__init__.py").touch()
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    passed = len(re.findall(r"^def test_", TESTING, re.MULTILINE))
    config = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-p", "no:cacheprovider"]
    assert f"{passed} passed" in run("pytest", "-q", *config, str(tmp_path))
    assert "Ran 1 test" in run("django", "test", "shop", "--settings", "tests.settings")
    assert passed == 7


def default_of(name: str) -> Any:
    with override_settings():
        for each in [each for each in dir(settings) if each.startswith("POLAR_")]:
            delattr(settings, each)
        return getattr(conf, name)


def test_every_setting_is_told_with_its_default() -> None:
    told = {name: section for name, section in sections(SETTINGS).items() if name.startswith("POLAR_")}
    assert list(told) == re.findall(r"^\| `(POLAR_\w+)` \|", README, re.MULTILINE)
    assert told.keys() == {name for name in vars(Conf) if name.startswith("POLAR_")}
    in_words = []
    in_the_readme = dict(re.findall(r"^\| `(POLAR_\w+)` \| (.*?) \|", README, re.MULTILINE))
    for name, section in told.items():
        (default,) = re.findall(r"^\| type \| default .*\n\|.*\n\| .*? \| (.*?) \|", section, re.MULTILINE)
        if re.fullmatch("`[^`]+`", default):
            assert ast.literal_eval(default.strip("`")) == default_of(name)
            assert in_the_readme[name] == default
        else:
            in_words.append(name)
            assert not in_the_readme[name].startswith("`"), name
    assert in_words == ["POLAR_ACCESS_TOKEN", "POLAR_BASE_URL", "POLAR_WEBHOOK_SECRET", "POLAR_RETURN_URL"]
    with pytest.raises(PolarMisconfigured):
        default_of("POLAR_ACCESS_TOKEN")
    assert all(f"`{url}`" in told["POLAR_BASE_URL"] for url in SERVERS.values())
    assert (default_of("POLAR_WEBHOOK_SECRET"), default_of("POLAR_RETURN_URL")) == ([], "")


def wrong_values() -> list[Any]:
    """Each wrong value that is told: the setting, the value, DEBUG where it matters, the check."""
    row = r"^\| `(.+?)`(?: while `DEBUG` is `(True|False)`)? \| `([EW]\d{3})` \|"
    return [
        pytest.param(name, value, debug, check, id=f"{name} = {value}")
        for name, section in sections(SETTINGS).items()
        for value, debug, check in re.findall(row, section, re.MULTILINE)
    ]


@pytest.mark.parametrize(("name", "value", "debug", "check"), wrong_values())
def test_a_wrong_value_is_named_by_the_check_that_is_told(
    name: str, value: str, debug: str, check: str, fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    sound = {
        "DEBUG": debug == "True",
        "POLAR_BASE_URL": "",
        "POLAR_SERVER": "sandbox" if debug == "True" else "production",
        "SILENCED_SYSTEM_CHECKS": [],
    }
    wrong = {name: eval(value, {"float": float})}  # noqa: S307 - our own page
    with override_settings(**sound):
        usual = {message.id for message in run_checks(tags=["polar_portal"])}
    with override_settings(**{**sound, **wrong}):
        found = {message.id for message in run_checks(tags=["polar_portal"])} - usual
    assert found == {f"polar_portal.{check}"}
    if check.startswith("W"):
        return
    # An error is one for who needs the setting, too, and in so many words.
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    client = Client()
    client.force_login(ada)
    if name == "POLAR_SERVER":
        wrong |= {"POLAR_BASE_URL": ""}
    with override_settings(**wrong):
        answers = [
            client.get(f"/billing/orders/{order.id}/invoice/", headers=JSON),
            client.post("/billing/portal/", headers=JSON),
            client.post("/billing/webhook/", headers=JSON),
        ]
    assert "misconfigured" in [answer.json().get("error") for answer in answers if answer.status_code == 500]


def test_every_check_of_a_setting_is_told_there() -> None:
    told = set(re.findall(r"`([EW]\d{3})`", SETTINGS))
    assert told == {check_id for check_id, _, _ in checks.CHECKS} - {"E010"}  # that one is about the URLs


def test_unset_is_told_of_each_setting() -> None:
    (paragraph,) = re.findall(r"^`None` and `\"\"` count as not set (.*?)\n\n", SETTINGS, re.MULTILINE | re.DOTALL)
    told = re.findall(r"`(POLAR_\w+)`", paragraph)
    for name in [name for name in vars(Conf) if name.startswith("POLAR_")]:
        for nothing in (None, ""):
            with override_settings(POLAR_SERVER="production", **({} if name == "POLAR_SERVER" else {name: nothing})):
                if name == "POLAR_SERVER":
                    continue
                try:
                    unset = getattr(conf, name) == default_of(name)
                except PolarMisconfigured as wrong:
                    unset = "is not set" in str(wrong)
            assert unset is (name in told), (name, nothing)


def test_every_setting_of_djangos_is_told() -> None:
    told = re.findall(
        r"`([A-Z_]+)`", "".join(re.findall(r"^\| (`.*?) \|", sections(SETTINGS)["Django's own"], re.MULTILINE))
    )
    source = Path(conf_module.__file__).read_text(encoding="utf-8")
    read = set(re.findall(r'\bsettings\.([A-Z_]+)|_read\("((?!POLAR_)[A-Z_]+)"', source))
    assert set(told) == {*(name for names in read for name in names if name), "LOGIN_URL"}  # that one Django reads


def test_every_url_is_told_with_its_path_and_methods() -> None:
    told = re.findall(r"^\| `(\w+)` \| (`.+?`) \| ([A-Z, ]+) \|", URLS, re.MULTILINE)
    names = {pattern.callback.view_class: pattern.name for pattern in urls.urlpatterns if pattern.name}
    paths: dict[str, list[str]] = {}
    for pattern in urls.urlpatterns:
        paths.setdefault(names[pattern.callback.view_class], []).append(str(pattern.pattern))
    assert {name: re.findall("`(.+?)`", path) for name, path, _ in told} == paths
    assert [name for name, _, _ in told] == [name for name in sections(URLS) if name in paths], "a section for each"
    for view, name in names.items():
        methods = [method for method in ("get", "post", "put", "patch", "delete") if hasattr(view, method)]
        assert {name: methods for name, _, methods in told}[name] == ", ".join(methods).upper()


def test_every_code_of_an_answer_is_told_with_its_status() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", URLS, re.MULTILINE))
    ours = {code: str(kind.status) for code, kind in kinds().items() if code != "webhook_not_verified"}
    assert told == {"not_authenticated": "401", **ours}
    source = Path(views.__file__).read_text(encoding="utf-8")
    webhook = dict(re.findall(r"^\| .+? \| (\d{3}).* \| `(\w+)` \|", sections(URLS)["webhook"], re.MULTILINE))
    refusals = dict(re.findall(r'refused\((\d{3}), "(\w+)"', source))
    assert webhook == {**refusals, "403": "webhook_not_verified", "500": "misconfigured"}


@pytest.fixture
def answers(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> dict[str, Any]:
    """What is answered in each case that the page of the URLs tells, as HTML and as JSON, by section and row."""
    client = Client()
    client.force_login(ada)
    ready, unmade = fake_polar.add_order(ada_at_polar, invoice=True), fake_polar.add_order(ada_at_polar)
    waited, nameless = fake_polar.add_order(ada_at_polar), fake_polar.add_order(ada_at_polar, billing_address=None)
    good = {"name": "Ada Byron", "line1": "2 rue des Écoles", "postal_code": "75005", "city": "Paris"}

    def ask(method: str, path: str, data: Any = None) -> tuple[Any, Any]:
        html, json = ({"accept": "text/html"}, JSON)
        return tuple(getattr(client, method)(f"/billing/{path}", data, headers=headers) for headers in (html, json))

    def order(order: FakeOrder, what: str = "") -> str:
        return f"orders/{order.id}/{what}"

    with time_machine.travel(datetime(2026, 11, 25, 12, tzinfo=timezone.utc), tick=False):
        return {
            "order_list": ask("get", "orders/"),
            "order_detail": ask("get", order(ready)),
            "invoice: ready": ask("get", order(ready, "invoice/")),
            "invoice: not made yet": ask("get", order(unmade, "invoice/")),
            "invoice: Polar makes it, or has it": ask("post", order(waited, "invoice/")),
            "invoice: being prepared": ask("get", order(waited, "invoice/")),
            "invoice: no billing details": ask("post", order(nameless, "invoice/")),
            "receipt": ask("get", order(ready, "receipt/")),
            "billing_details": ask("get", order(ready, "billing-details/")),
            "billing_details: good": ask("post", order(ready, "billing-details/"), good),
            "billing_details: a field is refused, by us or by Polar": ask(
                "post", order(ready, "billing-details/"), {**good, "name": ""}
            ),
            "portal": ask("post", "portal/"),
        }


def test_every_row_about_an_url_is_true(answers: dict[str, Any]) -> None:
    seen = []
    for name, section in sections(URLS).items():
        for row, *cells in re.findall(r"^\| ([^|`-]+?) \| (\d{3}.*?) \| (\d{3}.*?) \|$", section, re.MULTILINE):
            seen.append(f"{name}: {row}")
            for answer, cell in zip(answers[seen[-1]], cells, strict=True):
                assert str(answer.status_code) == cell[:3], seen[-1]
                assert "Retry-After" not in cell or 1 <= int(answer["Retry-After"]) <= 3600
                assert ("`Refresh`" in cell) is ("Refresh" in answer), seen[-1]
                for template in re.findall(r"`(\w+\.html)`", cell):
                    assert f"polar_portal/{template}" in [each.name for each in answer.templates], seen[-1]
                for code in re.findall(r"\d `(\w+)`", cell):
                    assert answer.json()["error"] == code
                assert answer["Cache-Control"] == "private, no-store"
                assert {"Accept", "Cookie"} <= set(answer["Vary"].split(", "))
    assert sorted(seen) == sorted(name for name in answers if ": " in name)


def test_every_json_of_an_url_is_as_it_is_told(answers: dict[str, Any]) -> None:
    told = {
        name: [json.loads(block) for block in re.findall(r"```json\n(.*?)```", section, re.DOTALL)]
        for name, section in sections(URLS).items()
    }
    (listed,), (document,), (details, refused), (portal,) = (each for each in told.values() if each)
    assert list(listed) == list(answers["order_list"][1].json())
    assert list(listed["items"][0]) == list(answers["order_detail"][1].json())
    assert list(document) == list(answers["invoice: ready"][1].json())
    assert document["expires_at"] == answers["invoice: ready"][1].json()["expires_at"]
    assert details == answers["billing_details"][1].json()
    assert refused == answers["billing_details: a field is refused, by us or by Polar"][1].json()
    assert list(portal) == list(answers["portal"][1].json())


def test_every_template_that_an_url_shows_exists() -> None:
    assert set(re.findall(r"`(\w+\.html)`", URLS)) <= {path.name for path in TEMPLATES.iterdir()}


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


def kinds() -> dict[str, Any]:
    """Every exception by its code."""
    every: list[Any] = [getattr(exceptions, name) for name in exceptions.__all__ if name != "PolarError"]
    return {kind.code: kind for kind in every}


def test_every_failure_is_told_with_its_status_title_and_level() -> None:
    told = re.findall(r"^\| `(\w+)`, `(\w+)` \| (.*?) \| (\w+) \|", FAILURES, re.MULTILINE)
    assert {code: name for code, name, _, _ in told} == {code: kind.__name__ for code, kind in kinds().items()}
    for code, _, seen, level in told:
        kind = kinds()[code]
        assert level == logging.getLevelName(kind.log_level), code
        assert str(kind.status) in seen, code
        # Those that the customer does not read as a title: the form is shown, or nothing.
        if code not in {"billing_details_missing", "billing_details_invalid", "webhook_not_verified"}:
            assert f'"{TEXTS[code][0]}"' in seen, code


LINE = r"^([A-Z]+) (polar_portal\.[\w.]+) (\w+): (.*)$"


def test_every_failure_has_an_example_of_its_line() -> None:
    lines = re.findall(LINE, sections(FAILURES)["What customers meet"], re.MULTILINE)
    assert [code for _, _, code, _ in lines] == list(re.findall(r"^\| `([a-z_]+)`, `", FAILURES, re.MULTILINE))
    for level, name, code, message in lines:
        assert level == logging.getLevelName(kinds()[code].log_level)
        if name == "polar_portal.portal":
            assert re.fullmatch(r"[a-z ]+, order (-|[0-9a-f-]{36}), (user 7|the organization): \S.*", message)
        else:
            assert (name, code) == ("polar_portal.views", "webhook_not_verified")


def test_every_logger_is_told_with_its_levels() -> None:
    told = dict(re.findall(r"^\| `(polar_portal[\w.]*)` \| .* \| ([A-Z, ]+|as in .*) \|$", FAILURES, re.MULTILINE))
    package = ROOT / "polar_portal"
    writing = {}
    for path in package.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if "logging.getLogger(__name__)" in source:
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            writing[name] = set(re.findall(r"\blogger\.(debug|info|warning|error|exception|critical)\(", source))
    assert told.keys() == writing.keys()
    for name, levels in writing.items():
        assert levels <= {level.lower() for level in told[name].split(", ")} or told[name].startswith("as in"), name


def test_every_line_of_the_log_is_told() -> None:
    told = [
        *re.findall(r"^(?:[A-Z]+ polar_portal[\w.]* )?(\w.*)$", FAILURES, re.MULTILINE),
        *re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| (`.*?`) \|", FAILURES, re.MULTILINE))),
    ]
    refused = set()
    for path in (ROOT / "polar_portal").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        refused |= set(re.findall(r'tolerating_database\("(.*?)"\)', source))
        written = re.findall(r'logger\.\w+\((?:failure\.log_level, )?"(.*?)"', source)
        assert len(written) == len(re.findall(r"logger\.\w+\(", source)), path
        for text in written:
            if path.name != "database.py":  # that one's are told below, and those of exceptions in the tables
                assert any(re.match(re.sub("%[sr]", ".+", text.replace("(", r"\(")), each) for each in told), text
        for why in re.findall(r'_give_up\(f"(.*?)"\)', source):
            assert re.search("'default' " + re.sub("{.*?}|[()]", ".+?", why) + "; this click", FAILURES), why
    rows = re.findall(
        r"^\| (`.*?`) \|", FAILURES.partition("What the lines of `polar_portal.database` say")[2], re.MULTILINE
    )
    assert {text for row in rows for text in re.findall(r"`(.+?)`", row)} == refused


def test_as_many_faults_are_played_as_is_said() -> None:
    (said,) = re.findall(r"`make faults` plays more than (\d+)", FAILURES)
    assert int(said) < len(TABLE)
    assert len({row.name for row in TABLE}) == len(TABLE)


def test_what_a_line_is_said_to_say_is_what_the_code_says() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "polar_portal").rglob("*.py"))
    source = re.sub(r'"\n\s*f?"', "", source)  # texts that go on in the next line
    causes = FAILURES.partition("### polar_unavailable")[2].partition("## Faults at home")[0]
    said = re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| (`.*?) \|", causes, re.MULTILINE)))
    # In pieces: between them the code puts what it has met.
    pieces = [piece.strip() for each in said for piece in re.split(r"…|[(:)]|^[0-9]+ ", each)]
    assert [piece for piece in pieces if len(piece) > 7 and piece not in source] == []
    assert len(pieces) > 30


def test_every_command_is_told_with_its_options() -> None:
    told = {name: section for name, section in sections(COMMANDS).items() if name.startswith("polar_")}
    names = [name for name, app in get_commands().items() if app == "polar_portal"]
    assert sorted(told) == sorted(names)
    assert sorted(re.findall(r"^\| `(polar_\w+)` \|", sections(README)["Commands"], re.MULTILINE)) == sorted(names)
    of_django = options(BaseCommand())
    for name in names:
        ours = options(load_command_class("polar_portal", name))
        found = set(re.findall(r"(?<![\w-])--[a-z]+\b", told[name]))
        assert ours - of_django <= found <= ours, name


def options(command: BaseCommand) -> set[str]:
    parser = command.create_parser("manage.py", "command")
    return {text for action in parser._actions for text in action.option_strings if text.startswith("--")}


def test_every_cache_is_told_and_the_options_are_those_that_are_tested() -> None:
    page = (ROOT / "docs" / "howto" / "caches-and-databases.md").read_text(encoding="utf-8")
    promises = page.partition("| Django's cache |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| ([\w ]+) \|", promises, re.MULTILINE) == list(BACKENDS)
    options = [
        ast.literal_eval(value)
        for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and key.value == "OPTIONS"
    ]
    assert options == [REDIS_OPTIONS, MEMCACHED_OPTIONS, SQLITE_OPTIONS]
