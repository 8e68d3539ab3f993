from __future__ import annotations

from django.urls import include, path

from example_project.demo import views
from example_project.urls import urlpatterns as urls_of_the_shop

urls_of_the_demo = [
    path("what-can-go-wrong/", views.what_can_go_wrong, name="what_can_go_wrong"),
    path("what-can-go-wrong/end/", views.end, name="end"),
    path("what-can-go-wrong/<slug:name>/", views.begin, name="begin"),
    path("buy/", views.buy, name="buy"),
]

urlpatterns = [path("demo/", include((urls_of_the_demo, "demo"))), *urls_of_the_shop]
