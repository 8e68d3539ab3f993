from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from example_project.demo import troubles
from example_project.demo.people import add_order, customers, polar
from example_project.shop.views import PRODUCTS


def what_can_go_wrong(request: HttpRequest) -> HttpResponse:
    return render(request, "demo/what_can_go_wrong.html", {"troubles": troubles.TROUBLES.values()})


@require_POST
def begin(request: HttpRequest, name: str) -> HttpResponse:
    """Bring it about, and lead to it as the one who sees it."""
    trouble = troubles.TROUBLES.get(name)
    if trouble is None:
        raise Http404
    if request.user.get_username() != trouble.who:
        login(request, User.objects.get(username=trouble.who))
    return redirect(troubles.begin(trouble))


@require_POST
def end(request: HttpRequest) -> HttpResponse:
    troubles.end()
    messages.success(request, "All is well again.")
    return redirect("demo:what_can_go_wrong")


@require_POST
@login_required
def buy(request: HttpRequest) -> HttpResponse:
    """Pay at once, and come back from a checkout that there is none of."""
    product = next((each for each in PRODUCTS if each.name == request.POST.get("product")), None)
    if product is None:
        raise Http404
    troubles.end()
    name = request.user.get_username()
    if name not in customers:
        customers[name] = polar.add_customer(str(request.user.pk), name=name.title())
    add_order(name, product.name, product.amount)
    return redirect("shop:thanks")


def trouble(request: HttpRequest) -> dict[str, Any]:
    """Tell every page what has been brought about and lasts."""
    return {"lasting": troubles.lasting[0] if troubles.lasting else None}
