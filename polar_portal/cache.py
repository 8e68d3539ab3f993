"""What is kept in Django's cache: signed URLs, one attempt at a time and its outcome, and what not to ask again yet.

The cache is a convenience. When it fails, a click goes on without it: slower, never with another answer. Values are
plain (strings, numbers, dicts of them), hold no token and no address, and are checked when they are read.
"""

from __future__ import annotations

import logging
import math
import secrets
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeGuard, TypeVar

from django.core.cache import BaseCache, InvalidCacheBackendError, caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache

from polar_portal.conf import conf
from polar_portal.exceptions import DocumentPending, PolarError, PolarMisconfigured, PolarUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds that an attempt's outcome stays to be shared, and that others wait for it.
OUTCOME_LIFE = 10
LONGEST_WAIT = 2.0
#: Seconds that the cache may take of one click in all, though no more than half of it; then the click goes on without
#: it. So many, because a thread of a starved process sees a quick cache as slow, and who gives up asks Polar alone.
TOO_SLOW = 4.0

PREFIX = "polar_portal:1"

#: What is shared of a failure is its code.
KINDS = {kind.code: kind for kind in PolarError.__subclasses__()}


def backend() -> BaseCache:
    """Return the cache that POLAR_CACHE_ALIAS names. Raises PolarMisconfigured when there is none."""
    alias = conf.POLAR_CACHE_ALIAS
    try:
        return caches[alias]
    except (InvalidCacheBackendError, ImportError) as error:
        raise PolarMisconfigured(f"POLAR_CACHE_ALIAS is {alias!r}: {error}") from None


def why_not_shared(cache: BaseCache) -> str:
    """Say what keeps the processes of a site from sharing this cache, "" when nothing is known that does."""
    if isinstance(cache, DummyCache):
        return "is a dummy, which remembers nothing"
    if isinstance(cache, LocMemCache):
        return "is local memory, which each process has for itself"
    return ""


def find_fault(cache: BaseCache) -> str:
    """Try out what a click needs of a cache and say what it does not do; "" when it does all.

    Nothing is left behind. Raises whatever the backend raises.
    """
    key, ours = f"{PREFIX}:check:{secrets.token_hex(16)}", secrets.token_hex(16)
    try:
        if not cache.add(key, ours, 60):
            return "takes no new value"
        if cache.get(key) != ours:
            return "does not remember"
        if cache.add(key, "another's", 60):
            return "does not lock: it gives two the same lock"
    finally:
        cache.delete(key)
    return "" if cache.get(key) is None else "does not forget what is deleted"


class ClickCache:
    """Django's cache for the length of one click.

    ends_at: the reading of `time.monotonic()` at which the click has to be over.
    """

    def __init__(self, ends_at: float) -> None:
        self._ends_at = ends_at
        self._spent = 0.0
        self._too_slow = min(TOO_SLOW, (ends_at - time.monotonic()) / 2)
        self._told = False
        self.broken = False
        #: Whether to wait for another click's attempt as long as this one may take: for what must not be dropped.
        self.patient = False
        self._cache: BaseCache | None = None
        try:
            self._cache = backend()
        except PolarMisconfigured:
            raise
        except Exception as error:  # noqa: BLE001 - as in `_do`: one of files makes its folder here
            self._give_up(f"can't be opened ({type(error).__name__})")

    def get_many(self, keys: list[str]) -> dict[str, Any]:
        found = self._do("get_many", keys, default={})
        return found if isinstance(found, dict) else {}

    def get(self, key: str) -> Any:
        return self._do("get", key)

    def set(self, key: str, value: Any, seconds: float) -> None:
        """Keep `value` for `seconds`, whole ones, at least one: a fraction would be none, and none for ever."""
        self._do("set", key, value, max(1, math.floor(seconds)))

    def add(self, key: str, value: Any, seconds: float) -> bool | None:
        """Keep `value` if there is none yet. None: the cache failed and did not say."""
        added = self._do("add", key, value, max(1, math.floor(seconds)))
        return None if added is None else bool(added)

    def set_many(self, values: dict[str, Any], seconds: float) -> None:
        self._do("set_many", values, max(1, math.floor(seconds)))

    def delete_many(self, keys: list[str]) -> None:
        self._do("delete_many", keys)

    def delete(self, key: str) -> None:
        """Delete a lock or an outdated URL. Tried even when the cache has failed in this click: left, it does harm."""
        broken, self.broken = self.broken, False
        self._do("delete", key)
        self.broken = broken

    def _do(self, command: str, *args: Any, default: Any = None) -> Any:
        if self.broken or self._cache is None:
            return default
        started = time.monotonic()
        try:
            result = getattr(self._cache, command)(*args)
        except Exception as error:  # noqa: BLE001 - each backend raises its own; pickle and sockets raise theirs
            # Not what the error says: the address it names may hold a password.
            self._give_up(f"failed at {command} ({type(error).__name__})")
            return default
        self._spent += time.monotonic() - started
        if self._spent > self._too_slow:
            self._give_up(f"has taken {self._spent:.1f} s of it")
        return result

    def _give_up(self, why: str) -> None:
        self.broken = True
        if self._told:
            return
        self._told = True
        logger.warning("The cache %r %s; this click goes on without it.", conf.POLAR_CACHE_ALIAS, why)

    # One attempt at a time

    def once(
        self,
        key: str,
        find: Callable[[], T | None],
        work: Callable[[], T],
        pack: Callable[[T], Any] = lambda result: None,
        unpack: Callable[[Any], T | None] = lambda outcome: None,
    ) -> T:
        """Return what `work` gives, while no other process or thread does the same work for `key`.

        find: looks whether the work was done meanwhile; gives the result, or None, or raises its failure.
        pack: turns a result that `find` will not find into a plain value for those who wait; None for the others.
        unpack: reads what `pack` made.

        Failures are shared with those who waited for them. With only successes shared, 50 clicks on a failing Polar
        made 45 calls and took 10 s; with failures shared, 2 calls and 0.24 s. Raises DocumentPending to those who have
        waited long enough, PolarUnavailable if they were `patient`.
        """
        lock, attempt = f"{key}:attempt", secrets.token_hex(8)
        # In whole seconds, and longer than any holder can take.
        life = max(2, math.ceil(conf.POLAR_CLICK_BUDGET) + 1)
        give_up_at = self._ends_at if self.patient else min(time.monotonic() + LONGEST_WAIT, self._ends_at)
        nobody = 0
        while not self.broken:
            began = time.monotonic()
            if (added := self.add(lock, attempt, life)) is None:
                break
            if added:
                return self._as_holder(key, attempt, began + life, find, work, pack)
            holder = self.get(lock)
            if isinstance(holder, str) and holder:
                nobody = 0
                outcome = self._wait(lock, holder, f"{key}:outcome:{holder}", give_up_at)
                if failure := _unpack_failure(outcome):
                    raise failure
                if (shared := unpack(outcome)) is not None:
                    return shared
            else:
                # Taken, but by nobody: it has lapsed just now, or the cache only pretends to keep things.
                nobody += 1
                if nobody > 2:
                    self._give_up("does not remember")
                    break
                time.sleep(0.01)
            if (found := find()) is not None:
                return found
            if time.monotonic() >= give_up_at and not self.broken:
                if self.patient:
                    raise PolarUnavailable("Another click did not end in time.", retry_after=1)
                raise DocumentPending("Another click is asking Polar for the same.", retry_after=1)
        return work()

    def _as_holder(
        self,
        key: str,
        attempt: str,
        lapses_at: float,
        find: Callable[[], T | None],
        work: Callable[[], T],
        pack: Callable[[T], Any],
    ) -> T:
        outcome = None
        try:
            # Once more: another attempt may have ended between our first look and our lock.
            if (result := find()) is None:
                result = work()
                outcome = pack(result)
            return result
        except (PolarError, PolarMisconfigured) as failure:
            outcome = None if failure.remembered else _pack_failure(failure)
            raise
        finally:
            if outcome is not None:
                self.set(f"{key}:outcome:{attempt}", outcome, OUTCOME_LIFE)
            # Only while it is surely ours; a second later it may be somebody else's.
            if time.monotonic() < lapses_at - 1:
                self.delete(f"{key}:attempt")

    def _wait(self, lock: str, holder: str, outcome: str, until: float) -> Any:
        """Wait until the holder's outcome is there (return it), its lock is gone, or time is up (return None)."""
        pause = 0.01
        while not self.broken and (left := until - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.1)
            seen = self.get_many([lock, outcome])
            if outcome in seen:
                return seen[outcome]
            if seen.get(lock) != holder:
                return None
        return None


def is_moment(value: Any) -> TypeGuard[float]:
    """Tell whether a value from the cache may be epoch seconds: a number that can be counted with."""
    return isinstance(value, (int, float)) and 0 <= value < 1e12


def _pack_failure(failure: PolarError | PolarMisconfigured) -> dict[str, Any]:
    order_id = getattr(failure, "polar_order_id", None)
    return {
        "failure": failure.code,
        "message": str(failure),
        "retry_after": getattr(failure, "retry_after", None),
        "fields": getattr(failure, "fields", {}),
        "polar_order_id": order_id.hex if isinstance(order_id, uuid.UUID) else None,
    }


def _unpack_failure(outcome: Any) -> PolarError | PolarMisconfigured | None:
    if not isinstance(outcome, dict):
        return None
    code, message = outcome.get("failure"), str(outcome.get("message") or "")
    failure: PolarError | PolarMisconfigured
    if code == PolarMisconfigured.code:
        failure = PolarMisconfigured(message)
    elif isinstance(code, str) and code in KINDS:
        order_id, retry_after, fields = (outcome.get(name) for name in ("polar_order_id", "retry_after", "fields"))
        try:
            failure = KINDS[code](
                message,
                polar_order_id=uuid.UUID(order_id) if order_id else None,
                retry_after=retry_after if isinstance(retry_after, int) else None,
                fields=fields,
            )
        except (ValueError, TypeError, AttributeError):
            return None
    else:
        return None
    failure.remembered = True
    return failure
