from __future__ import annotations

from django.apps import apps
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.urls import URLPattern, URLResolver, include, path

from tests.hosts.people.models import Payment

SALES = Template(
    "{% load polar_portal %}{% for payment in payments %}{% polar_invoice_button payment.order %}{% endfor %}"
    "{% polar_portal_button %}"
)


@login_required
def sales(request: HttpRequest) -> HttpResponse:
    """The host's own page."""
    context = {"payments": Payment._default_manager.filter(sale__user=request.user)}
    return HttpResponse(SALES.render(RequestContext(request, context)))


def own() -> list[URLPattern | URLResolver]:
    found: list[URLPattern | URLResolver] = [path("sales/", sales, name="sales")]
    if apps.is_installed("django.contrib.admin"):
        from django.contrib import admin

        found.append(path("staff/", admin.site.urls))
    return found


urlpatterns = [*own(), path("billing/", include("polar_portal.urls"))]
