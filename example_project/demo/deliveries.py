"""Polar's part of webhooks: what happens at the demo's Polar is delivered to the shop, signed, one after the other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import requests

from polar_portal.testing import FakePolar

logger = logging.getLogger(__name__)

#: Seconds between two looks for something new, after a failure, and for one delivery.
LOOK_EVERY = 0.2
RETRY_AFTER = 5
TIMEOUT = 10


@contextmanager
def delivering(polar: FakePolar, address: str) -> Iterator[None]:
    """Deliver what has happened, and what happens until the end, to the webhook at `address`."""
    ended = threading.Event()
    thread = threading.Thread(target=_deliver, args=(polar, address, ended), name="deliveries", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _deliver(polar: FakePolar, address: str, ended: threading.Event) -> None:
    delivered, pause = 0, LOOK_EVERY
    with requests.Session() as session:
        session.trust_env = False  # no proxy between the two: both are in this process
        while not ended.wait(pause):
            pause = LOOK_EVERY
            for event in polar.events[delivered:]:
                if ended.is_set():
                    return
                body, headers = polar.webhook(event)
                try:
                    answer = session.post(address, data=body, headers=headers, timeout=TIMEOUT, allow_redirects=False)
                    outcome = str(answer.status_code)
                except requests.RequestException as error:
                    outcome = type(error).__name__
                if not outcome.startswith("2"):
                    logger.warning("%s was answered with %s, and is delivered again in a moment.", event.type, outcome)
                    pause = RETRY_AFTER
                    break
                delivered += 1
