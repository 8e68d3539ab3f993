"""Every page of the docs, and the README: what they name exists, where they lead is there, and what they show works."""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import get_commands
from django.template import engines
from django.test import Client, RequestFactory
from django.urls import get_resolver
from django.utils.module_loading import import_string

from example_project.shop.models import Purchase
from polar_portal import checks, exceptions
from polar_portal.conf import Conf
from polar_portal.exceptions import NotPermitted, PolarMisconfigured
from polar_portal.portal import CustomerPortal
from polar_portal.testing import FakeCustomer, FakeMember, FakePolar

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PATHS = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "SECURITY.md"])
PATHS = [path for path in PATHS if "_build" not in path.parts]
PAGES = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in PATHS}
CSS = (ROOT / "polar_portal" / "static" / "polar_portal" / "polar_portal.css").read_text(encoding="utf-8")

every_page = pytest.mark.parametrize("name", PAGES)


def snippets(name: str, language: str) -> list[str]:
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```$", PAGES[name], re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(each) for each in found]


def prose(name: str) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", PAGES[name], flags=re.DOTALL | re.MULTILINE)


def anchors(page: str) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    page = re.sub(r"^ *```.*?^ *```$", "", page, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


# What is named exists


@every_page
def test_python_compiles_and_what_it_imports_of_ours_exists(name: str) -> None:
    for snippet in snippets(name, "python"):
        for node in ast.walk(ast.parse(snippet)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "polar_portal":
                module = __import__(node.module or "", fromlist=["*"])
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


@every_page
def test_settings_exist(name: str) -> None:
    # Those that the development of this very project knows besides.
    others = {"POLAR_GENUINE_DELIVERY", "OLD_POLAR_WEBHOOK_SECRET"}
    assert set(re.findall(r"\b(?:OLD_)?POLAR_[A-Z_]*[A-Z]\b", PAGES[name])) - others <= set(vars(Conf))


@every_page
def test_url_names_tags_and_filters_exist(name: str) -> None:
    from polar_portal.templatetags.polar_portal import register

    urls = {str(key) for key in get_resolver("polar_portal.urls").reverse_dict if isinstance(key, str)}
    assert set(re.findall(r"polar_portal:(\w+)", PAGES[name])) <= urls
    assert set(re.findall(r"{% (polar_\w+)", PAGES[name])) <= register.tags.keys()
    assert set(re.findall(r"\|(polar_\w+)", PAGES[name])) <= register.filters.keys()


@every_page
def test_commands_checks_and_custom_properties_exist(name: str) -> None:
    ours = {command for command, app in get_commands().items() if app == "polar_portal"}
    commands = set(re.findall(r"(?:manage\.py |`)(polar_(?:check|sync|export|clear|rerun)\w*)", PAGES[name]))
    assert commands <= ours
    ids = {check_id for check_id, _, _ in checks.CHECKS}
    assert set(re.findall(r"polar_portal\.([EW]\d+)", PAGES[name])) <= ids
    assert set(re.findall(r"(--polar-[\w-]+\w)", PAGES[name])) <= set(re.findall(r"--polar-[\w-]+", CSS))


@every_page
def test_dotted_names_and_exceptions_exist(name: str) -> None:
    for dotted in re.findall(r"`(polar_portal(?:\.\w+)+)`", prose(name)):
        # A permission, a check, a logger or a database's table is named like a module.
        if re.search(r"\.(\w+_\w+|[EW]\d+|order|views|models|events|cache|portal|export|mirror)$", dotted):
            continue
        try:
            __import__(dotted)
        except ImportError:
            import_string(dotted)
    for kind in re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)`", prose(name)):
        if kind.startswith(("Polar", "Order", "NotA", "NotP", "Invoice", "Document", "Billing", "Rate", "Receipt")):
            known = {*exceptions.__all__, "InvoiceActionMixin", "OrderLine", "BillingAddress", "InvoiceDoesNotExist"}
            known |= {"PolarRequestValidationError", "OrganizationPortal"}
            assert kind in known or kind in dir(__import__("polar_portal.portal", fromlist=["*"])), kind


@every_page
def test_files_of_this_project_exist(name: str) -> None:
    for path in re.findall(r"`((?:polar_portal|tests|benchmarks|example_project|docs)/[\w/.]+)`", prose(name)):
        places = [ROOT, ROOT / "polar_portal" / "templates", ROOT / "polar_portal" / "static"]
        assert any((place / path).exists() for place in places), path


@every_page
def test_html_is_a_template(name: str) -> None:
    for snippet in snippets(name, "html"):
        engines["django"].from_string(snippet)


# Where it leads is there


@every_page
def test_links_lead_to_a_page_and_a_heading(name: str) -> None:
    here = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", PAGES[name], flags=re.DOTALL)):
        if re.match(r"https?:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (here.parent / file).resolve() if file else here
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("docs/")])
def test_the_index_leads_to_every_page(name: str) -> None:
    folders = re.findall(r"^(\w+)/\*$", PAGES["docs/index.md"], re.MULTILINE)
    pages = re.findall(r"^([\w-]+)$", PAGES["docs/index.md"], re.MULTILINE)
    place = Path(name).relative_to("docs")
    assert place.parts[0] in folders if len(place.parts) > 1 else place.stem in [*pages, "index"]
    # What stands in the margin is not there for those who read it where it lies.
    links = {target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", PAGES["docs/index.md"])}
    assert str(place) in links | {"index.md", "security-policy.md"}


@pytest.mark.parametrize("path", sorted(path for path in (DOCS / "images").iterdir()), ids=lambda path: path.name)
def test_every_image_is_shown(path: Path) -> None:
    assert any(path.name in page for page in PAGES.values())


# What is shown works


class Shop:
    """The reader's project: modules that snippets make, and import one another from."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.module("shop")
        self.module("shop.models", Purchase=Purchase)

    def module(self, name: str, **contents: Any) -> ModuleType:
        module = ModuleType(name)
        vars(module).update(contents)
        self._monkeypatch.setitem(sys.modules, name, module)
        return module

    def write(self, name: str, snippet: str) -> ModuleType:
        module = self.module(name)
        exec(snippet, vars(module))  # noqa: S102 - our own pages
        return module


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(monkeypatch)


def run(snippet: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(snippet, names)  # noqa: S102 - our own pages
    return names


def snippet(name: str, holds: str) -> str:
    (found,) = [each for each in snippets(name, "python") if holds in each]
    return found


RESOLVERS = "docs/howto/users-and-customers.md"


def test_the_resolver_of_a_profile(shop: Shop, settings: Any, fake_polar: FakePolar, ada: User) -> None:
    at_polar = fake_polar.add_customer(None)
    fake_polar.add_order(at_polar)
    shop.write("shop.billing", snippet(RESOLVERS, "profile"))
    told = run(snippet(RESOLVERS, "POLAR_CUSTOMER_RESOLVER"))
    settings.POLAR_CUSTOMER_RESOLVER = told["POLAR_CUSTOMER_RESOLVER"]
    client = Client()
    client.force_login(ada)
    assert b"There is nothing to show yet" in client.get("/billing/orders/").content
    vars(ada)["profile"] = SimpleNamespace(polar_customer_id=at_polar.id)
    assert CustomerPortal(ada).orders().total == 1


@pytest.mark.parametrize("role", ["owner", "billing_manager", "member"])
def test_the_resolver_of_a_team(shop: Shop, settings: Any, fake_polar: FakePolar, ada: User, role: str) -> None:
    fake_polar.member_model = True
    member = FakeMember(role=role, external_id=str(ada.pk))
    fake_polar.add_order(fake_polar.add_customer("team-7", type="team", members=[member]))
    shop.write("shop.billing", snippet(RESOLVERS, "active_team"))
    settings.POLAR_CUSTOMER_RESOLVER = "shop.billing.polar_customer"
    vars(ada)["active_team"] = SimpleNamespace(pk=7)
    if role == "member":
        with pytest.raises(NotPermitted):
            CustomerPortal(ada).orders()
    else:
        assert CustomerPortal(ada).orders().total == 1


def test_a_team_without_its_member_is_told_in_the_words_of_the_page(
    settings: Any, fake_polar: FakePolar, ada: User
) -> None:
    fake_polar.member_model = True
    fake_polar.add_customer(str(ada.pk), type="team", members=[FakeMember(role="owner")])
    assert "`This customer is a team`" in " ".join(PAGES[RESOLVERS].split())
    with pytest.raises(PolarMisconfigured, match="This customer is a team"):
        CustomerPortal(ada).orders()


ORDERS = "docs/howto/own-order-model.md"


def test_an_order_is_recorded_once(shop: Shop, fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar, product="Teapot")
    record = shop.write("shop.purchases", snippet(ORDERS, "def record")).record
    for _ in range(2):
        record(fake_polar.merchant_order_body(order))
    purchase = Purchase.objects.get()
    assert (purchase.user, purchase.polar_order_id, purchase.amount) == (ada, order.id, order.total_amount)


def test_who_comes_back_from_the_checkout_has_a_purchase(
    shop: Shop, rf: RequestFactory, fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    thanks = shop.write("shop.views", snippet(ORDERS, "def thanks")).thanks
    request = rf.get("/thanks/")
    request.user = ada
    for _ in range(2):
        assert thanks(request).status_code == 302
    assert Purchase.objects.get().polar_order_id == order.id
    fake_polar.fail(status=503, times=None)
    fake_polar.add_order(ada_at_polar)
    assert thanks(request).status_code == 302, "also when Polar is away"


def test_a_refund_reaches_the_shops_own_order(
    shop: Shop,
    fake_polar: FakePolar,
    client: Client,
    ada: User,
    ada_at_polar: FakeCustomer,
    django_capture_on_commit_callbacks: Any,
) -> None:
    from polar_portal.signals import order_changed

    order = fake_polar.add_order(ada_at_polar)
    Purchase.objects.create(user=ada, product_name="Teapot", amount=5880, polar_order_id=order.id)
    listener = shop.write("shop.apps", snippet(ORDERS, "def note_status")).note_status
    try:
        fake_polar.refund(order)
        body, headers = fake_polar.webhook("order.refunded", order)
        with django_capture_on_commit_callbacks(execute=True):
            client.post("/billing/webhook/", body, content_type="application/json", headers=headers)
    finally:
        order_changed.disconnect(listener)
    assert Purchase.objects.get().status == "refunded"


def test_the_button_and_the_state_of_a_purchase(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    listed, single = snippets(ORDERS, "html")
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    purchases = [
        Purchase(product_name="Teapot", polar_order_id=order.id),
        Purchase(product_name="Paid in cash"),
    ]
    text = engines["django"].from_string(listed).render({"purchases": purchases})
    assert text.count("Download invoice") == text.count("Download receipt") == 1
    assert fake_polar.calls == []
    text = engines["django"].from_string(single).render({"purchase": purchases[0], "user": ada})
    assert f'<a href="/billing/orders/{order.id}/invoice/">Download invoice</a>' in text
    fresh = Purchase(polar_order_id=fake_polar.add_order(ada_at_polar).id)
    text = engines["django"].from_string(single).render({"purchase": fresh, "user": ada})
    assert "Have the invoice made" in text


LOOK = "docs/howto/own-look.md"
OWN_BASES = [
    "<html><head><title>{% block title %}{% endblock %}</title>{% block head %}{% endblock %}</head>"
    "<header>My shop</header>{% block content %}{% endblock %}</html>",
    "<html><head><title>{% block page_title %}{% endblock %}</title>{% block extra_head %}{% endblock %}</head>"
    "<header>My shop</header>{% block main %}{% endblock %}</html>",
]


@pytest.mark.parametrize("number", [0, 1], ids=["blocks of the same names", "blocks of other names"])
def test_our_pages_come_in_the_frame_of_the_shop(
    number: int, settings: Any, fake_polar: FakePolar, client: Client, ada: User, ada_at_polar: FakeCustomer
) -> None:
    *frames, button = snippets(LOOK, "html")
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    own = {
        "base.html": OWN_BASES[number],
        "polar_portal/base.html": frames[number],
        "polar_portal/button.html": button,
    }
    loaders = [
        ("django.template.loaders.locmem.Loader", own),
        "django.template.loaders.app_directories.Loader",
    ]
    (engine,) = settings.TEMPLATES
    settings.TEMPLATES = [{**engine, "APP_DIRS": False, "OPTIONS": {**engine["OPTIONS"], "loaders": loaders}}]
    client.force_login(ada)
    page = client.get(f"/billing/orders/{order.id}/").content.decode()
    assert "<header>My shop</header>" in page
    assert "<title>Pro Plan</title>" in page
    assert '<a class="btn btn-primary" href="' in page
    ready = client.get(f"/billing/orders/{order.id}/invoice/?waiting=1").content.decode()
    assert '<meta name="referrer" content="same-origin">' in ready.partition("</head>")[0]


def test_the_snippets_for_tests_pass(fake_polar: FakePolar, client: Client, django_user_model: Any, db: None) -> None:
    from django.core.cache import cache

    given = {"fake_polar": fake_polar, "client": client, "django_user_model": django_user_model, "db": None}
    told = [*snippets("docs/howto/testing-your-shop.md", "python"), *snippets("docs/howto/webhooks.md", "python")]
    ran = []
    for each in told:
        if "def test_" not in each:
            continue
        names = run(each)
        for name, test in names.items():
            if name.startswith("test_"):
                cache.clear()
                fake_polar.clear_failures()
                django_user_model.objects.all().delete()
                for customer in list(fake_polar.customers.values()):
                    fake_polar.delete_customer(customer)
                arguments = test.__code__.co_varnames[: test.__code__.co_argcount]
                test(**{argument: given[argument] for argument in arguments})
                ran.append(name)
    assert len(ran) == 4


TASKS = "docs/howto/background-tasks.md"


def test_tasks_run_the_commands(shop: Shop, fake_polar: FakePolar, ada_at_polar: FakeCustomer, tmp_path: Path) -> None:
    from polar_portal.models import Order

    # Celery and Django 6's tasks, of which the functions know no more than the decorator.
    shop.module("celery", shared_task=lambda function: function)
    shop.module("django.tasks", task=lambda function: function)
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    for holds in ("def sync_orders", "from django.tasks import task"):
        tasks = shop.write("shop.tasks", snippet(TASKS, holds))
        zipped = tmp_path / f"{len(holds)}.zip"
        tasks.export_invoices("2020-01-01", "2999-01-01", str(zipped))
        assert zipped.is_file()
    tasks = shop.write("shop.tasks", snippet(TASKS, "def sync_orders"))
    for full in (False, True):
        tasks.sync_orders(full=full)
    tasks.clear_expired()
    assert Order.objects.get().pk == order.id


def test_the_schedule_names_tasks_that_are_there(shop: Shop) -> None:
    shop.module("celery", shared_task=lambda function: function)
    shop.module("celery.schedules", crontab=lambda **when: when)
    tasks = shop.write("shop.tasks", snippet(TASKS, "def sync_orders"))
    names = run(snippet(TASKS, "CELERY_BEAT_SCHEDULE"))
    for each in names["CELERY_BEAT_SCHEDULE"].values():
        assert callable(getattr(tasks, each["task"].removeprefix("shop.tasks.")))


class Again(Exception):
    def __init__(self, countdown: int) -> None:
        self.countdown = countdown


def test_the_task_that_prepares_an_invoice_comes_again(
    shop: Shop, fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    shop.module("celery", shared_task=lambda **options: lambda function: function)
    prepare = shop.write("shop.tasks", snippet(TASKS, "def prepare_invoice")).prepare_invoice
    myself = SimpleNamespace(retry=Again)
    order = fake_polar.add_order(ada_at_polar)
    fake_polar.fail("POST", "/invoice", status=503, times=None)
    with pytest.raises(Again) as again:
        prepare(myself, ada.pk, str(order.id))
    assert again.value.countdown > 0
    fake_polar.clear_failures()
    prepare(myself, ada.pk, str(order.id))
    fake_polar.finish_jobs()
    assert order.invoice_key
    without = fake_polar.add_order(ada_at_polar, billing_name=None, billing_address=None)
    prepare(myself, ada.pk, str(without.id))


def test_the_old_address_leads_to_ours(settings: Any, client: Client, shop: Shop, ada: User) -> None:
    (urls,) = [each for each in snippets("docs/howto/from-the-sdk.md", "python") if "RedirectView" in each]
    patterns = shop.write("shop.urls", urls).urlpatterns
    from django.urls import include, path

    patterns += [path("billing/", include("polar_portal.urls"))]
    settings.ROOT_URLCONF = "shop.urls"
    order_id = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
    client.force_login(ada)  # the tests' own site lets nobody else in
    response = client.get(f"/invoices/{order_id}/")
    assert (response.status_code, response["Location"]) == (301, f"/billing/orders/{order_id}/invoice/")


def test_the_second_cache_is_a_cache(settings: Any) -> None:
    code = "".join(each for each in snippets("docs/howto/redis.md", "python"))
    names = run(code)
    settings.CACHES = names["CACHES"]
    settings.POLAR_CACHE_ALIAS = names["POLAR_CACHE_ALIAS"]
    ids = {each.id for each in checks.check_installation(None)}
    assert not ids & {"polar_portal.E005", "polar_portal.W002", "polar_portal.W005"}


KEYS = "docs/howto/rotating-keys.md"


def test_sessions_go_on_when_a_key_is_rotated_as_the_page_says(
    settings: Any, monkeypatch: pytest.MonkeyPatch, fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    for _ in range(2):
        fake_polar.add_order(ada_at_polar, invoice=True)
    first, second = fake_polar.orders
    CustomerPortal(ada).invoice(first)
    monkeypatch.setenv("OLD_SECRET_KEY", settings.SECRET_KEY)
    monkeypatch.setenv("SECRET_KEY", "another one")
    rotated = run(snippet(KEYS, "SECRET_KEY_FALLBACKS"))
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = rotated["SECRET_KEY"], rotated["SECRET_KEY_FALLBACKS"]
    settings.POLAR_ACCESS_TOKEN = fake_polar.access_token = "polar_oat_the_second"
    CustomerPortal(ada).invoice(first)
    CustomerPortal(ada).invoice(second)
    assert fake_polar.count("POST", "/v1/customer-sessions/") == 1


def test_both_webhook_secrets_are_believed_while_they_are_rotated(
    settings: Any, monkeypatch: pytest.MonkeyPatch, client: Client, db: None
) -> None:
    old, new = FakePolar(), FakePolar()
    monkeypatch.setenv("POLAR_WEBHOOK_SECRET", new.webhook_secret)
    monkeypatch.setenv("OLD_POLAR_WEBHOOK_SECRET", old.webhook_secret)
    settings.POLAR_WEBHOOK_SECRET = run(snippet(KEYS, "OLD_POLAR_WEBHOOK_SECRET"))["POLAR_WEBHOOK_SECRET"]
    for polar in (old, new, FakePolar()):
        body, headers = polar.webhook("customer.created", polar.add_customer("1"))
        answer = client.post("/billing/webhook/", body, content_type="application/json", headers=headers)
        assert answer.status_code == (204 if polar in (old, new) else 403)


STRICT = "docs/howto/strict-settings.md"


@pytest.mark.parametrize("name", ["CSRF_USE_SESSIONS", "CSRF_COOKIE_HTTPONLY"])
def test_a_strict_csrf_setting_works(
    name: str, settings: Any, fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    assert f"`{name}`" in PAGES[STRICT]
    setattr(settings, name, True)
    order = fake_polar.add_order(ada_at_polar)
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    address = f"/billing/orders/{order.id}/invoice/"
    (token,) = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', client.get(address).content.decode())
    assert client.post(address, {"csrfmiddlewaretoken": token}).status_code == 303
    assert client.post(address).status_code == 403


def test_the_policy_of_the_page_is_one_that_django_sends(settings: Any, client: Client) -> None:
    pytest.importorskip("django.utils.csp", reason="this Django is older than 6.0")
    names: dict[str, Any] = {"MIDDLEWARE": settings.MIDDLEWARE}
    exec(snippet(STRICT, "SECURE_CSP"), names)  # noqa: S102 - our own page
    settings.MIDDLEWARE, settings.SECURE_CSP = names["MIDDLEWARE"], names["SECURE_CSP"]
    policy = client.get("/billing/orders/")["Content-Security-Policy"]
    assert sorted(policy.split("; ")) == ["default-src 'self'", "form-action 'self'"]


SPA = "docs/howto/single-page-front-end.md"


def test_every_address_of_the_front_ends_page_answers_as_it_is_told(
    fake_polar: FakePolar, client: Client, ada: User, ada_at_polar: FakeCustomer
) -> None:
    order = fake_polar.add_order(ada_at_polar)
    bare = fake_polar.add_order(ada_at_polar, billing_name=None, billing_address=None)
    client.force_login(ada)
    json = {"Accept": "application/json"}
    at = f"/billing/orders/{order.id}"
    assert client.get("/billing/orders/?page=1", headers=json).json().keys() == {"items", "page", "pages", "total"}
    one = client.get(f"{at}/", headers=json).json()
    assert one["invoice"] == f"{at}/invoice/"
    assert client.get(f"{at}/invoice/", headers=json).json()["error"] == "invoice_not_generated"
    pending = client.post(f"{at}/invoice/", headers=json)
    assert (pending.status_code, pending.json()["error"]) == (202, "pending")
    assert pending.json()["retry_after"] >= 1
    missing = client.post(f"/billing/orders/{bare.id}/invoice/", headers=json)
    assert (missing.status_code, missing.json()["error"]) == (422, "billing_details_missing")
    assert "locked" in client.get(f"{at}/billing-details/", headers=json).json()
    invalid = client.post(f"{at}/billing-details/", {"name": ""}, headers=json)
    assert (invalid.status_code, invalid.json()["error"]) == (422, "billing_details_invalid")
    assert "name" in invalid.json()["fields"]
    assert client.post("/billing/portal/", headers=json).json().keys() == {"url"}
    fake_polar.fail(status=503, times=None)
    assert client.get("/billing/orders/", headers=json).json()["stale"] is True
    client.logout()
    nobody = client.get("/billing/orders/", headers=json)
    assert (nobody.status_code, nobody.json()["error"]) == (401, "not_authenticated")
