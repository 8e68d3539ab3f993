"""Which customer of Polar a user is, and the kept session to act as them.

The only module that can read a kept session's token.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import traceback
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, router, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.encoding import force_bytes
from django.utils.module_loading import import_string

from polar_portal.conf import Secret, conf
from polar_portal.database import as_written, tolerating_database
from polar_portal.exceptions import NotACustomer, PolarMisconfigured
from polar_portal.models import CustomerSession, Order

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

    from polar_portal.api.schemas import IssuedSession

#: Renewed this long before it ends, so that it does not end on the way to Polar.
RENEW_EARLY = timedelta(minutes=1)
#: How many listed orders are remembered for a scope: 25 pages.
MOST_LISTED = 500


_CUSTOMER_IDS = {"external_customer_id", "customer_id"}
_MEMBER_IDS = {"member_id", "external_member_id"}


def by_primary_key(user: Any) -> dict[str, str]:
    """Say which customer of Polar a user is: the one whose checkouts had `external_customer_id=str(user.pk)`.

    The default of POLAR_CUSTOMER_RESOLVER.
    """
    return {"external_customer_id": str(user.pk)}


def resolve(user: Any) -> dict[str, str]:
    """Ask POLAR_CUSTOMER_RESOLVER which customer of Polar `user` is.

    Returns what POST /v1/customer-sessions/ wants: exactly one of `external_customer_id` and `customer_id`, perhaps
    `member_id` or `external_member_id`. Raises NotACustomer for nobody, for a user who is signed out or not saved, and
    when the resolver says None; PolarMisconfigured when it says something else.
    """
    # A primary key that is made before saving, like a UUID, says nothing.
    unsaved = getattr(user, "pk", None) is None or getattr(getattr(user, "_state", None), "adding", False)
    if unsaved or not user.is_authenticated:
        raise NotACustomer("Nobody is signed in, so there is no customer.")
    path = conf.POLAR_CUSTOMER_RESOLVER
    try:
        resolver = import_string(path)
    except Exception as error:
        raise PolarMisconfigured(f"POLAR_CUSTOMER_RESOLVER is {path!r}, which can't be imported.") from error
    failed = ""
    try:
        answer = resolver(user)
        # Looked at once, and plain: what a class of the host's own says may be another thing each time.
        customer = (
            {_plain(name): _plain(value) for name, value in answer.items()}
            if isinstance(answer, (dict, Mapping))  # what is no dict is looked at for long
            else None
        )
    except Exception as error:  # noqa: BLE001 - the host's code; whatever it is, customers get a page that says so
        where = traceback.extract_tb(error.__traceback__)[-1]
        # Neither what it says nor its frames: an e-mail address may stand there.
        failed = f"{path} raised {type(error).__name__} in {where.name}, line {where.lineno}."
    if failed:
        raise PolarMisconfigured(failed)
    if answer is None:
        raise NotACustomer(f"{path} says that this user is no customer.")
    if (
        customer is None
        or len(customer.keys() & _CUSTOMER_IDS) != 1
        or not customer.keys() <= _CUSTOMER_IDS | _MEMBER_IDS
        or not all(customer.values())
    ):
        raise PolarMisconfigured(
            f"{path} must return a dict with exactly one of 'external_customer_id' and 'customer_id', perhaps with "
            "'member_id' or 'external_member_id', all of them non-empty strings, or None."
        )
    return customer


def _plain(text: Any) -> str:
    """Return a string as one of Python's own, "" for anything else."""
    return str.__str__(text) if isinstance(text, str) else ""


def scopes(*who: Any) -> dict[str, int]:
    """Return who may share what, as a keyed hash: one for SECRET_KEY, then one for each of SECRET_KEY_FALLBACKS.

    With each the place of its key in `conf.secret_keys`, and not the key: an error reporter shows variables.

    Keyed, so that neither a cache key nor a row tells a customer's id, which may be an e-mail address.
    """
    keys = conf.secret_keys  # before `value`, for the same reason: this may raise
    value = _CANONICAL.encode(who).encode()
    return {
        hashlib.blake2b(value, key=_scope_key(key), digest_size=32).hexdigest(): place for place, key in enumerate(keys)
    }


def scope(*who: Any) -> str:
    """Return the current one of `scopes`."""
    return next(iter(scopes(*who)))


_CANONICAL = json.JSONEncoder(sort_keys=True, default=Secret.reveal)


@functools.lru_cache(maxsize=8)  # half of what a scope takes, at every click
def _scope_key(secret: Secret) -> bytes:
    return hashlib.sha256(b"polar_portal.scope" + force_bytes(secret.reveal())).digest()


@dataclass(frozen=True)
class KeptSession:
    token: Secret
    polar_customer_id: uuid.UUID


def find_session(user: Any, among: Mapping[str, int], *, other_than: Secret | None = None) -> KeptSession | None:
    """Return the user's session for one of these scopes, if there is one that lives for another minute.

    among: scopes with the place of the key each was made with; the first is the current one.
    other_than: a token that Polar has refused.
    """
    rows = (
        as_written(CustomerSession)
        .filter(user_id=user.pk, scope__in=list(among), expires_at__gt=timezone.now() + RENEW_EARLY)
        .values_list("scope", "encrypted_token", "polar_customer_id")
    )
    kept: list[tuple[str, str, uuid.UUID]] = []
    with tolerating_database("Kept customer sessions can't be read; a new one is made"):
        kept = list(rows)
    for scope, encrypted_token, polar_customer_id in sorted(kept, key=lambda row: list(among).index(row[0])):
        token = _decrypt(encrypted_token, scope, among[scope])
        if token and token != other_than:
            return KeptSession(token, polar_customer_id)
    return None


def keep_session(user: Any, scope: str, key: int, issued: IssuedSession, asked_at: datetime) -> KeptSession:
    """Keep a session that Polar has just made, if the database lets us; it is good to use either way.

    asked_at: the moment, by our clock, before Polar was asked; its life counts from then.
    """
    values = {
        "polar_customer_id": issued.polar_customer_id,
        "encrypted_token": _encrypt(issued.token, scope, key),
        "created_at": asked_at,
        "expires_at": asked_at + timedelta(seconds=min(issued.life, 86400)),
    }
    mine = CustomerSession.objects.filter(user_id=user.pk, scope=scope)
    with tolerating_database("A customer session can't be kept; the next click makes a new one"):
        # Not update_or_create: that reads first, and where many do so at once SQLite refuses all their writes but one.
        if not mine.update(**values):
            try:
                with transaction.atomic(using=router.db_for_write(CustomerSession)):
                    CustomerSession.objects.create(user_id=user.pk, scope=scope, **values)
            except IntegrityError:
                mine.update(**values)  # another worker has just kept one
    return KeptSession(issued.token, issued.polar_customer_id)


def kept_scopes(polar_customer_id: uuid.UUID) -> list[str]:
    """Return the scopes of all users who have acted as this customer, as far as their sessions are kept."""
    return list(as_written(CustomerSession).filter(polar_customer_id=polar_customer_id).values_list("scope", flat=True))


def forget_customer(polar_customer_id: uuid.UUID) -> None:
    """Delete the sessions to act as a customer who is no more."""
    CustomerSession.objects.filter(polar_customer_id=polar_customer_id).delete()


def remember_listed(user: Any, scope: str, order_ids: Sequence[uuid.UUID]) -> None:
    """Note that Polar has listed these orders to this scope: they may be shown to it when Polar can't be reached."""
    with tolerating_database("Which orders were listed can't be kept"):
        for row in as_written(CustomerSession).filter(user_id=user.pk, scope=scope):
            if new := [each.hex for each in order_ids if each.hex not in row.listed_orders]:
                known = [*new, *row.listed_orders][:MOST_LISTED]
                CustomerSession.objects.filter(pk=row.pk).update(listed_orders=known)


def forget_listed(user: Any, among: Mapping[str, int]) -> None:
    """Forget which orders were listed: Polar does not permit it any more."""
    with tolerating_database("Which orders were listed can't be forgotten"):
        CustomerSession.objects.filter(user_id=user.pk, scope__in=list(among)).update(listed_orders=[])


def listed(user: Any, among: Mapping[str, int]) -> QuerySet[Order]:
    """Return what this site knows of the orders that Polar has listed to one of these scopes."""
    known = Q(pk__in=[])
    for row in as_written(CustomerSession).filter(user_id=user.pk, scope__in=list(among)):
        ids = [uuid.UUID(each) for each in row.listed_orders]
        known |= Q(pk__in=ids, polar_customer_id=row.polar_customer_id)
    return Order.objects.filter(known)


def _fernet(scope: str, key: int) -> Fernet:
    """The cipher of one scope: a row copied to another user or customer can't be read there."""
    from cryptography.fernet import Fernet  # here: 10 ms that Django's start need not take

    secret = conf.secret_keys[key]
    digest = salted_hmac("polar_portal.customer_session", scope, secret=secret.reveal(), algorithm="sha256").digest()
    return Fernet(base64.urlsafe_b64encode(digest))


def _encrypt(token: Secret, scope: str, key: int) -> str:
    return _fernet(scope, key).encrypt(token.reveal().encode()).decode()


def _decrypt(text: str, scope: str, key: int) -> Secret | None:
    from cryptography.fernet import InvalidToken

    try:
        return Secret(_fernet(scope, key).decrypt(text.encode()).decode())
    except (InvalidToken, ValueError):
        return None  # another SECRET_KEY, or a damaged row: it is simply replaced
