"""The suite's own tests of one attempt at a time, on each cache whose `add` lets one of many in."""

from __future__ import annotations

import pytest

from tests.services.conftest import caches, needs_database
from tests.test_cache import (  # noqa: F401
    Work,
    test_a_crowd_on_one_cold_document_makes_one_call,
    test_an_exception_that_is_no_failure_of_ours_frees_the_way,
    test_failure_is_not_shared_with_those_who_come_later,
    test_failure_is_shared_with_those_who_waited,
    test_holder_that_died_holds_nobody_longer_than_its_lock,
    test_lock_is_gone_after_success_and_failure,
    test_one_works_and_all_get_the_result,
    test_patient_click_waits_for_the_holder_as_long_as_it_may_take,
    test_result_that_is_not_kept_is_shared_all_the_same,
)

pytestmark = [
    needs_database,
    pytest.mark.usefixtures("_lets_one_in"),
    pytest.mark.parametrize("kept_in", caches("Redis", "Memcached", "database", "local memory"), indirect=True),
]


@pytest.fixture(autouse=True)
def _slower(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that on a busy machine the others arrive in time from a server too."""
    monkeypatch.setattr(Work, "takes", 0.4)
