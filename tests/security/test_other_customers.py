"""Another customer's order: by its id, the cache, as JSON, by receipt, form, tag, stale list and hosted portal."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.cache import cache
from django.template import Context, Template
from pytest_django import Settings

from polar_portal import customers
from polar_portal.exceptions import NotACustomer, NotPermitted, OrderNotFound, PolarUnavailable
from polar_portal.models import CustomerSession, Order
from polar_portal.portal import BillingAddress, CustomerPortal
from polar_portal.testing import FakeCustomer, FakeMember, FakeOrder, FakePolar
from tests.conftest import JSON

from .conftest import HTML, browser

#: Every address that names an order, with what is sent to it.
GOOD = {"name": "Eve", "line1": "1 Evil St", "city": "Paris", "postal_code": "75002", "country": "FR"}
WAYS: dict[str, tuple[str, str, Any]] = {
    "order": ("get", "", None),
    "invoice": ("get", "invoice/", None),
    "invoice waited for": ("get", "invoice/?waiting=0", None),
    "make invoice": ("post", "invoice/", {}),
    "receipt": ("get", "receipt/", None),
    "receipt waited for": ("get", "receipt/?waiting=0", None),
    "billing details": ("get", "billing-details/", None),
    "change billing details": ("post", "billing-details/", GOOD),
    "change billing details badly": ("post", "billing-details/", {}),
}
#: What of Ada's order nobody else may see.
HERS = ["Ada", "Lovelace", "Secret Plan", "rue de", "ada@shop.example", "X-Amz", "ACME"]


@pytest.fixture
def order(fake_polar: FakePolar, ada_at_polar: FakeCustomer) -> FakeOrder:
    return fake_polar.add_order(ada_at_polar, product="Secret Plan", invoice=True)


def go(user: User | None, order_id: Any, way: str, **headers: str) -> Any:
    method, page, data = WAYS[way]
    return getattr(browser(user), method)(f"/billing/orders/{order_id}/{page}", data, headers=headers or HTML)


def shows_nothing_of_hers(response: Any) -> bool:
    told = response.text + str(dict(response.headers))
    return not any(text in told for text in HERS)


def everything_her_own_clicks_leave(user: User, order: FakeOrder) -> None:
    """Each page once, so that whatever may be in the cache or in the database is there."""
    for way in ("order", "invoice", "receipt", "billing details"):
        assert go(user, order.id, way).status_code in {200, 202, 302}, way
    CustomerPortal(user).orders()


# By its id, warm and cold


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("headers", [HTML, JSON], ids=["html", "json"])
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_an_order_of_hers_is_as_unknown_as_none(
    fake_polar: FakePolar,
    ada: User,
    bob: User,
    bob_at_polar: FakeCustomer,
    order: FakeOrder,
    way: str,
    headers: dict[str, str],
    warm: bool,
) -> None:
    before = (order.billing_name, order.billing_address)
    fake_polar.add_order(bob_at_polar, invoice=True)
    nobody = User.objects.create_user("carol")
    if warm:
        everything_her_own_clicks_leave(ada, order)
    fake_polar.clear_calls()
    answers = [
        go(bob, order.id, way, **headers),
        go(bob, uuid.uuid4(), way, **headers),
        go(nobody, order.id, way, **headers),
        go(ada, uuid.uuid4(), way, **headers),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1, "nobody can tell which orders exist"
    assert all(map(shows_nothing_of_hers, answers))
    assert (order.billing_name, order.billing_address) == before
    # His own session was asked with, never hers; and nothing was changed, even in Polar's hands.
    hers = {token for token, session in fake_polar.sessions.items() if session.customer is order.customer}
    his = [call for call in fake_polar.calls if str(order.id) in call.path]
    assert not hers & {call.token for call in his}
    assert [call.status for call in his if call.method in {"POST", "PATCH"}] in ([], [404])


def test_page_of_nobody_tells_nothing(fake_polar: FakePolar, ada: User, order: FakeOrder) -> None:
    everything_her_own_clicks_leave(ada, order)
    fake_polar.clear_calls()
    for way in WAYS:
        page, json = go(None, order.id, way), go(None, order.id, way, **JSON)
        assert (page.status_code, page["Location"].partition("?")[0]) == (302, "/sign-in/")
        assert json.status_code == 401
        assert shows_nothing_of_hers(page)
        assert shows_nothing_of_hers(json)
    assert fake_polar.calls == []


# By the cache


def test_each_user_has_entries_of_their_own(
    fake_polar: FakePolar, ada: User, bob: User, order: FakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two users of one customer: both may have it, but neither by what the other's session brought.
    monkeypatch.setattr(customers, "by_primary_key", lambda user: {"external_customer_id": str(ada.pk)})
    everything_her_own_clicks_leave(ada, order)
    hers = set(cache._cache)  # type: ignore[attr-defined]
    fake_polar.clear_calls()
    CustomerPortal(bob).invoice(order.id)
    assert [call.path.rsplit("/", 1)[-1] for call in fake_polar.calls] == ["", "invoice"]
    assert CustomerPortal(ada)._identity().scope != CustomerPortal(bob)._identity().scope
    shared = {key for key in set(cache._cache) - hers if "limit" not in key}  # type: ignore[attr-defined]
    assert shared
    assert CustomerSession.objects.values("scope").distinct().count() == 2


@pytest.mark.parametrize(
    "remapped", [{"external_customer_id": "2"}, {"customer_id": "bob"}, None], ids=["external", "id", "no customer"]
)
def test_who_is_remapped_leaves_everything_behind(
    fake_polar: FakePolar,
    ada: User,
    bob_at_polar: FakeCustomer,
    order: FakeOrder,
    monkeypatch: pytest.MonkeyPatch,
    remapped: Any,
) -> None:
    everything_her_own_clicks_leave(ada, order)
    if remapped and "customer_id" in remapped:
        remapped = {"customer_id": str(bob_at_polar.id)}
    elif remapped:
        remapped = {"external_customer_id": bob_at_polar.external_id}
    monkeypatch.setattr(customers, "by_primary_key", lambda user: remapped)
    for way in WAYS:
        answer = go(ada, order.id, way)
        assert answer.status_code == 404, way
        assert shows_nothing_of_hers(answer)
    # Not even when Polar is away and all there is, is what was listed before.
    fake_polar.fail(status=500, times=None)
    with pytest.raises((PolarUnavailable, NotACustomer)):
        CustomerPortal(ada).orders()


def test_mapped_back_she_finds_it_again(
    fake_polar: FakePolar, ada: User, bob_at_polar: FakeCustomer, order: FakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything_her_own_clicks_leave(ada, order)
    with monkeypatch.context() as patch:
        patch.setattr(customers, "by_primary_key", lambda user: {"customer_id": str(bob_at_polar.id)})
        assert go(ada, order.id, "invoice").status_code == 404
    fake_polar.clear_calls()
    assert go(ada, order.id, "invoice").status_code == 302
    assert fake_polar.calls == []


# Members of a team


@pytest.fixture
def team(fake_polar: FakePolar, monkeypatch: pytest.MonkeyPatch) -> Callable[[User, str], FakeMember]:
    """Make users members of one team, each as themselves."""
    fake_polar.member_model = True
    group = fake_polar.add_customer("team", type="team", members=[FakeMember(role="owner", external_id="owner")])
    monkeypatch.setattr(
        customers,
        "by_primary_key",
        lambda user: {"external_customer_id": "team", "external_member_id": f"user-{user.pk}"},
    )

    def join(user: User, role: str) -> FakeMember:
        member = FakeMember(role=role, external_id=f"user-{user.pk}")
        group.members.append(member)
        return member

    join.group = group  # type: ignore[attr-defined]
    return join


def test_members_without_a_billing_role_get_nothing_of_what_the_manager_has_just_had(
    fake_polar: FakePolar, ada: User, bob: User, team: Any
) -> None:
    team(ada, "billing_manager")
    team(bob, "member")
    order = fake_polar.add_order(team.group, product="Secret Plan", invoice=True)
    everything_her_own_clicks_leave(ada, order)
    for way in WAYS:
        answer = go(bob, order.id, way)
        assert answer.status_code == 403, way
        assert shows_nothing_of_hers(answer)
    fake_polar.fail(status=500, times=None)
    with pytest.raises(PolarUnavailable):
        CustomerPortal(bob).orders()


@pytest.mark.parametrize("by", ["order", "orders", "invoice", "receipt", "generate_invoice"])
def test_who_has_lost_the_role_is_shown_nothing_when_polar_is_away(
    fake_polar: FakePolar, ada: User, team: Any, by: str
) -> None:
    member = team(ada, "billing_manager")
    order = fake_polar.add_order(team.group, product="Secret Plan")
    assert CustomerPortal(ada).orders().total == 1
    member.role = "member"
    act = getattr(CustomerPortal(ada), by)
    with pytest.raises(NotPermitted):
        act() if by == "orders" else act(order.id)
    fake_polar.fail(status=500, times=None)
    with pytest.raises(PolarUnavailable):
        CustomerPortal(ada).orders()


# By the stale list


def test_stale_list_has_only_what_polar_has_listed_to_this_user(
    fake_polar: FakePolar, ada: User, bob: User, bob_at_polar: FakeCustomer, order: FakeOrder
) -> None:
    his = fake_polar.add_order(bob_at_polar, product="His Plan")
    CustomerPortal(ada).orders()
    CustomerPortal(bob).orders()
    assert Order.objects.count() == 2
    fake_polar.fail(status=500, times=None)
    assert [each.id for each in CustomerPortal(bob).orders().items] == [his.id]
    page, json = browser(bob).get("/billing/orders/", headers=HTML), browser(bob).get("/billing/orders/", headers=JSON)
    assert json.json()["stale"] is True
    assert "His Plan" in page.text
    for answer in (page, json):
        assert "Secret Plan" not in answer.text
        assert str(order.id) not in answer.text


def test_row_of_another_customer_is_not_shown_even_if_its_id_was_listed(
    fake_polar: FakePolar, ada: User, bob: User, bob_at_polar: FakeCustomer, order: FakeOrder
) -> None:
    # Somebody who can write to one column alone, or an order that was moved to another customer at Polar.
    CustomerPortal(ada).orders()
    fake_polar.add_order(bob_at_polar)
    CustomerPortal(bob).orders()
    CustomerSession.objects.filter(user=bob).update(listed_orders=[order.id.hex])
    fake_polar.fail(status=500, times=None)
    with pytest.raises(PolarUnavailable):
        CustomerPortal(bob).orders()


# By the tags and the hosted portal


def test_tag_for_an_order_of_hers(
    fake_polar: FakePolar, ada: User, bob: User, bob_at_polar: FakeCustomer, order: FakeOrder
) -> None:
    everything_her_own_clicks_leave(ada, order)
    source = (
        "{% load polar_portal %}{% polar_invoice order as invoice %}{{ invoice.status }}|{{ invoice.document_url }}|"
        "{{ invoice.expires_at }}|{{ invoice }}"
    )
    carol = User.objects.create_user("carol")
    for user in (bob, carol, AnonymousUser(), User(), User(pk=ada.pk), None):
        page = Template(source).render(Context({"user": user, "order": order.id}))
        assert page.startswith("not_found|None|None|"), user
        assert not any(text in page for text in HERS)
    assert Template(source).render(Context({"user": ada, "order": order.id})).startswith("ready|https://")


def test_hosted_portal_is_ones_own(
    fake_polar: FakePolar, ada: User, bob: User, bob_at_polar: FakeCustomer, order: FakeOrder
) -> None:
    everything_her_own_clicks_leave(ada, order)
    data = {"customer_id": str(order.customer.id), "external_customer_id": str(ada.pk), "user": ada.pk}
    url = browser(bob).post("/billing/portal/", data, headers=JSON).json()["url"]
    token = url.partition("customer_session_token=")[2].partition("&")[0]
    assert fake_polar.sessions[token].customer is bob_at_polar
    assert "ada%40" not in url  # a token may hold the three letters


# Users who are not quite there


def test_who_may_no_longer_sign_in_is_nobody(fake_polar: FakePolar, ada: User, order: FakeOrder) -> None:
    client = browser(ada)
    assert client.get(f"/billing/orders/{order.id}/invoice/").status_code == 302
    ada.is_active = False
    ada.save()
    fake_polar.clear_calls()
    response = client.get(f"/billing/orders/{order.id}/invoice/")
    assert response["Location"].startswith("/sign-in/")
    assert fake_polar.calls == []


def test_who_was_deleted_is_nobody(fake_polar: FakePolar, ada: User, order: FakeOrder) -> None:
    client = browser(ada)
    client.get(f"/billing/orders/{order.id}/invoice/")
    fake_polar.clear_calls()
    ada.delete()
    assert client.get(f"/billing/orders/{order.id}/invoice/")["Location"].startswith("/sign-in/")
    with pytest.raises(NotACustomer):
        CustomerPortal(ada).invoice(order.id)
    assert fake_polar.calls == []
    assert CustomerSession.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_who_is_deleted_while_they_click_leaves_no_session_behind(
    fake_polar: FakePolar, ada: User, order: FakeOrder
) -> None:
    late = User.objects.get(pk=ada.pk)  # as the request that is under way knows her
    ada.delete()
    assert CustomerPortal(late).invoice(order.id).url
    assert CustomerSession.objects.count() == 0


@pytest.mark.parametrize("user", [None, AnonymousUser(), User(), User(pk=7)], ids=range(4))
def test_who_is_not_saved_or_no_user_is_nobody(fake_polar: FakePolar, db: None, user: Any, settings: Settings) -> None:
    settings.POLAR_CUSTOMER_RESOLVER = "no.such.path"  # not even asked
    portal = CustomerPortal(user)
    acts: list[Callable[[], Any]] = [
        lambda: portal.invoice(uuid.uuid4()), lambda: portal.orders(), lambda: portal.hosted_url(),
        lambda: portal.generate_invoice(uuid.uuid4()), lambda: portal.cached("invoice", uuid.uuid4()),
        lambda: portal.update_billing_details(uuid.uuid4(), name="Eve", address=BillingAddress(country="FR")),
    ]  # fmt: skip
    for act in acts:
        with pytest.raises(NotACustomer):
            act()
    assert fake_polar.calls == []


def test_edit_of_hers_does_not_tell_others_that_it_is_there(
    fake_polar: FakePolar, ada: User, bob: User, bob_at_polar: FakeCustomer, order: FakeOrder
) -> None:
    # The note of an edit is on the order, whoever asks; what Polar says comes first all the same.
    address = {name: value or "" for name, value in (order.billing_address or {}).items()}
    for half_way in (False, True):
        CustomerPortal(ada).update_billing_details(order.id, name=f"Ada {half_way}", address=address)  # type: ignore[arg-type]
        if half_way:
            Order.objects.update(edit_posted=False)
        note = Order.objects.values("edited_at", "edit_wait_until", "edit_posted", "edit_post_again").get()
        with pytest.raises(OrderNotFound):
            CustomerPortal(bob).invoice(order.id)
        assert Order.objects.values(*note).get() == note
