"""The shop's settings and, unless POLAR_ACCESS_TOKEN leads to Polar itself, the demo's own pages over it."""

from __future__ import annotations

from example_project.settings import *  # noqa: F403
from example_project.settings import INSTALLED_APPS, POLAR_ACCESS_TOKEN, TEMPLATES

if not POLAR_ACCESS_TOKEN:
    # Before the shop, so that its templates are found first.
    INSTALLED_APPS = ["example_project.demo", *INSTALLED_APPS]
    ROOT_URLCONF = "example_project.demo.urls"
    POLAR_CUSTOMER_RESOLVER = "example_project.demo.people.polar_customer"
    TEMPLATES[0]["OPTIONS"]["context_processors"].append("example_project.demo.views.trouble")  # type: ignore[index]
