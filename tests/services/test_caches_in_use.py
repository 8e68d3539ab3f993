"""The suite's own tests of what is kept in a cache, on each that is shared: documents, limits, what is stale."""

from __future__ import annotations

import pytest

from tests.services.conftest import caches, needs_database
from tests.test_documents import (  # noqa: F401
    test_another_users_click_never_sees_the_url,
    test_limit_is_remembered_for_all_of_that_customers_questions,
    test_limit_of_the_organization_holds_for_sessions_and_staff,
    test_no_url_is_handed_out_dead,
    test_rubbish_in_the_cache_is_not_believed,
    test_url_is_used_again_until_its_last_minute,
    test_while_it_is_made_polar_is_asked_every_few_seconds,
)
from tests.test_identity import (  # noqa: F401
    test_a_user_causes_at_most_six_sessions_a_minute,
)
from tests.test_webhook_effects import (  # noqa: F401
    order,
    test_a_customers_delivery_shortens_nobody_elses_wait,
    test_a_receipt_from_before_a_refund_is_not_used_again,
)

pytestmark = [
    needs_database,
    pytest.mark.django_db,
    pytest.mark.usefixtures("now", "kept_in"),
    pytest.mark.parametrize("kept_in", caches("Redis", "Memcached", "database", "files"), indirect=True),
]
