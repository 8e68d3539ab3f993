"""The one address that anybody on the internet may post to."""

from __future__ import annotations

import pytest
from django.test import RequestFactory

from polar_portal import views
from polar_portal.models import WebhookDelivery
from polar_portal.testing import FakePolar

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("length", ["9" * 5000, "9" * 21, "-1", "1e9", "0x10", "", "٣" * 5000, "7, 7"])
def test_a_length_that_is_no_length_is_no_stack_trace(fake_polar: FakePolar, rf: RequestFactory, length: str) -> None:
    request = rf.post("/billing/webhook/", b"{}", content_type="application/json")
    request.META["CONTENT_LENGTH"] = length
    response = views.WebhookView.as_view()(request)
    assert response.status_code == (413 if len(length) > 20 else 403)
    assert WebhookDelivery.objects.count() == 0
