"""One kept session per user and scope: when it is made, kept, renewed, and never more often than needed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import AnonymousUser, User
from django.db import DatabaseError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries, Settings

from polar_portal import customers
from polar_portal.conf import Secret
from polar_portal.exceptions import NotACustomer, PolarMisconfigured, PolarUnavailable, RateLimited
from polar_portal.models import CustomerSession
from polar_portal.portal import CustomerPortal, OrganizationPortal
from polar_portal.testing import FakeCustomer, FakeMember, FakePolar
from tests.conftest import asked

NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


def test_one_session_serves_all_orders(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    for _ in range(3):
        CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    assert asked(fake_polar) == ["POST session", "GET invoice", "GET invoice", "GET invoice"]
    assert CustomerSession.objects.count() == 1
    assert fake_polar.calls[0].body == {"external_customer_id": str(ada.pk)}
    assert fake_polar.calls[0].token == fake_polar.access_token
    assert len({call.token for call in fake_polar.calls[1:]}) == 1


def test_session_is_renewed_a_minute_before_it_ends(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    with time_machine.travel(NOON, tick=False) as now:
        CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
        assert CustomerSession.objects.get().expires_at == NOON + timedelta(hours=1)
        now.shift(timedelta(minutes=58, seconds=59))
        CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
        assert fake_polar.count("POST", "/customer-sessions/") == 1
        now.shift(timedelta(seconds=2))
        CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    # Renewed before use: Polar has refused nothing.
    assert asked(fake_polar) == [
        "POST session",
        "GET invoice",
        "GET invoice",
        "POST session",
        "GET invoice",
    ]
    assert CustomerSession.objects.count() == 1


def test_refused_session_is_renewed_once(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    fake_polar.expire_sessions()
    fake_polar.clear_calls()
    CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    assert asked(fake_polar) == ["GET invoice", "POST session", "GET invoice"]
    fake_polar.clear_calls()
    CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    assert asked(fake_polar) == ["GET invoice"]


def test_refused_for_ever_is_polar_unavailable(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    fake_polar.clear_calls()
    fake_polar.fail("GET", "/invoice", status=401, json={"error": "invalid_token"}, times=None)
    with pytest.raises(PolarUnavailable):
        CustomerPortal(ada).invoice(order.id)
    assert asked(fake_polar) == ["GET invoice", "POST session", "GET invoice"]


def test_a_user_causes_at_most_six_sessions_a_minute(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    fake_polar.fail("GET", "/invoice", status=401, json={"error": "invalid_token"}, times=None)
    with time_machine.travel(NOON, tick=False) as now:
        for _ in range(10):
            with pytest.raises((PolarUnavailable, RateLimited)):
                CustomerPortal(ada).invoice(order.id)
        assert fake_polar.count("POST", "/customer-sessions/") == 6
        with pytest.raises(RateLimited):
            CustomerPortal(ada).invoice(order.id)
        now.shift(61)
        with pytest.raises(PolarUnavailable):
            CustomerPortal(ada).invoice(order.id)


def test_refused_organization_token_is_our_mistake(fake_polar: FakePolar, ada: User) -> None:
    fake_polar.revoke_access_token()
    for act in (CustomerPortal(ada).invoice, OrganizationPortal().invoice):
        with pytest.raises(PolarMisconfigured, match="POLAR_ACCESS_TOKEN"):
            act("3f2504e0-4f89-41d3-9a0c-0305e82c3301")
    assert len(fake_polar.calls) == 2


def test_missing_scope_is_named(fake_polar: FakePolar, ada: User) -> None:
    fake_polar.scopes.remove("customer_sessions:write")
    with pytest.raises(PolarMisconfigured, match="lacks the scope customer_sessions:write"):
        CustomerPortal(ada).invoice("3f2504e0-4f89-41d3-9a0c-0305e82c3301")


@pytest.mark.parametrize("user", [None, AnonymousUser(), User(username="not saved")])
def test_nobody_is_no_customer_and_the_resolver_is_not_asked(
    fake_polar: FakePolar, user: Any, settings: Settings
) -> None:
    settings.POLAR_CUSTOMER_RESOLVER = "no.such.path"
    with pytest.raises(NotACustomer):
        CustomerPortal(user).invoice("3f2504e0-4f89-41d3-9a0c-0305e82c3301")


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"external_customer_id": "1", "customer_id": "2"},
        {"external_customer_id": ""},
        {"external_customer_id": 1},
        {"external_customer_id": "1", "email": "x"},
        {"member_id": "1"},
        "1",
        7,
    ],
)
def test_resolver_that_answers_nonsense_is_our_mistake(
    fake_polar: FakePolar, ada: User, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(customers, "by_primary_key", lambda user: answer)
    with pytest.raises(PolarMisconfigured, match="must return a dict"):
        CustomerPortal(ada).invoice("3f2504e0-4f89-41d3-9a0c-0305e82c3301")
    assert fake_polar.calls == []


def test_resolver_that_raises_is_our_mistake_and_tells_where(
    fake_polar: FakePolar, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolver(user: User) -> Any:
        raise LookupError("ada@shop.example has no profile")

    monkeypatch.setattr(customers, "by_primary_key", resolver)
    with pytest.raises(PolarMisconfigured, match=r"raised LookupError in resolver, line \d+") as failure:
        CustomerPortal(ada).invoice("3f2504e0-4f89-41d3-9a0c-0305e82c3301")
    assert "ada@" not in str(failure.value)
    assert failure.value.__cause__ is None


def test_unsaved_user_with_a_key_of_its_own_is_no_customer(fake_polar: FakePolar) -> None:
    with pytest.raises(NotACustomer):
        CustomerPortal(User(pk=7, username="not saved")).invoice("3f2504e0-4f89-41d3-9a0c-0305e82c3301")
    assert fake_polar.calls == []


def test_six_sessions_are_counted_by_the_minute_in_every_cache(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings, tmp_path: Any
) -> None:
    # Django's own `incr` keeps a counter of a file or database for ever where TIMEOUT is None.
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": str(tmp_path),
            "TIMEOUT": None,
        }
    }
    with time_machine.travel(NOON, tick=False) as now:
        for _ in range(10):
            CustomerPortal(ada).hosted_url()
            now.shift(30)
    assert fake_polar.count("POST", "/customer-sessions/") == 10


def test_resolver_may_say_that_a_user_is_no_customer(
    fake_polar: FakePolar, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(customers, "by_primary_key", lambda user: None)
    with pytest.raises(NotACustomer):
        CustomerPortal(ada).invoice("3f2504e0-4f89-41d3-9a0c-0305e82c3301")
    assert fake_polar.calls == []


def test_resolver_may_name_a_member_of_a_team(
    fake_polar: FakePolar, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_polar.member_model = True
    owner = FakeMember(role="owner", external_id="olga")
    team = fake_polar.add_customer(external_id="team", type="team", members=[owner])
    order = fake_polar.add_order(team, invoice=True)
    answer = {"customer_id": str(team.id), "external_member_id": "olga"}
    monkeypatch.setattr(customers, "by_primary_key", lambda user: answer)
    assert fake_polar.download(CustomerPortal(ada).invoice(order.id).url).status == 200
    assert fake_polar.calls[0].body == answer


def test_team_without_a_member_is_the_resolvers_mistake(
    fake_polar: FakePolar, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_polar.member_model = True
    fake_polar.add_customer(external_id=str(ada.pk), type="team", members=[FakeMember(role="owner")])
    with pytest.raises(PolarMisconfigured, match="member_id"):
        CustomerPortal(ada).invoice("3f2504e0-4f89-41d3-9a0c-0305e82c3301")


# How it is kept


def test_token_is_kept_as_ciphertext_bound_to_its_scope(
    fake_polar: FakePolar, ada: User, bob: User, ada_at_polar: FakeCustomer, bob_at_polar: FakeCustomer
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)
    CustomerPortal(ada).invoice(order.id)
    CustomerPortal(bob).invoice(fake_polar.add_order(bob_at_polar, invoice=True).id)
    hers, his = CustomerSession.objects.get(user=ada), CustomerSession.objects.get(user=bob)
    assert "polar_" not in hers.encrypted_token
    # A row copied to somebody else opens nothing there.
    his.encrypted_token = hers.encrypted_token
    his.save()
    fake_polar.clear_calls()
    CustomerPortal(bob).invoice(fake_polar.add_order(bob_at_polar, invoice=True).id)
    assert asked(fake_polar) == ["POST session", "GET invoice"]


def test_new_secret_key_with_its_fallback_costs_no_session(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings
) -> None:
    CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "the next one"
    fake_polar.clear_calls()
    CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    assert asked(fake_polar) == ["GET invoice"]


def test_new_secret_key_without_fallback_costs_one_session(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, settings: Settings
) -> None:
    CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    settings.SECRET_KEY = "the next one"
    fake_polar.clear_calls()
    for _ in range(2):
        CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    assert asked(fake_polar) == ["POST session", "GET invoice", "GET invoice"]


def test_damaged_row_is_replaced(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    CustomerSession.objects.update(encrypted_token="é not ours")
    CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    assert fake_polar.count("POST", "/customer-sessions/") == 2
    assert CustomerSession.objects.count() == 1


def test_sessions_go_with_their_user(fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer) -> None:
    CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    ada.delete()
    assert CustomerSession.objects.count() == 0


def test_a_database_that_keeps_nothing_costs_a_session_per_click(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise DatabaseError("attempt to write a readonly database")

    monkeypatch.setattr("django.db.models.query.QuerySet.update", refuse)
    for _ in range(2):
        CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
    assert asked(fake_polar) == ["POST session", "GET invoice"] * 2


def test_the_hosts_transaction_stays_usable(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column")

    monkeypatch.setattr("django.db.models.query.QuerySet.update", fail)
    with transaction.atomic():
        with CaptureQueriesContext(connection) as queries:
            CustomerPortal(ada).invoice(fake_polar.add_order(ada_at_polar, invoice=True).id)
        assert any(query["sql"].startswith("SAVEPOINT") for query in queries)
        User.objects.create_user("zoe")
    assert User.objects.filter(username="zoe").exists()


def test_a_database_that_is_gone_costs_no_answer_within_the_hosts_transaction_either(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer
) -> None:
    order = fake_polar.add_order(ada_at_polar, invoice=True)

    def gone(execute: Any, sql: str, *args: Any) -> Any:
        raise OperationalError("server closed the connection unexpectedly")

    # The savepoint is the first thing that fails.
    with connection.execute_wrapper(gone):
        assert CustomerPortal(ada).invoice(order.id)
    assert asked(fake_polar) == ["POST session", "GET invoice"]


@pytest.mark.django_db(transaction=True)
def test_queries_of_a_click(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    order, another = (fake_polar.add_order(ada_at_polar, invoice=True) for _ in range(2))
    CustomerPortal(ada).invoice(order.id)
    with django_assert_num_queries(0):
        CustomerPortal(ada).invoice(order.id)
    # The session, and before and after Polar is asked whether the order was edited.
    with django_assert_num_queries(3):
        CustomerPortal(ada).invoice(another.id)


def test_secret_hides_itself() -> None:
    secret = Secret("polar_oat_xyz")
    assert "xyz" not in f"{secret} {secret!r}"
    assert secret.reveal() == "polar_oat_xyz"
    import pickle

    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_scope_is_keyed_and_each_key_has_its_own(settings: Settings) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a", ["b"]
    first, fallback = customers.scopes("customer", "ada@shop.example")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "b", []
    # Without the key nobody can find out by trying whose a cache key or a row is.
    assert list(customers.scopes("customer", "ada@shop.example")) == [fallback]
    assert first != fallback
    assert list(customers.scopes("customer", "bob@shop.example")) != [fallback]
