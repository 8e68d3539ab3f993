"""The one address that anybody on the internet may post to."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from polar_portal import views
from polar_portal.models import WebhookDelivery
from polar_portal.testing import FakeCustomer, FakePolar

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("length", ["9" * 5000, "9" * 21, "-1", "1e9", "0x10", "", "٣" * 5000, "7, 7"])
def test_a_length_that_is_no_length_is_no_stack_trace(fake_polar: FakePolar, rf: RequestFactory, length: str) -> None:
    request = rf.post("/billing/webhook/", b"{}", content_type="application/json")
    request.META["CONTENT_LENGTH"] = length
    response = views.WebhookView.as_view()(request)
    assert response.status_code == (413 if len(length) > 20 else 403)
    assert WebhookDelivery.objects.count() == 0


def test_a_customers_data_is_not_even_written_where_it_is_not_kept(
    fake_polar: FakePolar, ada_at_polar: FakeCustomer
) -> None:
    # A body that is deleted right away would stay in the pages of a file, in dead rows and in logs of the database.
    body, headers = fake_polar.webhook("order.paid", fake_polar.add_order(ada_at_polar))
    with CaptureQueriesContext(connection) as queries:
        response = Client().post("/billing/webhook/", body, content_type="application/json", headers=headers)
    assert response.status_code == 204
    written = "\n".join(query["sql"] for query in queries).lower()
    assert "polar_portal_webhookdelivery" in written
    for text in (ada_at_polar.email, ada_at_polar.name or ""):
        assert text.encode() in body
        assert text.lower() not in written
        assert text.encode().hex() not in written
