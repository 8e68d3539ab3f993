"""What each of Django's caches promises: one attempt at a time, over all processes or within one."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache

from polar_portal.cache import ClickCache
from tests.services.conftest import caches, needs_database, workers
from tests.services.polar import INVOICE, SESSION, Polar

pytestmark = needs_database


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_lets_one_in")
@pytest.mark.parametrize(
    ("kept_in", "least", "most"),
    [
        pytest.param("Redis", 1, 1, id="Redis: 1"),
        pytest.param("Memcached", 1, 1, id="Memcached: 1"),
        pytest.param("database", 1, 1, id="database: 1"),
        pytest.param("local memory", 2, 2, id="local memory: 1 in each process"),
        pytest.param("files", 1, 20, id="files: 1 to 20"),
        pytest.param("dummy", 20, 20, id="dummy: 20"),
    ],
    indirect=["kept_in"],
)
def test_twenty_clicks_at_once_from_two_processes_make_so_many_calls(
    kept_in: dict[str, Any], least: int, most: int, polar: Polar, ada: User
) -> None:
    with workers(2, CACHES=kept_in, POLAR_BASE_URL=polar.url) as both:
        for _ in range(2):
            polar.forget()
            order = str(uuid.uuid4())
            for worker in both:
                worker.do(ada.pk, order, 10)
            found = [address for worker in both for address in worker.answer()]
            assert len(found) == 20
            assert all(f"/{order}/invoice.pdf?" in address for address in found), found
            assert least <= polar.counts[INVOICE] == len(set(found)) <= most
            # The second time there is a session, in the database.
            assert polar.counts.get(SESSION, 0) <= most
        sessions = polar.counts.get(SESSION, 0)
        for worker in both:
            worker.do(ada.pk, order, 1)
            worker.answer()
        warm = polar.counts[INVOICE] - len(set(found))
        assert (sessions, warm) == (0, 2 if "dummy" in kept_in["default"]["BACKEND"] else 0)


@pytest.mark.parametrize("kept_in", caches("Redis", "Memcached", "database", "local memory", "files"), indirect=True)
def test_what_is_kept_comes_back_as_it_was_and_lapses(kept_in: dict[str, Any]) -> None:
    click = ClickCache(time.monotonic() + 10)
    value = {"url": "https://documents.example/ø?a=1", "expires_at": None, "fetched_at": 1795348800.123456}
    click.set("url", value, 60)
    assert click.add("lock", "mine", 1) is True
    assert click.add("lock", "another's", 1) is False
    assert click.get_many(["url", "lock", "nothing"]) == {"url": value, "lock": "mine"}
    click.delete_many(["url", "nothing"])
    assert click.get("url") is None
    # The clock of a server can't be set.
    end = time.monotonic() + 5
    while (again := click.add("lock", "another's", 1)) is False and time.monotonic() < end:
        time.sleep(0.1)
    assert again is True
    assert cache.get("lock") == "another's"
    assert not click.broken
