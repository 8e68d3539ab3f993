from __future__ import annotations

from django.conf.urls.i18n import i18n_patterns
from django.urls import include, path

from tests.hosts.urls import own

urlpatterns = i18n_patterns(*own(), path("account/documents/", include("polar_portal.urls", namespace="documents")))
