"""Who asks Polar: a customer or the organization, with which token, and on whose account limits count."""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from django.utils import timezone

from polar_portal import customers
from polar_portal.api import presigned
from polar_portal.cache import PREFIX, ClickCache, is_moment
from polar_portal.conf import Secret, conf
from polar_portal.exceptions import (
    NotACustomer,
    NotPermitted,
    PolarError,
    PolarMisconfigured,
    PolarUnavailable,
    RateLimited,
    TokenRefused,
)

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from polar_portal.api.client import Client
    from polar_portal.api.schemas import IssuedSession
    from polar_portal.models import Order

T = TypeVar("T")

#: Seconds for which "not a customer" is believed.
ABSENCE_LIFE = 60
#: Sessions that one user may cause in a minute; Polar counts them against the whole organization.
SESSIONS_A_MINUTE = 6


class Identity(ABC):
    """Somebody who may ask Polar, for the length of one click.

    within: whose click it is, when one identity needs another.
    scope: who may share what this identity gets; part of every cache key.
    orders: the root of the endpoints this identity uses.
    """

    orders: str
    scope: str
    #: Asked before each request: a limit that it returns is raised instead. See `polar_portal.pace`.
    before_each: Callable[[], RateLimited | None] | None = None

    def __init__(self, within: Identity | None = None) -> None:
        self.ends_at: float = within.ends_at if within else time.monotonic() + conf.POLAR_CLICK_BUDGET
        self.cache: ClickCache = within.cache if within else ClickCache(self.ends_at)
        self.base_url = conf.POLAR_BASE_URL

    def key(self, kind: str, polar_order_id: uuid.UUID | None = None) -> str:
        """Return the cache key for what this identity, and nobody else, may share."""
        return _key(self.scope, kind, polar_order_id)

    @property
    @abstractmethod
    def limit_key(self) -> str:
        """The cache key under which a reached limit is remembered for whom Polar counts it."""

    @property
    def memory_keys(self) -> list[str]:
        """The cache keys that may say: do not ask now. See `recall`."""
        return [self.limit_key]

    def recall(self, seen: dict[str, Any]) -> None:
        """Raise what `seen`, read from the cache under `memory_keys`, says that Polar would answer."""
        until = seen.get(self.limit_key)
        if is_moment(until) and 0 < (left := until - time.time()) <= 3600:
            failure = RateLimited("Polar's rate limit was reached a moment ago.", retry_after=left)
            failure.remembered = True
            raise failure

    @abstractmethod
    def call(self, ask: Callable[[Client], T]) -> T:
        """Return what `ask` gives with a client that holds this identity's token."""

    def _ask(self, ask: Callable[[Client], T], token: Secret) -> T:
        # Here, so that `requests` loads at the first call and not when Django starts.
        from polar_portal.api.client import Client

        try:
            return ask(Client(self.base_url, token, self.ends_at, orders=self.orders, before_each=self.before_each))
        except RateLimited as limited:
            if limited.remembered:
                raise  # not Polar's word: see `before_each`
            # Polar's retry-after says 60 and never counts down: whoever asks again before it is over is told the same.
            seconds = limited.retry_after or 60
            self.cache.set(self.limit_key, time.time() + seconds, seconds)
            raise


class OrganizationIdentity(Identity):
    """The seller: the organization's own token and the merchant's endpoints."""

    orders = "/v1/orders/"

    def __init__(self, within: Identity | None = None) -> None:
        super().__init__(within)
        self._token = conf.POLAR_ACCESS_TOKEN
        self.scope = customers.scope("organization", self.base_url, self._token)

    @property
    def limit_key(self) -> str:
        return self.key("limit")

    def call(self, ask: Callable[[Client], T]) -> T:
        try:
            return self._ask(ask, self._token)
        except TokenRefused as refused:
            message = str(refused)
        raise PolarMisconfigured(
            f"Polar refuses POLAR_ACCESS_TOKEN at {self.base_url}: it is expired, revoked, or made for another "
            f"server (see POLAR_SERVER). ({message})"
        )


class CustomerIdentity(Identity):
    """A signed-in user, as the customer that the resolver says they are.

    Raises NotACustomer when there is nobody or the resolver says so. The resolver runs at every click, and its answer
    is part of the scope: a user who is mapped to another customer never meets what the former one's session brought.
    """

    orders = "/v1/customer-portal/orders/"

    def __init__(self, user: Any) -> None:
        super().__init__()
        self._user = user
        self._customer = customers.resolve(user)
        self._scopes = customers.scopes("customer", self.base_url, str(user.pk), self._customer)
        self.scope = next(iter(self._scopes))

    @property
    def limit_key(self) -> str:
        # Polar counts all tokens of one customer together, whichever user or member they were made for.
        customer = {name: value for name, value in self._customer.items() if name.endswith("customer_id")}
        return f"{PREFIX}:{customers.scope('limit', self.base_url, customer)}:limit"

    @property
    def _absent_key(self) -> str:
        return self.key("absent")

    @property
    def memory_keys(self) -> list[str]:
        return [self.limit_key, self._absent_key]

    def recall(self, seen: dict[str, Any]) -> None:
        super().recall(seen)
        known = seen.get(self._absent_key)
        if isinstance(known, dict) and isinstance(known.get("absent"), str):
            absent = NotACustomer(known["absent"])
            absent.remembered = True
            raise absent

    def call(self, ask: Callable[[Client], T]) -> T:
        try:
            return self._call(ask)
        except NotPermitted:
            # Whatever was asked for: what was listed before is not to be shown any more.
            self.forget_listed()
            raise

    def _call(self, ask: Callable[[Client], T]) -> T:
        session = self._find_session() or self._make_session()
        try:
            return self._ask(ask, session.token)
        except TokenRefused:
            refused = session.token
        session = self._find_session(other_than=refused) or self._make_session(other_than=refused)
        try:
            return self._ask(ask, session.token)
        except TokenRefused as again:
            message = str(again)
        raise PolarUnavailable(f"Polar refuses a session that it has just made. ({message})", retry_after=30)

    def _find_session(self, other_than: Secret | None = None) -> customers.KeptSession | None:
        return customers.find_session(self._user, self._scopes, other_than=other_than)

    def _make_session(self, other_than: Secret | None = None) -> customers.KeptSession:
        """Make a session, unless somebody else makes one for this scope at this moment."""

        return self.cache.once(
            self.key("session"), lambda: self._find_session(other_than), lambda: self._issue_session()[0]
        )

    def issue_hosted_url(self, return_url: str) -> Secret:
        """Have a session made for Polar's hosted portal and return its link.

        A new one at each click, as Polar asks for: the link holds the token, and may be kept nowhere.
        """
        self.recall(self.cache.get_many(self.memory_keys))
        hosted_url = self._issue_session(return_url)[1].hosted_url
        if not presigned.may_redirect_to(hosted_url.reveal(), base_url=self.base_url):
            raise PolarUnavailable("Polar gave a link to its portal that no browser should follow.", retry_after=30)
        return hosted_url

    def _issue_session(self, return_url: str = "") -> tuple[customers.KeptSession, IssuedSession]:
        organization = OrganizationIdentity(within=self)
        # One slot for each session that this user may cause within a minute. At this server: a site's tests meet many
        # within a minute, all as a user of the same key.
        user = customers.scope("sessions", self.base_url, str(self._user.pk))
        slots = [f"{PREFIX}:{user}:session:{number}" for number in range(SESSIONS_A_MINUTE)]
        seen = self.cache.get_many([*slots, *organization.memory_keys])
        organization.recall(seen)
        # Before Polar is asked: of many clicks at once, all would find a slot that is taken only afterwards.
        slot = next((each for each in slots if self._take_slot(each, seen)), None)
        if slot is None:
            raise RateLimited("This user has caused too many new sessions at Polar within a minute.", retry_after=60)
        asked_at = timezone.now()
        try:
            issued = organization.call(
                lambda client: client.create_customer_session(self._customer, return_url=return_url)
            )
        except (PolarError, PolarMisconfigured) as failure:
            if not self.cache.broken:
                self.cache.delete(slot)
            if isinstance(failure, NotACustomer):
                self.cache.set(self._absent_key, {"absent": str(failure)}, ABSENCE_LIFE)
            raise
        kept = customers.keep_session(self._user, self.scope, self._scopes[self.scope], issued, asked_at)
        return kept, issued

    def _take_slot(self, slot: str, seen: dict[str, Any]) -> bool:
        """Tell whether this slot was free and is ours now, or the cache does not say."""
        if _within_a_minute(seen.get(slot)):
            return False
        if slot in seen:
            # It should have lapsed: another clock's, or of a cache that keeps things for longer than it is told.
            self.cache.set(slot, time.time(), 60)
            return True
        return self.cache.add(slot, time.time(), 60) is not False

    # What may be shown when Polar can't be reached

    def remember_listed(self, polar_order_ids: Sequence[uuid.UUID]) -> None:
        customers.remember_listed(self._user, self.scope, polar_order_ids)

    def forget_listed(self) -> None:
        customers.forget_listed(self._user, self._scopes)

    def listed(self) -> QuerySet[Order]:
        return customers.listed(self._user, self._scopes)


def keys_of_all(kind: str, polar_order_id: uuid.UUID, polar_customer_id: uuid.UUID | None) -> list[str]:
    """Return the cache keys of everybody who may have asked for this order: its customer's users, and the staff."""
    everybody = customers.kept_scopes(polar_customer_id) if polar_customer_id else []
    return [_key(scope, kind, polar_order_id) for scope in [*everybody, OrganizationIdentity().scope]]


def _key(scope: str, kind: str, polar_order_id: uuid.UUID | None) -> str:
    return f"{PREFIX}:{scope}:{kind}" + (f":{polar_order_id.hex}" if polar_order_id else "")


def _within_a_minute(moment: Any) -> bool:
    return isinstance(moment, float) and 0 <= time.time() - moment < 60
