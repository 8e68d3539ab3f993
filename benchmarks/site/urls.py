from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from benchmarks.site import settings, views

urlpatterns: list[URLPattern | URLResolver] = [path("bare/", views.bare), path("call/<uuid:order_id>/", views.call)]

if settings.APP == "polar_portal":
    urlpatterns += [path("billing/", include("polar_portal.urls")), path("admin/", admin.site.urls)]
else:
    from benchmarks.site import sdk

    urlpatterns += [path("new/<uuid:order_id>/", sdk.new_client), path("kept/<uuid:order_id>/", sdk.kept_client)]
