"""How fast exports and sync runs ask Polar: with half of the organization's limit, so that customers keep the rest.

>>> from polar_portal.pace import Pace
>>> Pace().ask(lambda client: client.orders(page=1, limit=100))
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from polar_portal.cache import ClickCache
from polar_portal.conf import SERVERS, conf
from polar_portal.exceptions import RateLimited
from polar_portal.identity import OrganizationIdentity

if TYPE_CHECKING:
    from polar_portal.api.client import Client

T = TypeVar("T")

#: Calls a minute that Polar allows one organization (sandbox measured, production read in its source, 2026-08).
CALLS_A_MINUTE = {"production": 500, "sandbox": 100}
#: Seconds for which a call counts: one more than Polar's minute, because calls leave here and are counted there.
WINDOW = 61.0
#: Seconds that the cache keeps the lock on what was counted, and that others wait for it.
LOCK_LIFE = 3
#: How many calls have to be free again before one that was held back goes on: an order may take so many.
ROOM = 3
#: How often in a row one piece of work may be refused, and how many seconds it waits each time at most.
MOST_REFUSALS = 3
LONGEST_WAIT = 120
#: How often one piece of work is held back by our own half before it counts as refused: others use all of it.
MOST_HELD_BACK = 10

#: When this process has asked, by scope: all there is to go by when the cache fails.
_asked_here: defaultdict[str, list[float]] = defaultdict(list)
_asking = threading.Lock()


class HalfReached(RateLimited):
    """Raised instead of calling Polar: the half of its limit that is for exports and sync runs is used up for now.

    seconds: how long to wait.
    """

    default_message = "Exports and sync runs use at most half of Polar's limit, and have."

    def __init__(self, seconds: float) -> None:
        super().__init__(retry_after=math.ceil(seconds))
        self.seconds = seconds
        self.remembered = True  # Polar has said nothing: no line in the log, and nothing for customers to share


class Stopped(Exception):
    """Raised where an export would wait although nobody wants it any more."""


def pause(seconds: float, stopped: threading.Event | None = None) -> None:
    """Wait, or until `stopped` is set. All waiting of exports and sync runs goes through here."""
    if stopped is None:
        time.sleep(seconds)
    else:
        stopped.wait(seconds)


class Pace:
    """For who asks Polar many things in a row.

    Over all processes that share the cache, no more than half of the calls that Polar allows the organization in a
    minute are made within any 60 seconds, and a 429 is waited out. As long as there is room nothing is slowed down.

    stopped: set by another thread when nobody wants the rest; ends every wait by raising Stopped.
    """

    def __init__(self, stopped: threading.Event | None = None) -> None:
        self._stopped = stopped

    def identity(self) -> OrganizationIdentity:
        """Return the organization for one question, each of whose calls is counted, those made again included.

        It raises HalfReached rather than to make one too many; `patiently` waits.
        """
        identity = OrganizationIdentity()
        identity.before_each = partial(_count, identity)
        return identity

    def ask(self, question: Callable[[Client], T]) -> T:
        """Return what `question` gives with a client that has the organization's token, and wait as `patiently` does.

        Raises PolarMisconfigured, RateLimited, PolarUnavailable and whatever else the client raises.
        """

        def once() -> T:
            identity = self.identity()
            identity.recall(identity.cache.get_many(identity.memory_keys))
            return identity.call(question)

        return self.patiently(once)

    def patiently(self, ask: Callable[[], T]) -> T:
        """Return what `ask` gives. Whenever a limit is in the way, wait and `ask` again, from its beginning.

        Raises RateLimited when Polar has refused it three times in a row, or wants to be left alone for more than
        two minutes; and whatever else `ask` raises.
        """
        refusals = held_back = 0
        while True:
            try:
                return ask()
            except HalfReached as half:
                held_back += 1
                if held_back == MOST_HELD_BACK:
                    raise
                seconds = half.seconds
            except RateLimited as limited:
                refusals += 1
                seconds = limited.retry_after or 60
                if refusals == MOST_REFUSALS or seconds > LONGEST_WAIT:
                    raise
            self.pause(seconds)

    def pause(self, seconds: float) -> None:
        """Wait. Raises Stopped."""
        pause(seconds, self._stopped)
        self.go_on()

    def go_on(self) -> None:
        """Raise Stopped when nobody wants the rest."""
        if self._stopped is not None and self._stopped.is_set():
            raise Stopped


def _count(identity: OrganizationIdentity) -> HalfReached | None:
    """Count one call from now on, or say how long there is no room for it."""
    most = calls_for_us(identity.base_url)
    cache, key = identity.cache, identity.key("pace")
    ours_until = _lock(cache, f"{key}:lock")
    try:
        kept = cache.get(key)
        with _asking:
            now = time.time()
            here = _asked_here[identity.scope] = _recent(_asked_here[identity.scope], now)
            # Both: the cache may have lost some, and does not know those that it could not be told.
            asked = sorted((Counter(_recent(kept, now)) | Counter(here)).elements())
            if len(asked) >= most:
                freed = asked[min(len(asked) - most + ROOM, len(asked)) - 1]
                return HalfReached(max(freed + WINDOW - now, 0.01))
            here.append(now)
        # Only while the lock is surely ours: another process may have counted meanwhile.
        if time.monotonic() < ours_until:
            cache.set(key, [*asked, now], WINDOW + 1)
        return None
    finally:
        if time.monotonic() < ours_until:
            cache.delete(f"{key}:lock")


def calls_for_us(base_url: str) -> int:
    """Return how many calls exports and sync runs may make in a minute; a proxy of yours counts as POLAR_SERVER."""
    server = next((name for name, url in SERVERS.items() if url == base_url), None) or conf.POLAR_SERVER
    return CALLS_A_MINUTE[server] // 2


def _recent(moments: Any, now: float) -> list[float]:
    """Return which of these count; what lies in the future was noted by another clock, or by a broken one."""
    if not isinstance(moments, list):
        return []
    return [each for each in moments if isinstance(each, float) and -WINDOW < now - each < WINDOW]


def _lock(cache: ClickCache, key: str) -> float:
    """Wait until nobody else counts. Return until when, by `time.monotonic()`, the lock is surely ours."""
    give_up_at = time.monotonic() + LOCK_LIFE
    nobody = 0
    while True:
        began = time.monotonic()
        if (added := cache.add(key, 1, LOCK_LIFE)) is not False:
            # Without a cache there is nothing to write to either.
            return began + LOCK_LIFE - 1 if added else began
        # Taken, but by nobody: let go just now, or the cache only pretends to keep things.
        nobody = nobody + 1 if cache.get(key) is None else 0
        if nobody > 9 or began >= give_up_at:
            return began
        time.sleep(0.005)
