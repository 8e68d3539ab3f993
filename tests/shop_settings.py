"""The shop of example_project, on the URLs of `tests.webhook_urls`."""

from __future__ import annotations

from example_project.settings import *  # noqa: F403

ROOT_URLCONF = "tests.webhook_urls"
