"""The views of a host who writes them for an event loop."""

from __future__ import annotations

import asyncio
import uuid

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.template import Context, Template
from django.urls import include, path

from polar_portal.exceptions import PolarError
from polar_portal.portal import CustomerPortal
from tests.asgi.site import tell


async def invoice(request: HttpRequest, polar_order_id: uuid.UUID) -> HttpResponse:
    try:
        document = await CustomerPortal(await request.auser()).ainvoice(polar_order_id)
    except PolarError as failure:
        return HttpResponse(failure.code, status=failure.status)
    except asyncio.CancelledError:
        tell("cancelled", request.path)
        raise
    return HttpResponse(document.url)


async def both(request: HttpRequest, first: uuid.UUID, second: uuid.UUID) -> HttpResponse:
    portal = CustomerPortal(await request.auser())
    try:
        documents = await asyncio.gather(portal.ainvoice(first), portal.ainvoice(second))
    except asyncio.CancelledError:
        tell("cancelled", request.path)
        raise
    return HttpResponse(" ".join(document.url for document in documents))


async def page(request: HttpRequest, polar_order_id: uuid.UUID) -> HttpResponse:
    shown = Template("{% load polar_portal %}{% polar_invoice order as invoice %}{{ invoice.document_url|safe }}")
    context = Context({"request": request, "order": polar_order_id})
    return HttpResponse(await sync_to_async(shown.render)(context))


@login_not_required
async def quick(request: HttpRequest) -> HttpResponse:
    return HttpResponse("quick")


async def who(request: HttpRequest) -> HttpResponse:
    return HttpResponse((await request.auser()).get_username())


urlpatterns = [
    path("invoice/<uuid:polar_order_id>/", invoice),
    path("both/<uuid:first>/<uuid:second>/", both),
    path("page/<uuid:polar_order_id>/", page),
    path("quick/", quick),
    path("who/", who),
    path("billing/", include("polar_portal.urls")),
]
