"""The shop as in production, four processes of sixteen threads on Redis, and very many people who click at once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.urls import reverse

from tests.services import gunicorn_conf
from tests.services.conftest import ROOT, needs_database, started
from tests.services.polar import INVOICE, SESSION, Failure, Polar
from tests.services.servers import REDIS, REDIS_OPTIONS

pytestmark = [
    needs_database,
    pytest.mark.skipif(bool(REDIS.missing), reason=REDIS.missing),
    pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks into Linux's /proc"),
    pytest.mark.django_db(transaction=True),
]

#: Seconds: POLAR_CLICK_BUDGET, and the life of a lock that goes with it.
BUDGET, LOCK = 5, 6


@dataclass(frozen=True)
class Answer:
    """What one click got. status 0: the connection broke. worker: the process that answered. took: seconds there."""

    status: int
    location: str
    retry_after: int
    worker: int
    took: float


@dataclass(frozen=True)
class Visitor:
    """A signed-in user."""

    key: int
    session: str

    def click(self, order: uuid.UUID) -> tuple[str, str]:
        return reverse("polar_portal:invoice", args=[order]), self.session


class Site:
    def __init__(self, port: int, process: subprocess.Popen[str]) -> None:
        self._port = port
        self._process = process

    def crowd(self, clicks: Sequence[tuple[str, str]]) -> list[Answer]:
        """Make these clicks at once."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.services.crowd", str(self._port)],
            cwd=ROOT,
            input=json.dumps(clicks),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=120,
        )
        return [
            Answer(status, location or "", int(retry_after or 0), int(worker or 0), float(took or 0))
            for status, location, retry_after, worker, took in json.loads(done.stdout)
        ]

    def worker_with(self, port: int) -> int:
        """Return the process of the site that has this port of a connection to Polar."""
        lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
        inodes = {f"socket:[{line[9]}]" for line in lines if line[1].endswith(f":{port:04X}")}
        for pid in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split():
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                if os.readlink(descriptor) in inodes:
                    return int(pid)
        raise AssertionError("no process of the site has this port")


@pytest.fixture(scope="module")
def _polar() -> Iterator[Polar]:
    polar = Polar()
    with polar.served():
        yield polar


@pytest.fixture
def polar(_polar: Polar) -> Polar:
    """The site's Polar, as new."""
    _polar.forget()
    return _polar


@pytest.fixture(scope="module")
def site(_polar: Polar, django_db_setup: None) -> Iterator[Site]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    gunicorn = ["gunicorn", "django.core.wsgi:get_wsgi_application()", "--config", gunicorn_conf.__file__]
    cache = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS.url,
        "KEY_PREFIX": uuid.uuid4().hex,
        "OPTIONS": REDIS_OPTIONS,
    }
    with (
        listener,
        started(
            *gunicorn,
            "--bind",
            f"fd://{listener.fileno()}",
            inherits=[listener.fileno()],
            ALLOWED_HOSTS=["127.0.0.1"],
            CACHES={"default": cache},
            MIDDLEWARE=["tests.services.middleware.clocked", *settings.MIDDLEWARE],
            POLAR_BASE_URL=_polar.url,
            POLAR_CLICK_BUDGET=BUDGET,
        ) as process,
    ):
        site = Site(listener.getsockname()[1], process)
        end = time.monotonic() + 30
        while (
            len({answer.worker for answer in site.crowd([(reverse("polar_portal:order_list"), "")] * 64)})
            < gunicorn_conf.workers
        ):
            assert time.monotonic() < end, "the processes did not start"
        yield site


def visitors(number: int) -> list[Visitor]:
    """Add users and sign them in."""
    found = []
    for user in [User.objects.create(username=uuid.uuid4().hex) for _ in range(number)]:
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        found.append(Visitor(user.pk, str(session.session_key)))
    return found


@pytest.fixture
def ada() -> Visitor:
    return visitors(1)[0]


def documents(orders: Sequence[uuid.UUID], answers: Sequence[Answer]) -> list[bool]:
    """Tell for each answer whether it leads to its order's document."""
    return [
        answer.status == 302 and f"/{order}/invoice.pdf?" in answer.location
        for order, answer in zip(orders, answers, strict=True)
    ]


def told_when(answers: Sequence[Answer], status: int) -> bool:
    """Tell whether all got this status and when to come back."""
    return all(answer.status == status and 1 <= answer.retry_after <= 3600 for answer in answers)


def test_a_thousand_clicks_at_once_on_one_cold_document_make_one_call(site: Site, polar: Polar, ada: Visitor) -> None:
    order = uuid.uuid4()
    answers = site.crowd([ada.click(order)] * 1000)
    assert polar.counts == {SESSION: 1, INVOICE: 1}
    assert len({answer.worker for answer in answers}) == gunicorn_conf.workers
    assert max(answer.took for answer in answers) < BUDGET
    # On a busy machine some wait the two seconds after which they are told to come back.
    assert told_when([answer for answer in answers if answer.status != 302], 202)
    assert len({answer.location for answer in answers if answer.status == 302}) == 1
    assert all(documents([order] * 100, site.crowd([ada.click(order)] * 100)))
    assert polar.counts == {SESSION: 1, INVOICE: 1}


def test_a_process_killed_while_it_asks_makes_nobody_wait_longer_than_its_lock(
    site: Site, polar: Polar, ada: Visitor
) -> None:
    order = uuid.uuid4()
    polar.answers.clear()
    with ThreadPoolExecutor(1) as pool:
        crowd = pool.submit(site.crowd, [ada.click(order)] * 60)
        asked = polar.wait_for(INVOICE)
        killed = site.worker_with(asked.port)
        os.kill(killed, signal.SIGKILL)
        polar.answers.set()
        # Whom the dead process served has lost the connection.
        answers = [answer for answer in crowd.result() if answer.status]
    assert killed not in {answer.worker for answer in answers}
    told = []
    while not all(documents([order] * len(answers), answers)):
        told += [answer for answer in answers if answer.status != 302]
        assert time.monotonic() < asked.at + LOCK + 10
        answers = site.crowd([ada.click(order)] * 10)
    assert told
    assert told_when(told, 202)
    assert max(answer.took for answer in [*told, *answers]) < BUDGET
    assert polar.counts == {SESSION: 1, INVOICE: 2}
    # Redis ends the lock at its whole seconds, a moment after it was taken, which was a moment before Polar was asked.
    assert polar.calls[-1].at > asked.at + LOCK - 1


def test_two_hundred_users_at_once_make_one_session_each(site: Site, polar: Polar) -> None:
    users = visitors(200)
    for number in (1, 2):
        orders = [uuid.uuid4() for _ in users]
        answers = site.crowd([user.click(order) for user, order in zip(users, orders, strict=True)])
        assert all(documents(orders, answers))
        assert polar.counts == {SESSION: 200, INVOICE: 200 * number}
        # Each as the customer who clicked.
        asked = {call.path: call.token.rpartition("_")[2] for call in polar.calls if call.what == INVOICE}
        for user, order in zip(users, orders, strict=True):
            assert asked[f"/v1/customer-portal/orders/{order}/invoice"] == str(user.key)


@pytest.mark.parametrize("limit", ["a customer's", "the organization's"])
def test_after_a_429_nobody_asks_before_it_is_time_and_all_are_told_when(
    site: Site, polar: Polar, ada: Visitor, limit: str
) -> None:
    what, users = (INVOICE, [ada] * 100) if limit == "a customer's" else (SESSION, visitors(100))
    polar.failures[what] = Failure(429, "4")
    assert told_when(site.crowd([users[0].click(uuid.uuid4())]), 503)
    asked = polar.wait_for(what)
    polar.failures.clear()
    orders = [uuid.uuid4() for _ in users]
    while not all(
        documents(orders, answers := site.crowd([user.click(order) for user, order in zip(users, orders, strict=True)]))
    ):
        early = [answer for answer in answers if answer.status != 302]
        assert told_when(early, 503)
        assert max(answer.retry_after for answer in early) <= 4
        assert time.monotonic() < asked.at + 15
        time.sleep(0.5)
    again = next(call for call in polar.calls if call.what == what and call is not asked)
    assert again.at >= asked.at + 4
    assert polar.counts[what] == 1 + len(users)


def test_fifty_clicks_on_a_failing_polar_make_few_calls(site: Site, polar: Polar, ada: Visitor) -> None:
    assert site.crowd([ada.click(uuid.uuid4())])[0].status == 302  # there is a session
    polar.forget()
    polar.failures[INVOICE] = Failure(500)
    polar.answers.clear()
    with ThreadPoolExecutor(1) as pool:
        crowd = pool.submit(site.crowd, [ada.click(uuid.uuid4())] * 50)
        polar.wait_for(INVOICE)
        time.sleep(1)  # while the others come
        polar.answers.set()
        answers = crowd.result()
    assert told_when(answers, 503)
    assert 1 <= polar.counts.pop(INVOICE) <= 4
    assert not polar.counts.get(SESSION)
