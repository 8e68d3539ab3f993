from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from example_project.shop.models import Purchase

PRODUCTS = [
    {"name": "Earl Grey", "text": "Black tea with bergamot, 100 g", "price": "12.00 USD"},
    {"name": "Sencha", "text": "Green tea from Shizuoka, 100 g", "price": "16.00 USD"},
    {"name": "Oolong", "text": "Half way between the two, 100 g", "price": "19.00 USD"},
    {"name": "Tea of the month", "text": "A new one every month, by post", "price": "9.00 USD"},
]

# Selling is Polar's part and left out here. Wherever your shop makes a checkout, tell Polar which of your users buys;
# without it Polar does not know them again, and every invoice is "Order not found":
#
#     polar.checkouts.create(request={"products": [product_id], "external_customer_id": str(request.user.pk)})
#
# Then make a Purchase when the webhook `order.paid` arrives: `data.id` is the order, `data.customer.external_id` is the
# user.


def home(request: HttpRequest) -> HttpResponse:
    return render(request, "shop/home.html", {"products": PRODUCTS})


@login_required
def purchase_list(request: HttpRequest) -> HttpResponse:
    purchases = Purchase.objects.filter(user=request.user)  # type: ignore[misc]  # login_required: a User
    return render(request, "shop/purchase_list.html", {"purchases": purchases})


@login_required
def purchase_detail(request: HttpRequest, pk: int) -> HttpResponse:
    purchase = get_object_or_404(Purchase, pk=pk, user=request.user)
    return render(request, "shop/purchase_detail.html", {"purchase": purchase})
