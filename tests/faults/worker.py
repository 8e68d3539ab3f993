"""A process of its own that clicks once: `python -m tests.faults.worker SETTINGS USER_PK ORDER_ID`.

SETTINGS: JSON of settings that differ from those of the tests; `DATABASE` is SQLite's file.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module

import django
from django.conf import settings


def main(changes: str, user_pk: str, order_id: str) -> None:
    for name, value in json.loads(changes).items():
        if name == "DATABASE":
            settings.DATABASES["default"]["NAME"] = value
        else:
            setattr(settings, name, value)
    settings.ALLOWED_HOSTS = ["testserver"]
    django.setup()
    from django.contrib.auth.models import User
    from django.test import Client
    from django.urls import reverse

    # What loads at the first call is not to take of the click's time.
    import_module("cryptography.fernet")
    import_module("polar_portal.api.client")
    client = Client()
    client.force_login(User.objects.get(pk=user_pk))
    client.get(reverse("polar_portal:invoice", args=[order_id]))


if __name__ == "__main__":
    main(*sys.argv[1:])
