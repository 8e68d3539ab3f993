"""A project whose users have UUIDs as keys, on each database."""

from __future__ import annotations

import os

import pytest
from django.db import connection

from tests.hosts.test_hosts import visit
from tests.services.conftest import needs_database

pytestmark = [needs_database, pytest.mark.django_db]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="`make test` has shown it on SQLite")
def test_all_works_where_users_have_a_uuid_as_key() -> None:
    name = f"polar_portal_hosts_{os.getpid()}"
    visit("users with a UUID as key", databases={"default": {**connection.settings_dict, "TEST": {"NAME": name}}})
