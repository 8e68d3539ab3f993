"""A site whose webhook refuses what is not signed: what `polar_check` hopes to find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from polar_portal import urls


@csrf_exempt
@login_not_required
def webhook(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"error": "webhook_not_verified", "detail": "…"}, status=403)


def with_webhook(view: Callable[..., HttpResponse]) -> tuple[Any, ...]:
    """URLs of a site with this view as its webhook; good as a ROOT_URLCONF."""
    return (path("billing/", include(([path("webhook/", view, name="webhook"), *urls.urlpatterns], "polar_portal"))),)


urlpatterns = with_webhook(webhook)
