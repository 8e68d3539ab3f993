from __future__ import annotations

from typing import NamedTuple

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from example_project.shop.models import Purchase
from polar_portal.exceptions import PolarError, PolarMisconfigured
from polar_portal.portal import CustomerPortal


class Product(NamedTuple):
    name: str
    text: str
    amount: int  # in cents


PRODUCTS = [
    Product("Earl Grey", "Black tea with bergamot, 100 g", 1200),
    Product("Sencha", "Green tea from Shizuoka, 100 g", 1600),
    Product("Oolong", "Half way between the two, 100 g", 1900),
    Product("Tea of the month", "A new one every month, by post", 900),
]

# Selling is Polar's part and left out here. Wherever your shop makes a checkout, tell Polar which of your users buys,
# or every invoice is "Order not found"; and to lead back to `thanks`:
#
#     polar.checkouts.create(request={
#         "products": [product_id],
#         "external_customer_id": str(request.user.pk),
#         "success_url": request.build_absolute_uri(reverse("shop:thanks")),
#     })


def home(request: HttpRequest) -> HttpResponse:
    return render(request, "shop/home.html", {"products": PRODUCTS})


@login_required
def thanks(request: HttpRequest) -> HttpResponse:
    """Take who comes back from the checkout to their purchases, the newest among them."""
    try:
        for order in CustomerPortal(request.user).orders().items:
            Purchase.objects.add(request.user.pk, order)
    except (PolarError, PolarMisconfigured):
        pass  # the log says why; the receiver of `order_changed` adds it when the webhook comes
    messages.success(request, "Thank you! Your tea is on its way. If it is not listed yet, look again in a minute.")
    return redirect("shop:purchase_list")


@login_required
def purchase_list(request: HttpRequest) -> HttpResponse:
    purchases = Purchase.objects.filter(user=request.user)  # type: ignore[misc]  # login_required: a User
    return render(request, "shop/purchase_list.html", {"purchases": purchases})


@login_required
def purchase_detail(request: HttpRequest, pk: int) -> HttpResponse:
    purchase = get_object_or_404(Purchase, pk=pk, user=request.user)
    return render(request, "shop/purchase_detail.html", {"purchase": purchase})
