"""POLAR_CUSTOMER_RESOLVER is the host's own code: whatever it answers or does, nobody becomes somebody else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils.functional import lazystr
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from polar_portal import customers
from polar_portal.exceptions import NotACustomer, PolarError, PolarMisconfigured
from polar_portal.portal import CustomerPortal
from polar_portal.testing import FakeCustomer, FakePolar

from .conftest import HTML, browser, quick, reported

ADDRESS = "ada@shop.example"


class Fickle(dict[str, Any]):
    """Says one thing when it is checked, and another when it is used."""

    asked = 0

    def items(self) -> Any:
        self.asked += 1
        return {"external_customer_id": "ada" if self.asked == 1 else "bob"}.items()


class Odd(Mapping[str, str]):
    """Fails when it is looked at."""

    def __getitem__(self, key: str) -> str:
        raise LookupError(ADDRESS)

    def __iter__(self) -> Iterator[str]:
        return iter(["external_customer_id"])

    def __len__(self) -> int:
        return 1


class Loud(str):
    """Is one text and shows another."""

    __slots__ = ()

    def __str__(self) -> str:
        return "bob"

    __repr__ = __format__ = __str__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class Stop(BaseException):
    pass


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Any:
    def answer(value: Any) -> None:
        monkeypatch.setattr(customers, "by_primary_key", lambda user: value)

    return answer


def sent(polar: FakePolar) -> list[Any]:
    return [call.body for call in polar.calls if call.method == "POST"]


def test_what_was_checked_is_what_is_used(fake_polar: FakePolar, ada: User, answer: Any) -> None:
    fake_polar.add_customer(external_id="ada")
    fake_polar.add_customer(external_id="bob")
    answer(Fickle())
    assert CustomerPortal(ada).orders().total == 0
    assert sent(fake_polar) == [{"external_customer_id": "ada"}]


def test_a_text_with_tricks_is_the_text_that_it_is(fake_polar: FakePolar, ada: User, answer: Any) -> None:
    hers = fake_polar.add_customer(external_id="ada")
    his = fake_polar.add_order(fake_polar.add_customer(external_id="bob"), invoice=True)
    order = fake_polar.add_order(hers, invoice=True)
    answer({"external_customer_id": Loud("ada")})
    assert fake_polar.download(CustomerPortal(ada).invoice(order.id).url).status == 200
    with pytest.raises(PolarError):
        CustomerPortal(ada).invoice(his.id)
    assert sent(fake_polar) == [{"external_customer_id": "ada"}]
    # And the scope is that of the text as well: the same customer by an ordinary string shares it.
    scope = CustomerPortal(ada)._identity().scope
    answer({"external_customer_id": "ada"})
    assert CustomerPortal(ada)._identity().scope == scope


@pytest.mark.parametrize(
    "value",
    [
        Odd(), [("external_customer_id", "1")], {"external_customer_id": b"1"}, {"external_customer_id": ["1"]},
        {"external_customer_id": lazystr("1")}, {b"external_customer_id": "1"}, {Loud("customer_id"): ""}, object(),
        {"external_customer_id": "1", "customer_id": None}, {"external_customer_id": "1", 7: "x"}, float("nan"), True,
    ],
    ids=range(12),
)  # fmt: skip
def test_nonsense_is_our_mistake_and_nobodys_customer(
    fake_polar: FakePolar, ada: User, answer: Any, value: Any
) -> None:
    answer(value)
    with pytest.raises(PolarMisconfigured) as failure:
        CustomerPortal(ada).orders()
    assert ADDRESS not in reported(failure.value)
    assert browser(ada).get("/billing/orders/", headers=HTML).status_code == 500
    assert fake_polar.calls == []


@pytest.mark.parametrize(
    "value",
    ["1\r\nX-Evil: 1", "\x00", "\ud800", "x" * 100_000, "../../customers/me", '"}, "customer_id": "2', "\u202eevil"],
    ids=range(7),
)
def test_hostile_text_reaches_polar_as_json_and_nothing_else(
    fake_polar: FakePolar, ada: User, answer: Any, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer({"external_customer_id": value})
    assert browser(ada).get("/billing/orders/", headers=HTML).status_code == 200, "nobody's customer: the friendly page"
    (call,) = fake_polar.calls
    assert (call.path, call.body) == ("/v1/customer-sessions/", {"external_customer_id": value})
    assert set(call.headers) <= {
        "accept", "authorization", "content-length", "content-type", "host", "polar-version", "user-agent",
        "accept-encoding", "connection",
    }  # fmt: skip
    assert value not in caplog.text


def test_an_error_of_its_own_shows_nothing_that_it_says(
    fake_polar: FakePolar, ada: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def resolver(user: User) -> Any:
        raise LookupError(ADDRESS)

    monkeypatch.setattr(customers, "by_primary_key", resolver)
    with pytest.raises(PolarMisconfigured) as failure:
        CustomerPortal(ada).orders()
    # Not even as what it is suppressed for.
    assert (failure.value.__cause__, failure.value.__context__) == (None, None)
    assert ADDRESS not in reported(failure.value) + caplog.text


def test_what_means_to_end_the_process_ends_it(
    fake_polar: FakePolar, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolver(user: User) -> Any:
        raise Stop

    monkeypatch.setattr(customers, "by_primary_key", resolver)
    with pytest.raises(Stop):
        CustomerPortal(ada).orders()


def test_a_module_that_fails_on_import_is_our_mistake(fake_polar: FakePolar, ada: User, settings: Settings) -> None:
    settings.POLAR_CUSTOMER_RESOLVER = "tests.security.broken_resolver.resolver"
    assert browser(ada).get("/billing/orders/", headers=HTML).status_code == 500
    with pytest.raises(PolarMisconfigured, match="can't be imported"):
        CustomerPortal(ada).orders()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
)
NAMES = st.sampled_from(["external_customer_id", "customer_id", "member_id", "external_member_id", "email"])


@quick(60)
@given(value=ANYTHING | st.dictionaries(NAMES, ANYTHING, max_size=3))
def test_any_answer_is_a_customer_or_one_of_ours(
    fake_polar: FakePolar, ada: User, ada_at_polar: FakeCustomer, value: Any
) -> None:
    fake_polar.clear_calls()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(customers, "by_primary_key", lambda user: value)
        try:
            CustomerPortal(ada).orders()
        except (NotACustomer, PolarMisconfigured, PolarError):
            pass
        else:
            assert value == {"external_customer_id": str(ada.pk)}
    # Whatever was asked, was asked for exactly what the resolver said.
    assert all(json.dumps(body, sort_keys=True) == json.dumps(value, sort_keys=True) for body in sent(fake_polar))
