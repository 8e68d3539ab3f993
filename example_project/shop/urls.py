from __future__ import annotations

from django.urls import path

from example_project.shop import views

app_name = "shop"

urlpatterns = [
    path("", views.home, name="home"),
    path("thanks/", views.thanks, name="thanks"),
    path("purchases/", views.purchase_list, name="purchase_list"),
    path("purchases/<int:pk>/", views.purchase_detail, name="purchase_detail"),
]
